/*
 * jwt.h - JSON Web Signatures in compact form (RFC 7515, RFC 7519), with the
 * two algorithms a Verifier may use here: ES256 and EdDSA.
 *
 * A key in the header is never used, and "none" is not an algorithm.
 */
#ifndef LIB_CODEC_JWT_H
#define LIB_CODEC_JWT_H

#include "lib/codec/cose.h"

struct jwt {
	enum cose_curve curve;    /* by the header's alg */
	struct slice signed_text; /* header '.' payload, as received */
	struct slice payload;     /* JSON; not looked at */
	struct slice signature;
};

/* TAM_ATTEST_SYNTAX, TAM_ALG_NOT_ALLOWED. */
enum tam_err jwt_decode(struct slice, struct arena *, struct jwt *);

/* Appends header, payload and signature. */
void jwt_sign(struct cose_crypto *, struct cose_signer *, struct slice payload,
    struct buf *);

/* eat_nonce of the payload, unverified; empty when there is none. */
struct slice jwt_peek_nonce(struct slice, struct arena *);

/* A public key as JWK or as SubjectPublicKeyInfo; TAM_BAD_KEY. */
enum tam_err jwk_decode(struct slice json, struct arena *, struct cose_key *);

#endif
