#include "config.h"

#include <check.h>

#include "server/http/etag.h"
#include "tests/support/suite.h"

/* RFC 9110, 8.8.3 and 13.1; what If-Match and If-None-Match say of "1". */
static const struct {
	const char *list;
	enum etag_verdict strong, weak, nothing;
} lists[] = {
    {"\"1\"", ETAG_MATCHES, ETAG_MATCHES, ETAG_DIFFERS},
    {"\"2\"", ETAG_DIFFERS, ETAG_DIFFERS, ETAG_DIFFERS},
    {"\"2\", \"1\"", ETAG_MATCHES, ETAG_MATCHES, ETAG_DIFFERS},
    {"\"2\",\"1\"", ETAG_MATCHES, ETAG_MATCHES, ETAG_DIFFERS},
    {" , \"2\" ,, \"1\" , ", ETAG_MATCHES, ETAG_MATCHES, ETAG_DIFFERS},
    {"\"1, 1\"", ETAG_MALFORMED, ETAG_MALFORMED, ETAG_MALFORMED},
    {"\"1,1\"", ETAG_DIFFERS, ETAG_DIFFERS, ETAG_DIFFERS},
    {"\"11\"", ETAG_DIFFERS, ETAG_DIFFERS, ETAG_DIFFERS},
    {"W/\"1\"", ETAG_DIFFERS, ETAG_MATCHES, ETAG_DIFFERS},
    {"w/\"1\"", ETAG_MALFORMED, ETAG_MALFORMED, ETAG_MALFORMED},
    {"*", ETAG_MATCHES, ETAG_MATCHES, ETAG_DIFFERS},
    {" * ", ETAG_MATCHES, ETAG_MATCHES, ETAG_DIFFERS},
    {"*, \"1\"", ETAG_MALFORMED, ETAG_MALFORMED, ETAG_MALFORMED},
    {"\"*\"", ETAG_DIFFERS, ETAG_DIFFERS, ETAG_DIFFERS},
    {"", ETAG_MALFORMED, ETAG_MALFORMED, ETAG_MALFORMED},
    {",", ETAG_MALFORMED, ETAG_MALFORMED, ETAG_MALFORMED},
    {"1", ETAG_MALFORMED, ETAG_MALFORMED, ETAG_MALFORMED},
    {"\"1", ETAG_MALFORMED, ETAG_MALFORMED, ETAG_MALFORMED},
    {"\"1\" \"2\"", ETAG_MALFORMED, ETAG_MALFORMED, ETAG_MALFORMED},
    {"\"1\"x", ETAG_MALFORMED, ETAG_MALFORMED, ETAG_MALFORMED},
};

START_TEST(a_list_of_tags_matches_as_the_rfc_says)
{
	struct slice list = slice_str(lists[_i].list), one = SLICE_LIT("\"1\"");

	ck_assert_int_eq(etag_match(list, one, false), lists[_i].strong);
	ck_assert_int_eq(etag_match(list, one, true), lists[_i].weak);
	ck_assert_int_eq(etag_match(list, slice_none(), false),
	    lists[_i].nothing);
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("etag");

	LOOP(tc, a_list_of_tags_matches_as_the_rfc_says, lists);
	return suite_main(tc);
}
