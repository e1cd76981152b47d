#include "config.h"

#include "lib/codec/cbor_in.h"
#include "lib/codec/cbor_out.h"
#include "lib/codec/cose.h"
#include "lib/codec/cose_backend.h"
#include "lib/codec/crypto.h"

/*
 * COSE_Key (RFC 9052 section 7, RFC 9053 section 7) and its thumbprint
 * (RFC 9679).  Whether a point is on its curve is the backend's to say.
 */

enum {
	LABEL_KTY = 1,
	LABEL_CRV = -1,
	LABEL_X = -2,
	LABEL_Y = -3
};

bool
cose_alg_curve(int64_t alg, enum cose_curve *curve)
{
	switch (alg) {
	case COSE_ALG_ES256:
	case COSE_ALG_ESP256:
		*curve = COSE_P256;
		return true;
	case COSE_ALG_EDDSA:
	case COSE_ALG_ED25519:
		*curve = COSE_ED25519;
		return true;
	default:
		return false;
	}
}

struct slice
cose_key_pub(const struct cose_key *key)
{
	return (struct slice){key->pub, key->curve == COSE_P256 ? 64 : 32};
}

void
cose_key_write(int64_t kty, int64_t crv, struct slice pub, struct buf *out)
{
	cbor_out_map(out, pub.n > 32 ? 4 : 3);
	cbor_out_int(out, LABEL_KTY);
	cbor_out_int(out, kty);
	cbor_out_int(out, LABEL_CRV);
	cbor_out_int(out, crv);
	cbor_out_int(out, LABEL_X);
	cbor_out_bytes(out, (struct slice){pub.p, 32});
	if (pub.n > 32) {
		cbor_out_int(out, LABEL_Y);
		cbor_out_bytes(out, (struct slice){pub.p + 32, 32});
	}
}

void
cose_key_encode(const struct cose_key *key, struct buf *out)
{
	if (key->curve == COSE_P256)
		cose_key_write(COSE_KTY_EC2, COSE_CRV_P256, cose_key_pub(key),
		    out);
	else
		cose_key_write(COSE_KTY_OKP, COSE_CRV_ED25519,
		    cose_key_pub(key), out);
}

static void
set_thumbprint(struct cose_key *key)
{
	uint8_t room[COSE_KEY_ENCODED_MAX];
	struct buf b = {.p = room, .room = sizeof(room), .max = sizeof(room)};

	cose_key_encode(key, &b);
	crypto_sha256(buf_slice(&b), key->thumbprint);
}

enum tam_err
cose_key_p256(struct cose_key *out, const uint8_t xy[64])
{
	struct cose_key key = {.curve = COSE_P256};

	memcpy(key.pub, xy, 64);
	if (!backend_p256_on_curve(key.pub))
		return TAM_BAD_KEY;
	set_thumbprint(&key);
	*out = key;
	return TAM_OK;
}

enum tam_err
cose_key_ed25519(struct cose_key *out, const uint8_t x[32])
{
	struct cose_key key = {.curve = COSE_ED25519};

	memcpy(key.pub, x, 32);
	if (!backend_ed25519_valid(key.pub))
		return TAM_BAD_KEY;
	set_thumbprint(&key);
	*out = key;
	return TAM_OK;
}

enum tam_err
cose_key_make(struct cose_key *out, enum cose_curve curve, struct slice pub)
{
	if (pub.n != (curve == COSE_P256 ? 64u : 32u))
		return TAM_BAD_KEY;
	return curve == COSE_P256 ? cose_key_p256(out, pub.p)
	                          : cose_key_ed25519(out, pub.p);
}

struct sign_bit {
	bool given, odd;
};

static void
read_y(struct cbor_in *in, struct cose_key_members *m, struct sign_bit *sign)
{
	if (cbor_in_peek(in) == CBOR_SIMPLE) {
		sign->given = true;
		sign->odd = cbor_in_bool(in);
		return;
	}
	m->y = cbor_in_bytes(in, 32, 32);
}

static void
read_members(struct cbor_in *in, struct cose_key_members *m,
    struct sign_bit *sign)
{
	size_t n = cbor_in_map(in, 16);

	for (size_t i = 0; i < n && in->err == TAM_OK; i++) {
		int64_t label = cbor_in_int(in);

		if (label == LABEL_KTY)
			m->kty = cbor_in_int(in);
		else if (label == LABEL_CRV)
			m->crv = cbor_in_int(in);
		else if (label == LABEL_X)
			m->x = cbor_in_bytes(in, 32, 32);
		else if (label == LABEL_Y)
			read_y(in, m, sign);
		else
			cbor_in_skip(in);
	}
}

enum tam_err
cose_key_members(struct slice bytes, struct arena *arena,
    struct cose_key_members *m)
{
	struct sign_bit sign = {0};
	struct cbor_in in;
	enum tam_err err;

	*m = (struct cose_key_members){0};
	cbor_in_open(&in, bytes, arena, CBOR_ANY);
	read_members(&in, m, &sign);
	err = cbor_in_finish(&in);
	if (err != TAM_OK)
		return err;
	if (m->x.n != 32)
		return TAM_MISSING_FIELD;
	if (m->kty != COSE_KTY_EC2)
		return TAM_OK;
	memcpy(m->xy, m->x.p, 32);
	if (m->y.n == 32)
		memcpy(m->xy + 32, m->y.p, 32);
	else if (m->crv != COSE_CRV_P256 || !sign.given ||
	    !backend_p256_decompress(m->xy, sign.odd))
		return TAM_BAD_KEY;
	return TAM_OK;
}

enum tam_err
cose_key_decode(struct slice bytes, struct arena *arena, struct cose_key *out)
{
	struct cose_key_members m;
	enum tam_err err = cose_key_members(bytes, arena, &m);

	if (err != TAM_OK)
		return err;
	if (m.kty == COSE_KTY_OKP && m.crv == COSE_CRV_ED25519)
		return cose_key_ed25519(out, m.x.p);
	if (m.kty == COSE_KTY_EC2 && m.crv == COSE_CRV_P256)
		return cose_key_p256(out, m.xy);
	return TAM_BAD_KEY;
}

void
cose_private_wipe(struct cose_private *priv)
{
	crypto_zero(priv, sizeof(*priv));
}

void
cose_private_from_seed(struct cose_private *out, enum cose_curve curve,
    const uint8_t seed[32])
{
	uint8_t secret[32];

	/* Nearly every 32 bytes are a valid scalar; hash on until they are. */
	memcpy(secret, seed, 32);
	while (cose_private_from_secret(out, curve, secret) != TAM_OK)
		crypto_sha256(SLICE_OF(secret), secret);
	crypto_zero(secret, sizeof(secret));
}

void
cose_private_generate(struct cose_private *out, enum cose_curve curve)
{
	uint8_t seed[32];

	crypto_random(seed, sizeof(seed));
	cose_private_from_seed(out, curve, seed);
	crypto_zero(seed, sizeof(seed));
}

enum tam_err
cose_private_from_secret(struct cose_private *out, enum cose_curve curve,
    const uint8_t secret[32])
{
	struct cose_private priv = {0};
	enum tam_err err = TAM_BAD_KEY;

	memcpy(priv.secret, secret, 32);
	if (curve == COSE_P256) {
		uint8_t xy[64];

		if (backend_p256_public(secret, xy))
			err = cose_key_p256(&priv.key, xy);
	} else {
		backend_ed25519_expand(priv.secret);
		err = cose_key_ed25519(&priv.key, priv.secret + 32);
	}
	if (err == TAM_OK)
		*out = priv;
	cose_private_wipe(&priv);
	return err;
}
