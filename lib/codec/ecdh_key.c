#include "config.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>

#include "lib/codec/cbor_out.h"
#include "lib/codec/cose_backend.h"
#include "lib/codec/crypto.h"
#include "lib/codec/ecdh.h"

struct slice
ecdh_key_pub(const struct ecdh_key *key)
{
	return (struct slice){key->pub, key->curve == ECDH_P256 ? 64 : 32};
}

void
ecdh_key_encode(const struct ecdh_key *key, struct buf *out)
{
	if (key->curve == ECDH_P256)
		cose_key_write(COSE_KTY_EC2, COSE_CRV_P256, ecdh_key_pub(key),
		    out);
	else
		cose_key_write(COSE_KTY_OKP, COSE_CRV_X25519, ecdh_key_pub(key),
		    out);
}

enum tam_err
ecdh_key_make(struct ecdh_key *out, enum ecdh_curve curve, struct slice pub)
{
	struct ecdh_key key = {.curve = curve};
	uint8_t room[COSE_KEY_ENCODED_MAX];
	struct buf b = {.p = room, .room = sizeof(room), .max = sizeof(room)};

	if (pub.n != (curve == ECDH_P256 ? 64u : 32u))
		return TAM_BAD_KEY;
	memcpy(key.pub, pub.p, pub.n);
	if (curve == ECDH_P256 && !backend_p256_on_curve(key.pub))
		return TAM_BAD_KEY;
	ecdh_key_encode(&key, &b);
	crypto_sha256(buf_slice(&b), key.thumbprint);
	*out = key;
	return TAM_OK;
}

enum tam_err
ecdh_key_decode(struct slice bytes, struct arena *arena, struct ecdh_key *out)
{
	struct cose_key_members m;
	enum tam_err err = cose_key_members(bytes, arena, &m);

	if (err != TAM_OK)
		return err;
	if (m.kty == COSE_KTY_OKP && m.crv == COSE_CRV_X25519)
		return ecdh_key_make(out, ECDH_X25519, m.x);
	if (m.kty == COSE_KTY_EC2 && m.crv == COSE_CRV_P256)
		return ecdh_key_make(out, ECDH_P256, SLICE_OF(m.xy));
	return TAM_BAD_KEY;
}

/* --- private keys ----------------------------------------------------------- */

void
ecdh_private_wipe(struct ecdh_private *priv)
{
	crypto_zero(priv, sizeof(*priv));
}

enum tam_err
ecdh_private_from_secret(struct ecdh_private *out, enum ecdh_curve curve,
    const uint8_t secret[ECDH_SECRET_SIZE])
{
	struct ecdh_private priv = {0};
	uint8_t pub[64] = {0};
	enum tam_err err = TAM_BAD_KEY;

	memcpy(priv.secret, secret, sizeof(priv.secret));
	if (curve == ECDH_P256 ? backend_p256_public(secret, pub)
	                       : backend_x25519_public(secret, pub))
		err = ecdh_key_make(&priv.key, curve,
		    (struct slice){pub, curve == ECDH_P256 ? 64 : 32});
	if (err == TAM_OK)
		*out = priv;
	ecdh_private_wipe(&priv);
	return err;
}

void
ecdh_private_generate(struct ecdh_private *out, enum ecdh_curve curve)
{
	uint8_t secret[ECDH_SECRET_SIZE];

	/* Nearly every 32 bytes are a valid scalar. */
	do
		crypto_random(secret, sizeof(secret));
	while (ecdh_private_from_secret(out, curve, secret) != TAM_OK);
	crypto_zero(secret, sizeof(secret));
}

/* --- PEM -------------------------------------------------------------------- */

static BIO *
bio_of(struct slice pem)
{
	BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);

	if (bio == NULL)
		abort();
	return bio;
}

enum tam_err
ecdh_key_from_pem(struct slice pem, struct ecdh_key *out)
{
	BIO *bio = bio_of(pem);
	EVP_PKEY *pkey = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
	uint8_t pub[64];
	size_t n = 32;
	enum tam_err err = TAM_BAD_KEY;

	if (pkey != NULL && EVP_PKEY_is_a(pkey, "X25519")) {
		if (EVP_PKEY_get_raw_public_key(pkey, pub, &n) == 1)
			err = ecdh_key_make(out, ECDH_X25519,
			    (struct slice){pub, n});
	} else if (pkey != NULL && EVP_PKEY_is_a(pkey, "EC") &&
	    backend_p256_point(pkey, pub)) {
		err = ecdh_key_make(out, ECDH_P256, SLICE_OF(pub));
	}
	EVP_PKEY_free(pkey);
	BIO_free(bio);
	return err;
}

enum tam_err
ecdh_private_from_pem(struct slice pem, struct ecdh_private *out)
{
	BIO *bio = bio_of(pem);
	EVP_PKEY *pkey = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	uint8_t secret[ECDH_SECRET_SIZE];
	size_t n = sizeof(secret);
	BIGNUM *d = NULL;
	enum tam_err err = TAM_BAD_KEY;

	if (pkey != NULL && EVP_PKEY_is_a(pkey, "X25519")) {
		if (EVP_PKEY_get_raw_private_key(pkey, secret, &n) == 1)
			err =
			    ecdh_private_from_secret(out, ECDH_X25519, secret);
	} else if (pkey != NULL && EVP_PKEY_is_a(pkey, "EC") &&
	    EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_PRIV_KEY, &d) == 1 &&
	    BN_bn2binpad(d, secret, sizeof(secret)) == sizeof(secret)) {
		err = ecdh_private_from_secret(out, ECDH_P256, secret);
	}
	BN_clear_free(d);
	crypto_zero(secret, sizeof(secret));
	EVP_PKEY_free(pkey);
	BIO_free(bio);
	return err;
}

void
ecdh_private_to_pem(const struct ecdh_private *priv, struct buf *out)
{
	backend_private_pem(priv->key.curve == ECDH_P256
	        ? backend_p256_private_pkey(priv->secret, priv->key.pub)
	        : EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL,
	              priv->secret, ECDH_SECRET_SIZE),
	    out);
}
