/*
 * teep_codes.h - the code points of both numberings; for teep_*.c only.
 */
#ifndef LIB_CODEC_TEEP_CODES_H
#define LIB_CODEC_TEEP_CODES_H

#include "lib/codec/cbor_in.h"
#include "lib/codec/teep.h"

/* A label of 0 means: not in this numbering. */
struct teep_code {
	uint8_t label[2];        /* by enum teep_numbering */
	enum cbor_major type;    /* of the value */
	enum cbor_major element; /* of its elements, when an array */
};

extern const struct teep_code teep_codes[TEEP_OPT_COUNT];

/* Labels inside requested-tc-info. */
enum teep_requested_label {
	REQUESTED_COMPONENT_ID,
	REQUESTED_SEQUENCE,
	REQUESTED_HAVE_BINARY,
	REQUESTED_LABELS
};

extern const uint8_t teep_requested_codes[REQUESTED_LABELS][2];
extern const uint8_t teep_kind_codes[TEEP_ERROR + 1][2];

/* Converts an err-code between the wire and the final numbering's values. */
uint64_t teep_err_code_swap(enum teep_numbering, uint64_t);

#endif
