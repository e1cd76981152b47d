/*
 * appraisal.h - the documents of a Verifier's challenge-response API
 * (Veraison; CONFORMANCE 8.4): what a session says of itself.
 */
#ifndef LIB_CODEC_APPRAISAL_H
#define LIB_CODEC_APPRAISAL_H

#include "lib/base/arena.h"
#include "lib/base/err.h"
#include "lib/base/slice.h"

enum appraisal_status {
	APPRAISAL_WAITING,
	APPRAISAL_PROCESSING,
	APPRAISAL_COMPLETE,
	APPRAISAL_FAILED
};

struct appraisal {
	enum appraisal_status status;
	struct slice result; /* an EAR as JWT; empty unless complete */
};

/* TAM_ATTEST_SYNTAX; the result lives in the arena. */
enum tam_err appraisal_decode(struct slice json, struct arena *,
    struct appraisal *);

#endif
