#include "config.h"

#include <stdint.h>
#include <stdio.h>

#include "lib/base/nearest.h"
#include "lib/base/number.h"
#include "lib/base/percent.h"
#include "lib/base/terminal.h"
#include "lib/base/text.h"
#include "lib/base/utf8.h"
#include "tests/support/suite.h"

/* Numbers that people write, and text that others wrote. */

/* --- numbers ---------------------------------------------------------------------- */

static const struct {
	const char *text;
	int64_t min, max, value;
} good_numbers[] = {
    {"0", 0, 10, 0},
    {"007", 0, 10, 7},
    {"10", 0, 10, 10},
    {"-10", -10, 10, -10},
    {"-0", -1, 1, 0},
    {"9223372036854775807", 0, INT64_MAX, INT64_MAX},
    {"-9223372036854775808", INT64_MIN, 0, INT64_MIN},
};

START_TEST(a_number_in_its_range_is_taken)
{
	int64_t v = 77;

	ck_assert(number_parse(good_numbers[_i].text, good_numbers[_i].min,
	    good_numbers[_i].max, &v));
	ck_assert_int_eq(v, good_numbers[_i].value);
}
END_TEST

static const struct {
	const char *text;
	int64_t min, max;
} bad_numbers[] = {
    {"", 0, 10}, {"abc", 0, 10}, {"1e3", 0, INT64_MAX}, {"0x10", 0, INT64_MAX},
    {" 1", 0, 10}, {"1 ", 0, 10}, {"1\n", 0, 10}, {"+1", 0, 10}, {"-1", 0, 10},
    {"-", -10, 10}, {"--1", -10, 10}, {"-11", -10, 10}, {"11", 0, 10},
    {"4", 5, 10}, {"1.0", 0, 10}, {"1,0", 0, 10},
    {"9223372036854775808", 0, INT64_MAX},
    {"-9223372036854775809", INT64_MIN, INT64_MAX},
    {"18446744073709551616", 0, INT64_MAX},
    {"99999999999999999999999999", 0, INT64_MAX},
    {"\xd9\xa1", 0, 10}, /* Arabic-Indic one */
};

START_TEST(what_is_not_exactly_a_number_in_its_range_is_refused)
{
	int64_t v = 77;

	ck_assert(!number_parse(bad_numbers[_i].text, bad_numbers[_i].min,
	    bad_numbers[_i].max, &v));
	ck_assert_int_eq(v, 77);
}
END_TEST

START_TEST(an_unsigned_number_may_have_all_64_bits)
{
	uint64_t v = 77;

	ck_assert(
	    number_parse_unsigned("18446744073709551615", UINT64_MAX, &v));
	ck_assert_uint_eq(v, UINT64_MAX);
	ck_assert(
	    !number_parse_unsigned("18446744073709551616", UINT64_MAX, &v));
	ck_assert(!number_parse_unsigned("11", 10, &v));
	ck_assert(!number_parse_unsigned("-1", UINT64_MAX, &v));
	ck_assert(!number_parse_unsigned("1e3", UINT64_MAX, &v));
	ck_assert_uint_eq(v, UINT64_MAX);
}
END_TEST

START_TEST(a_decimal_number_has_digits_on_both_sides_of_its_point)
{
	static const char *const bad[] = {"", ".", ".5", "5.", "1e3", "inf",
	    "nan", "0x1p3", "-1", "1.5.2", " 1", "1,5", "101"};
	double v = 77;

	ck_assert(number_parse_decimal("0.25", 0, 100, &v));
	ck_assert_double_eq(v, 0.25);
	ck_assert(number_parse_decimal("100", 0, 100, &v));
	ck_assert_double_eq(v, 100);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(!number_parse_decimal(bad[i], 0, 100, &v), "%s",
		    bad[i]);
	ck_assert_double_eq(v, 100);
}
END_TEST

START_TEST(numbers_are_taken_one_after_another)
{
	struct slice line = SLICE_LIT("1 -22x");
	int64_t v;

	ck_assert(number_take(&line, 0, 100, &v));
	ck_assert_int_eq(v, 1);
	ck_assert(slice_is(line, " -22x"));
	ck_assert(!number_take(&line, -100, 100, &v));
	line.p++;
	line.n--;
	ck_assert(number_take(&line, -100, 100, &v));
	ck_assert_int_eq(v, -22);
	ck_assert(slice_is(line, "x"));
}
END_TEST

/* --- names ------------------------------------------------------------------------- */

static const struct {
	const char *name, *nearest;
} names[] = {
    {"clas", "class"},
    {"Class", "class"},
    {"calss", "class"},
    {"nmae", "name"},
    {"state", "status"},
    {"update_byte", "update_bytes"},
    {"keys", "key"},
    {"", NULL},
    {"x", NULL},
    {"serial", NULL},
    {"a very long name that nobody knows, longer than all that are known, "
     "and longer still, and even longer than twice the longest of those",
        NULL},
};

START_TEST(the_name_that_was_meant_is_found)
{
	static const char *const known[] = {"name", "class", "status", "labels",
	    "key", "update_bytes"};
	struct nearest near = {.name = names[_i].name};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		nearest_offer(&near, known[i]);
	ck_assert_pstr_eq(near.found, names[_i].nearest);
}
END_TEST

/* --- terminals --------------------------------------------------------------------- */

static const struct {
	const char *text, *shown, *json;
} texts[] = {
    {"plain \"text\" \\n", "plain \"text\" \\n", "plain \"text\" \\n"},
    {"caf\xc3\xa9 \xe6\x97\xa5", "caf\xc3\xa9 \xe6\x97\xa5",
        "caf\xc3\xa9 \xe6\x97\xa5"},
    {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
    {"a\x1b[2Jb", "a\\u{1b}[2Jb", "a\x1b[2Jb"},
    {"a\nb\tc\r", "a\\u{a}b\\u{9}c\\u{d}", "a\nb\tc\r"},
    {"\x7f", "\\u{7f}", "\\u007f"},
    {"\xc2\x9b"
     "31m",
        "\\u{9b}31m", "\\u009b31m"},
    {"\xe2\x80\xae"
     "exe.txt",
        "\\u{202e}exe.txt", "\\u202eexe.txt"},
    {"\xe2\x81\xa6\xe2\x81\xa9", "\\u{2066}\\u{2069}", "\\u2066\\u2069"},
    {"\xef\xbb\xbfname", "\\u{feff}name", "\\ufeffname"},
    {"\xf3\xa0\x81\xa1", "\\u{e0061}", "\\udb40\\udc61"},
    {"\xef\xbf\xbf", "\\u{ffff}", "\\uffff"},
    {"\xf0\x9f\xbf\xbf", "\\u{1ffff}", "\\ud83f\\udfff"},
    /* not UTF-8: alone, overlong, surrogate, beyond, cut */
    {"a\xff", "a\\xff", NULL},
    {"\xc0\x9b", "\\xc0\\x9b", NULL},
    {"\xed\xa0\x80", "\\xed\\xa0\\x80", NULL},
    {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80", NULL},
    {"caf\xc3", "caf\\xc3", NULL},
};

START_TEST(a_terminal_is_shown_nothing_that_it_obeys)
{
	struct slice text = slice_str(texts[_i].text);
	struct buf b;

	buf_init(&b, 1000);
	terminal_escape(text, &b);
	ck_assert_str_eq(buf_cstr(&b), texts[_i].shown);
	ck_assert_int_eq(terminal_is_safe(text),
	    slice_is(text, texts[_i].shown));
	buf_clear(&b);
	terminal_escape_json(text, &b);
	if (texts[_i].json != NULL)
		ck_assert_str_eq(buf_cstr(&b), texts[_i].json);
	buf_fini(&b);
}
END_TEST

START_TEST(a_nul_is_shown_as_what_it_is)
{
	struct buf b;

	buf_init(&b, 1000);
	terminal_escape((struct slice){(const uint8_t *)"a\0b", 3}, &b);
	ck_assert_str_eq(buf_cstr(&b), "a\\u{0}b");
	buf_fini(&b);
}
END_TEST

/* --- kept texts ----------------------------------------------------------------------- */

static const struct {
	const char *text;
	bool name, line, lines;
} kept[] = {
    {"urn:dev:mac:0024befffe804ff1", true, true, true},
    {"a b", true, true, true},
    {"x/y", true, true, true},
    {"caf\xc3\xa9", true, true, true},
    {"100%", true, true, true},
    {"...", true, true, true},
    {"", false, true, true},
    {".", false, true, true},
    {"..", false, true, true},
    {"\xd9\x85\xdb\x8c\xe2\x80\x8c\xd8\xae", false, true, true}, /* Persian */
    {"a\nb", false, false, true},
    {"a\tb", false, false, true},
    {"a\x1b[2Jb", false, false, false},
    {"\x7f", false, false, false},
    {"\xc2\x9b"
     "31m",
        false, false, false},
    {"\xe2\x80\xae"
     "exe.txt",
        false, false, false}, /* right-to-left override */
    {"\xe2\x81\xa6", false, false, false},
    {"\xe2\x80\x8b", false, false, false}, /* zero-width space */
    {"\xff", false, false, false},
    {"\xc0\xaf", false, false, false}, /* overlong slash */
    {"\xed\xa0\x80", false, false, false},
};

START_TEST(a_text_is_kept_only_when_it_shows_what_it_is)
{
	struct slice text = slice_str(kept[_i].text);

	ck_assert_int_eq(text_fault(text, TEXT_NAME) == NULL, kept[_i].name);
	ck_assert_int_eq(text_fault(text, TEXT_LINE) == NULL, kept[_i].line);
	ck_assert_int_eq(text_fault(text, TEXT_LINES) == NULL, kept[_i].lines);
}
END_TEST

START_TEST(a_text_with_a_nul_is_not_kept)
{
	struct slice text = {(const uint8_t *)"a\0b", 3};

	ck_assert_ptr_nonnull(text_fault(text, TEXT_NAME));
	ck_assert_ptr_nonnull(text_fault(text, TEXT_LINES));
}
END_TEST

/* --- percent-encoding --------------------------------------------------------------------- */

/* RFC 3986, 2.1; NULL: refused. */
static const struct {
	const char *text, *segment, *form;
} encoded[] = {
    {"plain", "plain", "plain"},
    {"a%20b", "a b", "a b"},
    {"a+b", "a+b", "a b"},
    {"x%2Fy", "x/y", "x/y"},
    {"x%2fy", "x/y", "x/y"},
    {"%C3%A9", "\xc3\xa9", "\xc3\xa9"},
    {"%2541", "%41", "%41"}, /* once, not twice */
    {"%41", "A", "A"},
    {"%", NULL, NULL},
    {"a%4", NULL, NULL},
    {"%zz", NULL, NULL},
    {"%4 1", NULL, NULL},
    {"%%41", NULL, NULL},
};

START_TEST(a_part_of_a_url_is_decoded_exactly_once)
{
	struct arena *arena = arena_new_in(NULL);
	struct slice text = slice_str(encoded[_i].text), out;

	ck_assert_int_eq(percent_decode(arena, text, &out),
	    encoded[_i].segment != NULL);
	if (encoded[_i].segment != NULL)
		ck_assert(slice_is(out, encoded[_i].segment));
	ck_assert_int_eq(percent_decode_form(arena, text, &out),
	    encoded[_i].form != NULL);
	if (encoded[_i].form != NULL)
		ck_assert(slice_is(out, encoded[_i].form));
	arena_free(arena);
}
END_TEST

START_TEST(every_byte_survives_encoding_and_decoding)
{
	struct arena *arena = arena_new_in(NULL);
	uint8_t all[256];
	struct slice out;
	struct buf b;

	for (int i = 0; i < 256; i++)
		all[i] = (uint8_t)i;
	buf_init(&b, 1000);
	percent_encode(SLICE_OF(all), &b);
	ck_assert(percent_decode(arena, buf_slice(&b), &out));
	ck_assert(slice_eq(out, SLICE_OF(all)));
	ck_assert(percent_decode_form(arena, buf_slice(&b), &out));
	ck_assert(slice_eq(out, SLICE_OF(all)));
	buf_fini(&b);
	arena_free(arena);
}
END_TEST

/* --- UTF-8 ------------------------------------------------------------------------- */

static const struct {
	const char *text, *trimmed, *repaired;
} blanks[] = {
    {"", "", ""},
    {" \t\r\n ", "", " \t\r\n "},
    {"  two  words ", "two  words", "  two  words "},
    {"\xc2\xa0\xe3\x80\x80\xe2\x80\x8b\xef\xbb\xbf", "",
        "\xc2\xa0\xe3\x80\x80\xe2\x80\x8b\xef\xbb\xbf"},
    {"\xc2\xa0\xc3\xa9\xe2\x80\xa8", "\xc3\xa9",
        "\xc2\xa0\xc3\xa9\xe2\x80\xa8"},
    {"cut \xc3", "cut \xc3", "cut ?"},
    {"\xff\xe2\x82z", "\xff\xe2\x82z",
        "???"
        "z"},
};

START_TEST(a_text_is_trimmed_of_blanks_of_any_script)
{
	ck_assert(slice_is(utf8_trim(slice_str(blanks[_i].text)),
	    blanks[_i].trimmed));
}
END_TEST

START_TEST(bytes_that_are_no_text_are_written_over)
{
	char text[64];

	(void)snprintf(text, sizeof(text), "%s", blanks[_i].text);
	utf8_repair(text);
	ck_assert_str_eq(text, blanks[_i].repaired);
	ck_assert(utf8_valid(slice_str(text)));
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("text");

	LOOP(tc, a_number_in_its_range_is_taken, good_numbers);
	LOOP(tc, what_is_not_exactly_a_number_in_its_range_is_refused,
	    bad_numbers);
	tcase_add_test(tc, an_unsigned_number_may_have_all_64_bits);
	tcase_add_test(tc,
	    a_decimal_number_has_digits_on_both_sides_of_its_point);
	tcase_add_test(tc, numbers_are_taken_one_after_another);
	LOOP(tc, the_name_that_was_meant_is_found, names);
	LOOP(tc, a_terminal_is_shown_nothing_that_it_obeys, texts);
	tcase_add_test(tc, a_nul_is_shown_as_what_it_is);
	LOOP(tc, a_text_is_kept_only_when_it_shows_what_it_is, kept);
	tcase_add_test(tc, a_text_with_a_nul_is_not_kept);
	LOOP(tc, a_part_of_a_url_is_decoded_exactly_once, encoded);
	tcase_add_test(tc, every_byte_survives_encoding_and_decoding);
	LOOP(tc, a_text_is_trimmed_of_blanks_of_any_script, blanks);
	LOOP(tc, bytes_that_are_no_text_are_written_over, blanks);
	return suite_main(tc);
}
