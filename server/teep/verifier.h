/*
 * verifier.h - Evidence to a Verifier and a result back, by the
 * challenge-response API (CONFORMANCE 8.4), without waiting.
 *
 *	POST newSession?nonce=...   a session, for the nonce we gave the device
 *	POST {session} Evidence     a result, or not yet
 *	GET {session}               until there is one
 *	DELETE {session}            it is over
 *
 * A worker keeps one client per Verifier.  What comes back is signed, and
 * judged by the caller like any result.
 */
#ifndef SERVER_TEEP_VERIFIER_H
#define SERVER_TEEP_VERIFIER_H

#include "lib/base/arena.h"
#include "lib/base/err.h"
#include "lib/base/slice.h"

struct verifier;
struct verifier_call;
struct verifier_peers;
struct worker;

struct verifier_peers *verifier_peers_new(void);
void verifier_peers_free(struct verifier_peers *);

struct verifier_ask {
	const struct verifier *verifier;
	struct slice nonce, evidence;
	const char *media_type;
	struct arena *arena; /* the result lives there; the caller's */
};

/* TAM_OK with a result (an EAR as JWT), TAM_VERIFIER_DOWN when none came,
 * TAM_ATTEST_SYNTAX when the Verifier could not read the Evidence. */
typedef void (*verifier_cb)(enum tam_err, struct slice result, void *);

/* NULL: it is down or busy. */
struct verifier_call *verifier_appraise(struct worker *,
    const struct verifier_ask *, verifier_cb, void *);
/* The callback will not run. */
void verifier_cancel(struct verifier_call *);

#endif
