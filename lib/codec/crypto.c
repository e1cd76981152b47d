#include "config.h"

#include "lib/codec/crypto.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>

static_assert(sizeof(struct crypto_mac) >= sizeof(crypto_auth_hmacsha256_state),
    "the opaque state is large enough");

void
crypto_init(void)
{
	if (sodium_init() < 0)
		abort();
}

void
crypto_random(void *p, size_t n)
{
	randombytes_buf(p, n);
}

void
crypto_zero(void *p, size_t n)
{
	sodium_memzero(p, n);
}

bool
crypto_equal(const void *a, const void *b, size_t n)
{
	return sodium_memcmp(a, b, n) == 0;
}

void
crypto_sha256(struct slice s, uint8_t out[SHA256_SIZE])
{
	(void)crypto_hash_sha256(out, s.p, s.n);
}

void
crypto_mac_init(struct crypto_mac *mac, const uint8_t key[MAC_KEY_SIZE])
{
	crypto_auth_hmacsha256_state state;

	(void)crypto_auth_hmacsha256_init(&state, key, MAC_KEY_SIZE);
	memset(mac, 0, sizeof(*mac));
	memcpy(mac->state, &state, sizeof(state));
	sodium_memzero(&state, sizeof(state));
}

void
crypto_mac(const struct crypto_mac *mac, const struct slice *parts, size_t n,
    uint8_t out[MAC_SIZE])
{
	crypto_auth_hmacsha256_state state;
	uint8_t full[crypto_auth_hmacsha256_BYTES];

	memcpy(&state, mac->state, sizeof(state));
	for (size_t i = 0; i < n; i++)
		(void)crypto_auth_hmacsha256_update(&state, parts[i].p,
		    parts[i].n);
	(void)crypto_auth_hmacsha256_final(&state, full);
	memcpy(out, full, MAC_SIZE);
}

void
crypto_wrap(const uint8_t key[32], struct slice plain, struct slice aad,
    uint8_t *out)
{
	enum {
		NONCE = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
	};

	randombytes_buf(out, NONCE);
	(void)crypto_aead_xchacha20poly1305_ietf_encrypt(out + NONCE, NULL,
	    plain.p, plain.n, aad.p, aad.n, NULL, out, key);
}

bool
crypto_unwrap(const uint8_t key[32], struct slice wrapped, struct slice aad,
    uint8_t *out)
{
	enum {
		NONCE = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
	};

	if (wrapped.n < WRAP_OVERHEAD)
		return false;
	return crypto_aead_xchacha20poly1305_ietf_decrypt(out, NULL, NULL,
	           wrapped.p + NONCE, wrapped.n - NONCE, aad.p, aad.n,
	           wrapped.p, key) == 0;
}
