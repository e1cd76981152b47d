/*
 * builtin.h - the TAM's own Verifier, for deployments without another.
 *
 * Evidence is an EAT in CWT, signed by an attestation key that was endorsed;
 * what it claims is compared with reference values.  The result is the TAM's
 * own, and, signed with the domain's Verifier key, one for the agent to show
 * as a passport.  Pure: a domain, bytes, what is expected; no I/O.
 */
#ifndef SERVER_TEEP_BUILTIN_H
#define SERVER_TEEP_BUILTIN_H

#include "lib/codec/eat.h"

struct tam_domain;

/* A key that may sign Evidence. */
struct endorsement {
	struct cose_key key;
	uint8_t hwmodel[32]; /* of this model only */
	size_t hwmodel_n;    /* 0: of any */
};

/* What a device of a model may look like. */
struct reference_value {
	uint8_t hwmodel[32];
	size_t hwmodel_n;
	char hwversion[64]; /* "": any */
	uint64_t dbgstat;   /* at least */
	bool oemboot;       /* must be true */
	size_t n_manifests; /* 0: any */
	uint8_t (*manifests)[32];
};

/* Whether this domain appraises Evidence of this media type itself. */
bool builtin_takes(const struct tam_domain *, struct slice media_type);

/*
 * TAM_OK and the claims; TAM_ATTEST_UNTRUSTED for a key nobody endorsed,
 * TAM_ATTEST_STATUS for what no reference value allows, or what eat_judge()
 * says of nonce, times and key.
 */
enum tam_err builtin_appraise(struct cose_crypto *, const struct tam_domain *,
    struct slice evidence, struct arena *, const struct eat_expect *,
    struct eat_claims *);

/* A result in TEEP's profile that says these claims, signed. */
struct slice builtin_result(struct cose_crypto *, struct cose_signer *,
    const struct tam_domain *, const struct eat_claims *, struct slice nonce,
    int64_t now_s, struct arena *);

#endif
