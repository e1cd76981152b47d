#include "config.h"

#include "tests/support/wire.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/mem.h"

/* --- the handlers ------------------------------------------------------------------ */

static struct wire *
wire_of(struct http_exchange *x)
{
	return x->server->owner;
}

static void
on_echo(struct http_exchange *x)
{
	wire_of(x)->n_served++;
	http_answer(x,
	    &(struct http_response){.status = 200,
	        .content_type = "application/octet-stream",
	        .body = x->body});
}

static void
on_big(struct http_exchange *x)
{
	struct http_shared *big = wire_of(x)->big;

	http_answer(x,
	    &(struct http_response){.status = 200,
	        .body = big->bytes,
	        .shared = big});
}

static void
on_copy(struct http_exchange *x)
{
	http_answer(x,
	    &(struct http_response){.status = 200,
	        .body = wire_of(x)->big->bytes});
}

static void
on_page(struct http_exchange *x)
{
	http_answer(x,
	    &(struct http_response){.status = 200,
	        .body = {wire_of(x)->big->bytes.p, HTTP_COPY_MAX}});
}

static void
on_abandon(struct http_exchange *x, void *arg)
{
	struct wire *w = arg;

	for (size_t i = 0; i < w->n_parked; i++) {
		if (w->parked[i] == x)
			w->parked[i] = NULL;
	}
}

static void
on_park(struct http_exchange *x)
{
	struct wire *w = wire_of(x);

	x->on_abandon = on_abandon;
	x->handler_data = w;
	if (w->n_parked < sizeof(w->parked) / sizeof(w->parked[0]))
		w->parked[w->n_parked++] = x;
}

/* --- the server -------------------------------------------------------------------- */

void
wire_open(struct wire *w, size_t big)
{
	memset(w, 0, sizeof(*w));
	w->fd = -1;
	w->base = event_base_new();
	w->pool.max = 64 << 20;
	w->limits = (struct http_limits){.head_max = 16384,
	    .streams_max = 100,
	    .connections_max = 1000,
	    .pool = &w->pool,
	    .request_time_ms = 10000,
	    .send_progress_ms = 20000,
	    .idle_http1_ms = 60000,
	    .idle_http2_ms = 300000};
	w->routes[0] = (struct http_route){"POST", "/echo", 256 << 10, on_echo,
	    NULL, NULL, false};
	w->routes[1] =
	    (struct http_route){"GET", "/big", 0, on_big, NULL, NULL, false};
	w->routes[2] = (struct http_route){"POST", "/park", 256 << 10, on_park,
	    NULL, NULL, false};
	w->routes[3] =
	    (struct http_route){"GET", "/copy", 0, on_copy, NULL, NULL, false};
	w->routes[4] =
	    (struct http_route){"GET", "/page", 0, on_page, NULL, NULL, false};
	w->big = http_shared_take((struct slice){mem_calloc(1, big), big}, NULL,
	    NULL);
	w->server = (struct http_server){.base = w->base,
	    .routes = w->routes,
	    .n_routes = WIRE_ROUTES,
	    .limits = &w->limits,
	    .counters = &w->counters,
	    .owner = w};
	http_server_init(&w->server);
	buf_init(&w->got, 64 << 20);
}

bool
wire_end(struct wire *w)
{
	if (w->fd >= 0)
		(void)close(w->fd);
	w->fd = -1;
	for (int i = 0; i < 10 && w->server.n_conns > 0; i++)
		wire_turn(w, false);
	w->n_parked = 0;
	w->n_served = 0;
	return w->server.n_conns == 0;
}

void
wire_close(struct wire *w)
{
	if (w->fd >= 0)
		(void)close(w->fd);
	http_server_fini(&w->server);
	http_shared_unref(w->big);
	event_base_free(w->base);
	buf_fini(&w->got);
}

struct http_conn *
wire_connect(struct wire *w, const struct http_proto *proto, uint8_t n)
{
	static const uint8_t mapped[HTTP_SOURCE_SIZE] =
	    {[10] = 0xff, [11] = 0xff, [12] = 127};
	uint8_t source[HTTP_SOURCE_SIZE];
	int fds[2];

	memcpy(source, mapped, sizeof(source));
	source[15] = n;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
	        fds) != 0)
		abort();
	w->fd = fds[0];
	buf_clear(&w->got);
	conn_start(&w->server, fds[1], source, proto);
	return TAILQ_LAST(&w->server.conns, http_conns);
}

static void
take(struct wire *w)
{
	ssize_t n = 1;

	while (n > 0) {
		uint8_t *to = buf_reserve(&w->got, 64 << 10);

		if (to == NULL)
			abort();
		n = w->fd < 0 ? 0 : read(w->fd, to, 64 << 10);
		if (n > 0)
			w->got.n += (size_t)n;
		if (n == 0 && w->fd >= 0) {
			(void)close(w->fd);
			w->fd = -1;
		}
	}
}

void
wire_turn(struct wire *w, bool reading)
{
	/* A turn begins in an event and ends in the flush that it asks for,
	 * which may ask for another turn. */
	for (int i = 0; i < 4 || !TAILQ_EMPTY(&w->server.dirty); i++)
		(void)event_base_loop(w->base, EVLOOP_NONBLOCK);
	if (reading)
		take(w);
}

bool
wire_until(struct wire *w, bool reading,
    bool (*condition)(struct wire *, void *), void *arg)
{
	int64_t until = clock_mono_us() + 60 * CLOCK_SECOND;

	for (;;) {
		wire_turn(w, reading);
		if (condition(w, arg))
			return true;
		if (clock_mono_us() > until)
			return false;
		(void)usleep(1000);
	}
}

void
wire_send(struct wire *w, const void *bytes, size_t n)
{
	const uint8_t *p = bytes;

	while (n > 0 && w->fd >= 0) {
		ssize_t sent = send(w->fd, p, n, MSG_NOSIGNAL);

		if (sent > 0) {
			p += sent;
			n -= (size_t)sent;
		} else if (errno == EAGAIN) {
			wire_turn(w, false);
			if (TAILQ_EMPTY(&w->server.conns))
				return;
			/* The server does not read: it waits for us. */
			if (!TAILQ_LAST(&w->server.conns, http_conns)->reading)
				return;
		} else {
			return;
		}
	}
}

/* --- frames -------------------------------------------------------------------------- */

static void
put32(uint8_t out[4], uint32_t v)
{
	out[0] = (uint8_t)(v >> 24);
	out[1] = (uint8_t)(v >> 16);
	out[2] = (uint8_t)(v >> 8);
	out[3] = (uint8_t)v;
}

static uint32_t
get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	    (uint32_t)p[2] << 8 | p[3];
}

void
wire_frame(struct wire *w, uint8_t type, uint8_t flags, uint32_t stream,
    const void *payload, size_t n)
{
	uint8_t head[9] = {(uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n,
	    type, flags};
	struct buf b;

	put32(head + 5, stream);
	buf_init(&b, 1 << 20);
	buf_add(&b, head, sizeof(head));
	buf_add(&b, payload, n);
	wire_send(w, b.p, b.n);
	buf_fini(&b);
}

void
wire_frame32(struct wire *w, uint8_t type, uint32_t stream, uint32_t v)
{
	uint8_t payload[4];

	put32(payload, v);
	wire_frame(w, type, 0, stream, payload, sizeof(payload));
}

void
wire_greet(struct wire *w, uint32_t initial_window)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
	uint8_t settings[6] = {0, 4}; /* SETTINGS_INITIAL_WINDOW_SIZE, 6.5.2 */

	put32(settings + 2, initial_window);
	wire_send(w, preface, sizeof(preface) - 1);
	wire_frame(w, WIRE_SETTINGS, 0, 0, settings, sizeof(settings));
	wire_frame(w, WIRE_SETTINGS, WIRE_ACK, 0, "", 0);
	wire_turn(w, true);
}

static void
literal(struct buf *b, const char *name, const char *value)
{
	buf_add_byte(b, 0);
	buf_add_byte(b, (uint8_t)strlen(name));
	buf_add_str(b, name);
	buf_add_byte(b, (uint8_t)strlen(value));
	buf_add_str(b, value);
}

void
wire_request(struct wire *w, uint32_t stream, const char *method,
    const char *path, bool end_stream)
{
	struct buf b;

	buf_init(&b, 4096);
	literal(&b, ":method", method);
	literal(&b, ":scheme", "https");
	literal(&b, ":authority", "localhost");
	literal(&b, ":path", path);
	wire_frame(w, WIRE_HEADERS,
	    (uint8_t)(WIRE_END_HEADERS | (end_stream ? WIRE_END_STREAM : 0)),
	    stream, b.p, b.n);
	buf_fini(&b);
}

bool
wire_next(const struct wire *w, size_t *at, struct wire_frame *f)
{
	const uint8_t *p = w->got.p + *at;
	size_t left = w->got.n - *at;

	if (left < 9)
		return false;
	f->length = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
	if (left - 9 < f->length)
		return false;
	f->type = p[3];
	f->flags = p[4];
	f->stream = get32(p + 5) & 0x7fffffff;
	f->payload = p + 9;
	*at += 9 + f->length;
	return true;
}

size_t
wire_count(const struct wire *w, uint8_t type, uint32_t stream, size_t offset,
    uint32_t *value)
{
	struct wire_frame f;
	size_t at = 0, n = 0;

	while (wire_next(w, &at, &f)) {
		if (f.type != type ||
		    (stream != UINT32_MAX && f.stream != stream))
			continue;
		n++;
		if (value != NULL && f.length >= offset + 4)
			*value = get32(f.payload + offset);
	}
	return n;
}
