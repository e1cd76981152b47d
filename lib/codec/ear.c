#include "config.h"

#include <jansson.h>

#include "lib/base/hex.h"
#include "lib/base/text.h"
#include "lib/codec/eat_labels.h"

/*
 * EAT Attestation Results, draft-ietf-rats-ear: the claims as CBOR and as
 * JSON, under the draft's names and under those of the Verifiers deployed.
 * One token may judge several submodules; what counts is the worst.
 */

enum {
	CLAIMS_MAX = 64,
	VECTOR_MAX = 8
};

static const char *const known_profiles[] = {
    "tag:ietf.org,2026:rats/ear#03",
    "tag:ietf.org,2025-07:ear",
    "tag:github.com,2023:veraison/ear",
    "tag:github.com,2024:confidential-containers/Trustee",
};

const char *
ear_profile(size_t i)
{
	return i < sizeof(known_profiles) / sizeof(known_profiles[0])
	    ? known_profiles[i]
	    : NULL;
}

bool
ear_profile_known(struct slice profile)
{
	for (size_t i = 0; ear_profile(i) != NULL; i++) {
		if (slice_is(profile, ear_profile(i)))
			return true;
	}
	return false;
}

/* --- tiers ------------------------------------------------------------------- */

/* AR4SI, 2.3: the tier of one trustworthiness claim. */
static enum ear_tier
tier_of(int64_t claim)
{
	if (claim >= -1 && claim <= 1)
		return EAR_NONE;
	if (claim >= -32 && claim <= 31)
		return EAR_AFFIRMING;
	if (claim >= -96 && claim <= 95)
		return EAR_WARNING;
	return EAR_CONTRAINDICATED;
}

struct submod {
	bool has_status;
	enum ear_tier status, worst; /* worst: of the vector's claims */
};

/* "none" says nothing, which is not a recommendation. */
static enum ear_tier
worse(enum ear_tier a, enum ear_tier b)
{
	if (a == EAR_NONE || b == EAR_NONE)
		return a > EAR_AFFIRMING ? a : b > EAR_AFFIRMING ? b : EAR_NONE;
	return a > b ? a : b;
}

/* Tiers within a vector: a claim that says nothing does not count. */
static enum ear_tier
worst_claim(enum ear_tier a, enum ear_tier b)
{
	return a > b ? a : b;
}

static void
add_submod(struct eat_claims *c, const struct submod *s)
{
	enum ear_tier status = s->has_status ? s->status : EAR_NONE;

	if (status != EAR_NONE && status < s->worst)
		c->tier_honest = false;
	c->tier = c->n_submods == 0 ? status : worse(c->tier, status);
	c->n_submods++;
}

static bool
status_valid(int64_t v)
{
	return v == EAR_NONE || v == EAR_AFFIRMING || v == EAR_WARNING ||
	    v == EAR_CONTRAINDICATED;
}

/* --- CBOR ---------------------------------------------------------------------- */

static enum ear_tier
read_status(struct cbor_in *in)
{
	int64_t v = cbor_in_int(in);

	if (!status_valid(v))
		cbor_in_fail(in, TAM_OUT_OF_RANGE);
	return (enum ear_tier)v;
}

static void
read_vector(struct cbor_in *in, struct submod *s)
{
	size_t n = cbor_in_map(in, VECTOR_MAX);

	for (size_t i = 0; i < n && in->err == TAM_OK; i++) {
		(void)cbor_in_uint(in, VECTOR_MAX - 1);
		s->worst = worst_claim(s->worst, tier_of(cbor_in_int(in)));
	}
}

/* { "akpub": SubjectPublicKeyInfo } */
static void
read_key_attestation(struct cbor_in *in, struct eat_claims *c)
{
	size_t n = cbor_in_map(in, 8);

	for (size_t i = 0; i < n && in->err == TAM_OK; i++) {
		struct slice name = cbor_in_text(in, 0, 64);

		if (!slice_is(name, "akpub")) {
			cbor_in_skip(in);
			continue;
		}
		if (cose_key_from_spki(cbor_in_bytes(in, 1, 512),
		        &c->cnf_key) != TAM_OK)
			continue;
		c->has_cnf = c->cnf_whole = true;
		memcpy(c->cnf_thumbprint, c->cnf_key.thumbprint,
		    sizeof(c->cnf_thumbprint));
	}
}

static void
read_submod(struct cbor_in *in, struct arena *arena, struct eat_claims *c)
{
	size_t n = cbor_in_map(in, CLAIMS_MAX);
	struct submod s = {0};

	for (size_t i = 0; i < n && in->err == TAM_OK; i++) {
		int64_t label;

		if (!cbor_in_label(in, &label))
			continue;
		if (label == EAR_LABEL_STATUS) {
			s.has_status = true;
			s.status = read_status(in);
		} else if (label == EAR_LABEL_VECTOR) {
			read_vector(in, &s);
		} else if (label == EAR_LABEL_TEEP_CLAIMS) {
			eat_read_claims(in, arena, c);
		} else if (label == EAR_LABEL_KEY_ATTESTATION) {
			read_key_attestation(in, c);
		} else {
			cbor_in_skip(in);
		}
	}
	add_submod(c, &s);
}

static void
read_submods(struct cbor_in *in, struct arena *arena, struct eat_claims *c)
{
	size_t n = cbor_in_map(in, EAT_SUBMODS_MAX);

	for (size_t i = 0; i < n && in->err == TAM_OK; i++) {
		(void)cbor_in_text(in, 0, 128);
		read_submod(in, arena, c);
	}
}

/* The submodules stand beside ordinary claims, which eat.c reads. */
static void
find_submods(struct cbor_in *in, struct arena *arena, struct eat_claims *c)
{
	size_t n = cbor_in_map(in, CLAIMS_MAX);
	struct submod top = {0};

	for (size_t i = 0; i < n && in->err == TAM_OK; i++) {
		int64_t label;

		if (!cbor_in_label(in, &label))
			continue;
		if (label == EAT_SUBMODS) {
			read_submods(in, arena, c);
		} else if (label == EAR_LABEL_STATUS) {
			top.has_status = true;
			top.status = read_status(in);
		} else {
			cbor_in_skip(in);
		}
	}
	if (top.has_status)
		add_submod(c, &top);
}

enum tam_err
ear_decode_cbor(struct slice bytes, struct arena *arena, struct eat_claims *c)
{
	struct cbor_in in;
	enum tam_err err = eat_claims_decode(bytes, arena, c);

	if (err != TAM_OK)
		return err;
	c->is_ear = c->tier_honest = true;
	cbor_in_open(&in, bytes, arena, CBOR_ANY);
	find_submods(&in, arena, c);
	return cbor_in_finish(&in) == TAM_OK ? TAM_OK : TAM_ATTEST_SYNTAX;
}

/* --- JSON ----------------------------------------------------------------------- */

/*
 * A number by its value: 1.666091373e+09, as Go writes a float64, is whole.
 * Beyond 2^53 neighbours are the same float64, so that nobody knows which is
 * meant.
 */
static bool
json_whole(const json_t *v, int64_t *out)
{
	static const double exact = 9007199254740992.0;
	double real = json_real_value(v);

	if (json_is_integer(v)) {
		*out = json_integer_value(v);
		return true;
	}
	if (!json_is_real(v) || !(real > -exact && real < exact) ||
	    real != (double)(int64_t)real)
		return false;
	*out = (int64_t)real;
	return true;
}

/* The draft's name, or the one Verifiers use so far. */
static json_t *
member(const json_t *object, const char *name, const char *deployed)
{
	json_t *v = json_object_get(object, name);

	return v != NULL ? v : json_object_get(object, deployed);
}

static bool
json_status(const json_t *v, struct submod *s)
{
	static const struct {
		const char *name;
		enum ear_tier tier;
	} names[] = {{"none", EAR_NONE}, {"affirming", EAR_AFFIRMING},
	    {"warning", EAR_WARNING}, {"contraindicated", EAR_CONTRAINDICATED}};
	int64_t number;

	if (v == NULL)
		return true;
	s->has_status = true;
	if (json_whole(v, &number)) {
		s->status = (enum ear_tier)number;
		return status_valid(number);
	}
	for (size_t i = 0; json_is_string(v) && i < 4; i++) {
		if (strcmp(json_string_value(v), names[i].name) == 0) {
			s->status = names[i].tier;
			return true;
		}
	}
	return false;
}

static bool
json_vector(json_t *vector, struct submod *s)
{
	const char *name;
	json_t *claim;
	int64_t number;

	if (vector != NULL && !json_is_object(vector))
		return false;
	json_object_foreach(vector, name, claim)
	{
		if (!json_whole(claim, &number))
			return false;
		s->worst = worst_claim(s->worst, tier_of(number));
	}
	return true;
}

static bool
json_bytes(const json_t *v, struct arena *arena, struct slice *out)
{
	struct slice text;

	if (v == NULL)
		return true;
	if (!json_is_string(v))
		return false;
	text = arena_dup(arena, slice_str(json_string_value(v)));
	return base64_decode(arena, text, out);
}

static bool
json_nonce(const json_t *v, struct arena *arena, struct eat_claims *c)
{
	struct slice nonce;

	if (c->n_nonces == EAT_NONCES_MAX || !json_is_string(v) ||
	    !json_bytes(v, arena, &nonce))
		return false;
	c->nonces[c->n_nonces++] = nonce;
	return true;
}

static bool
json_nonces(const json_t *v, struct arena *arena, struct eat_claims *c)
{
	if (v == NULL)
		return true;
	if (!json_is_array(v))
		return json_nonce(v, arena, c);
	for (size_t i = 0; i < json_array_size(v); i++) {
		if (!json_nonce(json_array_get(v, i), arena, c))
			return false;
	}
	return true;
}

static void
json_key(const json_t *v, struct arena *arena, struct eat_claims *c)
{
	struct slice der = {0};

	if (!json_bytes(json_object_get(v, "akpub"), arena, &der) ||
	    cose_key_from_spki(der, &c->cnf_key) != TAM_OK)
		return;
	c->has_cnf = c->cnf_whole = true;
	memcpy(c->cnf_thumbprint, c->cnf_key.thumbprint,
	    sizeof(c->cnf_thumbprint));
}

static bool
json_teep_claims(const json_t *v, struct arena *arena, struct eat_claims *c)
{
	const json_t *version = json_object_get(v, "hwversion");
	int64_t number;

	if (v == NULL)
		return true;
	if (json_is_array(version))
		version = json_array_get(version, 0);
	if (json_is_string(version) &&
	    text_fault(slice_str(json_string_value(version)), TEXT_LINE) !=
	        NULL)
		return false;
	if (json_is_string(version))
		c->hwversion =
		    arena_dup(arena, slice_str(json_string_value(version)));
	/* An enterprise number stays what it is: digits. */
	if (!json_whole(json_object_get(v, "oemid"), &number) &&
	    !json_bytes(json_object_get(v, "oemid"), arena, &c->oemid))
		return false;
	return json_nonces(json_object_get(v, "eat_nonce"), arena, c) &&
	    json_bytes(json_object_get(v, "ueid"), arena, &c->ueid) &&
	    json_bytes(json_object_get(v, "hwmodel"), arena, &c->hwmodel);
}

/* Remembers which claim could not be read. */
static bool
named(const char *claim, struct eat_claims *c, bool readable)
{
	if (!readable && c->fault == NULL)
		c->fault = claim;
	return readable;
}

static bool
json_submod(const json_t *v, struct arena *arena, struct eat_claims *c)
{
	struct submod s = {0};

	if (!named("ear_status", c,
	        json_status(member(v, "ear_status", "ear.status"), &s)) ||
	    !named("ear_trustworthiness_vector", c,
	        json_vector(member(v, "ear_trustworthiness_vector",
	                        "ear.trustworthiness-vector"),
	            &s)) ||
	    !named("eat_nonce", c,
	        json_nonces(json_object_get(v, "eat_nonce"), arena, c)) ||
	    !named("ear_teep_claims", c,
	        json_teep_claims(member(v, "ear_teep_claims",
	                             "ear.teep-claims"),
	            arena, c)))
		return false;
	json_key(member(v, "ear_veraison_key_attestation",
	             "ear.veraison.key-attestation"),
	    arena, c);
	add_submod(c, &s);
	return true;
}

static bool
json_time(const json_t *v, bool *has, int64_t *out)
{
	if (v == NULL)
		return true;
	*has = true;
	return json_whole(v, out) && *out >= 0;
}

static bool
json_claims(const json_t *doc, struct arena *arena, struct eat_claims *c)
{
	const json_t *profile = json_object_get(doc, "eat_profile");
	json_t *submods = json_object_get(doc, "submods"), *submod;
	struct submod top = {0};
	const char *name;

	if (json_is_string(profile))
		c->profile =
		    arena_dup(arena, slice_str(json_string_value(profile)));
	if (!named("iat", c,
	        json_time(json_object_get(doc, "iat"), &c->has_iat, &c->iat)) ||
	    !named("exp", c,
	        json_time(json_object_get(doc, "exp"), &c->has_exp, &c->exp)) ||
	    !named("nbf", c,
	        json_time(json_object_get(doc, "nbf"), &c->has_nbf, &c->nbf)) ||
	    !named("eat_nonce", c,
	        json_nonces(json_object_get(doc, "eat_nonce"), arena, c)) ||
	    !named("submods", c,
	        submods == NULL ||
	            (json_is_object(submods) &&
	                json_object_size(submods) <= EAT_SUBMODS_MAX)))
		return false;
	json_object_foreach(submods, name, submod)
	{
		if (!json_submod(submod, arena, c))
			return false;
	}
	if (!named("ear_status", c,
	        json_status(json_object_get(doc, "ear_status"), &top)))
		return false;
	if (top.has_status)
		add_submod(c, &top);
	return true;
}

enum tam_err
ear_decode_json(struct slice json, struct arena *arena, struct eat_claims *c)
{
	json_t *doc = json_loadb((const char *)json.p, json.n,
	    JSON_REJECT_DUPLICATES, NULL);
	bool ok;

	c->is_ear = c->tier_honest = true;
	ok = json_is_object(doc) && json_claims(doc, arena, c);
	json_decref(doc);
	return ok ? TAM_OK : TAM_ATTEST_SYNTAX;
}
