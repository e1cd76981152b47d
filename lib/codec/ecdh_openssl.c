#include "config.h"

#include <assert.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <sodium.h>
#include <stdlib.h>

#include "lib/base/buf.h"
#include "lib/codec/cose_backend.h"
#include "lib/codec/cose_encrypt.h"

/*
 * What is behind ecdh.h and cose_encrypt.h: X25519 by libsodium, the rest by
 * OpenSSL.  None of it is on the path of a plain session, so nothing is kept
 * between calls.
 */

enum {
	TAG_SIZE = 16
};

bool
backend_x25519_public(const uint8_t secret[32], uint8_t u[32])
{
	return crypto_scalarmult_curve25519_base(u, secret) == 0;
}

bool
backend_x25519(const uint8_t secret[32], const uint8_t u[32], uint8_t z[32])
{
	return crypto_scalarmult_curve25519(z, secret, u) == 0;
}

bool
backend_p256_agree(const uint8_t d[32], const uint8_t own[64],
    const uint8_t peer[64], uint8_t z[32])
{
	EVP_PKEY *mine = backend_p256_private_pkey(d, own);
	EVP_PKEY *theirs = backend_p256_public_pkey(peer);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(mine, NULL);
	size_t n = 32;
	bool ok;

	if (ctx == NULL)
		abort();
	ok = theirs != NULL && EVP_PKEY_derive_init(ctx) == 1 &&
	    EVP_PKEY_derive_set_peer(ctx, theirs) == 1 &&
	    EVP_PKEY_derive(ctx, z, &n) == 1 && n == 32;
	EVP_PKEY_CTX_free(ctx);
	EVP_PKEY_free(theirs);
	EVP_PKEY_free(mine);
	return ok;
}

void
backend_hkdf_sha256(const uint8_t ikm[32], struct slice salt, struct slice info,
    uint8_t *out, size_t n)
{
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *ctx = kdf == NULL ? NULL : EVP_KDF_CTX_new(kdf);
	char digest[] = "SHA256";
	uint8_t key[32];
	OSSL_PARAM params[5], *p = params;

	memcpy(key, ikm, sizeof(key));
	*p++ =
	    OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0);
	*p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, key,
	    sizeof(key));
	*p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO,
	    slice_unconst(info), info.n);
	if (salt.n > 0)
		*p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT,
		    slice_unconst(salt), salt.n);
	*p = OSSL_PARAM_construct_end();
	if (ctx == NULL || EVP_KDF_derive(ctx, out, n, params) != 1)
		abort();
	sodium_memzero(key, sizeof(key));
	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
}

static EVP_CIPHER_CTX *
new_ctx(void)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

	if (ctx == NULL)
		abort();
	EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
	return ctx;
}

void
backend_key_wrap(const uint8_t kek[16], struct slice key, uint8_t *out)
{
	EVP_CIPHER_CTX *ctx = new_ctx();
	int n = 0;

	if (EVP_EncryptInit_ex2(ctx, EVP_aes_128_wrap(), kek, NULL, NULL) !=
	        1 ||
	    EVP_EncryptUpdate(ctx, out, &n, key.p, (int)key.n) != 1 ||
	    (size_t)n != key.n + 8)
		abort();
	EVP_CIPHER_CTX_free(ctx);
}

bool
backend_key_unwrap(const uint8_t kek[16], struct slice wrapped, uint8_t *out)
{
	EVP_CIPHER_CTX *ctx = new_ctx();
	int n = 0;
	bool ok;

	ok = EVP_DecryptInit_ex2(ctx, EVP_aes_128_wrap(), kek, NULL, NULL) ==
	        1 &&
	    EVP_DecryptUpdate(ctx, out, &n, wrapped.p, (int)wrapped.n) == 1 &&
	    (size_t)n + 8 == wrapped.n;
	EVP_CIPHER_CTX_free(ctx);
	return ok;
}

static const EVP_CIPHER *
cipher_of(int alg)
{
	switch (alg) {
	case COSE_ALG_A128GCM:
		return EVP_aes_128_gcm();
	case COSE_ALG_CHACHA20_POLY1305:
		return EVP_chacha20_poly1305();
	default:
		return EVP_aes_128_ctr();
	}
}

bool
backend_open(const struct backend_cipher *c, struct slice sealed, uint8_t *out)
{
	bool aead = c->alg != COSE_ALG_A128CTR;
	EVP_CIPHER_CTX *ctx = new_ctx();
	uint8_t tag[TAG_SIZE], scrap[TAG_SIZE];
	int n = 0;
	bool ok = EVP_DecryptInit_ex2(ctx, cipher_of(c->alg), c->key, c->iv.p,
	              NULL) == 1;

	if (aead && sealed.n < TAG_SIZE)
		ok = false;
	if (ok && aead) {
		sealed.n -= TAG_SIZE;
		memcpy(tag, sealed.p + sealed.n, TAG_SIZE);
		ok = EVP_DecryptUpdate(ctx, NULL, &n, c->aad.p,
		         (int)c->aad.n) == 1 &&
		    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE,
		        tag) == 1;
	}
	ok = ok &&
	    (sealed.n == 0 ||
	        EVP_DecryptUpdate(ctx, out, &n, sealed.p, (int)sealed.n) == 1);
	ok = ok && EVP_DecryptFinal_ex(ctx, scrap, &n) == 1;
	EVP_CIPHER_CTX_free(ctx);
	return ok;
}

void
backend_seal(const struct backend_cipher *c, struct slice plain, uint8_t *out)
{
	bool aead = c->alg != COSE_ALG_A128CTR;
	EVP_CIPHER_CTX *ctx = new_ctx();
	uint8_t scrap[TAG_SIZE];
	int n = 0;

	if (EVP_EncryptInit_ex2(ctx, cipher_of(c->alg), c->key, c->iv.p,
	        NULL) != 1 ||
	    (aead &&
	        EVP_EncryptUpdate(ctx, NULL, &n, c->aad.p, (int)c->aad.n) !=
	            1) ||
	    (plain.n > 0 &&
	        EVP_EncryptUpdate(ctx, out, &n, plain.p, (int)plain.n) != 1) ||
	    EVP_EncryptFinal_ex(ctx, scrap, &n) != 1 ||
	    (aead &&
	        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_SIZE,
	            out + plain.n) != 1))
		abort();
	EVP_CIPHER_CTX_free(ctx);
}
