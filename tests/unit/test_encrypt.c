#include "config.h"

#include <stdlib.h>

#include <check.h>
#include <jansson.h>

#include "lib/base/hex.h"
#include "lib/codec/cose.h"
#include "lib/codec/cose_encrypt.h"
#include "lib/codec/crypto.h"
#include "lib/codec/suit.h"
#include "tests/support/files.h"
#include "tests/support/keys.h"
#include "tests/support/suite.h"

/* COSE_Encrypt against the drafts' vectors first, then the other direction. */

static struct arena *arena;

static void
setup(void)
{
	arena = arena_new_in(NULL);
}

static void
teardown(void)
{
	arena_free(arena);
}

static struct slice
vector(const char *path)
{
	return test_file(arena, arena_printf(arena, "vectors/%s", path));
}

/* The device's key of the firmware-encryption examples. */
static struct ecdh_private
firmware_key(void)
{
	struct slice text = vector("keys/suit_fwenc_recipient_p256_ecdh.json");
	json_t *doc = json_loadb((const char *)text.p, text.n, 0, NULL);
	struct ecdh_private priv;

	ck_assert_int_eq(ecdh_private_from_secret(&priv, ECDH_P256,
	                     test_hex(arena,
	                         json_string_value(json_object_get(doc, "d")))
	                         .p),
	    TAM_OK);
	json_decref(doc);
	return priv;
}

static struct slice
open_with(struct slice message, enum cose_use use,
    const struct ecdh_private *key, struct slice ciphertext, enum tam_err want)
{
	struct cose_encrypted m;
	struct slice plain = {0};

	ck_assert_int_eq(cose_encrypt_decode(message, arena, &m), TAM_OK);
	ck_assert_int_eq(cose_decrypt(&m, use, key, 1, ciphertext, arena,
	                     &plain),
	    want);
	return plain;
}

START_TEST(the_firmware_drafts_payloads_open)
{
	static const char *const modes[] = {"ctr", "gcm"};
	struct ecdh_private key = firmware_key();

	for (int i = 0; i < 2; i++) {
		struct slice plain =
		    open_with(vector(arena_printf(arena,
		                  "suit-encryption/"
		                  "suit-encryption-info-es-ecdh-aes-%s.cbor",
		                  modes[i])),
		        COSE_USE_SUIT_PAYLOAD, &key,
		        vector(arena_printf(arena,
		            "suit-encryption/"
		            "encrypted-payload-es-ecdh-aes-%s.bin",
		            modes[i])),
		        TAM_OK);

		ck_assert(slice_is(plain, "This is a real firmware image."));
	}
}
END_TEST

START_TEST(a_key_wrapped_for_nobody_of_ours_does_not_open)
{
	struct ecdh_private key = firmware_key();
	struct cose_encrypted m;
	struct slice plain;

	ck_assert_int_eq(cose_encrypt_decode(
	                     vector("suit-encryption/"
	                            "suit-encryption-info-aes-kw-aes-gcm.cbor"),
	                     arena, &m),
	    TAM_OK);
	ck_assert_int_eq(
	    cose_decrypt(&m, COSE_USE_SUIT_PAYLOAD, &key, 1,
	        vector("suit-encryption/encrypted-payload-aes-kw-aes-gcm.bin"),
	        arena, &plain),
	    TAM_CANNOT_DECRYPT);
}
END_TEST

/* The working group's example has no `other` in its KDF context. */
START_TEST(the_cose_example_of_ecdh_es_with_key_wrap_opens)
{
	struct slice text = vector(
	                 "cose/ecdh-wrap-examples__p256-wrap-128-01.json"),
	             d;
	json_t *doc = json_loadb((const char *)text.p, text.n, 0, NULL);
	json_t *recipient =
	    json_array_get(json_object_get(json_object_get(json_object_get(doc,
	                                                       "input"),
	                                       "enveloped"),
	                       "recipients"),
	        0);
	struct ecdh_private key;
	struct slice message, plain;

	ck_assert(base64_decode(arena,
	    slice_str(json_string_value(
	        json_object_get(json_object_get(recipient, "key"), "d"))),
	    &d));
	ck_assert_int_eq(ecdh_private_from_secret(&key, ECDH_P256, d.p),
	    TAM_OK);
	message = test_hex(arena,
	    json_string_value(
	        json_object_get(json_object_get(doc, "output"), "cbor")));
	plain = open_with(message, COSE_USE_NONE, &key, slice_none(), TAM_OK);
	ck_assert(slice_is(plain, "This is the content."));
	(void)open_with(message, COSE_USE_EAT, &key, slice_none(),
	    TAM_CANNOT_DECRYPT);
	json_decref(doc);
}
END_TEST

static const struct {
	const char *file, *key;
	enum cose_use use;
} derived[] = {
    {"enc_eat_a128ctr_p256", "tam-ecdh-p256", COSE_USE_EAT},
    {"enc_eat_a128ctr_x25519", "tam-ecdh-x25519", COSE_USE_EAT},
};

START_TEST(an_encrypted_eat_opens_and_is_a_signed_result)
{
	struct ecdh_private key = test_ecdh_key(derived[_i].key);
	struct cose_private verifier = test_key("verifier-p256");
	struct cose_crypto *crypto = cose_crypto_new();
	struct slice plain =
	    open_with(vector(arena_printf(arena, "derived/%s.cbor",
	                  derived[_i].file)),
	        derived[_i].use, &key, slice_none(), TAM_OK);
	struct cose_message m;

	ck_assert_int_eq(cose_decode(plain, arena, &m), TAM_OK);
	ck_assert_int_eq(cose_verify(crypto, &m, 0, &verifier.key,
	                     slice_none()),
	    TAM_OK);
	cose_crypto_free(crypto);
}
END_TEST

START_TEST(an_encrypted_report_opens_and_is_a_report)
{
	static const char *const files[] = {"enc_suit_report_a128ctr_p256",
	    "enc_suit_report_a128gcm_p256"};
	struct ecdh_private key = test_ecdh_key("tam-ecdh-p256");
	struct slice file =
	    vector(arena_printf(arena, "derived/%s.cbor", files[_i]));
	struct suit_opening opening = {.keys = &key, .n_keys = 1};
	struct suit_report r;

	ck_assert_int_eq(suit_report_open(file, &opening, arena, &r), TAM_OK);
	ck_assert(r.nonce.n > 0 && r.manifest_digest.n == 32);
	opening.n_keys = 0;
	ck_assert_int_eq(suit_report_open(file, &opening, arena, &r),
	    TAM_CANNOT_DECRYPT);
}
END_TEST

static const int algs[] = {COSE_ALG_A128CTR, COSE_ALG_A128GCM,
    COSE_ALG_CHACHA20_POLY1305};

/* Each algorithm for each curve; a changed bit opens under no AEAD. */
START_TEST(what_is_encrypted_opens_for_its_recipient_and_use_only)
{
	int alg = algs[_i / 2];
	enum ecdh_curve curve = _i % 2 == 0 ? ECDH_P256 : ECDH_X25519;
	struct ecdh_private mine, other;
	struct buf b;
	struct slice plain;

	ecdh_private_generate(&mine, curve);
	ecdh_private_generate(&other, curve);
	buf_init(&b, 4096);
	cose_encrypt(alg, COSE_USE_EAT, &mine.key,
	    SLICE_OF(mine.key.thumbprint), SLICE_LIT("what it says"), &b);
	ck_assert(cose_is_encrypted(buf_slice(&b)));
	plain =
	    open_with(buf_slice(&b), COSE_USE_EAT, &mine, slice_none(), TAM_OK);
	ck_assert(slice_is(plain, "what it says"));
	(void)open_with(buf_slice(&b), COSE_USE_EAT, &other, slice_none(),
	    TAM_CANNOT_DECRYPT);
	(void)open_with(buf_slice(&b), COSE_USE_SUIT_REPORT, &mine,
	    slice_none(), TAM_CANNOT_DECRYPT);
	if (alg != COSE_ALG_A128CTR) {
		struct cose_encrypted m;

		ck_assert_int_eq(cose_encrypt_decode(buf_slice(&b), arena, &m),
		    TAM_OK);
		slice_unconst(m.ciphertext)[3] ^= 1;
		ck_assert_int_eq(cose_decrypt(&m, COSE_USE_EAT, &mine, 1,
		                     slice_none(), arena, &plain),
		    TAM_CANNOT_DECRYPT);
	}
	buf_fini(&b);
}
END_TEST

/* Whoever lists our curve many times does not choose how many key agreements
 * a message costs us. */
START_TEST(a_key_is_tried_on_one_recipient)
{
	struct ecdh_private mine;
	struct cose_encrypted m;
	struct buf b;
	struct slice plain;

	ecdh_private_generate(&mine, ECDH_P256);
	buf_init(&b, 4096);
	cose_encrypt(COSE_ALG_A128GCM, COSE_USE_EAT, &mine.key, slice_none(),
	    SLICE_LIT("what it says"), &b);
	ck_assert_int_eq(cose_encrypt_decode(buf_slice(&b), arena, &m), TAM_OK);
	m.n = 2;
	m.recipients[1] = m.recipients[0];
	m.recipients[0].wrapped = arena_dup(arena, m.recipients[1].wrapped);
	slice_unconst(m.recipients[0].wrapped)[3] ^= 1;
	ck_assert_int_eq(cose_decrypt(&m, COSE_USE_EAT, &mine, 1, slice_none(),
	                     arena, &plain),
	    TAM_CANNOT_DECRYPT);
	m.recipients[1].kid = SLICE_OF(mine.key.thumbprint);
	ck_assert_int_eq(cose_decrypt(&m, COSE_USE_EAT, &mine, 1, slice_none(),
	                     arena, &plain),
	    TAM_OK);
	ck_assert(slice_is(plain, "what it says"));
	buf_fini(&b);
}
END_TEST

START_TEST(no_more_reports_are_decrypted_than_are_allowed)
{
	struct ecdh_private mine;
	size_t left = 1;
	struct suit_opening opening = {&mine, 1, &left};
	struct suit_report r;
	struct buf b;

	ecdh_private_generate(&mine, ECDH_P256);
	buf_init(&b, 4096);
	cose_encrypt(COSE_ALG_A128GCM, COSE_USE_SUIT_REPORT, &mine.key,
	    slice_none(), SLICE_LIT("no report"), &b);
	ck_assert_int_eq(suit_report_open(buf_slice(&b), &opening, arena, &r),
	    TAM_BAD_REPORT);
	ck_assert_int_eq(suit_report_open(buf_slice(&b), &opening, arena, &r),
	    TAM_TOO_LARGE);
	buf_fini(&b);
}
END_TEST

START_TEST(a_detached_ciphertext_opens)
{
	struct ecdh_private mine;
	struct buf info, ciphertext;
	struct slice plain;

	ecdh_private_generate(&mine, ECDH_P256);
	buf_init(&info, 4096);
	buf_init(&ciphertext, 4096);
	cose_encrypt_detached(COSE_ALG_A128CTR, COSE_USE_SUIT_PAYLOAD,
	    &mine.key, slice_none(), SLICE_LIT("{\"name\":\"a\"}"), &info,
	    &ciphertext);
	plain = open_with(buf_slice(&info), COSE_USE_SUIT_PAYLOAD, &mine,
	    buf_slice(&ciphertext), TAM_OK);
	ck_assert(slice_is(plain, "{\"name\":\"a\"}"));
	buf_fini(&info);
	buf_fini(&ciphertext);
}
END_TEST

static const struct {
	const char *hex;
	enum tam_err err;
	const char *why;
} refused[] = {
    {"8440a1054c00000000000000000000000041008140", TAM_BAD_COSE,
        "without its tag"},
    {"d8608443a10101a1054c0000000000000000000000004100", TAM_MALFORMED,
        "cut short"},
    {"d8608443a10101a1054c000000000000000000000000410080", TAM_BAD_COSE,
        "for no recipient"},
    {"d8608440a1054c0000000000000000000000004100818343a10103a040",
        TAM_ALG_NOT_ALLOWED, "no algorithm"},
    {"d8608440a20101054c0000000000000000000000004100818343a10103a040",
        TAM_ALG_NOT_ALLOWED, "GCM that is not protected"},
    {"d8608443a10103a1054c0000000000000000000000004100818343a10103a040",
        TAM_ALG_NOT_ALLOWED, "A256GCM is none of the four profiles"},
    {"d8608443a10101a1054b00000000000000000000004100818343a10103a040",
        TAM_BAD_COSE, "a short IV"},
    {"d8608440a10281054100818343a10103a040", TAM_CRITICAL_HEADER,
        "a critical header"},
};

START_TEST(what_cannot_be_opened_is_refused_when_decoded)
{
	struct slice bytes = test_hex(arena, refused[_i].hex);
	struct cose_encrypted m;
	enum tam_err err = cose_encrypt_decode(bytes, arena, &m);

	ck_assert_msg(err != TAM_OK, "%s: accepted", refused[_i].why);
	if (refused[_i].err != TAM_MALFORMED)
		ck_assert_msg(err == refused[_i].err, "%s: %s", refused[_i].why,
		    tam_err_name(err));
}
END_TEST

START_TEST(a_key_for_agreement_survives_pem)
{
	struct ecdh_private mine, again;
	struct buf pem;

	ecdh_private_generate(&mine, _i == 0 ? ECDH_P256 : ECDH_X25519);
	buf_init(&pem, 4096);
	ecdh_private_to_pem(&mine, &pem);
	ck_assert_int_eq(ecdh_private_from_pem(buf_slice(&pem), &again),
	    TAM_OK);
	ck_assert_mem_eq(again.key.thumbprint, mine.key.thumbprint, 32);
	buf_fini(&pem);
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("encrypt");

	crypto_init();
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, the_firmware_drafts_payloads_open);
	tcase_add_test(tc, a_key_wrapped_for_nobody_of_ours_does_not_open);
	tcase_add_test(tc, the_cose_example_of_ecdh_es_with_key_wrap_opens);
	tcase_add_loop_test(tc, an_encrypted_eat_opens_and_is_a_signed_result,
	    0, 2);
	tcase_add_loop_test(tc, an_encrypted_report_opens_and_is_a_report, 0,
	    2);
	tcase_add_loop_test(tc,
	    what_is_encrypted_opens_for_its_recipient_and_use_only, 0, 6);
	tcase_add_test(tc, a_key_is_tried_on_one_recipient);
	tcase_add_test(tc, no_more_reports_are_decrypted_than_are_allowed);
	tcase_add_test(tc, a_detached_ciphertext_opens);
	tcase_add_loop_test(tc, what_cannot_be_opened_is_refused_when_decoded,
	    0, (int)(sizeof(refused) / sizeof(refused[0])));
	tcase_add_loop_test(tc, a_key_for_agreement_survives_pem, 0, 2);
	return suite_main(tc);
}
