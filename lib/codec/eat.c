#include "config.h"

#include "lib/codec/eat.h"

#include "lib/base/text.h"
#include "lib/codec/cbor_in.h"
#include "lib/codec/cbor_out.h"
#include "lib/codec/eat_labels.h"
#include "lib/codec/jwt.h"
#include "lib/codec/suit.h"

/*
 * EAT claims in CBOR, RFC 9711, as far as TEEP uses them.  A claim we do not
 * know is passed over; one we know must have its type.
 */

enum {
	CWT_TAG = 61,
	CLAIMS_MAX = 64,
	CNF_COSE_KEY = 1,
	CNF_KID = 3,
	CNF_CKT = 5,
	SUIT_REFERENCE_DIGEST = 0,
	SUIT_REFERENCE_URI = 1,
	CCA_TAG = 399, /* a collection of two tokens */
	CCA_REALM = 44241
};

/* --- claims ------------------------------------------------------------------ */

/* RFC 9711, 4.3.1: never a float. */
static int64_t
read_time(struct cbor_in *in)
{
	return (int64_t)cbor_in_uint(in, INT64_MAX / 2);
}

static void
add_nonce(struct cbor_in *in, struct eat_claims *c)
{
	struct slice nonce = cbor_in_bytes(in, EAT_NONCE_MIN, EAT_NONCE_MAX);

	if (c->n_nonces == EAT_NONCES_MAX)
		cbor_in_fail(in, TAM_TOO_LARGE);
	else
		c->nonces[c->n_nonces++] = nonce;
}

static void
read_nonces(struct cbor_in *in, struct eat_claims *c)
{
	size_t n;

	if (cbor_in_peek(in) != CBOR_ARRAY) {
		add_nonce(in, c);
		return;
	}
	n = cbor_in_array(in, EAT_NONCES_MAX);
	for (size_t i = 0; i < n && in->err == TAM_OK; i++)
		add_nonce(in, c);
}

static void
confirm_by_thumbprint(struct cbor_in *in, struct eat_claims *c)
{
	struct slice kid = cbor_in_bytes(in, 0, COSE_KID_MAX);

	if (kid.n != COSE_THUMBPRINT_SIZE || c->cnf_whole)
		return; /* a name of the Verifier's own: confirms nothing */
	memcpy(c->cnf_thumbprint, kid.p, kid.n);
	c->has_cnf = true;
}

static void
confirm_by_key(struct cbor_in *in, struct arena *arena, struct eat_claims *c)
{
	if (cose_key_decode(cbor_in_item(in), arena, &c->cnf_key) != TAM_OK)
		return;
	memcpy(c->cnf_thumbprint, c->cnf_key.thumbprint,
	    sizeof(c->cnf_thumbprint));
	c->has_cnf = c->cnf_whole = true;
}

static void
read_cnf(struct cbor_in *in, struct arena *arena, struct eat_claims *c)
{
	size_t n = cbor_in_map(in, 8);

	for (size_t i = 0; i < n && in->err == TAM_OK; i++) {
		int64_t member = cbor_in_int(in);

		if (member == CNF_COSE_KEY)
			confirm_by_key(in, arena, c);
		else if (member == CNF_KID || member == CNF_CKT)
			confirm_by_thumbprint(in, c);
		else
			cbor_in_skip(in);
	}
}

/* IEEE: 3 bytes; random: 16; or a private enterprise number. */
static void
read_oemid(struct cbor_in *in, struct eat_claims *c)
{
	if (cbor_in_peek(in) == CBOR_UINT)
		c->oemid = cbor_in_item(in);
	else
		c->oemid = cbor_in_bytes(in, 3, 16);
}

/* [ version, ? scheme ] */
static struct slice
read_version(struct cbor_in *in)
{
	size_t n = cbor_in_array(in, 2);
	struct slice version = cbor_in_text(in, 0, 128);

	if (n == 0)
		cbor_in_fail(in, TAM_MISSING_FIELD);
	if (text_fault(version, TEXT_LINE) != NULL)
		cbor_in_fail(in, TAM_OUT_OF_RANGE);
	if (n == 2)
		cbor_in_skip(in);
	return version;
}

/* E14: the array of the RFC, or the map of the draft's example. */
static void
read_reference(struct cbor_in *in, struct eat_manifest *m)
{
	size_t n;

	if (cbor_in_peek(in) == CBOR_ARRAY) {
		cbor_in_array_of(in, 2);
		m->uri = cbor_in_text(in, 0, 1024);
		m->digest = suit_digest_claim(in);
		return;
	}
	n = cbor_in_map(in, 4);
	for (size_t i = 0; i < n && in->err == TAM_OK; i++) {
		uint64_t label = cbor_in_uint(in, UINT32_MAX);

		if (label == SUIT_REFERENCE_URI)
			m->uri = cbor_in_text(in, 0, 1024);
		else if (label == SUIT_REFERENCE_DIGEST)
			m->digest = suit_digest_claim(in);
		else
			cbor_in_skip(in);
	}
}

/* [ content-format, body ]: a body that is no SUIT_Reference is somebody
 * else's manifest, and none of ours. */
static void
read_manifest(struct cbor_in *in, struct arena *arena, struct eat_claims *c)
{
	struct eat_manifest m = {0};
	struct cbor_in inner;
	struct slice body;

	cbor_in_array_of(in, 2);
	(void)cbor_in_uint(in, UINT16_MAX);
	if (cbor_in_peek(in) == CBOR_BYTES) {
		body = cbor_in_bytes(in, 0, 4096);
		cbor_in_open(&inner, body, arena, CBOR_ANY);
		read_reference(&inner, &m);
		if (cbor_in_finish(&inner) != TAM_OK)
			return;
	} else {
		read_reference(in, &m);
	}
	if (c->n_manifests < EAT_MANIFESTS_MAX && m.digest.n > 0)
		c->manifests[c->n_manifests++] = m;
}

static void
read_manifests(struct cbor_in *in, struct arena *arena, struct eat_claims *c)
{
	size_t n = cbor_in_array(in, EAT_MANIFESTS_MAX);

	c->has_manifests = true;
	for (size_t i = 0; i < n && in->err == TAM_OK; i++)
		read_manifest(in, arena, c);
}

static void
read_hardware(struct cbor_in *in, int64_t label, struct eat_claims *c)
{
	switch (label) {
	case EAT_UEID:
		c->ueid = cbor_in_bytes(in, 7, 33);
		break;
	case EAT_OEMID:
		read_oemid(in, c);
		break;
	case EAT_HWMODEL:
		c->hwmodel = cbor_in_bytes(in, 1, 32);
		break;
	case EAT_HWVERSION:
		c->hwversion = read_version(in);
		break;
	case EAT_OEMBOOT:
		c->has_oemboot = true;
		c->oemboot = cbor_in_bool(in);
		break;
	case EAT_DBGSTAT:
		c->has_dbgstat = true;
		c->dbgstat = cbor_in_uint(in, 4);
		break;
	default:
		cbor_in_skip(in);
	}
}

/* A profile is a URI or an OID. */
static struct slice
read_profile(struct cbor_in *in)
{
	if (cbor_in_peek(in) == CBOR_BYTES)
		return cbor_in_bytes(in, 1, 128);
	return cbor_in_text(in, 1, 256);
}

static void
read_claim(struct cbor_in *in, int64_t label, struct arena *arena,
    struct eat_claims *c)
{
	switch (label) {
	case EAT_ISS:
		c->issuer = cbor_in_text(in, 0, 256);
		break;
	case EAT_EXP:
		c->has_exp = true;
		c->exp = read_time(in);
		break;
	case EAT_NBF:
		c->has_nbf = true;
		c->nbf = read_time(in);
		break;
	case EAT_IAT:
		c->has_iat = true;
		c->iat = read_time(in);
		break;
	case EAT_CNF:
		read_cnf(in, arena, c);
		break;
	case EAT_NONCE:
		read_nonces(in, c);
		break;
	case EAT_PROFILE:
		c->profile = read_profile(in);
		break;
	case EAT_SWNAME:
		c->swname = cbor_in_text(in, 0, 256);
		break;
	case EAT_SWVERSION:
		c->swversion = read_version(in);
		break;
	case EAT_MANIFESTS:
	case EAT_MEASUREMENTS: /* E14: the draft's example says 273 */
		if (label == EAT_MEASUREMENTS && c->has_manifests)
			cbor_in_skip(in);
		else
			read_manifests(in, arena, c);
		break;
	default:
		read_hardware(in, label, c);
	}
}

static const char *
claim_name(int64_t label)
{
	static const struct {
		int64_t label;
		const char *name;
	} names[] = {{EAT_ISS, "iss"}, {EAT_EXP, "exp"}, {EAT_NBF, "nbf"},
	    {EAT_IAT, "iat"}, {EAT_CNF, "cnf"}, {EAT_NONCE, "eat_nonce"},
	    {EAT_UEID, "ueid"}, {EAT_OEMID, "oemid"}, {EAT_HWMODEL, "hwmodel"},
	    {EAT_HWVERSION, "hwversion"}, {EAT_OEMBOOT, "oemboot"},
	    {EAT_DBGSTAT, "dbgstat"}, {EAT_PROFILE, "eat_profile"},
	    {EAT_SWNAME, "swname"}, {EAT_SWVERSION, "swversion"},
	    {EAT_MANIFESTS, "manifests"}, {EAT_MEASUREMENTS, "measurements"}};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (names[i].label == label)
			return names[i].name;
	}
	return "a claim of another name";
}

void
eat_read_claims(struct cbor_in *in, struct arena *arena, struct eat_claims *c)
{
	size_t n = cbor_in_map(in, CLAIMS_MAX);

	for (size_t i = 0; i < n && in->err == TAM_OK; i++) {
		int64_t label;

		if (!cbor_in_label(in, &label))
			continue;
		read_claim(in, label, arena, c);
		if (in->err != TAM_OK && c->fault == NULL)
			c->fault = claim_name(label);
	}
}

enum tam_err
eat_claims_decode(struct slice bytes, struct arena *arena,
    struct eat_claims *out)
{
	struct cbor_in in;

	cbor_in_open(&in, bytes, arena, CBOR_ANY);
	eat_read_claims(&in, arena, out);
	return cbor_in_finish(&in) == TAM_OK ? TAM_OK : TAM_ATTEST_SYNTAX;
}

/* --- writing ------------------------------------------------------------------- */

static void
write_manifests(const struct eat_claims *c, struct buf *out)
{
	cbor_out_uint(out, EAT_MANIFESTS);
	cbor_out_array(out, c->n_manifests);
	for (size_t i = 0; i < c->n_manifests; i++) {
		uint8_t room[1200];
		struct buf body = {.p = room,
		    .room = sizeof(room),
		    .max = sizeof(room)};

		cbor_out_array(&body, 2);
		cbor_out_text(&body, c->manifests[i].uri);
		suit_digest_encode(c->manifests[i].digest, &body);
		cbor_out_array(out, 2);
		cbor_out_uint(out, EAT_SUIT_REFERENCE_FORMAT);
		cbor_out_bytes(out, buf_slice(&body));
	}
}

static void
write_cnf(const struct eat_claims *c, struct buf *out)
{
	cbor_out_uint(out, EAT_CNF);
	cbor_out_map(out, 1);
	if (c->cnf_whole) {
		cbor_out_uint(out, CNF_COSE_KEY);
		cose_key_encode(&c->cnf_key, out);
	} else {
		cbor_out_uint(out, CNF_KID);
		cbor_out_bytes(out, SLICE_OF(c->cnf_thumbprint));
	}
}

static void
write_bytes(struct buf *out, uint64_t label, struct slice s)
{
	if (s.n == 0)
		return;
	cbor_out_uint(out, label);
	cbor_out_bytes(out, s);
}

static void
write_time(struct buf *out, uint64_t label, bool has, int64_t t)
{
	if (!has)
		return;
	cbor_out_uint(out, label);
	cbor_out_uint(out, (uint64_t)t);
}

void
eat_claims_encode(const struct eat_claims *c, struct buf *out)
{
	cbor_out_map(out,
	    (size_t)(c->issuer.n > 0) + c->has_exp + c->has_nbf + c->has_iat +
	        c->has_cnf + (c->n_nonces > 0) + (c->ueid.n > 0) +
	        (c->oemid.n > 0) + (c->hwmodel.n > 0) + (c->hwversion.n > 0) +
	        c->has_oemboot + c->has_dbgstat + (c->profile.n > 0) +
	        c->has_manifests);
	if (c->issuer.n > 0) {
		cbor_out_uint(out, EAT_ISS);
		cbor_out_text(out, c->issuer);
	}
	write_time(out, EAT_EXP, c->has_exp, c->exp);
	write_time(out, EAT_NBF, c->has_nbf, c->nbf);
	write_time(out, EAT_IAT, c->has_iat, c->iat);
	if (c->has_cnf)
		write_cnf(c, out);
	if (c->n_nonces > 0)
		write_bytes(out, EAT_NONCE, c->nonces[0]);
	write_bytes(out, EAT_UEID, c->ueid);
	write_bytes(out, EAT_OEMID, c->oemid);
	write_bytes(out, EAT_HWMODEL, c->hwmodel);
	if (c->hwversion.n > 0) {
		cbor_out_uint(out, EAT_HWVERSION);
		cbor_out_array(out, 1);
		cbor_out_text(out, c->hwversion);
	}
	if (c->has_oemboot) {
		cbor_out_uint(out, EAT_OEMBOOT);
		cbor_out_bool(out, c->oemboot);
	}
	if (c->has_dbgstat) {
		cbor_out_uint(out, EAT_DBGSTAT);
		cbor_out_uint(out, c->dbgstat);
	}
	if (c->profile.n > 0) {
		cbor_out_uint(out, EAT_PROFILE);
		cbor_out_text(out, c->profile);
	}
	if (c->has_manifests)
		write_manifests(c, out);
}

/* --- tokens ---------------------------------------------------------------------- */

/* E20: 61(18(...)), 18(...) or neither. */
static struct slice
without_cwt_tag(struct slice token)
{
	if (token.n > 2 && token.p[0] == 0xd8 && token.p[1] == CWT_TAG)
		return (struct slice){token.p + 2, token.n - 2};
	return token;
}

static enum tam_err
open_cwt(struct slice token, struct arena *arena, struct eat_token *out)
{
	enum tam_err err =
	    cose_decode(without_cwt_tag(token), arena, &out->cose);

	if (err == TAM_ALG_NOT_ALLOWED || err == TAM_CRITICAL_HEADER)
		return err;
	if (err != TAM_OK || out->cose.detached || out->cose.multi)
		return TAM_ATTEST_SYNTAX;
	return out->kind == EAT_EAR_CWT
	    ? ear_decode_cbor(out->cose.payload, arena, &out->claims)
	    : eat_claims_decode(out->cose.payload, arena, &out->claims);
}

static enum tam_err
open_jwt(struct slice token, struct arena *arena, struct eat_token *out)
{
	struct jwt jwt;
	enum tam_err err = jwt_decode(token, arena, &jwt);

	if (err != TAM_OK)
		return err;
	out->signed_text = jwt.signed_text;
	out->signature = jwt.signature;
	out->jwt_curve = jwt.curve;
	return ear_decode_json(jwt.payload, arena, &out->claims);
}

enum tam_err
eat_open(struct slice token, enum eat_kind kind, struct arena *arena,
    struct eat_token *out)
{
	*out = (struct eat_token){.kind = kind};
	if (token.n > EAT_TOKEN_MAX)
		return TAM_TOO_LARGE;
	switch (kind) {
	case EAT_RESULT:
	case EAT_EAR_CWT:
		return open_cwt(token, arena, out);
	case EAT_EAR_JWT:
		return open_jwt(token, arena, out);
	case EAT_EVIDENCE:
	default:
		return TAM_ATTEST_SYNTAX;
	}
}

static enum tam_err
verify_with(struct cose_crypto *crypto, const struct eat_token *t,
    const struct cose_key *key)
{
	if (t->kind != EAT_EAR_JWT)
		return cose_verify(crypto, &t->cose, 0, key, slice_none());
	if (t->jwt_curve != key->curve)
		return TAM_KEY_MISMATCH;
	return cose_verify_parts(crypto, key, &t->signed_text, 1, t->signature);
}

enum tam_err
eat_verify(struct cose_crypto *crypto, const struct eat_token *t,
    const struct cose_key *keys, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (verify_with(crypto, t, &keys[i]) == TAM_OK)
			return TAM_OK;
	}
	return TAM_ATTEST_UNTRUSTED;
}

/* --- looking for a nonce ------------------------------------------------------------ */

static struct slice
peek_claims(struct slice claims, struct arena *arena)
{
	struct slice nonce = {0};
	struct cbor_in in;
	size_t n;

	cbor_in_open(&in, claims, arena, CBOR_ANY);
	n = cbor_in_map(&in, CLAIMS_MAX);
	for (size_t i = 0; i < n && in.err == TAM_OK; i++) {
		if (cbor_in_peek(&in) == CBOR_UINT &&
		    cbor_in_uint(&in, UINT64_MAX) == EAT_NONCE) {
			if (cbor_in_peek(&in) == CBOR_BYTES)
				nonce = cbor_in_bytes(&in, 0, EAT_NONCE_MAX);
			break;
		}
		if (cbor_in_peek(&in) == CBOR_TEXT ||
		    cbor_in_peek(&in) == CBOR_NEGATIVE)
			cbor_in_skip(&in);
		cbor_in_skip(&in);
	}
	return in.err == TAM_OK ? nonce : slice_none();
}

static struct slice
peek_cose(struct slice token, struct arena *arena)
{
	struct cose_message m;

	if (cose_decode(without_cwt_tag(token), arena, &m) != TAM_OK ||
	    m.detached)
		return slice_none();
	return peek_claims(m.payload, arena);
}

/* Arm CCA: the challenge is in the realm's token. */
static struct slice
peek_collection(struct slice collection, struct arena *arena)
{
	struct cbor_in in;
	size_t n;

	cbor_in_open(&in, collection, arena, CBOR_ANY);
	if (in.err != TAM_OK || !cbor_in_accept_tag(&in, CCA_TAG))
		return slice_none();
	n = cbor_in_map(&in, 8);
	for (size_t i = 0; i < n && in.err == TAM_OK; i++) {
		uint64_t label = cbor_in_uint(&in, UINT64_MAX);

		if (label == CCA_REALM)
			return peek_cose(cbor_in_bytes(&in, 1, EAT_TOKEN_MAX),
			    arena);
		cbor_in_skip(&in);
	}
	return slice_none();
}

struct slice
eat_peek_nonce(struct slice payload, struct arena *arena)
{
	struct slice nonce;

	if (payload.n == 0 || payload.n > EAT_TOKEN_MAX)
		return slice_none();
	if (payload.p[0] == 'e') /* base64url of '{': a JWT */
		return jwt_peek_nonce(payload, arena);
	nonce = peek_cose(payload, arena);
	return nonce.n > 0 ? nonce : peek_collection(payload, arena);
}
