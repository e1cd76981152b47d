/*
 * crypto.h - the symmetric half of the door to cryptography: hashes, MACs,
 * random bytes, and secrets wrapped for storage.
 *
 * Only cose_openssl.c and crypto.c know which library is behind it.
 */
#ifndef LIB_CODEC_CRYPTO_H
#define LIB_CODEC_CRYPTO_H

#include "lib/base/err.h"
#include "lib/base/slice.h"

enum {
	SHA256_SIZE = 32,
	MAC_KEY_SIZE = 32,
	MAC_SIZE = 16,     /* HMAC-SHA-256, cut */
	WRAP_OVERHEAD = 40 /* nonce and tag */
};

/* Once per process, before any thread; aborts when a library is broken. */
void crypto_init(void);

void crypto_random(void *, size_t);
void crypto_zero(void *, size_t);
bool crypto_equal(const void *, const void *, size_t);

/* One-shot; for the hot path see cose_digest() in cose.h. */
void crypto_sha256(struct slice, uint8_t out[SHA256_SIZE]);

/* HMAC-SHA-256 with its key already absorbed; copy freely, immutable. */
struct crypto_mac {
	uint64_t state[56];
};

void crypto_mac_init(struct crypto_mac *, const uint8_t key[MAC_KEY_SIZE]);
void crypto_mac(const struct crypto_mac *, const struct slice *parts, size_t n,
    uint8_t out[MAC_SIZE]);

/* XChaCha20-Poly1305; out has room for n + WRAP_OVERHEAD, or n - that. */
void crypto_wrap(const uint8_t key[32], struct slice plain, struct slice aad,
    uint8_t *out);
bool crypto_unwrap(const uint8_t key[32], struct slice wrapped,
    struct slice aad, uint8_t *out);

#endif
