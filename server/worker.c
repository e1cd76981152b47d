#include "config.h"

#include "server/worker.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/codec/cose.h"
#include "server/hsm/hsm.h"
#include "server/routes.h"
#include "server/settings.h"
#include "server/teep/device_cache.h"
#include "server/teep/failures.h"
#include "server/teep/fault.h"
#include "server/teep/payloads.h"
#include "server/teep/published.h"
#include "server/teep/result_cache.h"
#include "server/teep/verifier.h"
#include "server/worker_thread.h"
#include "storage/batch.h"

/*
 * A worker's life: build, run the loop, read mail between turns, stop when
 * nothing is left, tear down in the reverse order, report what was left over.
 */

enum {
	STOP_POLL_MS = 20
};

bool
budget_take(struct budget *b, int64_t now_us)
{
	b->tokens += (double)(now_us - b->refilled_us) * b->per_second / 1e6;
	b->refilled_us = now_us;
	if (b->tokens > b->burst)
		b->tokens = b->burst;
	if (b->tokens < 1.0)
		return false;
	b->tokens -= 1.0;
	return true;
}

static struct budget
budget_of(double per_second)
{
	return (struct budget){.tokens = per_second,
	    .per_second = per_second,
	    .burst = per_second,
	    .refilled_us = clock_mono_us()};
}

/* --- the snapshot --------------------------------------------------------------- */

static void
free_signers(struct worker *w)
{
	size_t n = w->snapshot == NULL ? 0 : w->snapshot->n;

	for (size_t i = 0; i < n; i++) {
		for (int k = 0; k < WORKER_SIGNERS; k++)
			cose_signer_free(w->signers[i][k]);
	}
	free(w->signers);
	w->signers = NULL;
}

static void
take_snapshot(struct worker *w, struct tam_snapshot *snapshot)
{
	free_signers(w);
	snapshot_unref(w->snapshot);
	w->snapshot = snapshot;
	w->signers = mem_calloc(snapshot->n, sizeof(*w->signers));
	for (size_t i = 0; i < snapshot->n; i++) {
		for (int c = COSE_P256; c <= COSE_ED25519; c++) {
			if (snapshot->domains[i].has_key[c] &&
			    snapshot->domains[i].hsm_uri[c] == NULL)
				w->signers[i][c] = cose_signer_new(
				    &snapshot->domains[i].keys[c]);
		}
		if (snapshot->domains[i].has_verify_key)
			w->signers[i][SIGNER_VERIFIER] =
			    cose_signer_new(&snapshot->domains[i].verify_key);
	}
}

/* --- mail ------------------------------------------------------------------------ */

static void
on_stop_poll(evutil_socket_t fd, short events, void *arg)
{
	struct worker_thread *t = arg;
	bool busy = t->http.n_exchanges + t->clear.n_exchanges > 0 ||
	    t->http.n_conns + t->clear.n_conns > 0 ||
	    batch_pending(t->worker.batch) > 0;

	(void)fd;
	(void)events;
	if (busy && clock_mono_us() < t->stop_deadline_us) {
		struct timeval tv = {0, STOP_POLL_MS * 1000L};

		(void)event_add(t->stop_event, &tv);
		return;
	}
	fault_point(FAULT_BEFORE_FLUSH);
	(void)event_base_loopbreak(t->worker.base);
}

/* Not before the lease: on a port shared with other nodes every connection
 * that comes here would be refused service. */
static void
open_sockets(struct worker_thread *t)
{
	bool all = true;

	for (size_t i = 0; i < t->n_fds; i++)
		all &= http_server_listen(&t->http, t->fds[i]);
	for (size_t i = 0; i < t->n_clear_fds; i++)
		all &= http_server_listen(&t->clear, t->clear_fds[i]);
	t->opened = true;
	atomic_store(&t->open, all); /* else the node is never ready */
}

static void
close_unopened(struct worker_thread *t)
{
	if (t->opened)
		return;
	for (size_t i = 0; i < t->n_fds; i++)
		(void)close(t->fds[i]);
	for (size_t i = 0; i < t->n_clear_fds; i++)
		(void)close(t->clear_fds[i]);
}

static void
read_one(struct worker_thread *t, struct mail *m)
{
	switch (m->kind) {
	case MAIL_SNAPSHOT:
		published_resign(&t->worker); /* by the new one's keys */
		take_snapshot(&t->worker, m->snapshot);
		atomic_store(&t->snapshot_no, m->snapshot_no);
		break;
	case MAIL_PUBLISH:
		published_take(&t->worker, m->published);
		break;
	case MAIL_OPEN:
		open_sockets(t);
		break;
	case MAIL_DEVICE:
		if (m->device_id == MAIL_EVERY_DEVICE)
			device_cache_clear(t->worker.devices);
		else
			device_cache_drop(t->worker.devices, m->domain_id,
			    m->device_id);
		break;
	case MAIL_TLS:
		http_tls_free(t->http.tls);
		t->http.tls = m->tls;
		break;
	case MAIL_DRAIN:
		http_server_drain(&t->http);
		http_server_drain(&t->clear);
		break;
	case MAIL_CLOSE:
		http_server_unlisten(&t->http);
		http_server_unlisten(&t->clear);
		http_server_close_idle(&t->http);
		http_server_close_idle(&t->clear);
		break;
	case MAIL_STOP:
		t->stop_deadline_us = m->deadline_us;
		(void)event_add(t->stop_event, &(struct timeval){0, 0});
		break;
	default:
		abort();
	}
}

static void
on_mail(evutil_socket_t fd, short events, void *arg)
{
	struct worker_thread *t = arg;
	struct mail *next;

	(void)fd;
	(void)events;
	for (struct mail *m = mailbox_take(t->mail); m != NULL; m = next) {
		next = m->next;
		read_one(t, m);
		free(m);
	}
	gauge_move(&t->worker.counters.gauges[GAUGE_cached_devices],
	    (int64_t)device_cache_size(t->worker.devices) -
	        atomic_load_explicit(&t->worker.counters
	                                  .gauges[GAUGE_cached_devices],
	            memory_order_relaxed));
}

/* --- life -------------------------------------------------------------------------- */

static void
build_http(struct worker_thread *t, struct http_server *http,
    struct ssl_ctx_st *tls)
{
	http->base = t->worker.base;
	http->tls = tls;
	http->routes = device_routes(&http->n_routes);
	http->limits = t->http_limits;
	http->counters = &t->worker.counters;
	http->owner = &t->worker;
	http_server_init(http);
}

static void
build(struct worker_thread *t)
{
	struct event_config *config = event_config_new();
	struct worker *w = &t->worker;

	(void)event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
	w->base = event_base_new_with_config(config);
	event_config_free(config);
	if (w->base == NULL)
		abort();
	w->crypto = cose_crypto_new();
	w->devices = device_cache_new((size_t)t->config->device_cache);
	w->results = result_cache_new((size_t)t->config->result_cache);
	w->verifiers = verifier_peers_new();
	w->hsm = hsm_port_open(t->hsm, w->base);
	w->limits = t->teep_limits;
	w->openers = budget_of(w->limits->openers_per_second);
	w->failures = failures_new(w->limits->failures_per_second);
	w->db = db_open(w->base, t->config->database, &t->readiness);
	w->batch = batch_open(w->base, w->db);
	w->http = &t->http;
	build_http(t, &t->http, http_tls_ref(t->tls));
	build_http(t, &t->clear, NULL);
	w->payloads =
	    payload_cache_new((size_t)t->config->payload_cache_mb << 20,
	        &t->http.account, w->batch);
	t->mail_event = event_new(w->base, mailbox_fd(t->mail),
	    EV_READ | EV_PERSIST, on_mail, t);
	(void)event_add(t->mail_event, NULL);
	t->stop_event = evtimer_new(w->base, on_stop_poll, t);
}

static void
tear_down(struct worker_thread *t)
{
	struct worker *w = &t->worker;

	close_unopened(t);
	payload_cache_close(w->payloads);
	published_take(w, NULL);
	http_server_fini(&t->clear);
	http_server_fini(&t->http);
	hsm_port_close(w->hsm);
	verifier_peers_free(w->verifiers);
	batch_close(w->batch);
	db_close(w->db);
	readiness_leave(&t->readiness);
	event_free(t->stop_event);
	event_free(t->mail_event);
	free_signers(w);
	snapshot_unref(w->snapshot);
	failures_free(w->failures);
	payload_cache_free(w->payloads);
	result_cache_free(w->results);
	device_cache_free(w->devices);
	cose_crypto_free(w->crypto);
	event_base_free(w->base);
	atomic_store(&t->left_over,
	    atomic_load(&w->counters.gauges[GAUGE_connections]) +
	        atomic_load(&w->counters.gauges[GAUGE_exchanges]) +
	        atomic_load(&w->counters.gauges[GAUGE_sessions]));
}

static void *
run(void *arg)
{
	struct worker_thread *t = arg;

	log_set_thread(t->name);
	build(t);
	(void)event_base_dispatch(t->worker.base);
	tear_down(t);
	return NULL;
}

void
worker_thread_start(struct worker_thread *t)
{
	t->mail = mailbox_new();
	(void)snprintf(t->name, sizeof(t->name), "w%d", t->worker.index);
	if (pthread_create(&t->thread, NULL, run, t) != 0)
		abort();
}

void
worker_thread_join(struct worker_thread *t)
{
	(void)pthread_join(t->thread, NULL);
}
