#include "config.h"

#include <stdlib.h>

#include <check.h>

#include "lib/codec/crypto.h"
#include "lib/codec/eat.h"
#include "lib/codec/jwt.h"
#include "lib/codec/teep.h"
#include "tests/support/files.h"
#include "tests/support/keys.h"
#include "tests/support/suite.h"

static struct arena *arena;
static struct cose_crypto *crypto;

static void
setup(void)
{
	arena = arena_new_in(NULL);
	crypto = cose_crypto_new();
}

static void
teardown(void)
{
	cose_crypto_free(crypto);
	arena_free(arena);
}

static struct slice
vector(const char *path)
{
	return test_file(arena, arena_printf(arena, "vectors/%s", path));
}

/* Without the newline that ends the text files. */
static struct slice
jwt_vector(const char *name)
{
	struct slice s = vector(arena_printf(arena, "ear/%s", name));

	while (s.n > 0 && s.p[s.n - 1] <= ' ')
		s.n--;
	return s;
}

/* Between iat and exp of the derived vectors. */
static const int64_t derived_now = 1780000000;

static struct eat_claims
derived_result(const char *agent)
{
	struct eat_token t;
	struct cose_private verifier = test_key("verifier-p256");
	struct slice file = vector(arena_printf(arena,
	    "derived/eat_attestation_result_%s.cbor", agent));

	ck_assert_int_eq(eat_open(file, EAT_RESULT, arena, &t), TAM_OK);
	ck_assert_int_eq(eat_verify(crypto, &t, &verifier.key, 1), TAM_OK);
	return t.claims;
}

static struct eat_expect
expecting(const struct eat_claims *c, const struct cose_key *presenter)
{
	return (struct eat_expect){.teep_profile = EAT_TEEP_PROFILE,
	    .presenter = presenter->thumbprint,
	    .n_nonces = 1,
	    .nonces = {c->nonces[0]},
	    .now_s = derived_now,
	    .worst = EAR_AFFIRMING};
}

START_TEST(a_verifiers_result_is_accepted_for_its_agent)
{
	static const char *const agents[] = {"agent-p256", "agent-ed25519"};
	struct eat_claims c = derived_result(agents[_i]);
	struct cose_private agent = test_key(agents[_i]);
	struct cose_private other = test_key(agents[1 - _i]);
	struct eat_expect x = expecting(&c, &agent.key);

	ck_assert_int_eq(eat_judge(&c, &x), TAM_OK);
	ck_assert_uint_eq(c.n_manifests, 1);
	ck_assert(
	    slice_is(c.manifests[0].uri, "https://example.com/manifest.cbor"));
	ck_assert(slice_is(c.hwversion, "1.3.4"));
	x.presenter = other.key.thumbprint;
	ck_assert_int_eq(eat_judge(&c, &x), TAM_ATTEST_BINDING);
}
END_TEST

START_TEST(a_result_of_a_stranger_is_not_trusted)
{
	struct cose_private stranger = test_key("agent-p256");
	struct eat_token t;

	ck_assert_int_eq(
	    eat_open(vector("derived/eat_attestation_result_agent-p256.cbor"),
	        EAT_RESULT, arena, &t),
	    TAM_OK);
	ck_assert_int_eq(eat_verify(crypto, &t, &stranger.key, 1),
	    TAM_ATTEST_UNTRUSTED);
	ck_assert_int_eq(eat_verify(crypto, &t, NULL, 0), TAM_ATTEST_UNTRUSTED);
}
END_TEST

/* One thing wrong each. */
static void
no_change(struct eat_claims *c, struct eat_expect *x)
{
	(void)c;
	(void)x;
}
static void
expired(struct eat_claims *c, struct eat_expect *x)
{
	x->now_s = c->exp;
}
static void
not_yet(struct eat_claims *c, struct eat_expect *x)
{
	x->now_s = c->iat - 1;
}
static void
nbf_ahead(struct eat_claims *c, struct eat_expect *x)
{
	c->has_nbf = true;
	c->nbf = x->now_s + 1;
}
static void
another_nonce(struct eat_claims *c, struct eat_expect *x)
{
	(void)c;
	x->nonces[0] = SLICE_LIT("0123456789abcdef");
}
static void
recent_instead(struct eat_claims *c, struct eat_expect *x)
{
	c->n_nonces = 0;
	x->max_age_s = x->now_s - c->iat;
}
static void
too_old(struct eat_claims *c, struct eat_expect *x)
{
	recent_instead(c, x);
	x->max_age_s--;
}
static void
no_nonce_wanted(struct eat_claims *c, struct eat_expect *x)
{
	(void)c;
	x->n_nonces = 0;
}
static void
no_cnf(struct eat_claims *c, struct eat_expect *x)
{
	(void)x;
	c->has_cnf = false;
}
static void
no_ueid(struct eat_claims *c, struct eat_expect *x)
{
	(void)x;
	c->ueid.n = 0;
}
static void
no_manifests(struct eat_claims *c, struct eat_expect *x)
{
	(void)x;
	c->has_manifests = false;
}
static void
other_profile(struct eat_claims *c, struct eat_expect *x)
{
	(void)x;
	c->profile = SLICE_LIT("urn:example:other");
}

static const struct {
	void (*change)(struct eat_claims *, struct eat_expect *);
	enum tam_err want;
} judged[] = {
    {no_change, TAM_OK},
    {expired, TAM_ATTEST_EXPIRED},
    {not_yet, TAM_ATTEST_EXPIRED},
    {nbf_ahead, TAM_ATTEST_EXPIRED},
    {another_nonce, TAM_ATTEST_STALE},
    {recent_instead, TAM_OK},
    {too_old, TAM_ATTEST_STALE},
    {no_nonce_wanted, TAM_ATTEST_STALE},
    {no_cnf, TAM_ATTEST_BINDING},
    {no_ueid, TAM_ATTEST_CLAIMS},
    {no_manifests, TAM_ATTEST_CLAIMS},
    {other_profile, TAM_ATTEST_PROFILE},
};

START_TEST(a_result_with_one_thing_wrong_is_refused_for_it)
{
	struct eat_claims c = derived_result("agent-p256");
	struct cose_private agent = test_key("agent-p256");
	struct eat_expect x = expecting(&c, &agent.key);

	judged[_i].change(&c, &x);
	ck_assert_str_eq(tam_err_name(eat_judge(&c, &x)),
	    tam_err_name(judged[_i].want));
}
END_TEST

static const struct {
	const char *type;
	enum eat_kind kind;
} types[] = {
    {"", EAT_RESULT},
    {"application/eat+cwt; eat_profile=\"urn:ietf:rfc:rfcXXXX\"", EAT_RESULT},
    {"application/eat+cwt; eat_profile=urn:ietf:rfc:rfcXXXX", EAT_RESULT},
    {"Application/EAT+CWT;EAT_Profile=URN:ietf:rfc:rfcXXXX", EAT_RESULT},
    {"application/eat+cwt", EAT_EVIDENCE},
    {"application/eat+jwt; eat_profile=\"tag:github.com,2023:veraison/ear\"",
        EAT_EAR_JWT},
    {"application/eat-jwt; eat_profile=\"tag:ietf.org,2026:rats/ear#03\"",
        EAT_EAR_JWT},
    {"application/eat+cwt; eat_profile=\"tag:ietf.org,2026:rats/ear#03\"",
        EAT_EAR_CWT},
    {"application/psa-attestation-token", EAT_EVIDENCE},
    {"application/eat+jwt; eat_profile=\"tag:example.org,2024:x\"",
        EAT_EVIDENCE},
    {"application/eat+cwtx; eat_profile=\"urn:ietf:rfc:rfcXXXX\"",
        EAT_EVIDENCE},
};

START_TEST(a_media_type_says_who_is_to_judge_the_payload)
{
	ck_assert_int_eq(eat_kind_of(slice_str(types[_i].type),
	                     EAT_TEEP_PROFILE),
	    types[_i].kind);
}
END_TEST

/* --- EAR -------------------------------------------------------------------- */

static const struct {
	const char *file;
	size_t submods;
	enum ear_tier tier;
} ears[] = {
    {"ear-json-1.json", 1, EAR_CONTRAINDICATED},
    {"ear-json-2.json", 2, EAR_AFFIRMING},
    {"ext-teep-json-1.json", 1, EAR_CONTRAINDICATED},
    {"ext-veraison-json-1.json", 1, EAR_CONTRAINDICATED},
    {"ext-veraison-json-2.json", 1, EAR_AFFIRMING},
    {"ear-cbor-1.cbor", 1, EAR_CONTRAINDICATED},
    {"ext-teep-cbor-1.cbor", 1, EAR_NONE},
    {"ext-veraison-cbor-1.cbor", 1, EAR_NONE},
};

START_TEST(the_drafts_ears_have_their_tier)
{
	struct slice bytes =
	    vector(arena_printf(arena, "ear/%s", ears[_i].file));
	struct eat_claims c = {0};
	bool json = strstr(ears[_i].file, ".json") != NULL;
	struct eat_expect x = {.n_nonces = 0,
	    .max_age_s = 60,
	    .worst = EAR_AFFIRMING};

	ck_assert_int_eq(json ? ear_decode_json(bytes, arena, &c)
	                      : ear_decode_cbor(bytes, arena, &c),
	    TAM_OK);
	ck_assert(ear_profile_known(c.profile));
	ck_assert_uint_eq(c.n_submods, ears[_i].submods);
	ck_assert_int_eq(c.tier, ears[_i].tier);
	x.now_s = c.iat;
	ck_assert_int_eq(eat_judge(&c, &x),
	    ears[_i].tier == EAR_AFFIRMING ? TAM_OK : TAM_ATTEST_STATUS);
}
END_TEST

static struct cose_key
veraison_key(void)
{
	struct cose_key key;

	ck_assert_int_eq(jwk_decode(vector("ear/veraison_ear_pkey.jwk.json"),
	                     arena, &key),
	    TAM_OK);
	return key;
}

START_TEST(a_deployed_verifiers_ear_verifies_and_is_judged)
{
	struct cose_key key = veraison_key();
	struct cose_private agent = test_key("agent-p256");
	struct eat_token t;
	struct eat_expect x = {.max_age_s = 60,
	    .worst = EAR_AFFIRMING,
	    .presenter = agent.key.thumbprint};

	ck_assert_int_eq(eat_open(jwt_vector("veraison_ear_legacy_good.jwt"),
	                     EAT_EAR_JWT, arena, &t),
	    TAM_OK);
	ck_assert_int_eq(eat_verify(crypto, &t, &key, 1), TAM_OK);
	ck_assert_int_eq(eat_verify(crypto, &t, &agent.key, 1),
	    TAM_ATTEST_UNTRUSTED);
	x.now_s = t.claims.iat;
	/* Its akpub is no key: nothing binds it to who presents it. */
	ck_assert_int_eq(eat_judge(&t.claims, &x), TAM_ATTEST_BINDING);
	x.unbound_ear = true;
	ck_assert_int_eq(eat_judge(&t.claims, &x), TAM_OK);
}
END_TEST

static const struct {
	const char *file;
	enum tam_err err;
} bad_jwts[] = {
    {"veraison_ear_alg_none.jwt", TAM_ALG_NOT_ALLOWED},
    {"veraison_ear_hs256_header.jwt", TAM_ALG_NOT_ALLOWED},
};

START_TEST(a_jwt_with_another_algorithm_is_not_opened)
{
	struct eat_token t;

	ck_assert_int_eq(eat_open(vector(arena_printf(arena, "ear/%s",
	                              bad_jwts[_i].file)),
	                     EAT_EAR_JWT, arena, &t),
	    bad_jwts[_i].err);
}
END_TEST

START_TEST(an_ear_that_claims_nothing_is_refused)
{
	struct eat_token t;
	struct cose_key key = veraison_key();
	struct eat_expect x = {.max_age_s = 60, .worst = EAR_AFFIRMING};

	ck_assert_int_eq(eat_open(jwt_vector("veraison_ear_empty_claims.jwt"),
	                     EAT_EAR_JWT, arena, &t),
	    TAM_OK);
	ck_assert_int_eq(eat_verify(crypto, &t, &key, 1), TAM_OK);
	ck_assert_int_eq(eat_judge(&t.claims, &x), TAM_ATTEST_PROFILE);
}
END_TEST

static const char dishonest[] =
    "{\"eat_profile\":\"tag:ietf.org,2026:rats/ear#03\",\"iat\":1,\"submods\":"
    "{\"a\":{\"ear_status\":\"affirming\",\"ear_trustworthiness_vector\":"
    "{\"executables\":99}}}}";

START_TEST(a_status_better_than_its_claims_is_refused)
{
	struct eat_claims c = {0};
	struct eat_expect x = {.max_age_s = 60,
	    .now_s = 1,
	    .worst = EAR_CONTRAINDICATED};

	ck_assert_int_eq(ear_decode_json(slice_str(dishonest), arena, &c),
	    TAM_OK);
	ck_assert_int_eq(eat_judge(&c, &x), TAM_ATTEST_STATUS);
}
END_TEST

/* RFC 7519, 2: a NumericDate is a JSON number, however it is written. */
START_TEST(a_whole_number_of_json_may_have_an_exponent)
{
	static const struct {
		const char *json;
		int64_t iat;
	} times[] = {{"{\"iat\":1.666091373e+09}", 1666091373},
	    {"{\"iat\":1666091373.0}", 1666091373}, {"{\"iat\":1e3}", 1000},
	    {"{\"iat\":1666091373}", 1666091373}};

	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		struct eat_claims c = {0};

		ck_assert_msg(ear_decode_json(slice_str(times[i].json), arena,
		                  &c) == TAM_OK,
		    "%s", times[i].json);
		ck_assert_int_eq(c.iat, times[i].iat);
		ck_assert_ptr_null(c.fault);
	}
}
END_TEST

START_TEST(the_claim_that_cannot_be_read_is_named)
{
	static const struct {
		const char *json, *claim;
	} faults[] = {{"{\"iat\":\"now\"}", "iat"}, {"{\"exp\":1.5}", "exp"},
	    {"{\"nbf\":-1}", "nbf"}, {"{\"eat_nonce\":7}", "eat_nonce"},
	    {"{\"submods\":[]}", "submods"},
	    {"{\"submods\":{\"a\":{\"ear_status\":3}}}", "ear_status"},
	    {"{\"submods\":{\"a\":{\"ear_trustworthiness_vector\":7}}}",
	        "ear_trustworthiness_vector"}};
	/* {6: 1.5_1}: CBOR floats stay refused. */
	static const uint8_t half[] = {0xa1, 0x06, 0xf9, 0x3e, 0x00};
	struct eat_claims c = {0};

	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		c = (struct eat_claims){0};
		ck_assert_int_eq(ear_decode_json(slice_str(faults[i].json),
		                     arena, &c),
		    TAM_ATTEST_SYNTAX);
		ck_assert_pstr_eq(c.fault, faults[i].claim);
	}
	c = (struct eat_claims){0};
	ck_assert_int_eq(eat_claims_decode(SLICE_OF(half), arena, &c),
	    TAM_ATTEST_SYNTAX);
	ck_assert_pstr_eq(c.fault, "iat");
}
END_TEST

static const char *const bad_json[] = {
    "[]",
    "{",
    "{\"iat\":1.5}",
    "{\"iat\":-1}",
    "{\"iat\":1e300}",
    "{\"iat\":9007199254740993.0}", /* 2^53 + 1 */
    "{\"submods\":[]}",
    "{\"submods\":{\"a\":{\"ear_status\":3}}}",
    "{\"submods\":{\"a\":{\"ear_status\":\"fine\"}}}",
    "{\"submods\":{\"a\":{\"ear_trustworthiness_vector\":{\"x\":\"2\"}}}}",
    "{\"eat_nonce\":7}",
    "{\"eat_nonce\":\"!\"}",
    "{\"iat\":1,\"iat\":2}",
    /* hwversion with a NUL, with an escape sequence */
    "{\"submods\":{\"a\":{\"ear.status\":2,\"ear.teep-claims\":"
    "{\"hwversion\":[\"1\\u0000\"]}}}}",
    "{\"submods\":{\"a\":{\"ear.status\":2,\"ear.teep-claims\":"
    "{\"hwversion\":[\"1\\u001b[2J\"]}}}}",
};

START_TEST(an_ear_with_wrong_types_cannot_be_read)
{
	struct eat_claims c = {0};

	ck_assert_msg(ear_decode_json(slice_str(bad_json[_i]), arena, &c) ==
	        TAM_ATTEST_SYNTAX,
	    "%s", bad_json[_i]);
}
END_TEST

/* --- EAT ---------------------------------------------------------------------- */

static const char *const rfc_claims[] = {"minimal", "simple", "valid_tee",
    "valid_hw_block", "valid_iot", "valid_submods", "valid_key_store"};

START_TEST(the_rfcs_claim_sets_parse_and_are_no_teep_results)
{
	struct eat_claims c = {0};
	struct eat_expect x = {.teep_profile = EAT_TEEP_PROFILE,
	    .worst = EAR_AFFIRMING};
	struct cose_private agent = test_key("agent-p256");
	struct slice bytes =
	    vector(arena_printf(arena, "eat/rfc9711_%s.cbor", rfc_claims[_i]));

	ck_assert_int_eq(eat_claims_decode(bytes, arena, &c), TAM_OK);
	x.n_nonces = 1;
	x.nonces[0] = c.n_nonces > 0 ? c.nonces[0] : SLICE_LIT("none");
	x.presenter = agent.key.thumbprint;
	ck_assert_int_ne(eat_judge(&c, &x), TAM_OK);
}
END_TEST

START_TEST(the_drafts_272_and_273_are_the_same_claim)
{
	/* The draft's D.2 as CBOR: 273, a map, not wrapped. */
	struct slice old = test_hex(arena,
	    "a1190111818218 3ca2 0178216874 7470733a2f2f6578616d706c652e636f6d2f"
	    "6d616e69666573742e63626f72 00822f5820"
	    "a7fd6593eac32eb4be578278e6540c5c09cfd7d4d234973054833b2b93030609");
	struct eat_claims c = {0};

	ck_assert_int_eq(eat_claims_decode(old, arena, &c), TAM_OK);
	ck_assert(c.has_manifests);
	ck_assert_uint_eq(c.n_manifests, 1);
	ck_assert_uint_eq(c.manifests[0].digest.n, 32);
}
END_TEST

static const char *const bad_claims[] = {
    "80",                                 /* not a map */
    "a104fb41d954fc4000000000",           /* exp as a float */
    "a106fb3ff8000000000000", "a10a4101", /* a nonce of one byte */
    "a1190100430102",                     /* cut short */
    "a119010044deadbeef",                 /* ueid of four bytes */
    "a119010480",                         /* hwversion without a version */
    "a119010481 63310030",                /* hwversion with a NUL */
    "a119010481 64311b5b4a",              /* with an escape sequence */
    "a119010481 6431e280ae",              /* with a right-to-left override */
    "a2061a00000001061a00000002",         /* iat twice */
};

START_TEST(claims_of_a_wrong_type_cannot_be_read)
{
	struct eat_claims c = {0};

	ck_assert_msg(eat_claims_decode(test_hex(arena, bad_claims[_i]), arena,
	                  &c) == TAM_ATTEST_SYNTAX,
	    "%s", bad_claims[_i]);
}
END_TEST

START_TEST(what_is_written_is_what_is_read)
{
	struct eat_claims c = derived_result("agent-p256"), back = {0};
	struct buf b;

	buf_init(&b, 4096);
	eat_claims_encode(&c, &b);
	ck_assert_int_eq(eat_claims_decode(buf_slice(&b), arena, &back),
	    TAM_OK);
	ck_assert(slice_eq(back.ueid, c.ueid) && slice_eq(back.oemid, c.oemid));
	ck_assert_mem_eq(back.cnf_thumbprint, c.cnf_thumbprint, 32);
	ck_assert_int_eq(back.exp, c.exp);
	ck_assert(slice_eq(back.manifests[0].digest, c.manifests[0].digest));
	buf_fini(&b);
}
END_TEST

START_TEST(a_nonce_is_found_in_every_sort_of_payload)
{
	struct eat_claims c = derived_result("agent-p256");
	struct slice jwt = SLICE_LIT(
	    "eyJhbGciOiJFUzI1NiJ9.eyJlYXRfbm9uY2UiOiJBUUlEQkFVR0J3ZyJ9.AAAA");
	struct slice eight = SLICE_LIT("\1\2\3\4\5\6\7\10");

	ck_assert(
	    slice_eq(eat_peek_nonce(
	                 vector(
	                     "derived/eat_attestation_result_agent-p256.cbor"),
	                 arena),
	        c.nonces[0]));
	ck_assert(slice_eq(eat_peek_nonce(jwt, arena), eight));
	ck_assert_uint_eq(eat_peek_nonce(SLICE_LIT("garbage"), arena).n, 0);
	ck_assert_uint_eq(eat_peek_nonce(slice_none(), arena).n, 0);
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("eat");

#define ALL(table) (int)(sizeof(table) / sizeof((table)[0]))
	crypto_init();
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, a_verifiers_result_is_accepted_for_its_agent, 0,
	    2);
	tcase_add_test(tc, a_result_of_a_stranger_is_not_trusted);
	tcase_add_loop_test(tc, a_result_with_one_thing_wrong_is_refused_for_it,
	    0, ALL(judged));
	tcase_add_loop_test(tc, a_media_type_says_who_is_to_judge_the_payload,
	    0, ALL(types));
	tcase_add_loop_test(tc, the_drafts_ears_have_their_tier, 0, ALL(ears));
	tcase_add_test(tc, a_deployed_verifiers_ear_verifies_and_is_judged);
	tcase_add_loop_test(tc, a_jwt_with_another_algorithm_is_not_opened, 0,
	    ALL(bad_jwts));
	tcase_add_test(tc, an_ear_that_claims_nothing_is_refused);
	tcase_add_test(tc, a_status_better_than_its_claims_is_refused);
	tcase_add_test(tc, a_whole_number_of_json_may_have_an_exponent);
	tcase_add_test(tc, the_claim_that_cannot_be_read_is_named);
	tcase_add_loop_test(tc, an_ear_with_wrong_types_cannot_be_read, 0,
	    ALL(bad_json));
	tcase_add_loop_test(tc,
	    the_rfcs_claim_sets_parse_and_are_no_teep_results, 0,
	    ALL(rfc_claims));
	tcase_add_test(tc, the_drafts_272_and_273_are_the_same_claim);
	tcase_add_loop_test(tc, claims_of_a_wrong_type_cannot_be_read, 0,
	    ALL(bad_claims));
	tcase_add_test(tc, what_is_written_is_what_is_read);
	tcase_add_test(tc, a_nonce_is_found_in_every_sort_of_payload);
	return suite_main(tc);
}
