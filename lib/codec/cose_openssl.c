#include "config.h"

#include <assert.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sodium.h>
#include <stdlib.h>

#include "lib/base/mem.h"
#include "lib/codec/cose.h"
#include "lib/codec/cose_backend.h"
#include "lib/codec/crypto.h"

/*
 * What is behind cose.h: P-256 and SHA-256 by OpenSSL, Ed25519 by libsodium,
 * which is more than twice as fast.  The patterns and what they save are
 * measured in docs/PERFORMANCE.md: one scratch key per thread that takes each
 * device's point, one signing context per TAM key and thread, no fetch and no
 * key parsing per message.
 */

enum {
	DER_MAX = 72, /* SEQUENCE of two INTEGERs of at most 33 bytes */
	MESSAGE_MAX = 18 << 20
};

struct cose_crypto {
	EVP_MD *sha256;
	EVP_MD_CTX *hash;
	EVP_PKEY *scratch;  /* takes the point of whoever signed */
	struct buf message; /* Ed25519 wants it in one piece */
};

struct cose_signer {
	struct cose_private priv;
	EVP_PKEY *pkey; /* P-256 only */
	EVP_PKEY_CTX *sign;
};

/* The generator: any valid point serves to make a key that takes others. */
static const uint8_t p256_generator[64] = {0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c,
    0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2, 0x77, 0x03,
    0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98,
    0xc2, 0x96, 0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7,
    0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce, 0x33, 0x57, 0x6b, 0x31,
    0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5};

EVP_PKEY *
backend_p256_public_pkey(const uint8_t xy[64])
{
	uint8_t point[65] = {0x04};
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
	OSSL_PARAM *params = NULL;
	EVP_PKEY *pkey = NULL;

	memcpy(point + 1, xy, 64);
	if (ctx == NULL || bld == NULL ||
	    !OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME,
	        SN_X9_62_prime256v1, 0) ||
	    !OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY,
	        point, sizeof(point)))
		abort();
	params = OSSL_PARAM_BLD_to_param(bld);
	if (params == NULL || EVP_PKEY_fromdata_init(ctx) != 1)
		abort();
	if (EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
		pkey = NULL;
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(bld);
	EVP_PKEY_CTX_free(ctx);
	return pkey;
}

EVP_PKEY *
backend_p256_private_pkey(const uint8_t secret[32], const uint8_t xy[64])
{
	uint8_t point[65] = {0x04};
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
	OSSL_PARAM *params = NULL;
	EVP_PKEY *pkey = NULL;
	BIGNUM *d = BN_secure_new();

	memcpy(point + 1, xy, 64);
	if (ctx == NULL || bld == NULL || d == NULL ||
	    BN_bin2bn(secret, 32, d) == NULL ||
	    !OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME,
	        SN_X9_62_prime256v1, 0) ||
	    !OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY,
	        point, sizeof(point)) ||
	    !OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_PRIV_KEY, d))
		abort();
	params = OSSL_PARAM_BLD_to_param(bld);
	if (params == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
	    EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_KEYPAIR, params) != 1)
		abort();
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(bld);
	BN_clear_free(d);
	EVP_PKEY_CTX_free(ctx);
	return pkey;
}

/* --- points, for cose_key.c ---------------------------------------------- */

bool
backend_p256_on_curve(const uint8_t xy[64])
{
	EVP_PKEY *pkey = backend_p256_public_pkey(xy);

	EVP_PKEY_free(pkey);
	return pkey != NULL;
}

bool
backend_p256_point(EVP_PKEY *pkey, uint8_t xy[64])
{
	uint8_t point[65];
	size_t n = 0;

	if (EVP_PKEY_get_octet_string_param(pkey, OSSL_PKEY_PARAM_PUB_KEY,
	        point, sizeof(point), &n) != 1 ||
	    n != 65 || point[0] != 0x04)
		return false;
	memcpy(xy, point + 1, 64);
	return true;
}

bool
backend_p256_decompress(uint8_t xy[64], bool odd)
{
	EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	EC_POINT *point = group == NULL ? NULL : EC_POINT_new(group);
	uint8_t in[33] = {odd ? 0x03 : 0x02}, out[65];
	bool ok;

	if (point == NULL)
		abort();
	memcpy(in + 1, xy, 32);
	ok = EC_POINT_oct2point(group, point, in, sizeof(in), NULL) == 1 &&
	    EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, out,
	        sizeof(out), NULL) == sizeof(out);
	if (ok)
		memcpy(xy, out + 1, 64);
	EC_POINT_free(point);
	EC_GROUP_free(group);
	return ok;
}

bool
backend_p256_public(const uint8_t d[32], uint8_t xy[64])
{
	EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	EC_POINT *point = group == NULL ? NULL : EC_POINT_new(group);
	BIGNUM *k = BN_secure_new();
	uint8_t out[65];
	bool ok;

	if (point == NULL || k == NULL || BN_bin2bn(d, 32, k) == NULL)
		abort();
	ok = !BN_is_zero(k) && BN_cmp(k, EC_GROUP_get0_order(group)) < 0 &&
	    EC_POINT_mul(group, point, k, NULL, NULL, NULL) == 1 &&
	    EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, out,
	        sizeof(out), NULL) == sizeof(out);
	if (ok)
		memcpy(xy, out + 1, 64);
	BN_clear_free(k);
	EC_POINT_free(point);
	EC_GROUP_free(group);
	return ok;
}

bool
backend_ed25519_valid(const uint8_t x[32])
{
	return crypto_core_ed25519_is_valid_point(x) == 1;
}

void
backend_ed25519_expand(uint8_t secret[64])
{
	uint8_t seed[32], pub[32];

	memcpy(seed, secret, 32);
	(void)crypto_sign_seed_keypair(pub, secret, seed);
	sodium_memzero(seed, sizeof(seed));
}

/* --- PEM ----------------------------------------------------------------- */

static enum tam_err
key_of_pkey(EVP_PKEY *pkey, struct cose_key *out)
{
	uint8_t x[32], xy[64];
	size_t n = sizeof(x);

	if (EVP_PKEY_is_a(pkey, "ED25519"))
		return EVP_PKEY_get_raw_public_key(pkey, x, &n) == 1 && n == 32
		    ? cose_key_ed25519(out, x)
		    : TAM_BAD_KEY;
	if (!EVP_PKEY_is_a(pkey, "EC"))
		return TAM_BAD_KEY;
	return backend_p256_point(pkey, xy) ? cose_key_p256(out, xy)
	                                    : TAM_BAD_KEY;
}

enum tam_err
cose_key_from_spki(struct slice der, struct cose_key *out)
{
	const unsigned char *p = der.p;
	EVP_PKEY *pkey = d2i_PUBKEY(NULL, &p, (long)der.n);
	enum tam_err err = TAM_BAD_KEY;

	if (pkey != NULL && p == der.p + der.n)
		err = key_of_pkey(pkey, out);
	EVP_PKEY_free(pkey);
	return err;
}

enum tam_err
cose_key_from_pem(struct slice pem, struct cose_key *out)
{
	BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
	EVP_PKEY *pkey;
	enum tam_err err = TAM_BAD_KEY;

	if (bio == NULL)
		abort();
	pkey = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
	if (pkey != NULL)
		err = key_of_pkey(pkey, out);
	EVP_PKEY_free(pkey);
	BIO_free(bio);
	return err;
}

static enum tam_err
private_of_pkey(EVP_PKEY *pkey, struct cose_private *out)
{
	uint8_t secret[32] = {0};
	size_t n = sizeof(secret);
	BIGNUM *d = NULL;
	enum tam_err err = TAM_BAD_KEY;

	if (EVP_PKEY_is_a(pkey, "ED25519")) {
		if (EVP_PKEY_get_raw_private_key(pkey, secret, &n) == 1 &&
		    n == 32)
			err =
			    cose_private_from_secret(out, COSE_ED25519, secret);
	} else if (EVP_PKEY_is_a(pkey, "EC") &&
	    EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_PRIV_KEY, &d) == 1 &&
	    BN_bn2binpad(d, secret, 32) == 32) {
		err = cose_private_from_secret(out, COSE_P256, secret);
	}
	BN_clear_free(d);
	sodium_memzero(secret, sizeof(secret));
	return err;
}

enum tam_err
cose_private_from_pem(struct slice pem, struct cose_private *out)
{
	BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
	EVP_PKEY *pkey;
	enum tam_err err = TAM_BAD_KEY;

	if (bio == NULL)
		abort();
	pkey = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	if (pkey != NULL)
		err = private_of_pkey(pkey, out);
	EVP_PKEY_free(pkey);
	BIO_free(bio);
	return err;
}

void
backend_private_pem(EVP_PKEY *pkey, struct buf *out)
{
	BIO *bio = BIO_new(BIO_s_secmem());
	char *pem = NULL;
	long n;

	if (bio == NULL || pkey == NULL ||
	    PEM_write_bio_PKCS8PrivateKey(bio, pkey, NULL, NULL, 0, NULL,
	        NULL) != 1)
		abort();
	n = BIO_get_mem_data(bio, &pem);
	buf_add(out, pem, (size_t)n);
	EVP_PKEY_free(pkey);
	BIO_free(bio);
}

void
cose_private_to_pem(const struct cose_private *priv, struct buf *out)
{
	backend_private_pem(priv->key.curve == COSE_P256
	        ? backend_p256_private_pkey(priv->secret, priv->key.pub)
	        : EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL,
	              priv->secret, 32),
	    out);
}

/* --- contexts ------------------------------------------------------------ */

struct cose_crypto *
cose_crypto_new(void)
{
	struct cose_crypto *c = mem_new(struct cose_crypto);

	c->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	c->hash = EVP_MD_CTX_new();
	c->scratch = backend_p256_public_pkey(p256_generator);
	if (c->sha256 == NULL || c->hash == NULL || c->scratch == NULL)
		abort();
	buf_init(&c->message, MESSAGE_MAX);
	return c;
}

void
cose_crypto_free(struct cose_crypto *c)
{
	if (c == NULL)
		return;
	EVP_PKEY_free(c->scratch);
	EVP_MD_CTX_free(c->hash);
	EVP_MD_free(c->sha256);
	buf_fini(&c->message);
	free(c);
}

struct cose_signer *
cose_signer_new(const struct cose_private *priv)
{
	struct cose_signer *s = mem_new(struct cose_signer);

	s->priv = *priv;
	if (priv->key.curve != COSE_P256)
		return s;
	s->pkey = backend_p256_private_pkey(priv->secret, priv->key.pub);
	s->sign = EVP_PKEY_CTX_new(s->pkey, NULL);
	if (s->sign == NULL || EVP_PKEY_sign_init(s->sign) != 1)
		abort();
	return s;
}

void
cose_signer_free(struct cose_signer *s)
{
	if (s == NULL)
		return;
	EVP_PKEY_CTX_free(s->sign);
	EVP_PKEY_free(s->pkey);
	cose_private_wipe(&s->priv);
	free(s);
}

const struct cose_key *
cose_signer_key(const struct cose_signer *s)
{
	return &s->priv.key;
}

/* --- digests and signatures ---------------------------------------------- */

void
cose_digest(struct cose_crypto *c, const struct slice *parts, size_t n,
    uint8_t out[32])
{
	if (EVP_DigestInit_ex2(c->hash, c->sha256, NULL) != 1)
		abort();
	for (size_t i = 0; i < n; i++) {
		if (EVP_DigestUpdate(c->hash, parts[i].p, parts[i].n) != 1)
			abort();
	}
	if (EVP_DigestFinal_ex(c->hash, out, NULL) != 1)
		abort();
}

static struct slice
joined(struct cose_crypto *c, const struct slice *parts, size_t n)
{
	buf_clear(&c->message);
	for (size_t i = 0; i < n; i++)
		buf_add_slice(&c->message, parts[i]);
	assert(!c->message.full);
	return buf_slice(&c->message);
}

/* X.690, 8.3: the shortest two's complement of an unsigned number. */
static size_t
der_integer(const uint8_t v[32], uint8_t *out)
{
	size_t skip = 0, n;
	bool pad;

	while (skip < 31 && v[skip] == 0)
		skip++;
	pad = (v[skip] & 0x80) != 0;
	n = 32 - skip + pad;
	out[0] = 0x02;
	out[1] = (uint8_t)n;
	out[2] = 0;
	memcpy(out + 2 + pad, v + skip, 32 - skip);
	return 2 + n;
}

static size_t
der_from_rs(const uint8_t rs[64], uint8_t out[DER_MAX])
{
	size_t n = der_integer(rs, out + 2);

	n += der_integer(rs + 32, out + 2 + n);
	out[0] = 0x30;
	out[1] = (uint8_t)n;
	return 2 + n;
}

/* Reads what OpenSSL just wrote; its shape is an invariant. */
static const uint8_t *
rs_from_integer(const uint8_t *der, uint8_t out[32])
{
	size_t n = der[1];
	const uint8_t *v = der + 2;

	assert(der[0] == 0x02 && n >= 1 && n <= 33);
	if (n == 33) {
		v++;
		n--;
	}
	memset(out, 0, 32);
	memcpy(out + 32 - n, v, n);
	return v + n;
}

static enum tam_err
p256_verify(struct cose_crypto *c, const struct cose_key *key,
    const uint8_t digest[32], struct slice signature)
{
	uint8_t point[65] = {0x04}, der[DER_MAX];
	EVP_PKEY_CTX *ctx;
	size_t n;
	int ok;

	if (signature.n != COSE_SIGNATURE_SIZE)
		return TAM_BAD_SIGNATURE;
	/* Always 65 bytes starting with 04: OpenSSL 3.0 would also take the
	 * one-byte point at infinity, under which anything verifies. */
	memcpy(point + 1, key->pub, 64);
	if (EVP_PKEY_set1_encoded_public_key(c->scratch, point,
	        sizeof(point)) != 1)
		return TAM_BAD_KEY;
	ctx = EVP_PKEY_CTX_new(c->scratch, NULL);
	if (ctx == NULL || EVP_PKEY_verify_init(ctx) != 1)
		abort();
	n = der_from_rs(signature.p, der);
	ok = EVP_PKEY_verify(ctx, der, n, digest, 32);
	EVP_PKEY_CTX_free(ctx);
	return ok == 1 ? TAM_OK : TAM_BAD_SIGNATURE;
}

enum tam_err
cose_verify_parts(struct cose_crypto *c, const struct cose_key *key,
    const struct slice *parts, size_t n, struct slice signature)
{
	uint8_t digest[32];
	struct slice message;

	if (key->curve == COSE_P256) {
		cose_digest(c, parts, n, digest);
		return p256_verify(c, key, digest, signature);
	}
	if (signature.n != COSE_SIGNATURE_SIZE)
		return TAM_BAD_SIGNATURE;
	message = joined(c, parts, n);
	return crypto_sign_verify_detached(signature.p, message.p, message.n,
	           key->pub) == 0
	    ? TAM_OK
	    : TAM_BAD_SIGNATURE;
}

void
cose_sign_parts(struct cose_crypto *c, struct cose_signer *s,
    const struct slice *parts, size_t n, uint8_t out[COSE_SIGNATURE_SIZE])
{
	uint8_t digest[32], der[DER_MAX];
	size_t der_n = sizeof(der);
	struct slice message;

	if (s->priv.key.curve == COSE_P256) {
		cose_digest(c, parts, n, digest);
		if (EVP_PKEY_sign(s->sign, der, &der_n, digest, 32) != 1)
			abort();
		assert(der[0] == 0x30);
		(void)rs_from_integer(rs_from_integer(der + 2, out), out + 32);
		return;
	}
	message = joined(c, parts, n);
	(void)crypto_sign_detached(out, NULL, message.p, message.n,
	    s->priv.secret);
}
