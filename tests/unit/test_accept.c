#include "config.h"

#include <check.h>

#include "server/http/accept.h"
#include "tests/support/suite.h"

/* RFC 9110, 12.5.1 and 12.4.2. */
static const struct {
	const char *list;
	bool covers;
} lists[] = {
    {"application/teep+cbor", true},
    {"APPLICATION/Teep+CBOR", true},
    {"application/*", true},
    {"*/*", true},
    {"text/html, application/teep+cbor", true},
    {"text/html;q=1,*/*;q=0.1", true},
    {"application/teep+cbor;q=0.001", true},
    {"application/teep+cbor ; q=0.5", true},
    {"application/teep+cbor;v=1", true},
    {"text/html;a=\"x,y\", application/teep+cbor", true},
    {", ,application/teep+cbor", true},
    {"bad range, */*", true},
    {"*/*;q=0, application/*", true},
    {"", false},
    {"text/html", false},
    {"text/*", false},
    {"*/teep+cbor", false},
    {"application/teep", false},
    {"application/teep+cbor2", false},
    {"application/teep+cbor;q=0", false},
    {"application/teep+cbor;q=0.000", false},
    {"application/teep+cbor;Q=0", false},
    /* the most specific range decides, wherever it is */
    {"application/teep+cbor;q=0, */*", false},
    {"*/*, application/teep+cbor;q=0", false},
    {"application/*;q=0, */*", false},
    {"text/html;a=\"x, application/teep+cbor\"", false},
    /* a weight that is none: the range is not read */
    {"application/teep+cbor;q=2", false},
    {"application/teep+cbor;q=0.5555", false},
    {"application/teep+cbor;q=", false},
    {"application/teep+cbor;q=-1", false},
    {"application/teep+cbor;q=\"1\"", false},
    {"application", false},
    {"/", false},
};

START_TEST(the_most_specific_range_decides)
{
	ck_assert_int_eq(accept_covers(slice_str(lists[_i].list),
	                     "application/teep+cbor"),
	    lists[_i].covers);
}
END_TEST

START_TEST(a_media_type_may_have_parameters)
{
	const char *type = "application/teep+cbor";

	ck_assert(media_type_is(slice_str("application/teep+cbor"), type));
	ck_assert(media_type_is(slice_str("Application/TEEP+cbor ;a=b"), type));
	ck_assert(!media_type_is(slice_str("application/teep+cborx"), type));
	ck_assert(!media_type_is(slice_str("application/teep+cbor x"), type));
	ck_assert(!media_type_is(slice_none(), type));
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("accept");

	LOOP(tc, the_most_specific_range_decides, lists);
	tcase_add_test(tc, a_media_type_may_have_parameters);
	return suite_main(tc);
}
