#include "config.h"

#include "lib/codec/jwt.h"

#include <jansson.h>
#include <string.h>

#include "lib/base/hex.h"
#include "lib/codec/eat.h"

static json_t *
parse(struct slice json)
{
	return json_loadb((const char *)json.p, json.n, JSON_REJECT_DUPLICATES,
	    NULL);
}

static struct slice
upto_dot(struct slice *rest)
{
	const uint8_t *dot =
	    rest->n == 0 ? NULL : memchr(rest->p, '.', rest->n);
	size_t n = dot == NULL ? rest->n : (size_t)(dot - rest->p);
	struct slice part = {rest->p, n};

	n += dot != NULL;
	rest->p += n;
	rest->n -= n;
	return part;
}

static enum tam_err
read_header(struct slice json, enum cose_curve *curve)
{
	json_t *header = parse(json);
	const char *alg = json_string_value(json_object_get(header, "alg"));
	enum tam_err err = TAM_ALG_NOT_ALLOWED;

	if (header == NULL || json_object_get(header, "crit") != NULL)
		err = TAM_ATTEST_SYNTAX;
	else if (alg != NULL && strcmp(alg, "ES256") == 0)
		*curve = COSE_P256, err = TAM_OK;
	else if (alg != NULL && strcmp(alg, "EdDSA") == 0)
		*curve = COSE_ED25519, err = TAM_OK;
	json_decref(header);
	return err;
}

enum tam_err
jwt_decode(struct slice token, struct arena *arena, struct jwt *out)
{
	struct slice rest = token, header = upto_dot(&rest);
	struct slice payload = upto_dot(&rest);
	enum tam_err err;

	*out = (struct jwt){.signed_text = {token.p, header.n + 1 + payload.n}};
	if (header.n == 0 || !base64_decode(arena, header, &header))
		return TAM_ATTEST_SYNTAX;
	err = read_header(header, &out->curve);
	if (err != TAM_OK)
		return err;
	if (payload.n == 0 || out->signed_text.n >= token.n ||
	    !base64_decode(arena, payload, &out->payload) ||
	    !base64_decode(arena, rest, &out->signature))
		return TAM_ATTEST_SYNTAX;
	return TAM_OK;
}

struct slice
jwt_peek_nonce(struct slice token, struct arena *arena)
{
	struct slice nonce = {0}, bytes;
	struct jwt jwt;
	json_t *payload, *value;

	if (jwt_decode(token, arena, &jwt) != TAM_OK)
		return nonce;
	payload = parse(jwt.payload);
	value = json_object_get(payload, "eat_nonce");
	if (json_is_array(value))
		value = json_array_get(value, 0);
	if (json_is_string(value) &&
	    base64_decode(arena, slice_str(json_string_value(value)), &bytes))
		nonce = bytes;
	json_decref(payload);
	return nonce;
}

static void
add_base64url(struct buf *out, struct slice bytes)
{
	struct arena *arena = arena_new_in(NULL);
	char *text = base64_dup(arena, bytes);

	for (char *p = text; *p != '\0' && *p != '='; p++)
		buf_add_byte(out,
		    (uint8_t)(*p == '+' ? '-'
		            : *p == '/' ? '_'
		                        : *p));
	arena_free(arena);
}

void
jwt_sign(struct cose_crypto *crypto, struct cose_signer *signer,
    struct slice payload, struct buf *out)
{
	bool p256 = cose_signer_key(signer)->curve == COSE_P256;
	uint8_t signature[COSE_SIGNATURE_SIZE];
	struct slice text;
	size_t begin = out->n;

	add_base64url(out,
	    p256 ? SLICE_LIT("{\"alg\":\"ES256\",\"typ\":\"JWT\"}")
	         : SLICE_LIT("{\"alg\":\"EdDSA\",\"typ\":\"JWT\"}"));
	buf_add_byte(out, '.');
	add_base64url(out, payload);
	text = (struct slice){out->p + begin, out->n - begin};
	cose_sign_parts(crypto, signer, &text, 1, signature);
	buf_add_byte(out, '.');
	add_base64url(out, SLICE_OF(signature));
}

/* --- JWK (RFC 7517, RFC 8037) --------------------------------------------------- */

static bool
coordinate(const json_t *jwk, const char *name, struct arena *arena,
    uint8_t out[32])
{
	struct slice bytes;

	if (!base64_decode(arena,
	        slice_str(json_string_value(json_object_get(jwk, name))),
	        &bytes) ||
	    bytes.n != 32)
		return false;
	memcpy(out, bytes.p, 32);
	return true;
}

enum tam_err
jwk_decode(struct slice json, struct arena *arena, struct cose_key *out)
{
	json_t *jwk = parse(json);
	const char *crv = json_string_value(json_object_get(jwk, "crv"));
	uint8_t xy[64];
	enum tam_err err = TAM_BAD_KEY;

	if (crv != NULL && strcmp(crv, "P-256") == 0) {
		if (coordinate(jwk, "x", arena, xy) &&
		    coordinate(jwk, "y", arena, xy + 32))
			err = cose_key_p256(out, xy);
	} else if (crv != NULL && strcmp(crv, "Ed25519") == 0) {
		if (coordinate(jwk, "x", arena, xy))
			err = cose_key_ed25519(out, xy);
	}
	json_decref(jwk);
	return err;
}
