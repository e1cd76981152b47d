#include "config.h"

#include "loadtest/link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/mem.h"

/*
 *	link_post    queues; connects when the link is down
 *	on_event     connect, handshake, then bytes to and from the protocol
 *	lose         what was under way waits again; a timer reconnects
 */

enum {
	READ_CHUNK = 16384,
	ANSWER_MAX = 2 << 20,
	RETRY_MS = 100,
	WATCH_MS = 250
};

static void on_event(evutil_socket_t, short, void *);
static void on_timer(evutil_socket_t, short, void *);
static void on_watch(evutil_socket_t, short, void *);

static const struct link_proto *
proto_of(const struct link *l)
{
	return l->http2 ? &link_http2 : &link_http1;
}

struct link *
link_new(const struct link_options *options, bool http2)
{
	struct link *l = mem_new(struct link);

	l->options = options;
	l->http2 = http2;
	l->fd = -1;
	TAILQ_INIT(&l->waiting);
	TAILQ_INIT(&l->active);
	buf_init(&l->in, ANSWER_MAX);
	buf_init(&l->out, ANSWER_MAX);
	l->timer = evtimer_new(options->base, on_timer, l);
	l->watch = event_new(options->base, -1, EV_PERSIST, on_watch, l);
	(void)event_add(l->watch, &(struct timeval){0, WATCH_MS * 1000L});
	return l;
}

static void
disconnect(struct link *l)
{
	if (l->proto != NULL)
		proto_of(l)->stop(l);
	l->proto = NULL;
	if (l->event != NULL)
		event_free(l->event);
	l->event = NULL;
	if (l->ssl != NULL) {
		ERR_clear_error();
		if (l->state == LINK_OPEN)
			(void)SSL_shutdown(l->ssl);
		SSL_free(l->ssl);
	}
	l->ssl = NULL;
	if (l->fd >= 0)
		(void)close(l->fd);
	l->fd = -1;
	l->state = LINK_DOWN;
	l->closing = false;
	buf_clear(&l->in);
	buf_clear(&l->out);
}

void
link_free(struct link *l)
{
	if (l == NULL)
		return;
	disconnect(l);
	event_free(l->timer);
	event_free(l->watch);
	buf_fini(&l->in);
	buf_fini(&l->out);
	free(l);
}

/* --- requests ------------------------------------------------------------------------ */

struct link_request *
link_take(struct link *l)
{
	struct link_request *r = TAILQ_FIRST(&l->waiting);

	if (r == NULL || l->closing)
		return NULL;
	TAILQ_REMOVE(&l->waiting, r, link);
	TAILQ_INSERT_TAIL(&l->active, r, link);
	l->n_active++;
	r->tries++;
	r->since_us = clock_mono_us();
	r->sent = 0;
	r->status = 0;
	buf_clear(&r->answer);
	return r;
}

static void
remove_active(struct link *l, struct link_request *r)
{
	TAILQ_REMOVE(&l->active, r, link);
	l->n_active--;
}

void
link_done(struct link *l, struct link_request *r)
{
	struct buf answer = r->answer;

	remove_active(l, r);
	r->answer = (struct buf){0};
	r->cb(r->status, buf_slice(&answer), r->arg);
	buf_fini(&answer);
}

void
link_again(struct link *l, struct link_request *r)
{
	remove_active(l, r);
	++*l->options->retries;
	TAILQ_INSERT_HEAD(&l->waiting, r, link);
}

static void
give_up(struct link_request *r)
{
	buf_fini(&r->answer);
	r->cb(0, (struct slice){0}, r->arg);
}

static void
because(struct link *l, const char *what, const char *detail)
{
	(void)snprintf(l->why, sizeof(l->why), "%s%s%s", what,
	    detail == NULL ? "" : ": ", detail == NULL ? "" : detail);
}

/* Requests without an answer are tried again, up to a point. */
static void
lose(struct link *l, enum link_cause cause)
{
	struct link_requests lost = TAILQ_HEAD_INITIALIZER(lost);
	struct link_request *r;
	bool connecting =
	    l->state == LINK_CONNECTING || l->state == LINK_HANDSHAKE;

	disconnect(l);
	while ((r = TAILQ_LAST(&l->active, link_requests)) != NULL) {
		remove_active(l, r);
		TAILQ_INSERT_HEAD(&l->waiting, r, link);
		++*l->options->retries;
	}
	TAILQ_FOREACH (r, &l->waiting, link)
		r->tries += connecting;
	for (r = TAILQ_FIRST(&l->waiting); r != NULL;) {
		struct link_request *next = TAILQ_NEXT(r, link);

		if (r->tries >= l->options->tries_max) {
			TAILQ_REMOVE(&l->waiting, r, link);
			TAILQ_INSERT_TAIL(&lost, r, link);
		}
		r = next;
	}
	if (!TAILQ_EMPTY(&l->waiting)) {
		struct timeval tv = {0, RETRY_MS * 1000L};

		(void)event_add(l->timer, &tv);
	}
	while ((r = TAILQ_FIRST(&lost)) != NULL) {
		TAILQ_REMOVE(&lost, r, link);
		r->cause = cause;
		r->why = l->why;
		give_up(r);
	}
}

/* --- the connection -------------------------------------------------------------------- */

static void
wait_for(struct link *l, short events)
{
	if (l->event != NULL && l->events == events)
		return;
	if (l->event != NULL)
		event_free(l->event);
	l->events = events;
	l->event = event_new(l->options->base, l->fd,
	    (short)(events | EV_PERSIST), on_event, l);
	(void)event_add(l->event, NULL);
}

/* Each connection comes from another of them: 127.1.0.1, 127.1.0.2, ... */
static bool
take_source(const struct link *l)
{
	const struct link_options *o = l->options;
	uint32_t n =
	    o->sources == 0 ? 0 : (uint32_t)(*o->connects % o->sources);
	struct sockaddr_in from = {.sin_family = AF_INET,
	    .sin_addr.s_addr = htonl(0x7f010001u + n)};

	return o->sources == 0 ||
	    bind(l->fd, (struct sockaddr *)&from, sizeof(from)) == 0;
}

static void
connect_now(struct link *l)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
	    .sin_port = htons((uint16_t)l->options->port)};
	int on = 1;

	(void)inet_pton(AF_INET, l->options->host, &to.sin_addr);
	++*l->options->connects;
	l->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	l->state = LINK_CONNECTING;
	l->since_us = clock_mono_us();
	if (l->fd < 0) {
		because(l, "socket", strerror(errno));
		lose(l, LINK_NO_CONNECTION);
		return;
	}
	(void)setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (!take_source(l) ||
	    (connect(l->fd, (struct sockaddr *)&to, sizeof(to)) != 0 &&
	        errno != EINPROGRESS)) {
		because(l, "connect", strerror(errno));
		lose(l, LINK_NO_CONNECTION);
		return;
	}
	wait_for(l, EV_WRITE);
}

static void
on_timer(evutil_socket_t fd, short events, void *arg)
{
	struct link *l = arg;

	(void)fd;
	(void)events;
	if (l->state == LINK_DOWN && !TAILQ_EMPTY(&l->waiting))
		connect_now(l);
}

static void
start_tls(struct link *l)
{
	static const unsigned char h2[] = "\x02h2", h1[] = "\x08http/1.1";
	int error = 0;
	socklen_t n = sizeof(error);

	if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &error, &n) != 0 ||
	    error != 0) {
		because(l, "connect", strerror(error));
		lose(l, LINK_NO_CONNECTION);
		return;
	}
	l->ssl = SSL_new(l->options->tls);
	if (l->ssl == NULL || SSL_set_fd(l->ssl, l->fd) != 1)
		abort();
	(void)SSL_set_alpn_protos(l->ssl, l->http2 ? h2 : h1,
	    l->http2 ? sizeof(h2) - 1 : sizeof(h1) - 1);
	(void)X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(l->ssl),
	    l->options->host);
	SSL_set_connect_state(l->ssl);
	l->state = LINK_HANDSHAKE;
}

static void
lose_handshake(struct link *l)
{
	long verified = SSL_get_verify_result(l->ssl);
	const char *reason = ERR_reason_error_string(ERR_peek_error());

	because(l, "TLS",
	    verified != X509_V_OK ? X509_verify_cert_error_string(verified)
	        : reason != NULL  ? reason
	                          : "the connection ended");
	lose(l, LINK_NO_TLS);
}

static void
handshake(struct link *l)
{
	int r;

	ERR_clear_error();
	r = SSL_do_handshake(l->ssl);
	if (r == 1) {
		l->state = LINK_OPEN;
		proto_of(l)->start(l);
		return;
	}
	r = SSL_get_error(l->ssl, r);
	if (r == SSL_ERROR_WANT_READ)
		wait_for(l, EV_READ);
	else if (r == SSL_ERROR_WANT_WRITE)
		wait_for(l, EV_READ | EV_WRITE);
	else
		lose_handshake(l);
}

/* False when the connection ended. */
static bool
read_all(struct link *l)
{
	for (;;) {
		uint8_t *to = buf_reserve(&l->in, READ_CHUNK);
		int n;

		if (to == NULL)
			return false;
		ERR_clear_error();
		n = SSL_read(l->ssl, to, READ_CHUNK);
		if (n > 0) {
			l->in.n += (size_t)n;
			if (!proto_of(l)->input(l))
				return false;
			continue;
		}
		n = SSL_get_error(l->ssl, n);
		return n == SSL_ERROR_WANT_READ || n == SSL_ERROR_WANT_WRITE;
	}
}

static bool
write_all(struct link *l)
{
	proto_of(l)->output(l);
	while (l->out.n > 0) {
		int n;

		ERR_clear_error();
		n = SSL_write(l->ssl, l->out.p, (int)l->out.n);
		if (n > 0) {
			buf_consume(&l->out, (size_t)n);
			continue;
		}
		n = SSL_get_error(l->ssl, n);
		if (n != SSL_ERROR_WANT_WRITE && n != SSL_ERROR_WANT_READ)
			return false;
		wait_for(l, EV_READ | EV_WRITE);
		return true;
	}
	wait_for(l, EV_READ);
	return true;
}

static void
on_event(evutil_socket_t fd, short events, void *arg)
{
	struct link *l = arg;

	(void)fd;
	(void)events;
	if (l->state == LINK_CONNECTING)
		start_tls(l);
	if (l->state == LINK_HANDSHAKE)
		handshake(l);
	if (l->state != LINK_OPEN)
		return;
	if (read_all(l) && write_all(l) && !(l->closing && l->n_active == 0))
		return;
	because(l, "the connection ended before the answer", NULL);
	lose(l, LINK_LOST);
}

/* Neither connecting nor a try of a request lasts longer than the time-out,
 * whatever trickles in. */
static void
on_watch(evutil_socket_t fd, short events, void *arg)
{
	struct link *l = arg;
	int64_t before = clock_mono_us() - l->options->timeout_us;
	const struct link_request *oldest = TAILQ_FIRST(&l->active);

	(void)fd;
	(void)events;
	if ((l->state == LINK_CONNECTING || l->state == LINK_HANDSHAKE) &&
	    l->since_us < before) {
		because(l, "no connection in time", NULL);
		lose(l, LINK_TIMEOUT);
	} else if (l->state == LINK_OPEN && oldest != NULL &&
	    oldest->since_us < before) {
		because(l, "no answer in time", NULL);
		lose(l, LINK_TIMEOUT);
	}
}

void
link_post(struct link *l, struct link_request *r)
{
	r->tries = 0;
	buf_init(&r->answer, ANSWER_MAX);
	TAILQ_INSERT_TAIL(&l->waiting, r, link);
	if (l->state == LINK_DOWN) {
		if (!event_pending(l->timer, EV_TIMEOUT, NULL))
			(void)event_add(l->timer, &(struct timeval){0, 0});
	} else if (l->state == LINK_OPEN) {
		/* Sent from the loop, with what else this turn brings. */
		event_active(l->event, EV_WRITE, 0);
	}
}
