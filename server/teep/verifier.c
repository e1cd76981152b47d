#include "config.h"

#include "server/teep/verifier.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "lib/base/clock.h"
#include "lib/base/hex.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/codec/appraisal.h"
#include "server/http/client.h"
#include "server/teep/domain.h"
#include "server/teep/session.h"
#include "server/worker.h"

/*
 *	verifier_appraise   opens a session
 *	on_session          its address; the Evidence goes there
 *	on_result           complete, failed, or on_result once more after a while
 *	done                tells the caller, and the Verifier that we are done
 */

enum {
	PEERS_MAX = 16,
	POLL_FIRST_MS = 50,
	POLL_MAX_MS = 1000,
	PATH_MAX_BYTES = 512
};

static const char session_type[] =
    "application/vnd.veraison.challenge-response-session+json";

struct peer {
	TAILQ_ENTRY(peer) link;
	char *url, *ca;
	struct http_client *client;
};

TAILQ_HEAD(peers, peer);

struct verifier_peers {
	struct peers list; /* the newest asked first */
	size_t n;
};

struct verifier_call {
	struct worker *worker;
	struct http_client *client;
	struct http_call *http;
	struct arena *arena;
	struct slice evidence;
	const char *media_type;
	char path[PATH_MAX_BYTES]; /* of the session */
	int64_t deadline_us;
	int poll_ms;
	verifier_cb cb;
	void *arg;
};

/* --- peers ------------------------------------------------------------------------- */

struct verifier_peers *
verifier_peers_new(void)
{
	struct verifier_peers *p = mem_new(struct verifier_peers);

	TAILQ_INIT(&p->list);
	return p;
}

static void
peer_free(struct peer *p)
{
	http_client_free(p->client);
	free(p->url);
	free(p->ca);
	free(p);
}

void
verifier_peers_free(struct verifier_peers *peers)
{
	struct peer *p;

	if (peers == NULL)
		return;
	while ((p = TAILQ_FIRST(&peers->list)) != NULL) {
		TAILQ_REMOVE(&peers->list, p, link);
		peer_free(p);
	}
	free(peers);
}

static struct peer *
find_peer(struct worker *w, const struct verifier *v)
{
	struct verifier_peers *peers = w->verifiers;
	struct peer *p;

	TAILQ_FOREACH (p, &peers->list, link) {
		if (strcmp(p->url, v->url) == 0 && strcmp(p->ca, v->ca) == 0)
			return p;
	}
	return NULL;
}

/* Verifiers come and go with snapshots: of too many the one made first goes
 * that has nothing under way. */
static bool
make_room(struct verifier_peers *peers)
{
	struct peer *p = TAILQ_LAST(&peers->list, peers);

	while (p != NULL && p->client != NULL && !http_client_idle(p->client))
		p = TAILQ_PREV(p, peers, link);
	if (p == NULL)
		return false;
	TAILQ_REMOVE(&peers->list, p, link);
	peers->n--;
	peer_free(p);
	return true;
}

static struct http_client *
client_of(struct worker *w, const struct verifier *v)
{
	struct verifier_peers *peers = w->verifiers;
	struct peer *p = find_peer(w, v);

	if (p != NULL)
		return p->client;
	if (peers->n == PEERS_MAX && !make_room(peers))
		return NULL;
	p = mem_new(struct peer);
	p->client =
	    http_client_new(&(struct http_client_options){.base = w->base,
	        .url = v->url,
	        .ca_pem = v->ca,
	        .timeout_ms = (int)(w->limits->verifier_us / 1000),
	        .concurrency = w->limits->verifier_calls});
	if (p->client == NULL)
		log_error("verifier",
		    "name=%s error=\"URL or CA is not usable\"", v->name);
	p->url = mem_strdup(v->url);
	p->ca = mem_strdup(v->ca);
	TAILQ_INSERT_HEAD(&peers->list, p, link);
	peers->n++;
	return p->client;
}

/* --- a call --------------------------------------------------------------------------- */

static void
done(struct verifier_call *c, enum tam_err err, struct slice result)
{
	verifier_cb cb = c->cb;
	void *arg = c->arg;

	if (c->path[0] != '\0')
		(void)http_client_send(c->client,
		    &(struct http_ask){.method = "DELETE", .path = c->path},
		    NULL, NULL);
	if (err == TAM_VERIFIER_DOWN)
		COUNT(&c->worker->counters, verifier_failures);
	free(c);
	cb(err, result, arg);
}

static void on_result(const struct http_answer *, void *);

static void
poll_again(struct verifier_call *c)
{
	if (clock_mono_us() + (int64_t)c->poll_ms * 1000 > c->deadline_us) {
		done(c, TAM_VERIFIER_DOWN, slice_none());
		return;
	}
	c->http = http_client_send(c->client,
	    &(struct http_ask){.method = "GET",
	        .path = c->path,
	        .accept = session_type,
	        .delay_ms = c->poll_ms},
	    on_result, c);
	c->poll_ms =
	    2 * c->poll_ms > POLL_MAX_MS ? POLL_MAX_MS : 2 * c->poll_ms;
	if (c->http == NULL)
		done(c, TAM_VERIFIER_DOWN, slice_none());
}

static void
on_result(const struct http_answer *a, void *arg)
{
	struct verifier_call *c = arg;
	struct appraisal doc;

	c->http = NULL;
	if (a->status == 415 || a->status == 400) { /* the Evidence's fault */
		done(c, TAM_ATTEST_SYNTAX, slice_none());
		return;
	}
	if ((a->status != 200 && a->status != 202) ||
	    appraisal_decode(a->body, c->arena, &doc) != TAM_OK) {
		log_peer(LOG_LEVEL_WARN, "verifier_answer", "status=%d",
		    a->status);
		done(c, TAM_VERIFIER_DOWN, slice_none());
		return;
	}
	if (doc.status == APPRAISAL_COMPLETE)
		done(c, TAM_OK, doc.result);
	else if (doc.status == APPRAISAL_FAILED)
		done(c, TAM_ATTEST_STATUS, slice_none());
	else
		poll_again(c);
}

/* Relative to .../challenge-response/v1/newSession, as RFC 3986 has it. */
static bool
set_path(struct verifier_call *c, struct slice location)
{
	int n;

	if (location.n == 0 || location.n > sizeof(c->path) - 64)
		return false;
	n = snprintf(c->path, sizeof(c->path), "%s%.*s",
	    location.p[0] == '/' ||
	            memcmp(location.p,
	                "https:", location.n < 6 ? location.n : 6) == 0
	        ? ""
	        : "/challenge-response/v1/",
	    (int)location.n, (const char *)location.p);
	return n > 0 && (size_t)n < sizeof(c->path);
}

static void
on_session(const struct http_answer *a, void *arg)
{
	struct verifier_call *c = arg;

	c->http = NULL;
	if (a->status == 201 && set_path(c, a->location))
		c->http = http_client_send(c->client,
		    &(struct http_ask){.method = "POST",
		        .path = c->path,
		        .accept = session_type,
		        .content_type = c->media_type,
		        .body = c->evidence},
		    on_result, c);
	else
		log_peer(LOG_LEVEL_WARN, "verifier_session", "status=%d",
		    a->status);
	if (c->http == NULL)
		done(c, TAM_VERIFIER_DOWN, slice_none());
}

/* RFC 4648, 5: no '+' or '/' in a URL. */
static void
make_url_safe(char *base64)
{
	for (char *p = base64; *p != '\0'; p++)
		*p = (char)(*p == '+' ? '-' : *p == '/' ? '_' : *p);
	base64[strcspn(base64, "=")] = '\0';
}

struct verifier_call *
verifier_appraise(struct worker *w, const struct verifier_ask *ask,
    verifier_cb cb, void *arg)
{
	struct http_client *client = client_of(w, ask->verifier);
	char *nonce = base64_dup(ask->arena, ask->nonce);
	struct verifier_call *c;

	COUNT(&w->counters, verifier_calls);
	if (client == NULL) {
		COUNT(&w->counters, verifier_failures);
		return NULL;
	}
	make_url_safe(nonce);
	c = mem_new(struct verifier_call);
	*c = (struct verifier_call){.worker = w,
	    .client = client,
	    .arena = ask->arena,
	    .evidence = ask->evidence,
	    .media_type = ask->media_type,
	    .deadline_us = clock_mono_us() + w->limits->verifier_us,
	    .poll_ms = POLL_FIRST_MS,
	    .cb = cb,
	    .arg = arg};
	c->http = http_client_send(client,
	    &(struct http_ask){.method = "POST",
	        .path = arena_printf(ask->arena,
	            "/challenge-response/v1/newSession?nonce=%s", nonce),
	        .accept = session_type},
	    on_session, c);
	if (c->http != NULL)
		return c;
	COUNT(&w->counters, verifier_failures);
	free(c);
	return NULL;
}

void
verifier_cancel(struct verifier_call *c)
{
	if (c->http != NULL)
		http_call_cancel(c->http);
	free(c);
}
