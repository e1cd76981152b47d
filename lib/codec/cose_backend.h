/*
 * cose_backend.h - what the COSE files ask of each other and of the libraries
 * behind the door.  Nobody outside lib/codec/{cose,ecdh}_*.c includes it.
 */
#ifndef LIB_CODEC_COSE_BACKEND_H
#define LIB_CODEC_COSE_BACKEND_H

#include "lib/base/buf.h"
#include "lib/codec/cbor_in.h"

/* --- COSE_Key (cose_key.c) ----------------------------------------------- */

enum {
	COSE_KTY_OKP = 1,
	COSE_KTY_EC2 = 2,
	COSE_CRV_P256 = 1,
	COSE_CRV_X25519 = 4,
	COSE_CRV_ED25519 = 6,
	COSE_KEY_ENCODED_MAX = 75
};

/* The members that matter to us; y is whole after cose_key_members(). */
struct cose_key_members {
	int64_t kty, crv;
	struct slice x, y;
	uint8_t xy[64]; /* of a P-256 point */
};

/* Reads a COSE_Key map; a compressed point is decompressed. */
enum tam_err cose_key_members(struct slice, struct arena *,
    struct cose_key_members *);
/* Required members only, deterministic; pub is x, or x and y. */
void cose_key_write(int64_t kty, int64_t crv, struct slice pub, struct buf *);

/* --- points (cose_openssl.c) --------------------------------------------- */

bool backend_p256_on_curve(const uint8_t xy[64]);
/* Fills y from x and its parity. */
bool backend_p256_decompress(uint8_t xy[64], bool odd);
/* False when d is not a scalar of the group. */
bool backend_p256_public(const uint8_t d[32], uint8_t xy[64]);
bool backend_ed25519_valid(const uint8_t x[32]);
/* The first 32 bytes are the seed; the public key goes behind them. */
void backend_ed25519_expand(uint8_t secret[64]);

struct evp_pkey_st;
/* NULL when the point is not one. */
struct evp_pkey_st *backend_p256_public_pkey(const uint8_t xy[64]);
struct evp_pkey_st *backend_p256_private_pkey(const uint8_t secret[32],
    const uint8_t xy[64]);
/* The uncompressed point of a key, without its leading 04. */
/* PKCS#8 in PEM, by way of memory that is wiped; takes the key. */
void backend_private_pem(struct evp_pkey_st *, struct buf *);
bool backend_p256_point(struct evp_pkey_st *, uint8_t xy[64]);

/* --- key agreement and ciphers (ecdh_openssl.c) --------------------------- */

bool backend_x25519_public(const uint8_t secret[32], uint8_t u[32]);
/* False for a result that is zero: a point of small order. */
bool backend_x25519(const uint8_t secret[32], const uint8_t u[32],
    uint8_t z[32]);
bool backend_p256_agree(const uint8_t d[32], const uint8_t own[64],
    const uint8_t peer[64], uint8_t z[32]);
void backend_hkdf_sha256(const uint8_t ikm[32], struct slice salt,
    struct slice info, uint8_t *out, size_t n);
/* RFC 3394 with a key of 16 bytes; out is 8 bytes longer, or shorter. */
void backend_key_wrap(const uint8_t kek[16], struct slice key, uint8_t *out);
bool backend_key_unwrap(const uint8_t kek[16], struct slice wrapped,
    uint8_t *out);

struct backend_cipher {
	int alg; /* COSE_ALG_A128GCM, ... */
	const uint8_t *key;
	struct slice iv, aad;
};

/* out has room for the plaintext; the tag, if any, ends `sealed`. */
bool backend_open(const struct backend_cipher *, struct slice sealed,
    uint8_t *out);
/* out has room for the plaintext and 16 bytes. */
void backend_seal(const struct backend_cipher *, struct slice plain,
    uint8_t *out);

#endif
