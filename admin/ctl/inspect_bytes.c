#include "config.h"

#include <stdlib.h>

#include "admin/ctl/inspect.h"
#include "lib/base/clock.h"
#include "lib/base/hex.h"
#include "lib/base/mem.h"
#include "lib/codec/cbor_diag.h"
#include "lib/codec/cose_encrypt.h"

/*
 * What a file is, told from its bytes; each sort has its function, which adds
 * what it found to x->out and returns the verdict.  One looks into another: a
 * TEEP message carries results, reports and envelopes.
 */

enum {
	DEPTH_MAX = 6,
	TAG_MAC0_BYTE = 0xd1,
	TAG_MAC0 = 17,
	ARRAY_LENGTH_1 = 0x98, /* the length in a byte behind it */
	ARRAY_INDEFINITE = 0x9f,
	TAG_SIGN1_BYTE = 0xd2,
	TAG_LONG = 0xd8,
	TAG_CWT = 61,
	KEY_AUTHENTICATION = 2,
	KEY_MANIFEST = 3,
	KEY_REPORT_REFERENCE = 99,
	KEY_SUBMODS = 266,
	ANY_AGE_S = INT32_MAX
};

static enum tam_err inspect_inner(struct inspect *, struct slice, int depth);

/* --- telling things apart -------------------------------------------------------- */

static bool
is_tag(struct slice s, unsigned tag)
{
	return s.n > 2 && s.p[0] == TAG_LONG && s.p[1] == tag;
}

static unsigned
major(struct slice s)
{
	return s.n == 0 ? CBOR_END : s.p[0] >> 5;
}

static bool
map_has(struct inspect *x, struct slice map, int64_t key)
{
	struct cbor_in in;
	size_t n;
	bool found = false;

	cbor_in_open(&in, map, x->arena, CBOR_ANY);
	n = cbor_in_map(&in, SIZE_MAX / 4);
	for (size_t i = 0; i < n && in.err == TAM_OK; i++) {
		enum cbor_major type = cbor_in_peek(&in);

		if (type == CBOR_UINT || type == CBOR_NEGATIVE)
			found |= cbor_in_int(&in) == key;
		else
			cbor_in_skip(&in);
		cbor_in_skip(&in);
	}
	return found;
}

/* An array that begins with a number is a TEEP message; COSE begins with a
 * byte string.  Told from the first bytes: what follows may be cut, or have a
 * key twice, and is a TEEP message all the same, though a bad one. */
static bool
is_teep(struct slice s)
{
	size_t head = 1;

	if (major(s) != CBOR_ARRAY)
		return false;
	if (s.p[0] >= ARRAY_LENGTH_1 && s.p[0] < ARRAY_INDEFINITE)
		head += (size_t)1 << (s.p[0] - ARRAY_LENGTH_1);
	return s.n > head && s.p[head] >> 5 == CBOR_UINT;
}

static bool
is_cose(struct inspect *x, struct slice s)
{
	struct cbor_in in;

	if (s.n > 0 && s.p[0] == TAG_SIGN1_BYTE)
		return true;
	if (is_tag(s, COSE_TAG_SIGN))
		return true;
	if (major(s) != CBOR_ARRAY)
		return false;
	cbor_in_open(&in, s, x->arena, CBOR_ANY);
	return cbor_in_array(&in, 8) == 4 && cbor_in_peek(&in) == CBOR_BYTES;
}

static bool
is_envelope(struct inspect *x, struct slice s)
{
	return is_tag(s, SUIT_TAG) ||
	    (major(s) == CBOR_MAP && map_has(x, s, KEY_AUTHENTICATION) &&
	        map_has(x, s, KEY_MANIFEST) &&
	        !map_has(x, s, KEY_REPORT_REFERENCE) && !map_has(x, s, 1));
}

void
inspect_set(struct inspect *x, const char *name, json_t *value)
{
	(void)json_object_set_new(x->out, name, value);
}

static size_t
verifying_keys(const struct inspect *x, struct cose_key *out)
{
	size_t n = 0;

	for (size_t i = 0; i < x->n_keys; i++) {
		if (x->keys[i].verifies)
			out[n++] = x->keys[i].key;
	}
	return n;
}

static size_t
agreeing_keys(const struct inspect *x, struct ecdh_private *out)
{
	size_t n = 0;

	for (size_t i = 0; i < x->n_keys; i++) {
		if (x->keys[i].agrees)
			out[n++] = x->keys[i].agree;
	}
	return n;
}

/* What a signature around it, or --unsigned, allows to believe. */
static enum tam_err
unless_authentic(const struct inspect *x)
{
	return x->authentic || x->unsigned_ok ? TAM_OK : TAM_BAD_SIGNATURE;
}

/* --- SUIT ------------------------------------------------------------------------- */

/* The elements beside the manifest: those severed from it, by name, and those
 * that no draft we know has, by label.  A signature covers neither. */
static void
show_elements(struct inspect *x, const struct suit_envelope *e)
{
	json_t *severed = json_array(), *unknown = json_array();

	for (int s = 0; s < SUIT_SECTIONS; s++) {
		if (e->severed[s].n > 0)
			(void)json_array_append_new(severed,
			    json_string(inspect_section_name(s)));
	}
	for (size_t i = 0; i < e->n_unknown; i++)
		(void)json_array_append_new(unknown,
		    json_integer(e->unknown[i]));
	inspect_set(x, "severed-elements", severed);
	inspect_set(x, "unknown-elements", unknown);
}

static enum tam_err
inspect_envelope(struct inspect *x, struct slice bytes)
{
	struct suit_envelope *e = arena_new(x->arena, struct suit_envelope);
	struct suit_manifest *m = arena_new(x->arena, struct suit_manifest);
	struct suit_info *info = arena_new(x->arena, struct suit_info);
	struct cose_key keys[INSPECT_KEYS_MAX];
	size_t n = verifying_keys(x, keys), which;
	const char *why = NULL;
	enum tam_err err = suit_envelope_read(bytes, x->arena, e), told;

	inspect_set(x, "kind", json_string("suit-envelope"));
	if (err != TAM_OK)
		return err;
	told = suit_manifest_decode(e, x->arena, m);
	show_elements(x, e);
	if (told == TAM_OK)
		inspect_set(x, "manifest", inspect_manifest(x, e, m));
	err = suit_verify(x->crypto, e, x->arena, keys, n, &which);
	inspect_set(x, "signatures", json_integer((json_int_t)e->n_blocks));
	inspect_set(x, "signature-holds", json_boolean(err == TAM_OK));
	if (err == TAM_OK)
		err = told;
	if (err == TAM_OK && x->upload_checks)
		err = suit_check(x->crypto, bytes, x->arena, keys, n, info,
		    &which, &why);
	if (why != NULL)
		inspect_set(x, "upload-check", json_string(why));
	return err;
}

static enum tam_err
inspect_suit_report(struct inspect *x, struct slice bytes)
{
	struct ecdh_private keys[INSPECT_KEYS_MAX];
	struct suit_opening opening = {keys, agreeing_keys(x, keys), NULL};
	struct suit_report r;
	enum tam_err err = suit_report_open(bytes, &opening, x->arena, &r);

	inspect_set(x, "kind", json_string("suit-report"));
	if (err != TAM_OK)
		return err;
	inspect_set(x, "report", inspect_report(x, &r));
	if (x->token.n > 0 && !slice_eq(r.nonce, x->token))
		return TAM_REPORT_NONCE;
	return TAM_OK;
}

/* --- attestation -------------------------------------------------------------------- */

static enum tam_err
judge(struct inspect *x, const struct eat_claims *c, struct slice token)
{
	bool asked = x->nonce.n > 0 || token.n > 0;

	return eat_judge(c,
	    &(struct eat_expect){.teep_profile = x->profile,
	        .presenter = x->signer == NULL ? NULL : x->signer->thumbprint,
	        .n_nonces = 2,
	        .nonces = {x->nonce, token},
	        .max_age_s = asked ? 0 : ANY_AGE_S,
	        .now_s = x->now_s,
	        .worst = EAR_AFFIRMING,
	        .unbound_ear = x->signer == NULL});
}

static void
show_fault(struct inspect *x, enum tam_err err, const struct eat_claims *c)
{
	if (err == TAM_ATTEST_SYNTAX && c->fault != NULL)
		inspect_set(x, "claim", json_string(c->fault));
}

static enum tam_err
inspect_token(struct inspect *x, struct slice bytes, enum eat_kind kind,
    struct slice teep_token)
{
	struct eat_token *t = arena_new(x->arena, struct eat_token);
	struct cose_key keys[INSPECT_KEYS_MAX];
	size_t n = verifying_keys(x, keys);
	enum tam_err err = eat_open(bytes, kind, x->arena, t), held;

	show_fault(x, err, &t->claims);
	if (err != TAM_OK)
		return err;
	inspect_set(x, "claims", inspect_claims(x, &t->claims));
	held = eat_verify(x->crypto, t, keys, n);
	inspect_set(x, "result-signature-holds", json_boolean(held == TAM_OK));
	return held == TAM_OK ? judge(x, &t->claims, teep_token) : held;
}

/* Bare claims: nobody vouches for them. */
static enum tam_err
inspect_claims_set(struct inspect *x, struct slice bytes, bool json)
{
	struct eat_claims *c = arena_new(x->arena, struct eat_claims);
	bool ear = json || map_has(x, bytes, 1004) ||
	    (map_has(x, bytes, KEY_SUBMODS) && !map_has(x, bytes, 256));
	enum tam_err err = json ? ear_decode_json(bytes, x->arena, c)
	    : ear               ? ear_decode_cbor(bytes, x->arena, c)
	                        : eat_claims_decode(bytes, x->arena, c);

	inspect_set(x, "kind", json_string(ear ? "ear-claims" : "eat-claims"));
	show_fault(x, err, c);
	if (err != TAM_OK)
		return err;
	inspect_set(x, "claims", inspect_claims(x, c));
	err = unless_authentic(x);
	return err == TAM_OK ? judge(x, c, slice_none()) : err;
}

static enum tam_err
decrypt(struct inspect *x, struct slice bytes, enum cose_use use,
    struct slice *plain)
{
	struct cose_encrypted *m = arena_new(x->arena, struct cose_encrypted);
	struct ecdh_private keys[INSPECT_KEYS_MAX];
	size_t n = agreeing_keys(x, keys);
	enum tam_err err = cose_encrypt_decode(bytes, x->arena, m);

	return err == TAM_OK
	    ? cose_decrypt(m, use, keys, n, x->detached, x->arena, plain)
	    : err;
}

static enum tam_err
inspect_payload(struct inspect *x, const struct teep_message *m)
{
	struct slice payload = m->payload;
	enum eat_kind kind = eat_kind_of(m->payload_format, x->profile);
	enum tam_err err = TAM_OK;

	if (cose_is_encrypted(payload)) {
		err = decrypt(x, payload, COSE_USE_EAT, &payload);
		inspect_set(x, "attestation-payload-decrypted",
		    json_boolean(err == TAM_OK));
	}
	if (err != TAM_OK)
		return err;
	if (kind == EAT_EVIDENCE) {
		inspect_set(x, "attestation-payload",
		    json_string("Evidence, for a Verifier"));
		return TAM_OK;
	}
	return inspect_token(x, payload, kind,
	    m->kind == TEEP_UPDATE ? slice_none() : m->token);
}

/* --- TEEP ------------------------------------------------------------------------------ */

static enum tam_err
check_reports(struct inspect *x, const struct teep_message *m)
{
	struct ecdh_private keys[INSPECT_KEYS_MAX];
	struct suit_opening opening = {keys, agreeing_keys(x, keys), NULL};
	json_t *list = json_array();
	enum tam_err err = TAM_OK;

	for (size_t i = 0; i < m->n_reports; i++) {
		struct suit_report r;

		if (suit_report_open(m->reports[i], &opening, x->arena, &r) !=
		    TAM_OK) {
			(void)json_array_append_new(list,
			    json_string("cannot be read"));
			continue;
		}
		(void)json_array_append_new(list, inspect_report(x, &r));
		if (m->token.n > 0 && !slice_eq(r.nonce, m->token))
			err = TAM_REPORT_NONCE;
	}
	inspect_set(x, "suit-reports", list);
	return err;
}

/* What an Update carries is shown; whether an Agent takes it is its own
 * question. */
static void
show_manifests(struct inspect *x, const struct teep_message *m)
{
	json_t *list = json_array(), *saved = x->out;

	for (size_t i = 0; i < m->n_manifests; i++) {
		enum tam_err err;

		x->out = json_object();
		err = inspect_envelope(x, m->manifests[i]);
		inspect_set(x, "verdict", json_string(tam_err_name(err)));
		(void)json_array_append_new(list, x->out);
	}
	x->out = saved;
	inspect_set(x, "manifests", list);
}

static enum tam_err
check_numbering(const struct inspect *x, const struct teep_message *m)
{
	return x->numbering_fixed && m->numbering != x->numbering
	    ? TAM_WRONG_TYPE
	    : TAM_OK;
}

static enum tam_err
inspect_message(struct inspect *x, struct slice payload)
{
	struct teep_message *m = arena_new(x->arena, struct teep_message);
	enum tam_err err = teep_decode(payload, x->arena, x->numbering, m);

	inspect_set(x, "kind", json_string("teep-message"));
	if (err != TAM_OK)
		return err;
	inspect_set(x, "message", inspect_teep(x, m));
	err = check_numbering(x, m);
	if (err == TAM_OK)
		err = unless_authentic(x);
	if (err == TAM_OK && x->token.n > 0 && !slice_eq(x->token, m->token))
		err = TAM_TOKEN_FOREIGN;
	if (err == TAM_OK && m->n_reports > 0)
		err = check_reports(x, m);
	/* A result in an Update is the Agent's, passed back: the TAM signed
	 * the message and is not who it speaks of. */
	if (m->kind == TEEP_UPDATE)
		x->signer = NULL;
	if (err == TAM_OK && teep_has(m, TEEP_OPT_PAYLOAD))
		err = inspect_payload(x, m);
	if (m->n_manifests > 0)
		show_manifests(x, m);
	return err;
}

/* --- COSE ------------------------------------------------------------------------------- */

static const char *
alg_name(int64_t alg)
{
	switch (alg) {
	case COSE_ALG_ES256:
		return "ES256";
	case COSE_ALG_ESP256:
		return "ESP256";
	case COSE_ALG_EDDSA:
		return "EdDSA";
	case COSE_ALG_ED25519:
		return "Ed25519";
	default:
		return "not allowed";
	}
}

/* Which key each signature holds under; one that does makes it authentic. */
static enum tam_err
check_signatures(struct inspect *x, struct cose_message *m)
{
	json_t *list = json_array();
	enum tam_err err = x->n_keys == 0 ? TAM_UNKNOWN_KEY : TAM_BAD_SIGNATURE;

	m->external_aad = x->external_aad;
	for (size_t i = 0; i < m->n; i++) {
		json_t *o = json_pack("{s:I,s:s,s:o}", "alg",
		    (json_int_t)m->signatures[i].alg, "name",
		    alg_name(m->signatures[i].alg), "kid",
		    inspect_hex(x, m->signatures[i].kid));

		for (size_t k = 0; k < x->n_keys; k++) {
			enum tam_err got;

			if (!x->keys[k].verifies)
				continue;
			got = cose_verify(x->crypto, m, i, &x->keys[k].key,
			    x->detached);
			if (got == TAM_ALG_NOT_ALLOWED && err != TAM_OK)
				err = got;
			if (got != TAM_OK)
				continue;
			err = TAM_OK;
			x->signer = &x->keys[k].key;
			(void)json_object_set_new(o, "holds-under",
			    json_string(x->keys[k].name));
		}
		(void)json_array_append_new(list, o);
	}
	x->authentic = err == TAM_OK;
	inspect_set(x, "signatures", list);
	return err;
}

static enum tam_err
inspect_cose(struct inspect *x, struct slice bytes, int depth)
{
	struct cose_message *m = arena_new(x->arena, struct cose_message);
	enum tam_err err = cose_decode(bytes, x->arena, m), held;

	inspect_set(x, "kind", json_string("cose"));
	if (err != TAM_OK)
		return err;
	inspect_set(x, "cose",
	    json_string(m->multi ? "COSE_Sign" : "COSE_Sign1"));
	if (!x->numbering_fixed && major(m->payload) == CBOR_MAP && !m->multi &&
	    !map_has(x, m->payload, KEY_REPORT_REFERENCE)) {
		bool ear = map_has(x, m->payload, KEY_SUBMODS) &&
		    !map_has(x, m->payload, 256);

		inspect_set(x, "kind", json_string("attestation-token"));
		return inspect_token(x, bytes, ear ? EAT_EAR_CWT : EAT_RESULT,
		    slice_none());
	}
	held = check_signatures(x, m);
	if (!m->detached && (x->numbering_fixed || is_teep(m->payload))) {
		err = inspect_message(x, m->payload);
		/* Who signed comes first in what went wrong. */
		return held != TAM_OK && err == TAM_BAD_SIGNATURE ? held : err;
	}
	if (held == TAM_OK && !m->detached &&
	    (major(m->payload) == CBOR_MAP || cose_is_encrypted(m->payload)))
		return inspect_inner(x, m->payload, depth + 1);
	return held;
}

static enum tam_err
inspect_encrypted(struct inspect *x, struct slice bytes, int depth)
{
	static const enum cose_use uses[] = {COSE_USE_EAT, COSE_USE_SUIT_REPORT,
	    COSE_USE_SUIT_PAYLOAD, COSE_USE_NONE};
	static const char *const names[] = {"EAT", "SUIT report",
	    "SUIT payload", "not told"};
	struct slice plain;
	enum tam_err err = TAM_CANNOT_DECRYPT;

	inspect_set(x, "kind", json_string("encrypted"));
	for (size_t i = 0; i < 4; i++) {
		err = decrypt(x, bytes, uses[i], &plain);
		if (err == TAM_CANNOT_DECRYPT)
			continue;
		if (err != TAM_OK)
			return err;
		inspect_set(x, "use", json_string(names[i]));
		if (uses[i] == COSE_USE_SUIT_REPORT)
			return inspect_suit_report(x, bytes);
		inspect_set(x, "plaintext", inspect_hex(x, plain));
		return uses[i] == COSE_USE_EAT
		    ? inspect_inner(x, plain, depth + 1)
		    : TAM_OK;
	}
	return err;
}

static struct slice
mac_payload(struct inspect *x, struct slice bytes)
{
	struct cbor_in in;

	cbor_in_open(&in, bytes, x->arena, CBOR_ANY);
	(void)cbor_in_accept_tag(&in, TAG_MAC0);
	cbor_in_array_of(&in, 4);
	cbor_in_skip(&in);
	cbor_in_skip(&in);
	return cbor_in_bytes(&in, 0, INSPECT_FILE_MAX);
}

/* A report may bear a MAC, which its readers cannot check.  Nothing else may: a
 * MAC shows nobody who made it. */
static enum tam_err
inspect_mac(struct inspect *x, struct slice bytes)
{
	struct slice payload = mac_payload(x, bytes);

	if (major(payload) == CBOR_MAP &&
	    map_has(x, payload, KEY_REPORT_REFERENCE))
		return inspect_suit_report(x, bytes);
	inspect_set(x, "kind", json_string("cose"));
	inspect_set(x, "cose", json_string("COSE_Mac0"));
	return TAM_BAD_COSE;
}

/* --- anything -------------------------------------------------------------------------------- */

static enum tam_err
inspect_inner(struct inspect *x, struct slice s, int depth)
{
	if (depth > DEPTH_MAX)
		return TAM_TOO_DEEP;
	if (is_tag(s, TAG_CWT) || is_cose(x, s))
		return inspect_cose(x,
		    is_tag(s, TAG_CWT) ? (struct slice){s.p + 2, s.n - 2} : s,
		    depth);
	if (cose_is_encrypted(s))
		return inspect_encrypted(x, s, depth);
	if (is_envelope(x, s))
		return inspect_envelope(x, s);
	if (s.n > 0 && s.p[0] == TAG_MAC0_BYTE)
		return inspect_mac(x, s);
	if (major(s) == CBOR_MAP && map_has(x, s, KEY_REPORT_REFERENCE))
		return inspect_suit_report(x, s);
	if (is_teep(s))
		return inspect_message(x, s);
	if (major(s) == CBOR_MAP)
		return inspect_claims_set(x, s, false);
	return TAM_BAD_FILE;
}

static struct slice
trimmed(struct slice s)
{
	while (s.n > 0 && s.p[s.n - 1] <= ' ')
		s.n--;
	return s;
}

enum tam_err
inspect_bytes(struct inspect *x, struct slice s)
{
	bool plain, sorted;
	enum tam_err err;

	if (s.n > 2 && memcmp(s.p, "eyJ", 3) == 0) {
		inspect_set(x, "kind", json_string("attestation-token"));
		return inspect_token(x, trimmed(s), EAT_EAR_JWT, slice_none());
	}
	if (s.n > 0 && s.p[0] == '{' && s.p[trimmed(s).n - 1] == '}')
		return inspect_claims_set(x, s, true);
	err = cbor_in_prove(s, &plain, &sorted);
	if (err != TAM_OK) {
		inspect_set(x, "kind", json_string("not CBOR"));
		return err;
	}
	return inspect_inner(x, s, 0);
}
