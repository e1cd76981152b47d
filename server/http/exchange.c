#include "config.h"

#include "server/http/exchange.h"

#include <assert.h>
#include <stdio.h>
#include <time.h>

#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "server/http/conn.h"
#include "server/http/server.h"

static void
count_status(struct counters *c, int status)
{
	if (status < 300)
		COUNT(c, responses_2xx);
	else if (status < 500)
		COUNT(c, responses_4xx);
	else
		COUNT(c, responses_5xx);
}

static void
add(struct http_header *h, size_t *n, const char *name, const char *value)
{
	h[*n].name = slice_str(name);
	h[*n].value = slice_str(value);
	++*n;
}

/* RFC 9110, 5.6.7; made once a second. */
static const char *
date_now(struct http_server *server)
{
	time_t now = (time_t)(clock_wall_us() / CLOCK_SECOND);
	struct tm tm;

	if (now != server->date_s) {
		(void)gmtime_r(&now, &tm);
		(void)strftime(server->date, sizeof(server->date),
		    "%a, %d %b %Y %H:%M:%S GMT", &tm);
		server->date_s = now;
	}
	return server->date;
}

void *
http_notes(const struct http_exchange *x, size_t n)
{
	if (x->conn == NULL)
		return NULL;
	if (x->conn->notes == NULL)
		x->conn->notes = mem_calloc(1, n);
	return x->conn->notes;
}

const uint8_t *
http_share_of(const struct http_exchange *x)
{
	const struct http_source *share =
	    x->conn == NULL ? NULL : x->conn->share;

	return share == NULL || share->trusted ? NULL : share->address;
}

/* The headers of an answer; returns how many. */
static size_t
make_headers(struct http_exchange *x, const struct http_response *r,
    struct http_header headers[16])
{
	size_t n = 0;

	if (r->content_type != NULL) {
		add(headers, &n, "content-type", r->content_type);
		/* draft-ietf-teep-otrp-over-http: what a browser that got
		 * hold of this must not do with it. */
		add(headers, &n, "x-content-type-options", "nosniff");
		add(headers, &n, "content-security-policy",
		    "default-src 'none'");
		add(headers, &n, "referrer-policy", "no-referrer");
	}
	add(headers, &n, "cache-control",
	    r->cache_control != NULL ? r->cache_control : "no-store");
	add(headers, &n, "date", date_now(x->server));
	add(headers, &n, "server", "tamd");
	if (r->retry_after_s > 0)
		add(headers, &n, "retry-after",
		    arena_printf(x->arena, "%d", r->retry_after_s));
	for (size_t i = 0; i < r->n_extra; i++)
		headers[n++] = r->extra[i];
	return n;
}

/* Makes a large body one that outlives this call; false: no room for it. */
static bool
keep_body(struct http_exchange *x, const struct http_response *r,
    struct http_body *body)
{
	*body = (struct http_body){r->body, NULL};
	if (r->body.n == 0)
		return true;
	if (r->shared != NULL) {
		body->shared = http_shared_ref(r->shared);
		return true;
	}
	if (r->body.n <= HTTP_COPY_MAX)
		return true;
	if (exchange_charge(x, r->body.n) != 0)
		return false;
	x->copied = r->body.n;
	body->shared = http_shared_copy(r->body);
	body->bytes = body->shared->bytes;
	return true;
}

void
http_answer(struct http_exchange *x, const struct http_response *r)
{
	static const struct http_response no_room = {.status = 503,
	    .retry_after_s = HTTP_RETRY_AFTER_S};
	struct http_header headers[16];
	struct http_body body;

	assert(!x->answered);
	x->answered = true;
	if (!keep_body(x, r, &body)) {
		r = &no_room;
		body = (struct http_body){slice_none(), NULL};
	}
	count_status(x->server->counters, r->status);
	x->send(x, r->status, headers, make_headers(x, r, headers), body);
}

void
http_answer_status(struct http_exchange *x, int status)
{
	http_answer(x, &(struct http_response){.status = status});
}

void
http_go_on(struct http_exchange *x)
{
	assert(!x->answered && x->conn != NULL);
	x->go_on(x);
}

const uint8_t *
http_source_of(const struct http_exchange *x)
{
	return x->conn->source;
}

bool
http_is_head(const struct http_exchange *x)
{
	return slice_is(x->method, "HEAD");
}

void
http_refuse(struct http_exchange *x, int status)
{
	struct http_response r = {.status = status};

	if (status == 405 && x->allow != NULL)
		r.extra[r.n_extra++] = (struct http_header){SLICE_LIT("allow"),
		    slice_str(x->allow)};
	if (status == 415) /* RFC 9110, 15.5.16 */
		r.extra[r.n_extra++] =
		    (struct http_header){SLICE_LIT("accept-encoding"),
		        SLICE_LIT("identity")};
	if (status == 429 || status == 503)
		r.retry_after_s = HTTP_RETRY_AFTER_S;
	if (x->server->problem != NULL) {
		r.content_type = "application/problem+json";
		r.body = slice_str(x->server->problem(x, status));
	}
	http_answer(x, &r);
}

static const struct http_header *
find(const struct http_exchange *x, const char *name)
{
	for (size_t i = 0; i < x->n_headers; i++) {
		if (slice_is(x->headers[i].name, name))
			return &x->headers[i];
	}
	return NULL;
}

struct slice
http_header(const struct http_exchange *x, const char *name)
{
	const struct http_header *h = find(x, name);

	return h == NULL ? slice_none() : h->value;
}

bool
http_has_header(const struct http_exchange *x, const char *name)
{
	return find(x, name) != NULL;
}

const char *
http_header_all(const struct http_exchange *x, struct arena *arena,
    const char *name)
{
	const char *all = NULL;

	for (size_t i = 0; i < x->n_headers; i++) {
		struct slice v = x->headers[i].value;

		if (!slice_is(x->headers[i].name, name))
			continue;
		all = all == NULL ? arena_strdup(arena, v)
		                  : arena_printf(arena, "%s, %.*s", all,
		                        (int)v.n, (const char *)v.p);
	}
	return all;
}
