#include "config.h"

#include "lib/base/percent.h"
#include "lib/base/text.h"
#include "server/http/accept.h"
#include "server/http/etag.h"
#include "server/http/range.h"
#include "server/http/server.h"

/*
 * What comes in a request line and in header fields: paths, Accept, Range, lists
 * of entity tags.  The first byte says which.
 */

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static void
check(bool ok)
{
	if (!ok)
		__builtin_trap();
}

static void
route(struct slice in)
{
	static const struct http_route routes[] = {
	    {.method = "GET", .path = "/v1/devices"},
	    {.method = "PUT", .path = "/v1/devices/{name}"},
	    {.method = "GET", .path = "/v1/devices/{name}/events"},
	    {.path = "/tam/{domain}/{profile}"},
	};
	struct http_server server = {.routes = routes, .n_routes = 4};
	struct http_exchange x = {.arena = arena_new_in(NULL),
	    .method = SLICE_LIT("GET"),
	    .path = in};
	int status = 0;

	if (http_find_route(&server, &x, &status) == NULL) {
		check(status == 400 || status == 404 || status == 405);
		check((status == 405) == (x.allow != NULL));
	} else {
		for (size_t i = 0; i < HTTP_PARAMS_MAX; i++)
			check(x.params[i].n == 0 ||
			    text_fault(x.params[i], TEXT_NAME) == NULL);
	}
	arena_free(x.arena);
}

/* What is decoded and encoded again is decoded to the same. */
static void
percent(struct slice in)
{
	struct arena *arena = arena_new_in(NULL);
	struct slice once, again;
	struct buf b;

	buf_init(&b, 3 * in.n + 1);
	if (percent_decode_form(arena, in, &once)) {
		percent_encode(once, &b);
		check(percent_decode(arena, buf_slice(&b), &again));
		check(slice_eq(once, again));
	}
	buf_fini(&b);
	arena_free(arena);
}

/* A range that is served lies within the whole. */
static void
range(struct slice in)
{
	for (size_t size = 1; size < 2000; size = 3 * size + 1) {
		struct http_range r;

		if (http_range_parse(in, size, &r) == RANGE_GOOD)
			check(
			    r.n > 0 && r.first < size && r.n <= size - r.first);
	}
}

/* Nothing covers a type that "q=0" of the type itself excludes; and a list
 * that covers it does so with an empty member in front. */
static void
accepts(struct slice in)
{
	static const char type[] = "application/teep+cbor";
	struct buf b;

	buf_init(&b, in.n + 100);
	buf_add_str(&b, ",");
	buf_add_slice(&b, in);
	check(accept_covers(buf_slice(&b), type) == accept_covers(in, type));
	buf_fini(&b);
	(void)media_type_is(in, type);
}

/* What matches strongly matches weakly, and nothing matches what is not. */
static void
tags(struct slice in)
{
	struct slice tag = SLICE_LIT("\"1\"");
	enum etag_verdict strong = etag_match(in, tag, false);
	enum etag_verdict weak = etag_match(in, tag, true);

	check(strong != ETAG_MATCHES || weak == ETAG_MATCHES);
	check((strong == ETAG_MALFORMED) == (weak == ETAG_MALFORMED));
	check(etag_match(in, slice_none(), true) != ETAG_MATCHES);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static void (*const targets[])(
	    struct slice) = {route, percent, range, accepts, tags};

	if (n > 0)
		targets[data[0] % 5]((struct slice){data + 1, n - 1});
	return 0;
}
