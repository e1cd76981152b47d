#include "config.h"

#include <stdint.h>

#include "lib/base/number.h"
#include "lib/base/terminal.h"
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
	LOOP(tc, a_terminal_is_shown_nothing_that_it_obeys, texts);
	tcase_add_test(tc, a_nul_is_shown_as_what_it_is);
	return suite_main(tc);
}
