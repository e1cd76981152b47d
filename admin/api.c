#include "config.h"

#include "admin/api.h"

#include <assert.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "admin/jobs.h"
#include "admin/openapi.h"
#include "admin/policy_cache.h"
#include "admin/request.h"
#include "lib/base/clock.h"
#include "lib/base/hex.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/readiness.h"
#include "lib/codec/crypto.h"
#include "server/http/server.h"

/*
 * The admin thread's loop; the threads that may wait are in jobs.c:
 *
 *	on_head      a body is to come: the sign-in first, as a job of its own
 *	on_request   copies what the request needs into a job, queues it
 *	jobs.c       a thread runs the job: api_run(), which may wait
 *	on_done      the loop again: the answer, unless the peer is gone
 */

enum {
	WATCH_MS = 250,
	PATIENCE_US = 3000000, /* with a database that does not answer */
	ROUTES_MAX = API_ROUTE_COUNT + 4
};

struct admin {
	struct admin_options options;
	struct counters counters;
	pthread_t loop_thread;
	struct event_base *base;
	struct http_server http;
	struct http_route routes[ROUTES_MAX];
	int done_fd, stop_fd;
	struct event *done_event, *stop_event, *watch_event;

	struct jobs *jobs;
	_Atomic(struct ssl_ctx_st *) fresh_tls; /* to be taken by the loop */
};

/* --- the loop ------------------------------------------------------------------------ */

static void
on_abandon(struct http_exchange *x, void *arg)
{
	struct job *job = arg;

	(void)x;
	job->exchange = NULL;
}

static const char *
copy(struct arena *arena, struct slice s)
{
	return s.p == NULL ? NULL : arena_strdup(arena, s);
}

static struct job *
new_job(struct http_exchange *x)
{
	struct arena *arena = arena_new_in(NULL);
	struct job *job = arena_new(arena, struct job);
	struct api_request *r = &job->request;
	uint8_t id[8];

	job->exchange = x;
	job->authorization = copy(arena, http_header(x, "authorization"));
	r->arena = arena;
	r->route = x->route->data;
	for (size_t i = 0; i < API_PARAMS_MAX; i++)
		r->params[i] = copy(arena, x->params[i]);
	r->query = arena_dup(arena, x->query);
	r->body = arena_dup(arena, x->body);
	r->if_match = http_header_all(x, arena, "if-match");
	r->if_none_match = http_header_all(x, arena, "if-none-match");
	r->idempotency_key = http_header_all(x, arena, "idempotency-key");
	crypto_random(id, sizeof(id));
	hex_encode(SLICE_OF(id), r->id);
	return job;
}

static void
begin(struct http_exchange *x, bool head)
{
	struct admin *a = x->server->owner;
	struct job *job = new_job(x);
	int status;

	job->head = head;
	memcpy(job->source, http_source_of(x), sizeof(job->source));
	x->on_abandon = on_abandon;
	x->handler_data = job;
	status = jobs_put(a->jobs, job);
	if (status == 0)
		return;
	if (status == 429)
		COUNT(&a->counters, requests_limited);
	else
		COUNT(&a->counters, requests_shed);
	job_free(job);
	x->on_abandon = NULL;
	http_refuse(x, status);
}

/* Who may not do it is told so before the body is taken in. */
static void
on_head(struct http_exchange *x)
{
	begin(x, true);
}

static void
on_request(struct http_exchange *x)
{
	begin(x, false);
}

/* --- a database that does not answer ------------------------------------------------ */

static void
tell_unanswered(struct http_exchange *x)
{
	x->on_abandon = NULL;
	http_answer(x,
	    &(struct http_response){.status = 503,
	        .content_type = "application/problem+json",
	        .retry_after_s = 2,
	        .body = SLICE_LIT(
	            "{\"type\":\"about:blank\",\"code\":"
	            "\"database_unavailable\",\"status\":503,\"detail\":"
	            "\"the database does not answer; a change may have been "
	            "made, look before you try again\"}")});
}

/* A request waits long for what is long work.  When the control thread says
 * that the database does not answer, nobody waits longer than a moment. */
static void
on_watch(evutil_socket_t fd, short events, void *arg)
{
	struct admin *a = arg;
	const struct readiness *r = a->options.readiness;

	(void)fd;
	(void)events;
	if (readiness_held(r, NOT_READY_database) ||
	    readiness_held(r, NOT_READY_admin_database))
		jobs_give_up(a->jobs, clock_mono_us() - PATIENCE_US,
		    tell_unanswered);
}

/* --- answers -------------------------------------------------------------------------- */

static void
answer(struct job *job)
{
	struct api_request *r = &job->request;
	struct http_response response = {.status = r->status,
	    .content_type = r->content_type,
	    .body = buf_slice(&r->response),
	    .retry_after_s = r->status == 503 ? 2 : 0,
	    .n_extra = 1,
	    .extra = {{SLICE_LIT("x-request-id"), slice_str(r->id)}}};

	if (r->etag != NULL)
		response.extra[response.n_extra++] =
		    (struct http_header){SLICE_LIT("etag"), slice_str(r->etag)};
	if (r->replayed)
		response.extra[response.n_extra++] =
		    (struct http_header){SLICE_LIT("idempotency-replayed"),
		        SLICE_LIT("true")};
	if (r->status == 401)
		response.extra[response.n_extra++] =
		    (struct http_header){SLICE_LIT("www-authenticate"),
		        SLICE_LIT("Bearer")};
	http_answer(job->exchange, &response);
}

static void
go_on(struct http_exchange *x)
{
	x->on_abandon = NULL;
	x->handler_data = NULL;
	http_go_on(x);
}

static void
take_tls(struct admin *a)
{
	struct ssl_ctx_st *fresh = atomic_exchange(&a->fresh_tls, NULL);

	if (fresh == NULL)
		return;
	http_tls_free(a->http.tls);
	a->http.tls = fresh;
}

static void
on_done(evutil_socket_t fd, short events, void *arg)
{
	struct admin *a = arg;
	struct job *job;
	uint64_t n;

	(void)fd;
	(void)events;
	if (read(a->done_fd, &n, sizeof(n)) < 0)
		return;
	take_tls(a);
	while ((job = jobs_take(a->jobs)) != NULL) {
		if (job->exchange != NULL && job->head &&
		    job->request.status == 200)
			go_on(job->exchange);
		else if (job->exchange != NULL)
			answer(job);
		job_free(job);
	}
}

static void
on_stop(evutil_socket_t fd, short events, void *arg)
{
	struct admin *a = arg;

	(void)fd;
	(void)events;
	(void)event_base_loopbreak(a->base);
}

/* --- health and metrics: never wait for the database ----------------------------------- */

static void
on_livez(struct http_exchange *x)
{
	http_answer(x,
	    &(struct http_response){.status = 200,
	        .content_type = "text/plain",
	        .body = SLICE_LIT("ok\n")});
}

/* "ok", or the first reason; with ?verbose a line for each. */
static void
on_readyz(struct http_exchange *x)
{
	struct admin *a = x->server->owner;
	const struct readiness *r = a->options.readiness;
	enum not_ready first;
	struct buf b;

	a->options.look_around(a->options.ready_arg);
	first = readiness_first(r);
	buf_init(&b, 1 << 16);
	buf_printf(&b, "%s\n",
	    first == NOT_READY_COUNT ? "ok" : not_ready_text(first));
	for (int i = 0; slice_is(x->query, "verbose") && i < NOT_READY_COUNT;
	     i++) {
		enum not_ready reason = (enum not_ready)i;

		buf_printf(&b, "%s: %s\n", not_ready_name(reason),
		    readiness_held(r, reason) ? not_ready_text(reason) : "ok");
	}
	http_answer(x,
	    &(struct http_response){.status =
	                                first == NOT_READY_COUNT ? 200 : 503,
	        .content_type = "text/plain",
	        .body = buf_slice(&b)});
	buf_fini(&b);
}

static void
add_counter(struct buf *b, const struct admin *a, size_t offset,
    const char *name, const char *type, const char *help)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < a->options.n_counters; i++)
		sum +=
		    atomic_load_explicit((const _Atomic uint64_t *)(const void
		                                 *)((const char *)
		                                        a->options.counters[i] +
		                             offset),
		        memory_order_relaxed);
	buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n%s %lld\n", name, help, name,
	    type, name, (long long)sum);
}

static void
add_drops(struct buf *b, const struct admin *a)
{
	buf_add_str(b,
	    "# HELP tam_messages_dropped_total Messages dropped, by reason\n"
	    "# TYPE tam_messages_dropped_total counter\n");
	for (int e = TAM_OK + 1; e < TAM_ERR_COUNT; e++) {
		uint64_t sum = 0;

		for (size_t i = 0; i < a->options.n_counters; i++)
			sum += atomic_load_explicit(&a->options.counters[i]
			                                 ->drops[e],
			    memory_order_relaxed);
		if (sum > 0)
			buf_printf(b,
			    "tam_messages_dropped_total{reason=\"%s\"} %llu\n",
			    tam_err_name((enum tam_err)e),
			    (unsigned long long)sum);
	}
}

static void
add_readiness(struct buf *b, const struct admin *a)
{
	a->options.look_around(a->options.ready_arg);
	buf_add_str(b,
	    "# HELP tam_not_ready 1 while this reason keeps the node from "
	    "being ready\n# TYPE tam_not_ready gauge\n");
	for (int i = 0; i < NOT_READY_COUNT; i++)
		buf_printf(b, "tam_not_ready{reason=\"%s\"} %d\n",
		    not_ready_name((enum not_ready)i),
		    readiness_held(a->options.readiness, (enum not_ready)i));
}

/* Of this listener, which the sums over all workers leave out. */
static void
add_own(struct buf *b, const struct admin *a)
{
	static const struct {
		int counter;
		const char *name, *help;
	} own[] = {
	    {COUNTER_connections_refused, "tam_admin_connections_refused_total",
	        "Connections to the admin listener that were refused"},
	    {COUNTER_connections_shed, "tam_admin_connections_shed_total",
	        "Reserved connections that gave their place to a newer one"},
	    {COUNTER_requests_shed, "tam_admin_requests_shed_total",
	        "Admin requests refused because there was no place"},
	    {COUNTER_requests_limited, "tam_admin_requests_limited_total",
	        "Admin requests refused because their source had its share"},
	};

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		buf_printf(b,
		    "# HELP %s %s\n"
		    "# TYPE %s counter\n"
		    "%s %llu\n",
		    own[i].name, own[i].help, own[i].name, own[i].name,
		    (unsigned long long)
		        atomic_load_explicit(&a->counters
		                                  .counts[own[i].counter],
		            memory_order_relaxed));
}

static void
on_metrics(struct http_exchange *x)
{
	struct admin *a = x->server->owner;
	struct buf b;

	buf_init(&b, 1 << 20);
#define X(name, help)                              \
	add_counter(&b, a,                         \
	    offsetof(struct counters, counts) +    \
	        COUNTER_##name * sizeof(uint64_t), \
	    "tam_" #name "_total", "counter", help);
	TAM_COUNTERS(X)
#undef X
#define X(name, help)                            \
	add_counter(&b, a,                       \
	    offsetof(struct counters, gauges) +  \
	        GAUGE_##name * sizeof(uint64_t), \
	    "tam_" #name, "gauge", help);
	TAM_GAUGES(X)
#undef X
	add_drops(&b, a);
	add_own(&b, a);
	add_readiness(&b, a);
	a->options.metrics(a->options.ready_arg, &b);
	http_answer(x,
	    &(struct http_response){.status = 200,
	        .content_type = "text/plain; version=0.0.4",
	        .body = buf_slice(&b)});
	buf_fini(&b);
}

static void
on_openapi(struct http_exchange *x)
{
	char *text = openapi_document();

	http_answer(x,
	    &(struct http_response){.status = 200,
	        .content_type = "application/json",
	        .body = slice_str(text)});
	free(text);
}

static const char *
problem_of(struct http_exchange *x, int status)
{
	static const struct {
		int status;
		const char *code, *detail;
	} problems[] = {
	    {400, "malformed_request", "this is not a well-formed request"},
	    {404, "no_route", "the API has no such path"},
	    {405, "method_not_allowed",
	        "this path has no such method; Allow says which it has"},
	    {413, "too_large", "the body is larger than this server takes"},
	    {415, "encoded_body", "bodies are taken without content coding"},
	    {429, "too_many", "this source has its share; try again later"},
	    {503, "busy", "the server is busy; try again later"},
	};
	const char *code = "refused", *detail = "the request was refused";

	for (size_t i = 0; i < sizeof(problems) / sizeof(problems[0]); i++) {
		if (problems[i].status == status) {
			code = problems[i].code;
			detail = problems[i].detail;
		}
	}
	return arena_printf(x->arena,
	    "{\"type\":\"about:blank\",\"code\":\"%s\",\"status\":%d,"
	    "\"detail\":\"%s\"}",
	    code, status, detail);
}

/* --- life -------------------------------------------------------------------------------- */

static void
make_routes(struct admin *a)
{
	size_t n = 0;

	a->routes[n++] =
	    (struct http_route){"GET", "/livez", 0, on_livez, NULL, NULL, true};
	a->routes[n++] = (struct http_route){"GET", "/readyz", 0, on_readyz,
	    NULL, NULL, true};
	a->routes[n++] = (struct http_route){"GET", "/metrics", 0, on_metrics,
	    NULL, NULL, true};
	a->routes[n++] = (struct http_route){"GET", "/openapi.json", 0,
	    on_openapi, NULL, NULL, false};
	for (size_t i = 0; i < API_ROUTE_COUNT; i++)
		a->routes[n++] = (struct http_route){api_routes[i].method,
		    api_routes[i].path,
		    api_routes[i].body == BODY_NONE ? 0 : a->options.upload_max,
		    on_request, &api_routes[i],
		    api_routes[i].body == BODY_NONE ? NULL : on_head, false};
	a->http.routes = a->routes;
	a->http.n_routes = n;
}

static void *
loop(void *arg)
{
	struct admin *a = arg;

	log_set_thread("admin");
	a->base = event_base_new();
	a->http.base = a->base;
	a->http.tls = http_tls_ref(a->options.tls);
	a->http.limits = a->options.limits;
	a->http.counters = &a->counters;
	a->http.owner = a;
	a->http.problem = problem_of;
	make_routes(a);
	http_server_init(&a->http);
	for (size_t i = 0; i < a->options.n_fds; i++)
		(void)http_server_listen(&a->http, a->options.fds[i]);
	a->done_event =
	    event_new(a->base, a->done_fd, EV_READ | EV_PERSIST, on_done, a);
	a->stop_event = event_new(a->base, a->stop_fd, EV_READ, on_stop, a);
	(void)event_add(a->done_event, NULL);
	a->watch_event = event_new(a->base, -1, EV_PERSIST, on_watch, a);
	(void)event_add(a->stop_event, NULL);
	(void)event_add(a->watch_event, &(struct timeval){0, WATCH_MS * 1000L});
	(void)event_base_dispatch(a->base);
	http_server_fini(&a->http);
	event_free(a->done_event);
	event_free(a->stop_event);
	event_free(a->watch_event);
	event_base_free(a->base);
	return NULL;
}

struct admin *
admin_start(const struct admin_options *options)
{
	struct admin *a = mem_new(struct admin);

	a->options = *options;
	a->done_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	a->stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	a->jobs = jobs_start(&a->options, a->done_fd);
	if (pthread_create(&a->loop_thread, NULL, loop, a) != 0)
		abort();
	return a;
}

void
admin_set_tls(struct admin *a, struct ssl_ctx_st *tls)
{
	uint64_t one = 1;

	http_tls_free(atomic_exchange(&a->fresh_tls, tls));
	if (write(a->done_fd, &one, sizeof(one)) < 0)
		return; /* the counter is full: the loop is awake */
}

void
admin_stop(struct admin *a)
{
	uint64_t one = 1;

	if (a == NULL)
		return;
	jobs_stop(a->jobs);
	if (write(a->stop_fd, &one, sizeof(one)) < 0)
		abort();
	(void)pthread_join(a->loop_thread, NULL);
	policy_cache_clear();
	http_tls_free(atomic_exchange(&a->fresh_tls, NULL));
	jobs_free(a->jobs);
	(void)close(a->done_fd);
	(void)close(a->stop_fd);
	free(a);
}
