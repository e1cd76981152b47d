#include "config.h"

#include "server/http/client.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/dns.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"

/*
 * Over libevent's evhttp.  A link is one connection with at most one call; an
 * evhttp connection cannot be freed from its own callbacks nor be used again
 * once its TLS session is over, so links that end wait in `dead` for the next
 * turn of the loop.
 */

enum {
	FAILURES_MAX = 5,
	DOWN_FIRST_MS = 1000,
	DOWN_MAX_MS = 10000,
	HEADERS_MAX = 16384,
	TARGET_MAX = 1024
};

struct http_link {
	TAILQ_ENTRY(http_link) link;
	struct http_client *client;
	struct evhttp_connection *conn;
	struct http_call *call; /* NULL: idle */
	bool closed, freeing;
};

struct http_call {
	TAILQ_ENTRY(http_call) link;
	struct http_client *client;
	struct event *timer; /* delay */
	enum evhttp_cmd_type method;
	char *target, *accept, *content_type;
	uint8_t *body;
	size_t body_n;
	http_answer_cb cb; /* NULL: cancelled */
	void *arg;
};

TAILQ_HEAD(http_links, http_link);
TAILQ_HEAD(http_calls, http_call);

struct http_client {
	struct event_base *base;
	struct evdns_base *dns;
	SSL_CTX *tls;
	char host[256], prefix[256];
	int port, timeout_ms;
	size_t concurrency, n_calls;
	struct http_links idle, busy, dead;
	struct http_calls calls;
	struct event *bury;
	unsigned failures;
	int down_ms;
	int64_t down_until_us;
};

/* --- making one ------------------------------------------------------------------ */

static bool
parse_url(struct http_client *c, const char *url)
{
	struct evhttp_uri *uri = evhttp_uri_parse(url);
	bool ok = false;

	if (uri != NULL && evhttp_uri_get_scheme(uri) != NULL &&
	    strcmp(evhttp_uri_get_scheme(uri), "https") == 0 &&
	    evhttp_uri_get_host(uri) != NULL &&
	    evhttp_uri_get_userinfo(uri) == NULL) {
		size_t n;

		(void)snprintf(c->host, sizeof(c->host), "%s",
		    evhttp_uri_get_host(uri));
		(void)snprintf(c->prefix, sizeof(c->prefix), "%s",
		    evhttp_uri_get_path(uri));
		n = strlen(c->prefix);
		if (n > 0 && c->prefix[n - 1] == '/')
			c->prefix[n - 1] = '\0';
		c->port = evhttp_uri_get_port(uri);
		if (c->port < 0)
			c->port = 443;
		ok = c->host[0] != '\0';
	}
	if (uri != NULL)
		evhttp_uri_free(uri);
	return ok;
}

static bool
trust(SSL_CTX *tls, const char *pem)
{
	X509_STORE *store = SSL_CTX_get_cert_store(tls);
	BIO *bio;
	X509 *cert;
	bool any = false;

	if (pem == NULL || pem[0] == '\0')
		return SSL_CTX_set_default_verify_paths(tls) == 1;
	bio = BIO_new_mem_buf(pem, -1);
	while (bio != NULL &&
	    (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
		any |= X509_STORE_add_cert(store, cert) == 1;
		X509_free(cert);
	}
	BIO_free(bio);
	ERR_clear_error();
	return any;
}

static bool
make_tls(struct http_client *c, const char *ca_pem)
{
	c->tls = SSL_CTX_new(TLS_client_method());
	if (c->tls == NULL)
		abort();
	(void)SSL_CTX_set_min_proto_version(c->tls, TLS1_2_VERSION);
	SSL_CTX_set_verify(c->tls, SSL_VERIFY_PEER, NULL);
	return trust(c->tls, ca_pem);
}

static void on_bury(evutil_socket_t, short, void *);

struct http_client *
http_client_new(const struct http_client_options *o)
{
	struct http_client *c = mem_new(struct http_client);

	TAILQ_INIT(&c->idle);
	TAILQ_INIT(&c->busy);
	TAILQ_INIT(&c->dead);
	TAILQ_INIT(&c->calls);
	c->base = o->base;
	c->timeout_ms = o->timeout_ms;
	c->concurrency = o->concurrency;
	c->bury = evtimer_new(o->base, on_bury, c);
	if (!parse_url(c, o->url) || !make_tls(c, o->ca_pem)) {
		http_client_free(c);
		return NULL;
	}
	/* Numeric hosts need no resolver, and none should be asked. */
	c->dns = evdns_base_new(o->base,
	    EVDNS_BASE_INITIALIZE_NAMESERVERS |
	        EVDNS_BASE_DISABLE_WHEN_INACTIVE);
	return c;
}

/* --- links ------------------------------------------------------------------------- */

static void
link_free(struct http_link *l)
{
	l->freeing = true;
	evhttp_connection_free(l->conn);
	free(l);
}

static void
on_bury(evutil_socket_t fd, short events, void *arg)
{
	struct http_client *c = arg;
	struct http_link *l;

	(void)fd;
	(void)events;
	while ((l = TAILQ_FIRST(&c->dead)) != NULL) {
		TAILQ_REMOVE(&c->dead, l, link);
		link_free(l);
	}
}

static void
bury(struct http_link *l, struct http_links *from)
{
	TAILQ_REMOVE(from, l, link);
	TAILQ_INSERT_TAIL(&l->client->dead, l, link);
	(void)event_add(l->client->bury, &(struct timeval){0, 0});
}

/* The peer closed: an idle link goes; a busy one hears of it as its call. */
static void
on_closed(struct evhttp_connection *conn, void *arg)
{
	struct http_link *l = arg;

	(void)conn;
	if (l->freeing || l->closed)
		return;
	l->closed = true;
	if (l->call == NULL)
		bury(l, &l->client->idle);
}

/* The certificate must name the host: by name, or by address. */
static SSL *
new_ssl(struct http_client *c)
{
	SSL *ssl = SSL_new(c->tls);

	if (ssl == NULL)
		abort();
	if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), c->host) == 1)
		return ssl;
	ERR_clear_error();
	if (SSL_set1_host(ssl, c->host) != 1)
		abort();
	(void)SSL_set_tlsext_host_name(ssl, c->host);
	return ssl;
}

static struct http_link *
new_link(struct http_client *c)
{
	struct http_link *l = mem_new(struct http_link);
	struct bufferevent *bev;
	struct timeval tv = {c->timeout_ms / 1000,
	    (c->timeout_ms % 1000) * 1000L};

	bev = bufferevent_openssl_socket_new(c->base, -1, new_ssl(c),
	    BUFFEREVENT_SSL_CONNECTING,
	    BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
	if (bev == NULL)
		abort();
	bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
	l->client = c;
	l->conn = evhttp_connection_base_bufferevent_new(c->base, c->dns, bev,
	    c->host, (unsigned short)c->port);
	if (l->conn == NULL)
		abort();
	evhttp_connection_set_timeout_tv(l->conn, &tv);
	evhttp_connection_set_max_body_size(l->conn, HTTP_ANSWER_MAX);
	evhttp_connection_set_max_headers_size(l->conn, HEADERS_MAX);
	evhttp_connection_set_closecb(l->conn, on_closed, l);
	return l;
}

/* --- the breaker --------------------------------------------------------------------- */

static bool
is_down(struct http_client *c)
{
	return c->failures >= FAILURES_MAX &&
	    clock_mono_us() < c->down_until_us;
}

static void
note(struct http_client *c, bool ok)
{
	if (ok) {
		if (c->failures >= FAILURES_MAX)
			log_info("origin_up", "host=%s port=%d", c->host,
			    c->port);
		c->failures = 0;
		c->down_ms = 0;
		return;
	}
	if (++c->failures < FAILURES_MAX)
		return;
	c->down_ms = c->down_ms == 0       ? DOWN_FIRST_MS
	    : c->down_ms * 2 > DOWN_MAX_MS ? DOWN_MAX_MS
	                                   : c->down_ms * 2;
	c->down_until_us = clock_mono_us() + (int64_t)c->down_ms * 1000;
	log_warn("origin_down", "host=%s port=%d for_ms=%d", c->host, c->port,
	    c->down_ms);
}

/* --- calls ------------------------------------------------------------------------------ */

static void
call_free(struct http_call *call)
{
	if (call->timer != NULL)
		event_free(call->timer);
	free(call->target);
	free(call->accept);
	free(call->content_type);
	free(call->body);
	free(call);
}

static struct slice
header(struct evhttp_request *req, const char *name)
{
	return slice_str(
	    evhttp_find_header(evhttp_request_get_input_headers(req), name));
}

static void
finish(struct http_call *call, const struct http_answer *a)
{
	http_answer_cb cb = call->cb;
	void *arg = call->arg;

	note(call->client, a->status > 0 && a->status < 500);
	TAILQ_REMOVE(&call->client->calls, call, link);
	call->client->n_calls--;
	call_free(call);
	if (cb != NULL)
		cb(a, arg);
}

static bool
keeps(struct evhttp_request *req)
{
	struct slice connection = header(req, "connection");

	return !slice_is(connection, "close") && !slice_is(connection, "Close");
}

static void
on_answer(struct evhttp_request *req, void *arg)
{
	struct http_link *l = arg;
	struct http_call *call = l->call;
	struct http_answer a = {0};

	l->call = NULL;
	if (req != NULL)
		a.status = evhttp_request_get_response_code(req);
	if (a.status > 0) {
		struct evbuffer *in = evhttp_request_get_input_buffer(req);
		size_t n = evbuffer_get_length(in);

		a.location = header(req, "location");
		a.content_type = header(req, "content-type");
		a.body =
		    (struct slice){n == 0 ? NULL : evbuffer_pullup(in, -1), n};
	}
	if (a.status > 0 && !l->closed && keeps(req)) {
		TAILQ_REMOVE(&l->client->busy, l, link);
		TAILQ_INSERT_HEAD(&l->client->idle, l, link);
	} else {
		bury(l, &l->client->busy);
	}
	finish(call, &a);
}

static void
put_header(struct evhttp_request *req, const char *name, const char *value)
{
	if (value != NULL)
		(void)evhttp_add_header(evhttp_request_get_output_headers(req),
		    name, value);
}

static void
start(struct http_call *call)
{
	struct http_client *c = call->client;
	struct http_link *l = TAILQ_FIRST(&c->idle);
	struct evhttp_request *req;
	char host[300];

	if (l != NULL)
		TAILQ_REMOVE(&c->idle, l, link);
	else
		l = new_link(c);
	TAILQ_INSERT_TAIL(&c->busy, l, link);
	l->call = call;
	req = evhttp_request_new(on_answer, l);
	if (req == NULL)
		abort();
	(void)snprintf(host, sizeof(host), "%s:%d", c->host, c->port);
	put_header(req, "Host", host);
	put_header(req, "Accept", call->accept);
	put_header(req, "Content-Type", call->content_type);
	if (call->body_n > 0)
		(void)evbuffer_add(evhttp_request_get_output_buffer(req),
		    call->body, call->body_n);
	if (evhttp_make_request(l->conn, req, call->method, call->target) !=
	        0 &&
	    l->call != NULL) /* it has not told us itself */
		on_answer(NULL, l);
}

static void
on_delay(evutil_socket_t fd, short events, void *arg)
{
	(void)fd;
	(void)events;
	start(arg);
}

/* Absolute targets of the same origin lose scheme and authority. */
static char *
target_of(const struct http_client *c, const char *path)
{
	char out[TARGET_MAX];
	const char *rest = path;

	if (strncmp(path, "https://", 8) == 0) {
		rest = strchr(path + 8, '/');
		return mem_strdup(rest == NULL ? "/" : rest);
	}
	if (c->prefix[0] != '\0' &&
	    strncmp(path, c->prefix, strlen(c->prefix)) == 0)
		return mem_strdup(path);
	(void)snprintf(out, sizeof(out), "%s%s%s", c->prefix,
	    path[0] == '/' ? "" : "/", path);
	return mem_strdup(out);
}

static char *
dup_or_null(const char *s)
{
	return s == NULL ? NULL : mem_strdup(s);
}

struct http_call *
http_client_send(struct http_client *c, const struct http_ask *ask,
    http_answer_cb cb, void *arg)
{
	struct http_call *call;

	if (c->n_calls >= c->concurrency || is_down(c))
		return NULL;
	/* The one that tries whether it is up again. */
	if (c->failures >= FAILURES_MAX)
		c->down_until_us =
		    clock_mono_us() + (int64_t)c->timeout_ms * 1000;
	call = mem_new(struct http_call);
	call->client = c;
	call->cb = cb;
	call->arg = arg;
	call->method = strcmp(ask->method, "POST") == 0 ? EVHTTP_REQ_POST
	    : strcmp(ask->method, "DELETE") == 0        ? EVHTTP_REQ_DELETE
	                                                : EVHTTP_REQ_GET;
	call->target = target_of(c, ask->path);
	call->accept = dup_or_null(ask->accept);
	call->content_type = dup_or_null(ask->content_type);
	if (ask->body.n > 0) {
		call->body = mem_calloc(1, ask->body.n);
		memcpy(call->body, ask->body.p, ask->body.n);
		call->body_n = ask->body.n;
	}
	TAILQ_INSERT_TAIL(&c->calls, call, link);
	c->n_calls++;
	/* Never from inside this call: the callback comes from the loop. */
	call->timer = evtimer_new(c->base, on_delay, call);
	(void)event_add(call->timer,
	    &(struct timeval){ask->delay_ms / 1000,
	        (ask->delay_ms % 1000) * 1000L});
	return call;
}

void
http_call_cancel(struct http_call *call)
{
	call->cb = NULL;
}

bool
http_client_idle(const struct http_client *c)
{
	return c->n_calls == 0;
}

void
http_client_free(struct http_client *c)
{
	struct http_link *l;
	struct http_call *call;

	if (c == NULL)
		return;
	while ((l = TAILQ_FIRST(&c->busy)) != NULL) {
		TAILQ_REMOVE(&c->busy, l, link);
		link_free(l);
	}
	while ((l = TAILQ_FIRST(&c->idle)) != NULL) {
		TAILQ_REMOVE(&c->idle, l, link);
		link_free(l);
	}
	on_bury(-1, 0, c);
	while ((call = TAILQ_FIRST(&c->calls)) != NULL) {
		TAILQ_REMOVE(&c->calls, call, link);
		call_free(call);
	}
	event_free(c->bury);
	if (c->dns != NULL)
		evdns_base_free(c->dns, 0);
	SSL_CTX_free(c->tls);
	free(c);
}
