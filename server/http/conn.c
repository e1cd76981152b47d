#include "config.h"

#include "server/http/conn.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"

/*
 * The life of a connection, in the order of this file:
 *
 *	conn_start      a socket; TLS if the server has it
 *	on_readable     handshake, then bytes into conn->in, then the protocol
 *	conn_touch      puts it on the list of this turn
 *	conn_end_turn   protocol's output, one write, free what is dead
 *	start_linger    closing while the peer sends would reset the connection
 *	                and take our last answer with it (RFC 9112, 9.6)
 *	on_timer        the protocol's deadline
 */

enum {
	READ_CHUNK = 16 << 10,
	READS_PER_TURN = 4, /* then others have theirs */
	LINGER_MS = 2000,
	LINGER_MAX = 1 << 20
};

static void on_readable(evutil_socket_t, short, void *);
static void on_writable(evutil_socket_t, short, void *);
static void on_timer(evutil_socket_t, short, void *);

/* --- beginning -------------------------------------------------------------------- */

void
conn_start(struct http_server *server, int fd,
    const uint8_t source[HTTP_SOURCE_SIZE])
{
	struct http_conn *c = mem_new(struct http_conn);

	c->server = server;
	c->fd = fd;
	memcpy(c->source, source, sizeof(c->source));
	buf_init(&c->in, CONN_INPUT_MAX + READ_CHUNK);
	buf_init(&c->out, CONN_OUTPUT_MAX);
	c->read_event =
	    event_new(server->base, fd, EV_READ | EV_PERSIST, on_readable, c);
	c->write_event =
	    event_new(server->base, fd, EV_WRITE | EV_PERSIST, on_writable, c);
	c->timer = evtimer_new(server->base, on_timer, c);
	TAILQ_INSERT_TAIL(&server->conns, c, link);
	server->n_conns++;
	GAUGE(server->counters, connections, 1);
	COUNT(server->counters, connections_accepted);
	(void)event_add(c->read_event, NULL);
	c->reading = true;
	c->doing = "handshake";
	conn_set_deadline(c, server->limits->request_time_ms);
	if (server->tls != NULL) {
		c->ssl = SSL_new(server->tls);
		if (c->ssl == NULL || SSL_set_fd(c->ssl, fd) != 1)
			abort();
		SSL_set_accept_state(c->ssl);
		return;
	}
	c->state = CONN_OPEN;
	c->proto = &http1_proto;
	c->proto->start(c);
}

void
conn_set_deadline(struct http_conn *c, int ms)
{
	int64_t now = clock_mono_us();
	int64_t deadline = now + (int64_t)ms * 1000;

	/* A timer that fires early looks again: moving a deadline back, which
	 * happens with every request, costs nothing. */
	if (c->deadline_us == 0 || deadline < c->deadline_us) {
		struct timeval tv = {ms / 1000, (ms % 1000) * 1000L};

		(void)event_add(c->timer, &tv);
	}
	c->deadline_us = deadline;
}

static void
on_timer(evutil_socket_t fd, short events, void *arg)
{
	struct http_conn *c = arg;
	int64_t left = c->deadline_us - clock_mono_us();

	(void)fd;
	(void)events;
	if (left > 0) {
		struct timeval tv = {left / CLOCK_SECOND, left % CLOCK_SECOND};

		(void)event_add(c->timer, &tv);
		return;
	}
	c->deadline_us = 0;
	if (c->state == CONN_OPEN) {
		c->proto->timeout(c);
	} else {
		log_peer(LOG_LEVEL_DEBUG, "timeout", "doing=\"%s\"", c->doing);
		c->state = CONN_DEAD;
	}
	conn_touch(c);
}

/* --- reading ---------------------------------------------------------------------- */

static void
choose_protocol(struct http_conn *c)
{
	const unsigned char *alpn;
	unsigned n;

	SSL_get0_alpn_selected(c->ssl, &alpn, &n);
	COUNT(c->server->counters, tls_handshakes);
	c->state = CONN_OPEN;
	c->proto =
	    n == 2 && memcmp(alpn, "h2", 2) == 0 ? &http2_proto : &http1_proto;
	c->proto->start(c);
}

static void
want_write(struct http_conn *c)
{
	if (c->writing)
		return;
	c->writing = true;
	(void)event_add(c->write_event, NULL);
}

static void
tls_failed(struct http_conn *c)
{
	unsigned long code = ERR_peek_error();

	if (c->state == CONN_HANDSHAKE) {
		COUNT(c->server->counters, tls_failures);
		log_peer(LOG_LEVEL_DEBUG, "tls_failed", "reason=\"%s\"",
		    code == 0 ? "closed" : ERR_reason_error_string(code));
	}
	c->state = CONN_DEAD;
}

/* Bytes read, 0 when there are none now, -1 when there will be none. */
static ssize_t
tls_read(struct http_conn *c, uint8_t *to, size_t n)
{
	int got;

	ERR_clear_error();
	got = SSL_read(c->ssl, to, (int)n);
	if (got > 0)
		return got;
	switch (SSL_get_error(c->ssl, got)) {
	case SSL_ERROR_WANT_READ:
		return 0;
	case SSL_ERROR_WANT_WRITE:
		want_write(c);
		return 0;
	case SSL_ERROR_ZERO_RETURN:
		c->eof = true;
		return -1;
	default:
		tls_failed(c);
		return -1;
	}
}

static ssize_t
plain_read(struct http_conn *c, uint8_t *to, size_t n)
{
	ssize_t got = read(c->fd, to, n);

	if (got > 0)
		return got;
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (got == 0)
		c->eof = true;
	else
		c->state = CONN_DEAD;
	return -1;
}

static void
handshake(struct http_conn *c)
{
	int r;

	ERR_clear_error();
	r = SSL_do_handshake(c->ssl);
	if (r == 1) {
		choose_protocol(c);
		return;
	}
	switch (SSL_get_error(c->ssl, r)) {
	case SSL_ERROR_WANT_READ:
		return;
	case SSL_ERROR_WANT_WRITE:
		want_write(c);
		return;
	default:
		tls_failed(c);
	}
}

/* True when there is more already: asking the kernel once more, to hear that
 * there is nothing, would double the system calls of a request. */
static bool
read_once(struct http_conn *c)
{
	uint8_t *to = buf_reserve(&c->in, READ_CHUNK);
	ssize_t n;

	if (to == NULL) { /* the protocol is behind; it says when to go on */
		c->in.full = false;
		return false;
	}
	n = c->ssl != NULL ? tls_read(c, to, READ_CHUNK)
	                   : plain_read(c, to, READ_CHUNK);
	if (n <= 0)
		return false;
	c->in.n += (size_t)n;
	c->proto->input(c);
	return c->ssl != NULL ? SSL_has_pending(c->ssl) == 1 : n == READ_CHUNK;
}

static void
read_turn(struct http_conn *c)
{
	if (c->state == CONN_HANDSHAKE)
		handshake(c);
	for (int i = 0; c->state == CONN_OPEN && !c->paused && !c->eof &&
	     i < READS_PER_TURN;
	     i++) {
		if (!read_once(c))
			break;
		/* With read_ahead what OpenSSL holds raises no event. */
		if (c->ssl != NULL && i == READS_PER_TURN - 1 &&
		    SSL_has_pending(c->ssl))
			event_active(c->read_event, EV_READ, 0);
	}
	if (c->eof && c->state == CONN_OPEN) {
		if (c->in.n > 0)
			c->proto->input(c);
		if (c->state == CONN_OPEN && !c->paused)
			conn_end(c);
	}
	conn_touch(c);
}

static void
discard(struct http_conn *c)
{
	uint8_t scrap[READ_CHUNK];
	ssize_t n = read(c->fd, scrap, sizeof(scrap));

	if (n > 0)
		c->discarded += (size_t)n;
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR) ||
	    c->discarded > LINGER_MAX) {
		c->state = CONN_DEAD;
		conn_touch(c);
	}
}

static void
on_readable(evutil_socket_t fd, short events, void *arg)
{
	struct http_conn *c = arg;

	(void)fd;
	(void)events;
	if (c->state == CONN_LINGERING)
		discard(c);
	else
		read_turn(c);
}

/* --- writing ---------------------------------------------------------------------- */

static ssize_t
write_some(struct http_conn *c)
{
	int n, max = c->out.n > INT32_MAX ? INT32_MAX : (int)c->out.n;

	if (c->ssl == NULL) {
		ssize_t sent = send(c->fd, c->out.p, c->out.n, MSG_NOSIGNAL);

		if (sent >= 0)
			return sent;
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	}
	ERR_clear_error();
	n = SSL_write(c->ssl, c->out.p, max);
	if (n > 0)
		return n;
	switch (SSL_get_error(c->ssl, n)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return 0;
	default:
		return -1;
	}
}

static void
start_linger(struct http_conn *c)
{
	c->state = CONN_LINGERING;
	c->doing = "lingering";
	if (c->ssl != NULL) {
		ERR_clear_error();
		(void)SSL_shutdown(c->ssl);
	}
	(void)shutdown(c->fd, SHUT_WR);
	conn_set_deadline(c, LINGER_MS);
}

static void
flush(struct http_conn *c)
{
	while (c->out.n > 0) {
		ssize_t n = write_some(c);

		if (n < 0) {
			c->state = CONN_DEAD;
			return;
		}
		if (n == 0) {
			want_write(c);
			return;
		}
		buf_consume(&c->out, (size_t)n);
		if (c->out.n == 0 && c->state == CONN_OPEN)
			c->proto->output(c);
	}
	if (c->writing && c->state != CONN_HANDSHAKE) {
		c->writing = false;
		(void)event_del(c->write_event);
	}
	/* An idle connection keeps no buffers. */
	if (c->out.room > READ_CHUNK)
		buf_fini(&c->out);
	if (c->in.n == 0 && c->in.room > 0)
		buf_fini(&c->in);
	if (c->state == CONN_FLUSHING && c->linger && !c->eof)
		start_linger(c);
	else if (c->state == CONN_FLUSHING)
		c->state = CONN_DEAD;
}

static void
on_writable(evutil_socket_t fd, short events, void *arg)
{
	struct http_conn *c = arg;

	(void)fd;
	(void)events;
	if (c->state == CONN_HANDSHAKE) {
		c->writing = false;
		(void)event_del(c->write_event);
		read_turn(c);
	}
	conn_touch(c);
}

/* --- the end of a turn -------------------------------------------------------------- */

void
conn_touch(struct http_conn *c)
{
	struct http_server *server = c->server;

	if (c->dirty)
		return;
	c->dirty = true;
	if (TAILQ_EMPTY(&server->dirty))
		(void)event_add(server->flush, &(struct timeval){0, 0});
	TAILQ_INSERT_TAIL(&server->dirty, c, dirty_link);
}

void
conn_end(struct http_conn *c)
{
	if (c->state == CONN_OPEN || c->state == CONN_HANDSHAKE)
		c->state = CONN_FLUSHING;
	conn_touch(c);
}

static void
conn_free(struct http_conn *c)
{
	struct http_server *server = c->server;

	if (c->proto != NULL)
		c->proto->stop(c);
	if (c->dirty) /* touched while it was being ended */
		TAILQ_REMOVE(&server->dirty, c, dirty_link);
	if (c->ssl != NULL) {
		ERR_clear_error();
		if (SSL_is_init_finished(c->ssl))
			(void)SSL_shutdown(c->ssl);
		SSL_free(c->ssl);
	}
	event_free(c->read_event);
	event_free(c->write_event);
	event_free(c->timer);
	(void)close(c->fd);
	buf_fini(&c->in);
	buf_fini(&c->out);
	free(c->notes);
	TAILQ_REMOVE(&server->conns, c, link);
	server->n_conns--;
	GAUGE(server->counters, connections, -1);
	free(c);
}

void
conn_abort(struct http_conn *c)
{
	conn_free(c);
}

/* Reading stops while the protocol is busy and goes on when it is not. */
static void
steer_reading(struct http_conn *c)
{
	bool want = c->state == CONN_LINGERING || (!c->paused && !c->eof);

	if (want == c->reading)
		return;
	c->reading = want;
	if (!want) {
		(void)event_del(c->read_event);
		return;
	}
	(void)event_add(c->read_event, NULL);
	if (c->state == CONN_OPEN && c->ssl != NULL && SSL_has_pending(c->ssl))
		event_active(c->read_event, EV_READ, 0);
}

static void
end_turn(struct http_conn *c)
{
	if (c->state == CONN_OPEN) {
		if (!c->paused && (c->in.n > 0 || c->eof))
			c->proto->input(c);
		if (c->state == CONN_OPEN && c->eof && !c->paused)
			c->state = CONN_FLUSHING;
	}
	if (c->state == CONN_OPEN || c->state == CONN_FLUSHING) {
		if (c->out.n < CONN_OUTPUT_HIGH && c->proto != NULL)
			c->proto->output(c);
		flush(c);
	}
	if (c->out.full)
		c->state = CONN_DEAD;
	if (c->state == CONN_DEAD)
		conn_free(c);
	else
		steer_reading(c);
}

void
conn_end_turn(struct http_server *server)
{
	struct http_conn *c;
	struct http_conns turn = TAILQ_HEAD_INITIALIZER(turn);

	TAILQ_CONCAT(&turn, &server->dirty, dirty_link);
	while ((c = TAILQ_FIRST(&turn)) != NULL) {
		TAILQ_REMOVE(&turn, c, dirty_link);
		c->dirty = false;
		end_turn(c);
	}
}

/* --- exchanges ------------------------------------------------------------------------ */

struct http_exchange *
conn_new_exchange(struct http_conn *c)
{
	struct arena *arena = arena_new_in(&c->server->arenas);
	struct http_exchange *x = arena_new(arena, struct http_exchange);

	x->arena = arena;
	x->server = c->server;
	x->conn = c;
	x->id = ++c->server->next_id;
	c->server->n_exchanges++;
	GAUGE(c->server->counters, exchanges, 1);
	return x;
}

void
conn_free_exchange(struct http_exchange *x)
{
	x->server->n_exchanges--;
	GAUGE(x->server->counters, exchanges, -1);
	arena_free(x->arena);
}

void
conn_abandon_exchange(struct http_exchange *x)
{
	x->conn = NULL;
	if (x->on_abandon != NULL)
		x->on_abandon(x, x->handler_data);
	conn_free_exchange(x);
}
