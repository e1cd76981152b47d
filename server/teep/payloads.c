#include "config.h"

#include "server/teep/payloads.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "lib/base/clock.h"
#include "lib/base/hex.h"
#include "lib/base/mem.h"
#include "server/http/etag.h"
#include "server/http/range.h"
#include "server/http/server.h"
#include "server/teep/domain.h"
#include "server/teep/session.h"
#include "server/teep/transport.h"
#include "server/worker.h"
#include "storage/payload_store.h"

/*
 *	payload_transport   which payload, and may it be had
 *	find or load        from the cache; else read, one reader for all who wait
 *	start               a few are read at a time, each charged before
 *	serve               whole, a range, or "you have it", by reference
 *
 * What is in the cache is bounded by payload_cache_mb.  A payload that leaves
 * it while answers still send it is charged to the account until they end.
 */

enum {
	PAYLOAD_MAX = 16 << 20,
	/* The database's client has a copy while we make ours. */
	LOAD_COST = 2 * PAYLOAD_MAX,
	LOADS_MAX = 2 /* at a time */
};

struct waiter {
	TAILQ_ENTRY(waiter) link;
	struct http_exchange *exchange;
	struct payload *payload;
};

TAILQ_HEAD(waiters, waiter);

struct payload {
	TAILQ_ENTRY(payload) link;
	struct payload_cache *cache;
	int32_t domain_id;
	int64_t epoch; /* a change of the domain makes us read again */
	uint8_t digest[PAYLOAD_DIGEST_SIZE];
	bool loading;        /* or waiting for its turn */
	int64_t deadline_us; /* of who waits */
	TAILQ_ENTRY(payload) turn;
	struct http_shared *shared; /* NULL while it is loading */
	struct waiters waiters;
};

TAILQ_HEAD(payload_list, payload);

struct payload_cache {
	struct payload_list list;  /* asked for last first */
	struct payload_list turns; /* to be read, in order */
	size_t bytes, max;
	size_t n_loading, load_cost;
	struct http_account *account; /* NULL: closed */
	struct batch *batch;
};

struct payload_cache *
payload_cache_new(size_t max_bytes, struct http_account *account,
    struct batch *batch)
{
	struct payload_cache *c = mem_new(struct payload_cache);

	TAILQ_INIT(&c->list);
	TAILQ_INIT(&c->turns);
	c->max = max_bytes;
	c->account = account;
	c->batch = batch;
	c->load_cost = LOAD_COST;
	if (account->pool != NULL && c->load_cost > account->pool->max / 2)
		c->load_cost = account->pool->max / 2;
	return c;
}

static void
on_last(struct http_shared *shared, void *arg)
{
	http_account_release(arg, shared->bytes.n);
}

/* Takes it out of the cache.  Answers that still send it keep its bytes, which
 * are theirs from now on. */
static void
payload_free(struct payload *p)
{
	struct payload_cache *c = p->cache;
	struct http_shared *shared = p->shared;

	TAILQ_REMOVE(&c->list, p, link);
	free(p);
	if (shared == NULL)
		return;
	c->bytes -= shared->bytes.n;
	if (shared->refs > 1) {
		http_account_force(c->account, shared->bytes.n);
		shared->on_last = on_last;
		shared->arg = c->account;
	}
	http_shared_unref(shared);
}

void
payload_cache_close(struct payload_cache *c)
{
	for (size_t i = 0; i < c->n_loading; i++)
		http_account_release(c->account, c->load_cost);
	c->account = NULL;
}

void
payload_cache_free(struct payload_cache *c)
{
	struct payload *p;

	if (c == NULL)
		return;
	while ((p = TAILQ_FIRST(&c->list)) != NULL)
		payload_free(p);
	free(c);
}

/* The least asked for goes, but nothing that is being read. */
static void
make_room(struct payload_cache *c)
{
	struct payload *p, *previous;

	for (p = TAILQ_LAST(&c->list, payload_list);
	     p != NULL && c->bytes > c->max; p = previous) {
		previous = TAILQ_PREV(p, payload_list, link);
		if (!p->loading)
			payload_free(p);
	}
}

/* --- answering ------------------------------------------------------------------- */

/* What every answer about this payload carries; it never changes. */
static void
add_headers(struct http_response *r, const char *etag)
{
	r->extra[r->n_extra++] =
	    (struct http_header){SLICE_LIT("etag"), slice_str(etag)};
	r->cache_control = "public, max-age=31536000, immutable";
	r->extra[r->n_extra++] =
	    (struct http_header){SLICE_LIT("accept-ranges"),
	        SLICE_LIT("bytes")};
}

static enum range_verdict
wanted_range(struct http_exchange *x, const char *etag, size_t size,
    struct http_range *out)
{
	struct slice if_range = http_header(x, "if-range");

	/* RFC 9110, 14.2: a range is of GET alone. */
	if (http_is_head(x) || (if_range.n > 0 && !slice_is(if_range, etag)))
		return RANGE_NONE;
	return http_range_parse(http_header(x, "range"), size, out);
}

static bool
has_already(struct http_exchange *x, const char *etag)
{
	return etag_match(slice_str(
	                      http_header_all(x, x->arena, "if-none-match")),
	           slice_str(etag), true) == ETAG_MATCHES;
}

static void
serve(struct http_exchange *x, const struct payload *p)
{
	struct worker *w = x->server->owner;
	char *etag = arena_printf(x->arena, "\"%s\"",
	    hex_dup(x->arena, SLICE_OF(p->digest)));
	struct http_response r = {.status = 200,
	    .content_type = "application/octet-stream",
	    .body = p->shared->bytes,
	    .shared = p->shared};
	size_t size = r.body.n;
	struct http_range range;

	add_headers(&r, etag);
	COUNT(&w->counters, payloads);
	if (has_already(x, etag)) {
		r.status = 304;
		r.body = slice_none();
		http_answer(x, &r);
		return;
	}
	switch (wanted_range(x, etag, size, &range)) {
	case RANGE_GOOD:
		r.status = 206;
		r.body = (struct slice){r.body.p + range.first, range.n};
		r.extra[r.n_extra++] =
		    (struct http_header){SLICE_LIT("content-range"),
		        slice_str(arena_printf(x->arena, "bytes %zu-%zu/%zu",
		            range.first, range.first + range.n - 1, size))};
		break;
	case RANGE_OUTSIDE:
		r.status = 416;
		r.body = slice_none();
		r.extra[r.n_extra++] =
		    (struct http_header){SLICE_LIT("content-range"),
		        slice_str(arena_printf(x->arena, "bytes */%zu", size))};
		break;
	case RANGE_NONE:
	default:
		break;
	}
	http_answer(x, &r);
}

/* --- reading ------------------------------------------------------------------------- */

/* The lease goes on, and the epoch is the one the payload was asked under. */
static bool
may_leave(const struct http_exchange *x, const struct payload *p)
{
	const struct worker *w = x->server->owner;
	const struct tam_domain *now = w->snapshot == NULL
	    ? NULL
	    : snapshot_domain(w->snapshot, p->domain_id);

	return teep_has_lease(w) && now != NULL && now->epoch == p->epoch;
}

static void
refuse(struct http_exchange *x, int status)
{
	http_answer(x,
	    &(struct http_response){.status = status,
	        .retry_after_s = status == 503 ? HTTP_RETRY_AFTER_S : 0});
}

static void
answer_waiters(struct payload *p, int status)
{
	struct waiter *w;

	while ((w = TAILQ_FIRST(&p->waiters)) != NULL) {
		TAILQ_REMOVE(&p->waiters, w, link);
		if (status == 200 && may_leave(w->exchange, p))
			serve(w->exchange, p);
		else
			refuse(w->exchange, status == 200 ? 503 : status);
	}
}

static void start_next(struct payload_cache *);

static void
fail(struct payload *p, int status)
{
	answer_waiters(p, status);
	payload_free(p);
}

static void
on_loaded(enum tam_err err, struct slice bytes, void *arg)
{
	struct payload *p = arg;
	struct payload_cache *cache = p->cache;

	cache->n_loading--;
	if (cache->account == NULL) { /* who waited is gone */
		payload_free(p);
		return;
	}
	p->loading = false;
	if (err == TAM_OK && bytes.n > 0) {
		p->shared = http_shared_copy(bytes);
		cache->bytes += bytes.n;
		answer_waiters(p, 200);
	} else {
		fail(p, err == TAM_OK ? 404 : 503);
	}
	http_account_release(cache->account, cache->load_cost);
	make_room(cache);
	start_next(cache);
}

/* Reads it now, if there is room and time left. */
static bool
start(struct payload *p)
{
	struct payload_cache *c = p->cache;

	if (clock_mono_us() >= p->deadline_us ||
	    !http_account_charge(c->account, c->load_cost))
		return false;
	if (payload_load(c->batch, p->domain_id, p->digest, p->deadline_us,
	        on_loaded, p) == NULL) {
		http_account_release(c->account, c->load_cost);
		return false;
	}
	c->n_loading++;
	return true;
}

static void
start_next(struct payload_cache *c)
{
	struct payload *p;

	while (
	    c->n_loading < LOADS_MAX && (p = TAILQ_FIRST(&c->turns)) != NULL) {
		TAILQ_REMOVE(&c->turns, p, turn);
		if (!start(p))
			fail(p, 503);
	}
}

static void
on_abandon(struct http_exchange *x, void *arg)
{
	struct waiter *w = arg;

	(void)x;
	TAILQ_REMOVE(&w->payload->waiters, w, link);
}

static void
wait_for(struct payload *p, struct http_exchange *x)
{
	struct waiter *w = arena_new(x->arena, struct waiter);

	w->exchange = x;
	w->payload = p;
	TAILQ_INSERT_TAIL(&p->waiters, w, link);
	x->on_abandon = on_abandon;
	x->handler_data = w;
}

static struct payload *
find(struct payload_cache *c, const struct tam_domain *domain,
    const uint8_t digest[PAYLOAD_DIGEST_SIZE])
{
	struct payload *p;

	TAILQ_FOREACH (p, &c->list, link) {
		if (p->domain_id == domain->id && p->epoch == domain->epoch &&
		    memcmp(p->digest, digest, PAYLOAD_DIGEST_SIZE) == 0)
			return p;
	}
	return NULL;
}

static void
load(struct worker *w, struct http_exchange *x, const struct tam_domain *domain,
    const uint8_t digest[PAYLOAD_DIGEST_SIZE])
{
	struct payload *p = mem_new(struct payload);

	p->cache = w->payloads;
	p->domain_id = domain->id;
	p->epoch = domain->epoch;
	memcpy(p->digest, digest, sizeof(p->digest));
	p->loading = true;
	TAILQ_INIT(&p->waiters);
	TAILQ_INSERT_HEAD(&w->payloads->list, p, link);
	p->deadline_us = clock_mono_us() + w->limits->deadline_us;
	wait_for(p, x);
	TAILQ_INSERT_TAIL(&w->payloads->turns, p, turn);
	start_next(w->payloads);
}

/* --- the handler ------------------------------------------------------------------------ */

void
payload_transport(struct http_exchange *x)
{
	struct worker *w = x->server->owner;
	const struct tam_domain *domain;
	uint8_t digest[PAYLOAD_DIGEST_SIZE];
	struct payload *p;
	size_t n = 0;

	if (!teep_has_lease(w)) {
		COUNT(&w->counters, no_lease);
		http_answer(x,
		    &(struct http_response){.status = 503, .retry_after_s = 5});
		return;
	}
	domain = snapshot_find(w->snapshot, x->params[0]);
	if (domain != NULL && domain->suspended) {
		COUNT(&w->counters, suspended);
		http_answer(x,
		    &(struct http_response){.status = 503, .retry_after_s = 5});
		return;
	}
	if (domain == NULL ||
	    !hex_decode((const char *)x->params[1].p, x->params[1].n, digest,
	        sizeof(digest), &n) ||
	    n != sizeof(digest) ||
	    policy_image_revoked(domain->policy, SLICE_OF(digest))) {
		http_answer_status(x, 404);
		return;
	}
	p = find(w->payloads, domain, digest);
	if (p == NULL) {
		load(w, x, domain, digest);
		return;
	}
	TAILQ_REMOVE(&w->payloads->list, p, link);
	TAILQ_INSERT_HEAD(&w->payloads->list, p, link);
	if (p->loading)
		wait_for(p, x);
	else
		serve(x, p);
}
