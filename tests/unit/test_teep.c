#include "config.h"

#include <stdlib.h>

#include <check.h>

#include "lib/codec/cose.h"
#include "lib/codec/crypto.h"
#include "lib/codec/suit.h"
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

/* The draft's five examples in both numberings; _i / 2 the file. */
static const struct {
	const char *file;
	enum teep_kind kind;
	bool decides; /* its bytes show the numbering */
} official[] = {
    {"query_request", TEEP_QUERY_REQUEST, true},
    {"query_response", TEEP_QUERY_RESPONSE, true},
    {"update", TEEP_UPDATE, true},
    {"teep_success", TEEP_SUCCESS, true},
    {"teep_error", TEEP_ERROR, true},
};

static struct slice
official_bytes(int i)
{
	return test_file(arena,
	    arena_printf(arena, "vectors/teep-%s-numbering/%s.cbor",
	        i % 2 == 0 ? "legacy" : "final", official[i / 2].file));
}

START_TEST(reads_the_drafts_examples_in_either_numbering)
{
	enum teep_numbering is = _i % 2 == 0 ? TEEP_LEGACY : TEEP_FINAL;
	enum teep_numbering other = _i % 2 == 0 ? TEEP_FINAL : TEEP_LEGACY;
	struct teep_message m;

	ck_assert_int_eq(teep_decode(official_bytes(_i), arena, other, &m),
	    TAM_OK);
	ck_assert_int_eq(m.kind, official[_i / 2].kind);
	ck_assert_int_eq(m.numbering, is);
	ck_assert_uint_eq(m.token.n, 16);
	ck_assert_uint_eq(m.token.p[0], 0xa0);
}
END_TEST

static int
by_byte(const void *a, const void *b)
{
	return *(const uint8_t *)a - *(const uint8_t *)b;
}

/* The examples have the token first; we write labels in order. */
START_TEST(writes_the_drafts_examples_in_deterministic_order)
{
	struct slice bytes = official_bytes(_i), sorted;
	struct teep_message m;
	struct buf b;

	buf_init(&b, 4096);
	ck_assert_int_eq(teep_decode(bytes, arena, TEEP_FINAL, &m), TAM_OK);
	teep_encode(&m, &b);
	ck_assert_uint_eq(b.n, bytes.n);
	if (m.kind == TEEP_SUCCESS)
		ck_assert_mem_eq(b.p, bytes.p, b.n);
	qsort(b.p, b.n, 1, by_byte);
	sorted = arena_dup(arena, bytes);
	qsort(slice_unconst(sorted), sorted.n, 1, by_byte);
	ck_assert_mem_eq(b.p, sorted.p, b.n);
	buf_fini(&b);
}
END_TEST

START_TEST(yields_what_the_examples_say)
{
	struct teep_message m;

	ck_assert_int_eq(teep_decode(official_bytes(8), arena, TEEP_FINAL, &m),
	    TAM_OK);
	ck_assert_uint_eq(m.err_code, TEEP_ERR_MANIFEST_FAILED);
	ck_assert(slice_is(m.err_msg, "disk-full"));
	ck_assert_int_eq(teep_decode(official_bytes(9), arena, TEEP_LEGACY, &m),
	    TAM_OK);
	ck_assert_uint_eq(m.err_code, TEEP_ERR_MANIFEST_FAILED);
	ck_assert_int_eq(teep_decode(official_bytes(2), arena, TEEP_LEGACY, &m),
	    TAM_OK);
	ck_assert_uint_eq(m.n_tc, 1);
	ck_assert_int_eq(teep_decode(official_bytes(0), arena, TEEP_LEGACY, &m),
	    TAM_OK);
	ck_assert_uint_eq(m.data_items, 3);
	ck_assert_uint_eq(m.n_suites, 2);
	ck_assert_uint_eq(m.n_profiles, 4);
}
END_TEST

/* Messages signed for this project; `err` is what verifying must say. */
static const struct {
	const char *file, *key;
	enum teep_kind kind;
	enum tam_err err;
} derived[] = {
    {"query_request_attest_neutral.sign2", "tam-p256", TEEP_QUERY_REQUEST,
        TAM_OK},
    {"query_request_attest_neutral.sign1_esp256", "tam-p256",
        TEEP_QUERY_REQUEST, TAM_OK},
    {"query_request_attest_neutral.sign1_ed25519", "tam-ed25519",
        TEEP_QUERY_REQUEST, TAM_OK},
    {"query_request_noattest_legacy.sign1_esp256", "tam-p256",
        TEEP_QUERY_REQUEST, TAM_OK},
    {"query_request_noattest_final.sign1_esp256", "tam-p256",
        TEEP_QUERY_REQUEST, TAM_OK},
    {"query_response_attest_legacy.sign1_esp256", "agent-p256",
        TEEP_QUERY_RESPONSE, TAM_OK},
    {"query_response_attest_final.sign1_esp256", "agent-p256",
        TEEP_QUERY_RESPONSE, TAM_OK},
    {"query_response_noattest_legacy.sign1_ed25519", "agent-ed25519",
        TEEP_QUERY_RESPONSE, TAM_OK},
    {"query_response_noattest_final.sign1_ed25519", "agent-ed25519",
        TEEP_QUERY_RESPONSE, TAM_OK},
    {"update_final.sign1_esp256", "tam-p256", TEEP_UPDATE, TAM_OK},
    {"update_error_final.sign1_esp256", "tam-p256", TEEP_UPDATE, TAM_OK},
    {"update_error_legacy.sign1_esp256", "tam-p256", TEEP_UPDATE, TAM_OK},
    {"success_legacy.sign1_esp256", "agent-p256", TEEP_SUCCESS, TAM_OK},
    {"success_final.sign1_esp256", "agent-p256", TEEP_SUCCESS, TAM_OK},
    {"error_manifest_legacy.sign1_esp256", "agent-p256", TEEP_ERROR, TAM_OK},
    {"error_manifest_final.sign1_esp256", "agent-p256", TEEP_ERROR, TAM_OK},
    {"error_attestation_required_final.sign1_esp256", "agent-p256", TEEP_ERROR,
        TAM_OK},
    {"neg_bad_signature", "agent-p256", TEEP_QUERY_RESPONSE, TAM_BAD_SIGNATURE},
    {"neg_alg_key_mismatch", "agent-p256", TEEP_QUERY_RESPONSE,
        TAM_KEY_MISMATCH},
    {"neg_trailing_bytes", "agent-p256", TEEP_QUERY_RESPONSE,
        TAM_TRAILING_BYTES},
    {"neg_short_token_final.sign1_esp256", "agent-p256", TEEP_QUERY_RESPONSE,
        TAM_OUT_OF_RANGE},
};

static enum tam_err
open_signed(const char *file, const char *key, struct teep_message *m)
{
	struct cose_private priv = test_key(key);
	struct cose_message cose;
	enum tam_err err;

	err = cose_decode(test_file(arena,
	                      arena_printf(arena, "vectors/derived/%s.cbor",
	                          file)),
	    arena, &cose);
	if (err == TAM_OK)
		err =
		    cose_verify(crypto, &cose, 0, &priv.key, (struct slice){0});
	if (err == TAM_OK)
		err = teep_decode(cose.payload, arena,
		    strstr(file, "final") != NULL ? TEEP_LEGACY : TEEP_FINAL,
		    m);
	return err;
}

START_TEST(judges_signed_messages)
{
	struct teep_message m;
	enum tam_err err = open_signed(derived[_i].file, derived[_i].key, &m);

	ck_assert_msg(err == derived[_i].err, "%s: %s", derived[_i].file,
	    tam_err_text(err));
	if (err != TAM_OK)
		return;
	ck_assert_int_eq(m.kind, derived[_i].kind);
	if (strstr(derived[_i].file, "final") != NULL)
		ck_assert_int_eq(m.numbering, TEEP_FINAL);
	if (strstr(derived[_i].file, "legacy") != NULL)
		ck_assert_int_eq(m.numbering, TEEP_LEGACY);
}
END_TEST

START_TEST(a_report_carries_the_token_as_its_nonce)
{
	struct teep_message m;
	struct suit_report r;

	ck_assert_int_eq(open_signed("success_final.sign1_esp256", "agent-p256",
	                     &m),
	    TAM_OK);
	ck_assert_uint_eq(m.n_reports, 1);
	ck_assert_int_eq(suit_report_decode(m.reports[0], arena, &r), TAM_OK);
	ck_assert(slice_eq(r.nonce, m.token));
	ck_assert(r.success);
	ck_assert_int_eq(open_signed("error_manifest_final.sign1_esp256",
	                     "agent-p256", &m),
	    TAM_OK);
	ck_assert_int_eq(suit_report_decode(m.reports[0], arena, &r), TAM_OK);
	ck_assert(!r.success);
	ck_assert_uint_eq(r.section, SUIT_INSTALL);
	ck_assert_int_eq(open_signed("success_badnonce_final.sign1_esp256",
	                     "agent-p256", &m),
	    TAM_OK);
	ck_assert_int_eq(suit_report_decode(m.reports[0], arena, &r), TAM_OK);
	ck_assert(!slice_eq(r.nonce, m.token));
}
END_TEST

/* What deployed agents send: CONFORMANCE P2, P13, E8. */
START_TEST(tolerates_what_deployed_agents_send)
{
	static const char *const messages[] = {
	    /* obsolete selected suite under 5, empty lists */
	    "82 02 a5 05 81821226 08 80 0e 80 0f 80 14 48 0102030405060708",
	    /* tc-list entry keyed by 16 */
	    "82 02 a2 08 81 a1 10 81 4101 14 48 0102030405060708",
	    /* an unknown option */
	    "82 02 a2 14 48 0102030405060708 18ff 61 61",
	};
	struct teep_message m;
	enum tam_err err =
	    teep_decode(test_hex(arena, messages[_i]), arena, TEEP_FINAL, &m);

	ck_assert_msg(err == TAM_OK, "%s", tam_err_text(err));
	ck_assert_int_eq(m.numbering, TEEP_LEGACY);
	ck_assert_uint_eq(m.token.n, 8);
}
END_TEST

static const struct {
	const char *what, *cbor;
	enum tam_err err;
} bad[] = {
    {"type 9", "8209a0", TAM_UNKNOWN_MESSAGE},
    {"type -1", "8220a0", TAM_WRONG_TYPE},
    {"no options", "8102", TAM_OUT_OF_RANGE},
    {"three elements", "8302a000", TAM_OUT_OF_RANGE},
    {"a map", "a0", TAM_WRONG_TYPE},
    {"short token", "8202a11343 010203", TAM_OUT_OF_RANGE},
    {"token is text", "8204a11368 6162636465666768", TAM_WRONG_TYPE},
    {"tc without id", "8202a10781a0", TAM_MISSING_FIELD},
    {"have-binary without sequence", "8202a10d81a20f81410111f5",
        TAM_MISSING_FIELD},
    {"label twice", "8202a2 05000500", TAM_DUPLICATE_KEY},
};

START_TEST(refuses_malformed_messages)
{
	struct teep_message m;
	enum tam_err err =
	    teep_decode(test_hex(arena, bad[_i].cbor), arena, TEEP_FINAL, &m);

	ck_assert_msg(err == bad[_i].err, "%s: %s", bad[_i].what,
	    tam_err_text(err));
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("teep");

	crypto_init();
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, reads_the_drafts_examples_in_either_numbering,
	    0, 10);
	tcase_add_loop_test(tc,
	    writes_the_drafts_examples_in_deterministic_order, 0, 10);
	tcase_add_test(tc, yields_what_the_examples_say);
	tcase_add_loop_test(tc, judges_signed_messages, 0,
	    (int)(sizeof(derived) / sizeof(derived[0])));
	tcase_add_test(tc, a_report_carries_the_token_as_its_nonce);
	tcase_add_loop_test(tc, tolerates_what_deployed_agents_send, 0, 3);
	tcase_add_loop_test(tc, refuses_malformed_messages, 0,
	    (int)(sizeof(bad) / sizeof(bad[0])));
	return suite_main(tc);
}
