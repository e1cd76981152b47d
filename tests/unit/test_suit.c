#include "config.h"

#include <stdlib.h>

#include <check.h>

#include "lib/codec/crypto.h"
#include "lib/codec/suit.h"
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

/*
 * Every official envelope.  `verify` is what the signature says under the
 * published key, `check` what an upload is told: the drafts' own examples
 * lack a manifest-component-id, or check no vendor, and a TAM refuses them.
 */
static const struct {
	const char *file;
	enum tam_err verify, check;
} envelopes[] = {
    {"teep-suit/suit_uri", TAM_OK, TAM_OK},
    {"teep-suit/suit_integrated", TAM_OK, TAM_OK},
    {"teep-suit/suit_personalization", TAM_OK, TAM_OK},
    {"suit-manifest/example0_signed", TAM_OK, TAM_SUIT_NO_ID},
    {"suit-manifest/example1_signed", TAM_OK, TAM_SUIT_NO_ID},
    {"suit-manifest/example2_signed_full", TAM_OK, TAM_SUIT_NO_ID},
    {"suit-manifest/example2_signed_severed", TAM_OK, TAM_SUIT_NO_ID},
    {"suit-manifest/example3_signed", TAM_OK, TAM_SUIT_NO_ID},
    {"suit-manifest/example4_signed", TAM_OK, TAM_SUIT_NO_ID},
    {"suit-manifest/example5_signed", TAM_OK, TAM_SUIT_NO_ID},
    {"suit-manifest/example0_unsigned", TAM_SUIT_UNTRUSTED, TAM_SUIT_UNTRUSTED},
    {"suit-manifest/example1_unsigned", TAM_SUIT_UNTRUSTED, TAM_SUIT_UNTRUSTED},
    {"suit-manifest/example2_unsigned_severed", TAM_SUIT_UNTRUSTED,
        TAM_SUIT_UNTRUSTED},
    {"suit-manifest/example3_unsigned", TAM_SUIT_UNTRUSTED, TAM_SUIT_UNTRUSTED},
    {"suit-manifest/example4_unsigned", TAM_SUIT_UNTRUSTED, TAM_SUIT_UNTRUSTED},
    {"suit-manifest/example5_unsigned", TAM_SUIT_UNTRUSTED, TAM_SUIT_UNTRUSTED},
    {"suit-trust-domains/example0_dependent", TAM_OK, TAM_SUIT_COMMAND},
    {"suit-trust-domains/example1_process", TAM_OK, TAM_SUIT_COMMAND},
    {"suit-trust-domains/example2_integrated", TAM_OK, TAM_SUIT_COMMAND},
    {"suit-encryption/suit-manifest-aes-kw", TAM_SUIT_UNTRUSTED,
        TAM_SUIT_UNTRUSTED},
    {"suit-encryption/suit-manifest-es-ecdh-content", TAM_OK, TAM_SUIT_NO_ID},
    {"suit-encryption/suit-manifest-es-ecdh-dependency", TAM_SUIT_UNTRUSTED,
        TAM_SUIT_UNTRUSTED},
};

static struct slice
envelope_bytes(const char *file)
{
	return test_file(arena, arena_printf(arena, "vectors/%s.cbor", file));
}

START_TEST(digests_and_signatures_of_the_examples_hold)
{
	struct cose_key key = test_suit_key();
	struct suit_envelope e;
	struct slice bytes = envelope_bytes(envelopes[_i].file);
	size_t which;
	enum tam_err err = suit_envelope_decode(bytes, arena, &e);

	ck_assert_msg(err == TAM_OK, "%s: %s", envelopes[_i].file,
	    tam_err_text(err));
	err = suit_verify(crypto, &e, arena, &key, 1, &which);
	ck_assert_msg(err == envelopes[_i].verify, "%s: %s", envelopes[_i].file,
	    tam_err_text(err));
}
END_TEST

START_TEST(an_upload_is_told_what_is_wrong)
{
	struct cose_key key = test_suit_key();
	struct suit_info info;
	const char *why;
	size_t which;
	enum tam_err err =
	    suit_check(crypto, envelope_bytes(envelopes[_i].file), arena, &key,
	        1, &info, &which, &why);

	ck_assert_msg(err == envelopes[_i].check, "%s: %s (%s)",
	    envelopes[_i].file, tam_err_text(err), why);
	ck_assert((err == TAM_OK) == (why == NULL));
}
END_TEST

START_TEST(learns_what_a_manifest_installs)
{
	struct cose_key key = test_suit_key();
	struct suit_info info;
	const char *why;
	size_t which;

	ck_assert_int_eq(suit_check(crypto,
	                     envelope_bytes("teep-suit/suit_uri"), arena, &key,
	                     1, &info, &which, &why),
	    TAM_OK);
	ck_assert_uint_eq(info.manifest.sequence, 3);
	ck_assert_uint_eq(info.n, 1);
	ck_assert_uint_eq(info.components[0].size, 20);
	ck_assert_uint_eq(info.components[0].digest.p[0], 0x8c);
	ck_assert_str_eq(suit_component_text(arena, info.components[0].id),
	    "TEEP-Device/SecureFS/0x8d82573a926d4754935332dc29997f74/ta");
	ck_assert_str_eq(suit_component_text(arena, info.manifest.component_id),
	    "TEEP-Device/SecureFS/0x8d82573a926d4754935332dc29997f74/suit");
	ck_assert(info.has_uninstall);
}
END_TEST

START_TEST(component_ids_survive_their_text)
{
	static const char *const texts[] = {"a", "TEEP-Device/x/0x00ff/ta",
	    "0x", "a/0x2f/b"};
	struct slice id;

	for (size_t i = 0; i < 4; i++) {
		ck_assert(suit_component_parse(arena, texts[i], &id));
		ck_assert_str_eq(suit_component_text(arena, id), texts[i]);
	}
	ck_assert(!suit_component_parse(arena, "", &id));
	ck_assert(!suit_component_parse(arena, "a//b", &id));
	ck_assert(!suit_component_parse(arena, "a b", &id));
	ck_assert(!suit_component_parse(arena, "0xzz", &id));
	ck_assert_str_eq(suit_component_text(arena, SLICE_LIT("\x01")), "?");
}
END_TEST

/* One flipped bit anywhere in a signed envelope must be noticed. */
START_TEST(notices_every_flipped_bit)
{
	struct cose_key key = test_suit_key();
	struct slice good = envelope_bytes("teep-suit/suit_integrated");
	uint8_t *bytes = arena_alloc(arena, good.n);
	struct suit_info info;
	const char *why;
	size_t which;

	for (size_t i = 0; i < good.n; i++) {
		struct arena *each = arena_new_in(NULL);

		memcpy(bytes, good.p, good.n);
		bytes[i] ^= 1;
		ck_assert_msg(suit_check(crypto, (struct slice){bytes, good.n},
		                  each, &key, 1, &info, &which, &why) != TAM_OK,
		    "byte %zu", i);
		arena_free(each);
	}
}
END_TEST

/* Without its payload a manifest says the same, and is signed as before. */
START_TEST(an_envelope_without_its_payload_is_as_sound)
{
	struct slice whole = envelope_bytes("teep-suit/suit_integrated"), bare;
	struct cose_key key = test_suit_key();
	struct suit_envelope a, b;
	struct buf out;
	size_t which;

	buf_init(&out, 4096);
	suit_envelope_strip(whole, arena, &out);
	bare = buf_slice(&out);
	ck_assert_int_eq(suit_envelope_decode(whole, arena, &a), TAM_OK);
	ck_assert_int_eq(suit_envelope_decode(bare, arena, &b), TAM_OK);
	ck_assert_uint_eq(a.n_payloads, 1);
	ck_assert_uint_eq(b.n_payloads, 0);
	ck_assert_uint_lt(bare.n, whole.n - a.payloads[0].bytes.n);
	ck_assert_mem_eq(a.digest, b.digest, 32);
	ck_assert_int_eq(suit_verify(crypto, &b, arena, &key, 1, &which),
	    TAM_OK);
	buf_clear(&out);
	suit_envelope_strip(envelope_bytes("teep-suit/suit_uri"), arena, &out);
	ck_assert_uint_eq(out.n, 0);
	buf_fini(&out);
}
END_TEST

/* draft-ietf-suit-manifest, 8.2: an envelope may be extended. */
START_TEST(an_unknown_element_is_named_and_the_signature_still_judged)
{
	struct slice whole = envelope_bytes("teep-suit/suit_uri");
	struct cose_key key = test_suit_key();
	struct suit_envelope e;
	struct buf more;
	size_t which;

	/* {2: ..., 3: ...} becomes {2: ..., 3: ..., 99: 0, -1: h''} */
	ck_assert_uint_eq(whole.p[0], 0xa2);
	buf_init(&more, 4096);
	buf_add_byte(&more, 0xa4);
	buf_add(&more, whole.p + 1, whole.n - 1);
	buf_add(&more, "\x18\x63\x00\x20\x40", 5);
	ck_assert_int_eq(suit_envelope_decode(buf_slice(&more), arena, &e),
	    TAM_SUIT_ENVELOPE);
	ck_assert_int_eq(suit_envelope_read(buf_slice(&more), arena, &e),
	    TAM_OK);
	ck_assert_uint_eq(e.n_unknown, 2);
	ck_assert_int_eq(e.unknown[0], 99);
	ck_assert_int_eq(e.unknown[1], -1);
	ck_assert_int_eq(suit_verify(crypto, &e, arena, &key, 1, &which),
	    TAM_OK);
	buf_fini(&more);
}
END_TEST

START_TEST(reads_current_reports_and_survives_old_ones)
{
	struct suit_report r;

	ck_assert_int_eq(
	    suit_report_decode(test_file(arena,
	                           "vectors/derived/suit_report_success.cbor"),
	        arena, &r),
	    TAM_OK);
	ck_assert(r.success);
	ck_assert_int_eq(
	    suit_report_decode(test_file(arena,
	                           "vectors/derived/suit_report_failure.cbor"),
	        arena, &r),
	    TAM_OK);
	ck_assert(!r.success);
	/* The abandoned layout has no result. */
	ck_assert_int_eq(suit_report_decode(test_hex(arena,
	                                        "a2 1863 a10160 02 4100"),
	                     arena, &r),
	    TAM_BAD_REPORT);
}
END_TEST

START_TEST(a_report_survives_its_encoding)
{
	static const uint8_t digest[32] = {7};
	struct suit_report r = {.nonce = SLICE_LIT("12345678"),
	    .manifest_digest = SLICE_OF(digest),
	    .section = 20,
	    .offset = 3,
	    .component = 1,
	    .reason = 10,
	    .code = -3};
	struct suit_report back;
	struct buf b;

	buf_init(&b, 1024);
	suit_report_encode(&r, SLICE_LIT(""), &b);
	ck_assert_int_eq(suit_report_decode(buf_slice(&b), arena, &back),
	    TAM_OK);
	ck_assert(slice_eq(back.nonce, r.nonce));
	ck_assert(slice_eq(back.manifest_digest, r.manifest_digest));
	ck_assert_uint_eq(back.section, 20);
	ck_assert_int_eq(back.code, -3);
	buf_fini(&b);
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("suit");
	int n = (int)(sizeof(envelopes) / sizeof(envelopes[0]));

	crypto_init();
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, digests_and_signatures_of_the_examples_hold, 0,
	    n);
	tcase_add_loop_test(tc, an_upload_is_told_what_is_wrong, 0, n);
	tcase_add_test(tc, learns_what_a_manifest_installs);
	tcase_add_test(tc, component_ids_survive_their_text);
	tcase_add_test(tc, notices_every_flipped_bit);
	tcase_add_test(tc, an_envelope_without_its_payload_is_as_sound);
	tcase_add_test(tc,
	    an_unknown_element_is_named_and_the_signature_still_judged);
	tcase_add_test(tc, reads_current_reports_and_survives_old_ones);
	tcase_add_test(tc, a_report_survives_its_encoding);
	return suite_main(tc);
}
