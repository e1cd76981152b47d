#include "config.h"

#include "server/http/conn.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
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
 *	conn_end_turn   protocol's output, some writes, free what is dead
 *	start_linger    closing while the peer sends would reset the connection
 *	                and take our last answer with it (RFC 9112, 9.6)
 *	on_timer        the protocol's deadline, and that of the output
 *
 * conn_account.c charges what it holds.
 */

enum {
	READS_PER_TURN = 4, /* then others have theirs */
	WRITE_PER_TURN = 128 << 10,
	KEPT_OUTPUT = 2 << 10,
	LINGER_MS = 2000,
	LINGER_MAX = 1 << 20
};

static void conn_free(struct http_conn *);
static void on_readable(evutil_socket_t, short, void *);
static void on_writable(evutil_socket_t, short, void *);
static void on_timer(evutil_socket_t, short, void *);

void
conn_set_state(struct http_conn *c, enum conn_state to)
{
#define TO(state) (1u << CONN_##state)
	static const unsigned legal[CONN_STATES] = {
	    [CONN_HANDSHAKE] = TO(OPEN) | TO(FLUSHING) | TO(DEAD),
	    [CONN_OPEN] = TO(FLUSHING) | TO(DEAD),
	    [CONN_FLUSHING] = TO(LINGERING) | TO(DEAD),
	    [CONN_LINGERING] = TO(DEAD),
	    [CONN_DEAD] = TO(DEAD), /* two reasons in one turn */
	};
#undef TO

	assert((legal[c->state] & 1u << to) != 0);
	c->state = to;
}

/* --- beginning -------------------------------------------------------------------- */

void
conn_switch(struct http_conn *c, const struct http_proto *proto)
{
	c->proto->stop(c);
	c->proto_data = NULL;
	c->proto = proto;
	c->proto->start(c);
}

static void
open_as(struct http_conn *c, const struct http_proto *proto)
{
	conn_set_state(c, CONN_OPEN);
	c->proto = proto;
	c->proto->start(c);
}

static void
start_tls(struct http_conn *c)
{
	c->ssl = SSL_new(c->server->tls);
	if (c->ssl == NULL || SSL_set_fd(c->ssl, c->fd) != 1)
		abort();
	SSL_set_accept_state(c->ssl);
}

/* A place among the reserved ones: free, or that of the oldest. */
static bool
make_place(struct http_server *server)
{
	struct http_conn *c;

	if (server->limits->reserved_max == 0)
		return false;
	if (server->n_reserved < (size_t)server->limits->reserved_max)
		return true;
	TAILQ_FOREACH (c, &server->conns, link) {
		if (c->reserved) {
			COUNT(server->counters, connections_shed);
			conn_free(c);
			return true;
		}
	}
	return false;
}

static bool
is_full(const struct http_server *server)
{
	return server->limits->reserved_max > 0 &&
	    server->n_conns - server->n_reserved >=
	    (size_t)server->limits->connections_max;
}

int
conn_admit(struct http_conn *c, const struct http_route *route)
{
	if (route->reserved)
		return 0;
	if (!c->reserved)
		return http_admit(c->server, c->source);
	COUNT(c->server->counters, requests_shed);
	return 503;
}

void
conn_start(struct http_server *server, int fd,
    const uint8_t source[HTTP_SOURCE_SIZE], const struct http_proto *proto)
{
	struct http_source *share = is_full(server)
	    ? NULL
	    : http_source_join(server->sources, server->limits, source, false);
	bool reserved = share == NULL && make_place(server);
	struct http_conn *c;

	if (reserved)
		share = http_source_join(server->sources, server->limits,
		    source, true);

	if (share == NULL) {
		COUNT(server->counters, connections_refused);
		(void)close(fd);
		return;
	}
	c = mem_new(struct http_conn);
	c->server = server;
	c->share = share;
	c->reserved = reserved;
	server->n_reserved += reserved;
	c->fd = fd;
	memcpy(c->source, source, sizeof(c->source));
	buf_init(&c->in, CONN_INPUT_MAX + CONN_READ_CHUNK);
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
	if (server->tls != NULL)
		start_tls(c);
	else
		open_as(c, proto != NULL ? proto : &http1_proto);
	conn_touch(c);
}

/* --- time ------------------------------------------------------------------------- */

static int64_t
earlier(int64_t a, int64_t b)
{
	return a == 0 ? b : b == 0 || a < b ? a : b;
}

/* A timer that fires early looks again: moving a deadline back, which happens
 * with every request, costs nothing. */
static void
arm(struct http_conn *c, int64_t now_us)
{
	int64_t at = earlier(c->deadline_us, c->stall_us), left = at - now_us;
	struct timeval tv;

	if (at == 0 || (c->wake_us != 0 && c->wake_us <= at))
		return;
	if (left < 0)
		left = 0;
	tv = (struct timeval){left / CLOCK_SECOND, left % CLOCK_SECOND};
	(void)event_add(c->timer, &tv);
	c->wake_us = at;
}

void
conn_set_deadline(struct http_conn *c, int ms)
{
	int64_t now = clock_mono_us();

	c->deadline_us = now + (int64_t)ms * 1000;
	arm(c, now);
}

void
conn_no_deadline(struct http_conn *c)
{
	c->deadline_us = 0;
}

void
conn_hasten(struct http_conn *c, int64_t at_us)
{
	if (c->deadline_us != 0 && c->deadline_us <= at_us)
		return;
	c->deadline_us = at_us;
	if (c->wake_us == 0 || c->wake_us > at_us)
		arm(c, clock_mono_us());
}

int64_t
conn_patience_us(const struct http_conn *c)
{
	int ms = c->server->limits->send_progress_ms;

	if (c->server->closing && ms > CONN_CLOSING_MS)
		ms = CONN_CLOSING_MS;
	return (int64_t)ms * 1000;
}

/* Begins to wait for the peer to take output, and looks again after it did. */
static void
await_progress(struct http_conn *c, int64_t now_us, uint64_t taken)
{
	c->taken = taken;
	c->stall_us = now_us + conn_patience_us(c);
	arm(c, now_us);
}

static uint64_t
taken_now(const struct http_conn *c)
{
	return c->written - conn_io_unsent(c);
}

static void
judge_progress(struct http_conn *c, int64_t now_us)
{
	uint64_t taken = taken_now(c);

	/* Of TLS, the kernel counts ciphertext, which is more than we gave:
	 * the difference may be negative. */
	if ((int64_t)(taken - c->taken) >= CONN_PROGRESS_MIN) {
		await_progress(c, now_us, taken);
		return;
	}
	COUNT(c->server->counters, send_timeouts);
	log_peer(LOG_LEVEL_DEBUG, "send_timeout", "pending=%zu doing=\"%s\"",
	    conn_pending(c), c->doing);
	conn_set_state(c, CONN_DEAD);
}

static void
on_timer(evutil_socket_t fd, short events, void *arg)
{
	struct http_conn *c = arg;
	int64_t now = clock_mono_us();

	(void)fd;
	(void)events;
	c->wake_us = 0;
	if (c->stall_us != 0 && c->stall_us <= now)
		judge_progress(c, now);
	if (c->state != CONN_DEAD && c->deadline_us != 0 &&
	    c->deadline_us <= now) {
		c->deadline_us = 0;
		if (c->state == CONN_OPEN) {
			c->proto->timeout(c);
		} else {
			log_peer(LOG_LEVEL_DEBUG, "timeout", "doing=\"%s\"",
			    c->doing);
			conn_set_state(c, CONN_DEAD);
		}
	}
	if (c->state != CONN_DEAD)
		arm(c, now);
	conn_touch(c);
}

void
conn_hurry(struct http_conn *c)
{
	int64_t at = clock_mono_us() + CONN_CLOSING_MS * INT64_C(1000);

	if (c->state == CONN_HANDSHAKE)
		conn_hasten(c, at);
	if (c->stall_us > at)
		c->stall_us = at;
	arm(c, clock_mono_us());
}

/* --- reading ---------------------------------------------------------------------- */

static void
choose_protocol(struct http_conn *c)
{
	const unsigned char *alpn;
	unsigned n;

	SSL_get0_alpn_selected(c->ssl, &alpn, &n);
	COUNT(c->server->counters, tls_handshakes);
	open_as(c,
	    n == 2 && memcmp(alpn, "h2", 2) == 0 ? &http2_proto : &http1_proto);
}

/* Input may be taken: the protocol wants it, and the peer takes our output. */
static bool
may_input(struct http_conn *c)
{
	if (c->state != CONN_OPEN || c->paused)
		return false;
	if (c->out.n < CONN_OUTPUT_HIGH)
		return true;
	c->blocked = true;
	return false;
}

/* True when there is more already: asking the kernel once more, to hear that
 * there is nothing, would double the system calls of a request. */
static bool
read_once(struct http_conn *c)
{
	uint8_t *to = buf_reserve(&c->in, CONN_READ_CHUNK);
	ssize_t n;

	if (to == NULL) { /* the protocol is behind; it says when to go on */
		c->in.full = false;
		return false;
	}
	n = conn_io_read(c, to, CONN_READ_CHUNK);
	if (n <= 0)
		return false;
	c->in.n += (size_t)n;
	c->proto->input(c);
	return c->ssl != NULL ? SSL_has_pending(c->ssl) == 1
	                      : n == CONN_READ_CHUNK;
}

static void
read_turn(struct http_conn *c)
{
	if (c->state == CONN_HANDSHAKE && conn_io_handshake(c))
		choose_protocol(c);
	for (int i = 0; may_input(c) && !c->eof && i < READS_PER_TURN; i++) {
		if (!read_once(c))
			break;
		/* With read_ahead what OpenSSL holds raises no event. */
		if (c->ssl != NULL && i == READS_PER_TURN - 1 &&
		    SSL_has_pending(c->ssl))
			event_active(c->read_event, EV_READ, 0);
	}
	conn_touch(c);
}

static void
discard(struct http_conn *c)
{
	uint8_t scrap[CONN_READ_CHUNK];
	ssize_t n = read(c->fd, scrap, sizeof(scrap));

	if (n > 0)
		c->discarded += (size_t)n;
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR) ||
	    c->discarded > LINGER_MAX) {
		conn_set_state(c, CONN_DEAD);
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

void
conn_send_body(struct http_conn *c, struct http_exchange *x,
    struct http_body body)
{
	assert(c->tail.shared == NULL && body.shared != NULL);
	c->tail = body;
	c->held_tail = x->copied;
	x->held -= x->copied;
}

static void
end_tail(struct http_conn *c)
{
	http_shared_unref(c->tail.shared);
	c->tail = (struct http_body){slice_none(), NULL};
	conn_release(c, c->held_tail);
	c->held_tail = 0;
}

/* Writes what is next: out, then the tail.  As conn_io_write(). */
static ssize_t
write_next(struct http_conn *c)
{
	bool head = c->out.n > 0;
	ssize_t n = conn_io_write(c, head ? buf_slice(&c->out) : c->tail.bytes);

	if (n <= 0)
		return n;
	if (head) {
		buf_consume(&c->out, (size_t)n);
		return n;
	}
	c->tail.bytes.p += n;
	c->tail.bytes.n -= (size_t)n;
	if (c->tail.bytes.n == 0)
		end_tail(c);
	return n;
}

/* True when all is written. */
static bool
flush(struct http_conn *c)
{
	size_t n = 0;

	while (conn_pending(c) > 0) {
		ssize_t sent = write_next(c);

		if (sent < 0) {
			conn_set_state(c, CONN_DEAD);
			return false;
		}
		if (sent == 0) {
			conn_io_want_write(c);
			if (c->stall_us == 0)
				await_progress(c, clock_mono_us(),
				    taken_now(c));
			return false;
		}
		n += (size_t)sent;
		if (n >= WRITE_PER_TURN) { /* then others have theirs */
			conn_touch(c);
			return false;
		}
		if (conn_pending(c) == 0 && c->state == CONN_OPEN)
			c->proto->output(c);
	}
	c->stall_us = 0;
	return true;
}

static void
start_linger(struct http_conn *c)
{
	conn_set_state(c, CONN_LINGERING);
	c->doing = "lingering";
	conn_io_shut(c);
	conn_set_deadline(c, LINGER_MS);
}

static void
after_flush(struct http_conn *c)
{
	if (c->writing && c->state != CONN_HANDSHAKE) {
		c->writing = false;
		(void)event_del(c->write_event);
	}
	/* An idle connection keeps no buffers but a small one for answers. */
	if (c->out.room > KEPT_OUTPUT)
		buf_fini(&c->out);
	if (c->in.n == 0 && c->in.room > 0)
		buf_fini(&c->in);
	if (c->state == CONN_FLUSHING && c->linger && !c->eof)
		start_linger(c);
	else if (c->state == CONN_FLUSHING)
		conn_set_state(c, CONN_DEAD);
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
	if (c->state == CONN_OPEN || c->state == CONN_HANDSHAKE) {
		conn_set_state(c, CONN_FLUSHING);
		conn_no_deadline(c);
	}
	conn_touch(c);
}

static void
end_tls(struct http_conn *c)
{
	if (c->ssl == NULL)
		return;
	ERR_clear_error();
	if (SSL_is_init_finished(c->ssl))
		(void)SSL_shutdown(c->ssl);
	SSL_free(c->ssl);
}

static void
conn_free(struct http_conn *c)
{
	struct http_server *server = c->server;

	if (c->proto != NULL)
		c->proto->stop(c);
	if (c->dirty) /* touched while it was being ended */
		TAILQ_REMOVE(&server->dirty, c, dirty_link);
	end_tls(c);
	event_free(c->read_event);
	event_free(c->write_event);
	event_free(c->timer);
	(void)close(c->fd);
	buf_fini(&c->in);
	buf_fini(&c->out);
	end_tail(c);
	conn_release(c, c->held_buffers);
	assert(c->held == 0);
	http_source_leave(server->sources, c->share);
	free(c->notes);
	TAILQ_REMOVE(&server->conns, c, link);
	server->n_conns--;
	server->n_reserved -= c->reserved;
	GAUGE(server->counters, connections, -1);
	free(c);
}

void
conn_abort(struct http_conn *c)
{
	conn_free(c);
}

/* Reading stops while the protocol is busy, and while the peer does not take
 * what we have for it. */
static void
steer_reading(struct http_conn *c)
{
	bool want = c->state == CONN_LINGERING ||
	    (!c->paused && !c->blocked && !c->eof);

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

/* Buffers that stay after the turn are charged; one without room ends the
 * connection. */
static void
charge_buffers(struct http_conn *c)
{
	size_t now = c->in.room + c->out.room;

	if (now < c->held_buffers)
		conn_release(c, c->held_buffers - now);
	if (now > c->held_buffers &&
	    conn_charge(c, now - c->held_buffers) != 0) {
		COUNT(c->server->counters, connections_shed);
		conn_set_state(c, CONN_DEAD);
		return;
	}
	c->held_buffers = now;
}

/* Input that waited for the protocol, or for the peer to take output. */
static void
take_input(struct http_conn *c)
{
	if (c->in.n == 0 && !c->eof)
		return;
	if (may_input(c))
		c->proto->input(c);
	if (c->state == CONN_OPEN && c->eof && !c->paused && !c->blocked)
		conn_end(c);
}

static void
end_turn(struct http_conn *c)
{
	if (c->state == CONN_OPEN)
		take_input(c);
	if (c->state == CONN_OPEN || c->state == CONN_FLUSHING) {
		if (c->out.n < CONN_OUTPUT_HIGH && c->proto != NULL)
			c->proto->output(c);
		if (c->out.full) /* something is missing in it */
			conn_set_state(c, CONN_DEAD);
		if (c->state != CONN_DEAD && flush(c))
			after_flush(c);
	}
	if (c->blocked && c->out.n < CONN_OUTPUT_HIGH) {
		c->blocked = false;
		conn_touch(c);
	}
	if (c->state != CONN_DEAD)
		charge_buffers(c);
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
