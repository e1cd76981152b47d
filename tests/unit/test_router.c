#include "config.h"

#include <check.h>

#include "server/http/server.h"
#include "tests/support/suite.h"

static void
handler(struct http_exchange *x)
{
	(void)x;
}

static const struct http_route routes[] = {
    {.method = "GET", .path = "/v1/devices", .handler = handler},
    {.method = "GET", .path = "/v1/devices/{name}", .handler = handler},
    {.method = "GET", .path = "/v1/devices/{name}/events", .handler = handler},
    {.path = "/tam/{domain}/{profile}", .handler = handler},
};

/* RFC 3986, 2.4: split first, then decode, once.  route -1: refused. */
static const struct {
	const char *path;
	int route, status;
	const char *param;
} paths[] = {
    {"/v1/devices", 0, 0, ""},
    {"/v1/devices/urn:dev:mac:0024befffe804ff1", 1, 0,
        "urn:dev:mac:0024befffe804ff1"},
    {"/v1/devices/urn%3Adev%3amac:00", 1, 0, "urn:dev:mac:00"},
    {"/v1/devices/a%20b", 1, 0, "a b"},
    {"/v1/devices/a+b", 1, 0, "a+b"},
    {"/v1/devices/x%2Fy", 1, 0, "x/y"},
    {"/v1/devices/x%2Fevents", 1, 0, "x/events"},
    {"/v1/devices/x%2Fy/events", 2, 0, "x/y"},
    {"/v1/devices/caf%C3%A9", 1, 0, "caf\xc3\xa9"},
    {"/v1/devices/caf\xc3\xa9", 1, 0, "caf\xc3\xa9"},
    {"/v1/devices/%2541", 1, 0, "%41"},
    {"/%76%31/devices/a", 1, 0, "a"},
    {"/tam/d%20d/p", 3, 0, "d d"},
    {"/v1/devices/", -1, 404, NULL},
    {"/v1%2Fdevices", -1, 404, NULL},
    {"/v1/devices/x/y", -1, 404, NULL},
    {"/1/2/3/4/5/6/7/8/9", -1, 404, NULL},
    {"v1/devices", -1, 404, NULL},
    {"", -1, 404, NULL},
    {"/v1/devices/%", -1, 400, NULL},
    {"/v1/devices/%4", -1, 400, NULL},
    {"/v1/devices/%zz", -1, 400, NULL},
    {"/v1/devices/a%00b", -1, 400, NULL},
    {"/v1/devices/%1B%5B2J", -1, 400, NULL},
    {"/v1/devices/%0A", -1, 400, NULL},
    {"/v1/devices/%7F", -1, 400, NULL},
    {"/v1/devices/%C2%9B", -1, 400, NULL},
    {"/v1/devices/%E2%80%AEexe", -1, 400, NULL}, /* right-to-left override */
    {"/v1/devices/%E2%81%A6a", -1, 400, NULL},
    {"/v1/devices/%C0%AF", -1, 400, NULL}, /* overlong '/' */
    {"/v1/devices/%FF", -1, 400, NULL},
    {"/v1/devices/%2e%2E", -1, 400, NULL},
    {"/v1/devices/..", -1, 400, NULL},
};

START_TEST(a_path_is_split_and_then_decoded_once)
{
	struct http_server server = {.routes = routes,
	    .n_routes = sizeof(routes) / sizeof(routes[0])};
	struct http_exchange x = {.arena = arena_new_in(NULL),
	    .method = SLICE_LIT("GET"),
	    .path = slice_str(paths[_i].path)};
	int status = 0;
	const struct http_route *r = http_find_route(&server, &x, &status);

	if (paths[_i].route < 0) {
		ck_assert_ptr_null(r);
		ck_assert_int_eq(status, paths[_i].status);
	} else {
		ck_assert_ptr_eq(r, &routes[paths[_i].route]);
		ck_assert(slice_is(x.params[0], paths[_i].param));
	}
	arena_free(x.arena);
}
END_TEST

START_TEST(another_method_is_not_allowed)
{
	struct http_server server = {.routes = routes,
	    .n_routes = sizeof(routes) / sizeof(routes[0])};
	struct http_exchange x = {.arena = arena_new_in(NULL),
	    .method = SLICE_LIT("PUT"),
	    .path = SLICE_LIT("/v1/devices")};
	int status = 0;

	ck_assert_ptr_null(http_find_route(&server, &x, &status));
	ck_assert_int_eq(status, 405);
	arena_free(x.arena);
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("router");

	LOOP(tc, a_path_is_split_and_then_decoded_once, paths);
	tcase_add_test(tc, another_method_is_not_allowed);
	return suite_main(tc);
}
