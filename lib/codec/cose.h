/*
 * cose.h - the only door to public-key cryptography: COSE numbers in, tam_err
 * out (RFC 9052, RFC 9053, RFC 9864, RFC 9679).
 *
 * Keys are plain values of a few dozen bytes; nothing is parsed to use one.
 * What a thread needs to compute is its struct cose_crypto, which it makes
 * once and never shares; a private key is used through a cose_signer of the
 * same thread.  Messages are decoded without trusting them: struct
 * cose_message borrows the bytes it was decoded from.
 */
#ifndef LIB_CODEC_COSE_H
#define LIB_CODEC_COSE_H

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/base/slice.h"

enum {
	COSE_ALG_ES256 = -7, /* deprecated names of the same bytes: RFC 9864 */
	COSE_ALG_EDDSA = -8,
	COSE_ALG_ESP256 = -9,
	COSE_ALG_ED25519 = -19,
	COSE_ALG_SHA256 = -16,

	COSE_TAG_SIGN1 = 18,
	COSE_TAG_SIGN = 98,

	COSE_SIGNATURE_SIZE = 64, /* r || s, or R || S */
	COSE_THUMBPRINT_SIZE = 32,
	COSE_SIGNATURES_MAX = 4, /* of one COSE_Sign */
	COSE_KID_MAX = 64,
	COSE_CERTS_MAX = 4,
	COSE_CERT_MAX = 4096
};

enum cose_curve {
	COSE_P256,
	COSE_ED25519
};

/* --- keys --------------------------------------------------------------- */

/* A public key that was checked when it was made; copy it freely. */
struct cose_key {
	enum cose_curve curve;
	uint8_t
	    pub[64]; /* x || y of a P-256 point; x, then zeroes, of Ed25519 */
	uint8_t thumbprint[COSE_THUMBPRINT_SIZE]; /* RFC 9679, SHA-256 */
};

/* Refuse points off the curve, at infinity, or of small order. */
enum tam_err cose_key_p256(struct cose_key *, const uint8_t xy[64]);
enum tam_err cose_key_ed25519(struct cose_key *, const uint8_t x[32]);
enum tam_err cose_key_make(struct cose_key *, enum cose_curve,
    struct slice pub);
/* What cose_key_make() takes: 64 or 32 bytes. */
struct slice cose_key_pub(const struct cose_key *);

/* A COSE_Key map; a compressed point is decompressed. */
enum tam_err cose_key_decode(struct slice, struct arena *, struct cose_key *);
/* Required members only, deterministic: what the thumbprint hashes. */
void cose_key_encode(const struct cose_key *, struct buf *);
/* SubjectPublicKeyInfo: DER, or in PEM. */
enum tam_err cose_key_from_spki(struct slice der, struct cose_key *);
enum tam_err cose_key_from_pem(struct slice pem, struct cose_key *);

/* Which curve an algorithm number signs on; false for a number we refuse. */
bool cose_alg_curve(int64_t alg, enum cose_curve *);

struct cose_private {
	struct cose_key key;
	uint8_t secret[64]; /* d, then zeroes; or seed || x */
};

void cose_private_wipe(struct cose_private *);
void cose_private_generate(struct cose_private *, enum cose_curve);
/* The same seed gives the same key. */
void cose_private_from_seed(struct cose_private *, enum cose_curve,
    const uint8_t seed[32]);
/* d of a P-256 key, the seed of an Ed25519 one. */
enum tam_err cose_private_from_secret(struct cose_private *, enum cose_curve,
    const uint8_t secret[32]);
enum tam_err cose_private_from_pem(struct slice pem, struct cose_private *);
/* PKCS #8 in PEM. */
void cose_private_to_pem(const struct cose_private *, struct buf *);

/* --- what a thread computes with ---------------------------------------- */

struct cose_crypto;
struct cose_signer;

struct cose_crypto *cose_crypto_new(void);
void cose_crypto_free(struct cose_crypto *);

struct cose_signer *cose_signer_new(const struct cose_private *);
void cose_signer_free(struct cose_signer *);
const struct cose_key *cose_signer_key(const struct cose_signer *);

/* SHA-256 over the parts, by the fastest way there is. */
void cose_digest(struct cose_crypto *, const struct slice *parts, size_t n,
    uint8_t out[32]);

enum tam_err cose_verify_parts(struct cose_crypto *, const struct cose_key *,
    const struct slice *parts, size_t n, struct slice signature);
void cose_sign_parts(struct cose_crypto *, struct cose_signer *,
    const struct slice *parts, size_t n, uint8_t out[COSE_SIGNATURE_SIZE]);

/* --- messages ----------------------------------------------------------- */

struct cose_signature {
	struct slice prot; /* the protected header's bytes, verbatim */
	int64_t alg;
	struct slice kid; /* empty when absent; a hint, never trust */
	/* x5chain, leaf first, whose leaf the signature protects; contents not
	 * looked at (RFC 9360). */
	size_t n_certs;
	struct slice certs[COSE_CERTS_MAX];
	struct slice bytes;
};

struct cose_message {
	bool multi; /* COSE_Sign, not COSE_Sign1 */
	bool detached;
	struct slice external_aad; /* the caller's to set; empty in TEEP */
	struct slice body_prot;    /* of COSE_Sign */
	struct slice payload;
	size_t n; /* 1 for COSE_Sign1 */
	struct cose_signature signatures[COSE_SIGNATURES_MAX];
};

/*
 * Tagged or not; see CONFORMANCE T10 to T12.  A critical header parameter we
 * do not know, a label in both buckets or an algorithm that is not protected
 * is refused; whether the algorithm is allowed is asked when verifying.
 */
enum tam_err cose_decode(struct slice, struct arena *, struct cose_message *);

/* One signature of the message, over `payload` when that was detached. */
enum tam_err cose_verify(struct cose_crypto *, const struct cose_message *,
    size_t which, const struct cose_key *, struct slice payload);

/*
 * Appends a tagged COSE_Sign1; the algorithm number is the caller's choice
 * among those of the signer's curve.  An empty kid is left out.
 */
void cose_sign1(struct cose_crypto *, struct cose_signer *, int alg,
    struct slice kid, struct slice payload, struct buf *);
/* The same with a protected x5chain, leaf first, instead of a kid. */
void cose_sign1_certified(struct cose_crypto *, struct cose_signer *, int alg,
    const struct slice *certs, size_t n, struct slice payload, struct buf *);
/* The same with the payload detached (nil), as SUIT has it. */
void cose_sign1_detached(struct cose_crypto *, struct cose_signer *, int alg,
    struct slice kid, struct slice payload, struct buf *);
/*
 * For several keys, and keys elsewhere: the message with blanks where its
 * signatures go, each COSE_SIGNATURE_SIZE bytes at `at` of the buffer, to be
 * made by `key` over `message`, which lives in the arena.
 */
struct cose_blank {
	const struct cose_key *key; /* the caller's */
	struct slice message;
	size_t at;
};

void cose_sign1_blank(const struct cose_key *, int alg, struct slice kid,
    struct slice payload, struct arena *, struct buf *, struct cose_blank *);
/* A tagged COSE_Sign, with kids: a blank for each key. */
void cose_sign_blank(const struct cose_key *const *, const int *algs, size_t n,
    struct slice payload, struct arena *, struct buf *, struct cose_blank *);

#endif
