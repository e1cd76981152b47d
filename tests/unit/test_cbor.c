#include "config.h"

#include <cbor.h>
#include <stdlib.h>

#include <check.h>

#include "lib/codec/cbor_in.h"
#include "lib/codec/cbor_out.h"
#include "lib/codec/crypto.h"
#include "tests/support/files.h"
#include "tests/support/suite.h"

static struct cbor_in in;
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

START_TEST(reads_the_fields_in_order)
{
	cbor_in_open(&in, test_hex(arena, "8701 43616263 6161 20 f5 d201 f6"),
	    arena, CBOR_ANY);
	ck_assert_uint_eq(cbor_in_array(&in, 7), 7);
	ck_assert_uint_eq(cbor_in_uint(&in, 9), 1);
	ck_assert(slice_is(cbor_in_bytes(&in, 3, 3), "abc"));
	ck_assert(slice_is(cbor_in_text(&in, 0, 9), "a"));
	ck_assert_int_eq(cbor_in_int(&in), -1);
	ck_assert(cbor_in_bool(&in));
	ck_assert_uint_eq(cbor_in_tag(&in), 18);
	ck_assert_uint_eq(cbor_in_uint(&in, 9), 1);
	ck_assert(cbor_in_accept_null(&in));
	ck_assert_int_eq(cbor_in_finish(&in), TAM_OK);
}
END_TEST

START_TEST(a_text_with_a_nul_is_not_taken_and_can_be_shown)
{
	struct slice message = test_hex(arena, "63 610062");

	cbor_in_open(&in, message, arena, CBOR_ANY);
	ck_assert_uint_eq(cbor_in_text(&in, 0, 9).n, 0);
	ck_assert_int_eq(cbor_in_finish(&in), TAM_NUL_IN_TEXT);
	cbor_in_open(&in, message, arena, CBOR_ANY);
	ck_assert_uint_eq(cbor_in_any_text(&in).n, 3);
	ck_assert_int_eq(cbor_in_finish(&in), TAM_OK);
}
END_TEST

/* Each row is one way a peer can be wrong; _i is Check's loop index. */
static const struct {
	const char *message;
	enum tam_err err;
} bad[] = {
    {"", TAM_TRUNCATED},
    {"8201", TAM_TRUNCATED},
    {"43 6162", TAM_TRUNCATED},
    {"1901", TAM_TRUNCATED},
    {"0102", TAM_TRAILING_BYTES},
    {"1c", TAM_MALFORMED},
    {"ff", TAM_MALFORMED},
    {"81ff", TAM_MALFORMED},
    {"1f", TAM_MALFORMED},
    {"df00ff", TAM_MALFORMED},
    {"f818", TAM_MALFORMED},
    {"5f 6161 ff", TAM_MALFORMED},
    {"5f 5f4161ff ff", TAM_MALFORMED},
    {"bf 01 ff", TAM_MALFORMED},
    {"9f01", TAM_TRUNCATED},
    {"9a7fffffff01", TAM_TRUNCATED},
    {"9bffffffffffffffff", TAM_TRUNCATED},
    {"bb7fffffffffffffff00", TAM_TRUNCATED},
    {"5bffffffffffffffff", TAM_TRUNCATED},
    {"61ff", TAM_BAD_UTF8},
    {"62c080", TAM_BAD_UTF8},
    {"63eda080", TAM_BAD_UTF8},
    {"a201020103", TAM_DUPLICATE_KEY},
    {"a3 0101 0202 0103", TAM_DUPLICATE_KEY},
    {"a2 0102 180103", TAM_DUPLICATE_KEY},
    {"bf 0102 0103 ff", TAM_DUPLICATE_KEY},
    {"818181818181818181818181818181818100", TAM_TOO_DEEP},
    {"c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c100", TAM_TOO_DEEP},
};

START_TEST(refuses_what_is_not_one_sound_item)
{
	cbor_in_open(&in, test_hex(arena, bad[_i].message), arena, CBOR_ANY);
	ck_assert_int_eq(cbor_in_finish(&in), bad[_i].err);
}
END_TEST

START_TEST(reads_any_encoding_of_the_same_item_alike)
{
	/* [1, h'616263', {2: "ab"}] with long heads and indefinite lengths. */
	cbor_in_open(&in,
	    test_hex(arena,
	        "9f 1801 5f 4161 426263 ff bf 1a00000002 7f 6161 "
	        "6162 ff ff ff"),
	    arena, CBOR_ANY);
	ck_assert(
	    slice_eq(in.rest, test_hex(arena, "8301 43616263 a102626162")));
	ck_assert_int_eq(in.err, TAM_OK);
}
END_TEST

static const struct {
	const char *message;
	enum cbor_form form;
	enum tam_err err;
} forms[] = {
    {"1801", CBOR_PLAIN, TAM_NOT_DETERMINISTIC},
    {"9f01ff", CBOR_PLAIN, TAM_NOT_DETERMINISTIC},
    {"a2 0201 0102", CBOR_PLAIN, TAM_OK},
    {"a2 0201 0102", CBOR_DETERMINISTIC, TAM_NOT_DETERMINISTIC},
    {"a2 0101 0202", CBOR_DETERMINISTIC, TAM_OK},
    {"a2 0101 2002", CBOR_DETERMINISTIC, TAM_OK},
};

START_TEST(holds_a_profile_to_its_encoding)
{
	cbor_in_open(&in, test_hex(arena, forms[_i].message), arena,
	    forms[_i].form);
	ck_assert_int_eq(in.err, forms[_i].err);
}
END_TEST

START_TEST(keeps_the_first_error_and_its_offset)
{
	cbor_in_open(&in, test_hex(arena, "83 01 4161 02"), arena, CBOR_ANY);
	(void)cbor_in_array(&in, 3);
	(void)cbor_in_uint(&in, 9);
	(void)cbor_in_uint(&in, 9);
	(void)cbor_in_bytes(&in, 9, 9);
	ck_assert_int_eq(cbor_in_finish(&in), TAM_WRONG_TYPE);
	ck_assert_uint_eq(in.err_offset, 2);
}
END_TEST

START_TEST(bounds_lengths_and_values)
{
	struct slice message = test_hex(arena, "43616263");

	cbor_in_open(&in, message, arena, CBOR_ANY);
	(void)cbor_in_bytes(&in, 0, 2);
	ck_assert_int_eq(in.err, TAM_TOO_LARGE);
	cbor_in_open(&in, message, arena, CBOR_ANY);
	(void)cbor_in_bytes(&in, 4, 8);
	ck_assert_int_eq(in.err, TAM_OUT_OF_RANGE);
	cbor_in_open(&in, test_hex(arena, "1903e8"), arena, CBOR_ANY);
	(void)cbor_in_uint(&in, 999);
	ck_assert_int_eq(in.err, TAM_OUT_OF_RANGE);
}
END_TEST

/* A map of 40 keys that do not ascend: comparing them would be quadratic. */
START_TEST(bounds_the_work_a_map_can_cause)
{
	struct buf b;

	buf_init(&b, 4096);
	cbor_out_map(&b, 40);
	for (unsigned i = 40; i > 0; i--) {
		cbor_out_uint(&b, i);
		cbor_out_uint(&b, 0);
	}
	cbor_in_open(&in, buf_slice(&b), arena, CBOR_ANY);
	ck_assert_int_eq(in.err, TAM_TOO_LARGE);
	buf_fini(&b);
}
END_TEST

/* Whatever libcbor's decoder takes, ours must take (but for our limits). */
START_TEST(accepts_what_libcbor_accepts)
{
	uint8_t bytes[64];

	for (unsigned round = 0; round < 20000; round++) {
		struct cbor_load_result result;
		size_t n = round % 24 + 1;
		cbor_item_t *item;

		crypto_random(bytes, n);
		/* libcbor 0.8 allocates what a length claims. */
		for (size_t i = 0; i < n; i++) {
			if (bytes[i] >= 0x40 && bytes[i] < 0xc0 &&
			    (bytes[i] & 0x1f) > 24 && (bytes[i] & 0x1f) < 28)
				bytes[i] &= 0xf7;
		}
		item = cbor_load(bytes, n, &result);
		if (item == NULL)
			continue;
		cbor_in_open(&in, (struct slice){bytes, result.read}, arena,
		    CBOR_ANY);
		ck_assert(in.err == TAM_OK || in.err == TAM_DUPLICATE_KEY ||
		    in.err == TAM_BAD_UTF8 || in.err == TAM_MALFORMED);
		cbor_decref(&item);
	}
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("cbor");

	crypto_init();
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, reads_the_fields_in_order);
	tcase_add_test(tc, a_text_with_a_nul_is_not_taken_and_can_be_shown);
	tcase_add_loop_test(tc, refuses_what_is_not_one_sound_item, 0,
	    (int)(sizeof(bad) / sizeof(bad[0])));
	tcase_add_test(tc, reads_any_encoding_of_the_same_item_alike);
	tcase_add_loop_test(tc, holds_a_profile_to_its_encoding, 0,
	    (int)(sizeof(forms) / sizeof(forms[0])));
	tcase_add_test(tc, keeps_the_first_error_and_its_offset);
	tcase_add_test(tc, bounds_lengths_and_values);
	tcase_add_test(tc, bounds_the_work_a_map_can_cause);
	tcase_add_test(tc, accepts_what_libcbor_accepts);
	return suite_main(tc);
}
