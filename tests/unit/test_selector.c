#include "config.h"

#include <check.h>

#include "lib/base/arena.h"
#include "policy/selector.h"
#include "policy/version.h"
#include "tests/support/suite.h"

/* The language of selectors: what it takes, what it means, what it refuses. */

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

/* A component id is its text here. */
static bool
parse_id(struct arena *a, const char *text, struct slice *out)
{
	*out = arena_dup(a, slice_str(text));
	return strchr(text, ' ') == NULL;
}

/* Ascending; those on one line are equal. */
static const char *const versions[][5] = {{"", "-", "0"}, {"alpha"},
    {"1-alpha"}, {"1.0-rc1", "1rc1", "1.0.RC-1"}, {"1.0-rc2"},
    {"1", "1.0", "01.0.0"}, {"1.0.1"}, {"1.2", "1.2.0"},
    {"1.10", "1.10+build5", "v1.10", "V1.10.0+a.b-1"},
    {"1.11-rc1+z", "v1.11-rc1"}, {"2"}, {"10"}, {"99999999999999999999999999"},
    {"100000000000000000000000000"}};

START_TEST(versions_are_in_order)
{
	enum {
		N = sizeof(versions) / sizeof(versions[0])
	};
	int step = 0;

	/* "" ends at once: it is before numbers and after letters. */
	for (int i = 1; i < N; i++) {
		for (int j = 1; j < N; j++) {
			step = i < j ? -1 : i > j ? 1 : 0;
			ck_assert_msg(version_cmp(slice_str(versions[i][0]),
			                  slice_str(versions[j][0])) == step,
			    "%s and %s", versions[i][0], versions[j][0]);
		}
		for (int k = 1; k < 5 && versions[i][k] != NULL; k++)
			ck_assert_msg(version_cmp(slice_str(versions[i][0]),
			                  slice_str(versions[i][k])) == 0,
			    "%s is not %s", versions[i][0], versions[i][k]);
	}
	ck_assert_int_eq(version_cmp(slice_str(""), slice_str("-")), 0);
	ck_assert_int_eq(version_cmp(slice_str(""), slice_str("1")), -1);
	ck_assert_int_eq(version_cmp(slice_str(""), slice_str("a")), 1);
}
END_TEST

static const uint8_t key[2] = {0xab, 0xcd}, image[2] = {1, 2};

static struct selector_subject
subject(void)
{
	static const struct selector_label labels[] = {{SLICE_LIT("region"),
	                                                   SLICE_LIT("eu")},
	    {SLICE_LIT("empty"), {(const uint8_t *)"", 0}},
	    {SLICE_LIT("a b"), SLICE_LIT("it's")},
	    {SLICE_LIT("fw"), SLICE_LIT("2.10")}};
	static const struct slice keys[] = {SLICE_OF(key)};
	static const struct policy_component held[] = {{SLICE_LIT("v/ta"),
	                                                   SLICE_OF(image)},
	    {SLICE_LIT("v/b"), {NULL, 0}}};
	static const struct slice requested[] = {SLICE_LIT("v/want")};
	static const struct policy_image images[] = {{SLICE_LIT("v/ta"),
	                                                 SLICE_OF(image), 3},
	    {SLICE_LIT("v/ta"), SLICE_OF(image), 9}};

	return (struct selector_subject){.domain = SLICE_LIT("default"),
	    .name = SLICE_LIT("cam-7"),
	    .status = SLICE_LIT("active"),
	    .class_name = SLICE_LIT("cam"),
	    .n_labels = 4,
	    .labels = labels,
	    .n_keys = 1,
	    .keys = keys,
	    .n_components = 2,
	    .components = held,
	    .n_images = 2,
	    .images = images,
	    .n_requested = 1,
	    .requested = requested,
	    .appraisal = {.result = SLICE_LIT("affirmed"),
	        .verifier = SLICE_LIT("v1"),
	        .oemid = SLICE_OF(key),
	        .hwversion = SLICE_LIT("2.1"),
	        .tier = 2,
	        .at_us = 1000000},
	    .first_seen_us = INT64_C(1767225600000000), /* 2026-01-01 */
	    .last_seen_us = INT64_C(1767225600000000),
	    .now_us = INT64_C(1767312000000000)};
}

static const struct {
	const char *selector;
	bool matches;
} selectors[] = {
    {"", true},
    {" \n ", true},
    {"class == \"cam\"", true},
    {"class == 'cam'", true},
    {"class == \"lock\"", false},
    {"class != \"lock\"", true},
    {"class in (\"lock\", \"cam\")", true},
    {"class not in (\"lock\", \"cam\")", false},
    {"labels.region == \"eu\"", true},
    {"labels.region in (\"us\")", false},
    {"labels[\"a b\"] == \"it's\"", true},
    {"labels.other == \"\"", false},
    {"labels.other != \"\"", true},
    {"not labels.other == \"no\"", true},
    {"labels.empty == \"\"", true},
    {"exists labels.empty", true},
    {"exists labels.other", false},
    {"not exists labels.other", true},
    {"labels.fw >= \"2.9\"", true},
    {"labels.fw < \"2.9\"", false},
    {"labels.other < \"9\"", false},
    {"class==\"cam\"and labels.region==\"eu\"", true},
    {"class == \"cam\" and labels.region == \"us\"", false},
    {"class == \"x\" or labels.region == \"eu\" and class == \"cam\"", true},
    {"(class == \"x\" or class == \"cam\") and labels.region == \"us\"", false},
    {"not (class == \"x\" or class == \"y\")", true},
    {"not not class == \"cam\"", true},
    {"name == \"cam-7\" and domain == \"default\" and status == \"active\"",
        true},
    {"status in (\"pending\", \"quarantined\")", false},
    {"key == \"ABcd\"", true},
    {"key == \"ab\"", false},
    {"oemid == \"abcd\" and not exists ueid", true},
    {"hwversion >= \"2.1\" and hwversion < \"2.1.1\"", true},
    {"tier in (\"affirming\", \"warning\") and verifier == \"v1\"", true},
    {"tier == \"none\"", false},
    {"attestation == \"affirmed\"", true},
    {"attestation != \"none\"", true},
    {"attested < \"1971-01-01\"", true},
    {"first_seen >= \"2026-01-01\"", true},
    {"first_seen > \"2026-01-01T00:00:00Z\"", false},
    {"first_seen < \"2026-01-01T01:00:00+01:00\"", false},
    /* RFC 3339, 5.6: fractions, as the API prints them; small letters */
    {"first_seen < \"2026-01-01T00:00:00.000001+00:00\"", true},
    {"first_seen < \"2026-01-01T00:00:00.0000009Z\"", false},
    {"first_seen < \"2026-01-01T00:00:00.5Z\"", true},
    {"first_seen >= \"2026-01-01T00:00:00.000000000Z\"", true},
    {"first_seen < \"2026-01-01t00:00:00.1z\"", true},
    {"first_seen < \"2028-02-29\"", true},
    {"first_seen > \"2024-02-29T23:59:59Z\"", true},
    {"first_seen > \"2000-02-29\"", true},
    {"first_seen <= \"2026-01-01T01:00:00+01:00\"", true},
    {"last_seen < ago(23h)", true},
    {"last_seen < ago(25h)", false},
    {"last_seen >= ago(1d)", true},
    {"component(\"v/ta\")", true},
    {"exists component(\"v/ta\")", true},
    {"component(\"v/x\")", false},
    {"not component(\"v/x\") and component(\"v/b\")", true},
    {"requested(\"v/want\")", true},
    {"exists requested(\"v/want\")", true},
    {"requested(\"v/ta\")", false},
    {"not requested(\"v/ta\")", true},
    {"component(\"v/ta\").digest == \"0102\"", true},
    {"component(\"v/ta\").digest != \"0102\"", false},
    {"component(\"v/b\").digest != \"0102\"", true},
    {"exists component(\"v/b\").digest", false},
    {"component(\"v/ta\").sequence < 5", true},
    {"component(\"v/ta\").sequence > 5", true},
    {"component(\"v/ta\").sequence > 9", false},
    {"component(\"v/ta\").sequence in (1, 9)", true},
    {"component(\"v/b\").sequence < 5", false},
};

START_TEST(selectors_match_what_they_say)
{
	struct selector_subject d = subject();
	char error[SELECTOR_ERROR_MAX];
	struct selector *s =
	    selector_compile(arena, selectors[_i].selector, parse_id, error);

	ck_assert_msg(s != NULL, "%s: %s", selectors[_i].selector, error);
	ck_assert_msg(selector_matches(s, &d) == selectors[_i].matches, "%s",
	    selectors[_i].selector);
}
END_TEST

static const struct {
	const char *selector, *error;
} bad[] = {
    {"klass == \"a\"", "column 1: expected a field"},
    {"class = \"a\"", "column 7: expected ==, !=, <, <="},
    {"class == a", "column 10: expected a string in quotes"},
    {"class == \"a", "column 12: expected a closing double quote"},
    {"class == \"a\" class == \"b\"",
        "column 14: expected and, or, or the end"},
    {"class in \"a\"", "column 10: expected ("},
    {"class in (\"a\"", "column 14: expected , or )"},
    {"class not \"a\"", "column 11: expected in"},
    {"labels. == \"a\"", "column 8: expected the name of a label"},
    {"labels == \"a\"", "column 8: expected . or ["},
    {"labels[\"a\" == \"a\"", "column 12: expected ]"},
    {"(class == \"a\"", "column 14: expected and, or, or )"},
    {"class == \"a\" and", "column 17: expected a field"},
    {"key == \"xyz\"", "column 8: expected hexadecimal"},
    {"key < \"ab\"", "column 5: expected ==, != or in: this has no order"},
    {"status == \"asleep\"", "column 11: expected \"pending\""},
    {"attestation == \"good\"", "column 16: expected \"none\", \"affirmed\""},
    {"tier == \"best\"", "column 9: expected \"none\", \"affirming\""},
    {"tier > \"none\"", "column 6: expected ==, != or in"},
    {"last_seen == \"2026-01-01\"", "column 11: expected <, <=, > or >="},
    {"last_seen < 7", "column 13: expected a time in quotes, or ago(7d)"},
    {"last_seen < \"yesterday\"", "column 13: expected a time like"},
    {"last_seen < \"2026-13-01\"", "column 13: expected a time like"},
    {"last_seen < \"2026-02-29T25:00:00Z\"", "column 13: expected a time"},
    {"last_seen < \"2026-02-29\"", "column 13: expected a time like"},
    {"last_seen < \"2100-02-29\"", "column 13: expected a time like"},
    {"last_seen < \"2028-02-30\"", "column 13: expected a time like"},
    {"last_seen < \"2026-04-31\"", "column 13: expected a time like"},
    {"last_seen < \"2026-01-00\"", "column 13: expected a time like"},
    {"last_seen < \"2026-01-01T00:00:00.Z\"", "column 13: expected a time"},
    {"last_seen < \"2026-01-01T00:00:00.1234567890Z\"",
        "column 13: expected a time"},
    {"last_seen < \"2026-01-01T00:00:00.5\"", "column 13: expected a time"},
    {"last_seen < \"2026-01-01T00:00:60Z\"", "column 13: expected a time"},
    {"last_seen < ago(7y)", "column 18: expected s, m, h, d or w"},
    {"last_seen < ago(9999999w)", "column 25: expected no more than a hund"},
    {"component(\"a b\")", "column 11: expected a component id"},
    {"requested(\"a b\")", "column 11: expected a component id"},
    {"requested(\"a\").digest == \"00\"",
        "column 15: expected and, or, or the end"},
    {"requested \"a\"", "column 1: expected a field"},
    {"component(\"a\").size", "column 15: expected and, or, or the end"},
    {"component(\"a\").sequence == \"1\"",
        "column 28: expected a whole number"},
    {"component(\"a\").sequence > 1234567890123456789",
        "column 27: expected a number below"},
};

START_TEST(an_error_points_at_the_column)
{
	char error[SELECTOR_ERROR_MAX] = "";

	ck_assert_msg(selector_compile(arena, bad[_i].selector, parse_id,
	                  error) == NULL,
	    "%s was taken", bad[_i].selector);
	ck_assert_msg(strncmp(error, bad[_i].error, strlen(bad[_i].error)) == 0,
	    "%s: %s, not %s", bad[_i].selector, error, bad[_i].error);
}
END_TEST

START_TEST(what_is_too_much_is_refused)
{
	char error[SELECTOR_ERROR_MAX], text[SELECTOR_MAX + 10] = "";

	for (int i = 0; i < 33; i++)
		strncat(text, "not ", 5);
	strncat(text, "class == \"a\"", 16);
	ck_assert(selector_compile(arena, text, parse_id, error) == NULL);
	ck_assert_ptr_nonnull(strstr(error, "32 levels"));
	text[0] = '\0';
	for (int i = 0; i < 65; i++)
		strncat(text, i == 0 ? "name == \"\"" : " or name == \"\"", 16);
	ck_assert(selector_compile(arena, text, parse_id, error) == NULL);
	ck_assert_ptr_nonnull(strstr(error, "64 tests"));
	memset(text, ' ', SELECTOR_MAX + 1);
	text[SELECTOR_MAX + 1] = '\0';
	ck_assert(selector_compile(arena, text, parse_id, error) == NULL);
	ck_assert_str_eq(error, "column 4097: expected the end");
}
END_TEST

START_TEST(what_time_alone_changes_is_not_lasting)
{
	static const struct {
		const char *text;
		bool lasting;
	} all[] = {{"class == \"a\"", true},
	    {"last_seen < \"2026-01-01\"", false},
	    {"first_seen < \"2026-01-01\"", true},
	    {"first_seen < ago(7d)", false},
	    {"not (class == \"a\" or attested > \"2026-01-01\")", false}};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		char error[SELECTOR_ERROR_MAX];
		struct selector *s =
		    selector_compile(arena, all[i].text, parse_id, error);

		ck_assert_msg(selector_is_lasting(s) == all[i].lasting, "%s",
		    all[i].text);
	}
}
END_TEST

/* A value never becomes part of a statement. */
START_TEST(values_are_parameters)
{
	const char *params[SELECTOR_SQL_PARAMS_MAX];
	char error[SELECTOR_ERROR_MAX];
	struct selector *s = selector_compile(arena,
	    "class in ('a\"; DROP', '\\') or "
	    "labels[\"x'\"] < \"1'2\"",
	    parse_id, error);
	struct buf b;

	ck_assert_msg(s != NULL, "%s", error);
	buf_init(&b, 4096);
	ck_assert_uint_eq(selector_sql(s, 0, 3, arena, &b, params), 3);
	ck_assert_str_eq(params[0], "{\"a\\\"; DROP\",\"\\\\\"}");
	ck_assert_str_eq(params[1], "x'");
	ck_assert_str_eq(params[2], "1'2");
	ck_assert(strstr(arena_strdup(arena, buf_slice(&b)), "DROP") == NULL);
	ck_assert(
	    strstr(arena_strdup(arena, buf_slice(&b)), "$3::text[]") != NULL);
	buf_fini(&b);
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("selector");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, versions_are_in_order);
	LOOP(tc, selectors_match_what_they_say, selectors);
	LOOP(tc, an_error_points_at_the_column, bad);
	tcase_add_test(tc, what_is_too_much_is_refused);
	tcase_add_test(tc, what_time_alone_changes_is_not_lasting);
	tcase_add_test(tc, values_are_parameters);
	return suite_main(tc);
}
