#include "config.h"

#include <stdlib.h>

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "server/http/conn.h"
#include "server/http/http1_head.h"

/*
 * HTTP/1.1 (RFC 9112), strictly.  One exchange at a time: while one is being
 * answered the connection does not read on, so pipelined requests wait in the
 * socket.  States, in the order they happen, each with its own function:
 *
 *	read_head       the request line and headers, whole
 *	read_length     a body of known length
 *	read_chunks     or a chunked one
 *	ANSWERING       the handler has it
 *	SENDING         its answer is large, or the peer is slow to take it
 *
 * How a head is taken apart is http1_head.c's business.
 */

enum state {
	READ_HEAD,
	DECIDING, /* the route looks at the head of a request with a body */
	READ_LENGTH,
	READ_CHUNK_HEAD,
	READ_CHUNK,
	READ_CHUNK_END,
	READ_TRAILERS,
	ANSWERING,
	SENDING,
	BROKEN /* refused; the connection is ending */
};

enum {
	BLANK_MAX = 8, /* bytes of empty lines before a request */
	CHUNK_LINE_MAX = 256,
	/* Bytes around chunks that are free; more may come only with as many
	 * bytes of the body. */
	FRAMING_FREE = 16 << 10,
	HEAD_FREE = 4 << 10, /* of a head; what an exchange has room for */
	TRAILERS_MAX = 4096
};

struct http1 {
	enum state state;
	struct http_exchange *exchange;
	struct http1_head head;
	struct buf body;
	uint64_t left; /* bytes of the body, or of the chunk */
	size_t framing, trailers, blank;
	size_t seen;     /* bytes of input without the end of the head */
	bool served;     /* a request came */
	bool keep_alive; /* while DECIDING: what the request says of it */
};

static void http1_send(struct http_exchange *, int, const struct http_header *,
    size_t, struct http_body);

static struct http1 *
h1_of(struct http_conn *c)
{
	return c->proto_data;
}

static void
await_request(struct http_conn *c)
{
	h1_of(c)->state = READ_HEAD;
	h1_of(c)->seen = 0;
	h1_of(c)->blank = 0;
	c->doing = "waiting for a request";
	conn_set_deadline(c, c->server->limits->idle_http1_ms);
}

static void
http1_start(struct http_conn *c)
{
	c->proto_data = mem_new(struct http1);
	await_request(c);
}

static void
end_exchange(struct http1 *h)
{
	buf_fini(&h->body);
	h->exchange = NULL;
}

/* Refuses what is not a request, or not one we take, and ends. */
static void
refuse(struct http_conn *c, int status)
{
	struct http1 *h = h1_of(c);

	COUNT(c->server->counters, http_bad_requests);
	log_peer(LOG_LEVEL_DEBUG, "http_refused", "status=%d doing=\"%s\"",
	    status, c->doing);
	c->paused = true;
	if (h->exchange != NULL) {
		h->head.keep_alive = false; /* its body is not read */
		http_refuse(h->exchange, status);
		return;
	}
	end_exchange(h);
	buf_printf(&c->out,
	    "HTTP/1.1 %d %s\r\ncontent-length: 0\r\nconnection: close\r\n",
	    status, http1_reason(status));
	if (status == 429 || status == 503)
		buf_printf(&c->out, "retry-after: %d\r\n", HTTP_RETRY_AFTER_S);
	buf_add_str(&c->out, "\r\n");
	h->state = BROKEN;
	c->linger = true;
	conn_end(c);
}

/* --- the head ---------------------------------------------------------------------- */

/* The handler may answer at once, or later. */
static void
dispatch(struct http_conn *c)
{
	struct http1 *h = h1_of(c);
	struct http_exchange *x = h->exchange;

	h->state = ANSWERING;
	c->doing = "answering";
	c->paused = true;
	conn_no_deadline(c); /* the handler has deadlines of its own */
	x->body = buf_slice(&h->body);
	x->route->handler(x);
	if (h->state == ANSWERING)
		exchange_park(x);
}

static void
begin_body(struct http_conn *c)
{
	struct http1 *h = h1_of(c);

	if (h->head.expects_continue && (h->head.chunked || h->head.length > 0))
		buf_add_str(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
	h->left = h->head.length;
	h->trailers = 0;
	h->framing = 0;
	h->state = h->head.chunked ? READ_CHUNK_HEAD : READ_LENGTH;
	c->doing = "reading request body";
}

/* The route may answer, or go on, now or later; till then nothing is read. */
static void
decide(struct http_conn *c)
{
	struct http1 *h = h1_of(c);

	h->state = DECIDING;
	h->keep_alive = h->head.keep_alive;
	h->head.keep_alive = false; /* an answer now leaves the body unread */
	c->doing = "deciding";
	c->paused = true;
	conn_no_deadline(c);
	h->exchange->route->head(h->exchange);
}

static void
http1_go_on(struct http_exchange *x)
{
	struct http_conn *c = x->conn;
	struct http1 *h = h1_of(c);

	h->head.keep_alive = h->keep_alive;
	c->paused = false;
	conn_set_deadline(c, c->server->limits->request_time_ms);
	begin_body(c);
	conn_touch(c);
}

static void
after_head(struct http_conn *c)
{
	struct http1 *h = h1_of(c);
	struct http_exchange *x = h->exchange;
	int status;

	x->route = http_find_route(c->server, x, &status);
	if (x->route == NULL) {
		refuse(c, status);
		return;
	}
	status = conn_admit(c, x->route);
	if (status != 0) {
		refuse(c, status);
		return;
	}
	if (!h->head.chunked && h->head.length > x->route->body_max) {
		refuse(c, 413);
		return;
	}
	buf_init(&h->body, x->route->body_max);
	if (x->route->head != NULL && (h->head.chunked || h->head.length > 0))
		decide(c);
	else
		begin_body(c);
}

/* The length of the head, blank line included; 0 when it is not all here. */
static size_t
head_length(const struct http_conn *c, size_t from)
{
	const uint8_t *end;

	from = from > 3 ? from - 3 : 0;
	if (c->in.n <= from)
		return 0;
	end = memmem(c->in.p + from, c->in.n - from, "\r\n\r\n", 4);
	return end == NULL ? 0 : (size_t)(end - c->in.p) + 4;
}

/* Makes the exchange and parses its head.  0, or a status to refuse with. */
static int
take_head(struct http_conn *c, struct slice head)
{
	struct http1 *h = h1_of(c);
	int status;

	COUNT(c->server->counters, http1_requests);
	h->exchange = conn_new_exchange(c, &status);
	if (h->exchange == NULL)
		return status;
	h->exchange->send = http1_send;
	h->exchange->go_on = http1_go_on;
	if (head.n > HEAD_FREE)
		status = exchange_charge(h->exchange, head.n);
	if (status != 0)
		return status;
	return http1_parse_head(arena_dup(h->exchange->arena, head),
	    h->exchange, &h->head);
}

/*
 * RFC 9113, 3.3: a client that knows that we speak HTTP/2 begins with its
 * preface; over TLS, ALPN decided.  *wait: what came may become one.
 */
static bool
is_preface(struct http_conn *c, bool *wait)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
	size_t n = sizeof(preface) - 1;

	*wait = false;
	if (c->ssl != NULL || h1_of(c)->served ||
	    memcmp(c->in.p, preface, c->in.n < n ? c->in.n : n) != 0)
		return false;
	*wait = c->in.n < n;
	return !*wait;
}

static bool
read_head(struct http_conn *c)
{
	struct http1 *h = h1_of(c);
	size_t n;
	int status;
	bool wait;

	/* RFC 9112, 2.2: an empty line before a request is passed over. */
	while (c->in.n >= 2 && memcmp(c->in.p, "\r\n", 2) == 0 &&
	    h->blank < BLANK_MAX) {
		buf_consume(&c->in, 2);
		h->blank += 2;
	}
	if (c->in.n == 0)
		return false;
	if (h->seen == 0) {
		c->doing = "reading request headers";
		conn_set_deadline(c, c->server->limits->request_time_ms);
	}
	if (is_preface(c, &wait)) {
		conn_switch(c, &http2_proto);
		c->proto->input(c);
		return false;
	}
	n = wait ? 0 : head_length(c, h->seen);
	if (n == 0 || n > (size_t)c->server->limits->head_max) {
		if (c->in.n > (size_t)c->server->limits->head_max)
			refuse(c, 431);
		/* What may become a preface is not searched for a head yet. */
		h->seen = wait ? 1 : c->in.n;
		return false;
	}
	h->served = true;
	status = take_head(c, (struct slice){c->in.p, n});
	buf_consume(&c->in, n);
	if (status != 0) {
		refuse(c, status);
		return false;
	}
	after_head(c);
	return h->state != BROKEN;
}

/* --- bodies ------------------------------------------------------------------------ */

static bool
take_body(struct http_conn *c)
{
	struct http1 *h = h1_of(c);
	size_t n = c->in.n < h->left ? c->in.n : (size_t)h->left;
	int status = exchange_add(h->exchange, &h->body, c->in.p, n);

	if (status != 0) {
		refuse(c, status);
		return false;
	}
	buf_consume(&c->in, n);
	h->left -= n;
	return h->left == 0;
}

static bool
read_length(struct http_conn *c)
{
	if (h1_of(c)->left > 0 && !take_body(c))
		return false;
	dispatch(c);
	return false;
}

/* A line without its CRLF; false when it is not all here. */
static bool
take_line(struct http_conn *c, size_t max, struct slice *line)
{
	const uint8_t *end =
	    c->in.n == 0 ? NULL : memmem(c->in.p, c->in.n, "\r\n", 2);

	if (end == NULL) {
		if (c->in.n > max)
			refuse(c, 400);
		return false;
	}
	*line = (struct slice){c->in.p, (size_t)(end - c->in.p)};
	if (line->n <= max)
		return true;
	refuse(c, 400);
	return false;
}

static bool
read_chunk_head(struct http_conn *c)
{
	struct http1 *h = h1_of(c);
	struct slice line;

	if (!take_line(c, CHUNK_LINE_MAX, &line))
		return false;
	if (!http1_parse_chunk_size(line, &h->left)) {
		refuse(c, 400);
		return false;
	}
	if (h->left > h->body.max - h->body.n) {
		refuse(c, 413);
		return false;
	}
	h->framing += line.n + 4;
	if (h->framing > FRAMING_FREE + h->body.n) {
		refuse(c, 400);
		return false;
	}
	buf_consume(&c->in, line.n + 2);
	h->state = h->left == 0 ? READ_TRAILERS : READ_CHUNK;
	return true;
}

static bool
read_chunk(struct http_conn *c)
{
	if (!take_body(c))
		return false;
	h1_of(c)->state = READ_CHUNK_END;
	return true;
}

static bool
read_chunk_end(struct http_conn *c)
{
	if (c->in.n < 2)
		return false;
	if (memcmp(c->in.p, "\r\n", 2) != 0) {
		refuse(c, 400);
		return false;
	}
	buf_consume(&c->in, 2);
	h1_of(c)->state = READ_CHUNK_HEAD;
	return true;
}

/* Trailers are read over: nothing we serve looks at them. */
static bool
read_trailers(struct http_conn *c)
{
	struct http1 *h = h1_of(c);
	struct slice line;
	bool last;

	if (!take_line(c, CHUNK_LINE_MAX, &line))
		return false;
	last = line.n == 0;
	h->trailers += line.n + 2;
	if (h->trailers > TRAILERS_MAX ||
	    (!last && !http1_is_header_line(line))) {
		refuse(c, 400);
		return false;
	}
	buf_consume(&c->in, line.n + 2);
	if (last)
		dispatch(c);
	return !last;
}

static bool
step(struct http_conn *c)
{
	switch (h1_of(c)->state) {
	case READ_HEAD:
		return read_head(c);
	case READ_LENGTH:
		return read_length(c);
	case READ_CHUNK_HEAD:
		return read_chunk_head(c);
	case READ_CHUNK:
		return read_chunk(c);
	case READ_CHUNK_END:
		return read_chunk_end(c);
	case READ_TRAILERS:
		return read_trailers(c);
	case DECIDING:
	case ANSWERING:
	case SENDING:
	case BROKEN:
	default:
		return false;
	}
}

static void
http1_input(struct http_conn *c)
{
	/* A step that hands a request to its handler is the last: the next
	 * request waits for the next turn. */
	while (c->state == CONN_OPEN && step(c))
		continue;
}

/* --- the answer ---------------------------------------------------------------------- */

static void
write_head(struct http_conn *c, int status, const struct http_header *headers,
    size_t n, size_t body_n, bool keep)
{
	struct buf *out = &c->out;

	buf_printf(out, "HTTP/1.1 %d %s\r\n", status, http1_reason(status));
	for (size_t i = 0; i < n; i++) {
		buf_add_slice(out, headers[i].name);
		buf_add_str(out, ": ");
		buf_add_slice(out, headers[i].value);
		buf_add_str(out, "\r\n");
	}
	if (status != 204 && status != 304)
		buf_printf(out, "content-length: %zu\r\n", body_n);
	if (!keep)
		buf_add_str(out, "connection: close\r\n");
	else if (h1_of(c)->head.minor == 0)
		buf_add_str(out, "connection: keep-alive\r\n");
	buf_add_str(out, "\r\n");
}

static void
http1_send(struct http_exchange *x, int status,
    const struct http_header *headers, size_t n, struct http_body body)
{
	struct http_conn *c = x->conn;
	struct http1 *h = h1_of(c);
	bool keep = h->head.keep_alive && !c->server->draining && !c->eof &&
	    !c->reserved;

	write_head(c, status, headers, n, body.bytes.n, keep);
	if (http_is_head(x)) {
		http_shared_unref(body.shared);
		body = (struct http_body){slice_none(), NULL};
	}
	if (body.shared != NULL)
		conn_send_body(c, x, body);
	else
		buf_add_slice(&c->out, body.bytes);
	conn_free_exchange(x);
	end_exchange(h);
	if (!keep) {
		h->state = BROKEN;
		c->linger = true;
		conn_end(c);
	} else if (body.shared != NULL) {
		h->state = SENDING;
		c->doing = "sending an answer";
		conn_touch(c);
	} else {
		c->paused = false;
		await_request(c);
		conn_touch(c);
	}
}

/* A large answer is written: the next request may come. */
static void
http1_output(struct http_conn *c)
{
	if (h1_of(c)->state != SENDING || conn_pending(c) > 0)
		return;
	c->paused = false;
	await_request(c);
	conn_touch(c);
}

static void
http1_timeout(struct http_conn *c)
{
	struct http1 *h = h1_of(c);

	if (h->state == READ_HEAD && h->seen == 0 && c->in.n == 0) {
		conn_end(c); /* idle: nothing to say */
		return;
	}
	COUNT(c->server->counters, http_timeouts);
	refuse(c, 408);
}

static void
http1_drain(struct http_conn *c)
{
	struct http1 *h = h1_of(c);

	/* An idle one could be sending just now: it ends with its next
	 * answer, or in the second step. */
	if (!c->server->closing)
		return;
	if (h->state == READ_HEAD && c->in.n == 0)
		conn_end(c);
	else if (h->state < ANSWERING)
		conn_hasten(c,
		    c->server->closing_us + CONN_CLOSING_MS * INT64_C(1000));
}

static void
http1_stop(struct http_conn *c)
{
	struct http1 *h = h1_of(c);

	if (h->exchange != NULL &&
	    (h->state == ANSWERING || h->state == DECIDING))
		conn_abandon_exchange(h->exchange);
	else if (h->exchange != NULL)
		conn_free_exchange(h->exchange);
	buf_fini(&h->body);
	free(h);
}

const struct http_proto http1_proto = {
    .start = http1_start,
    .input = http1_input,
    .output = http1_output,
    .timeout = http1_timeout,
    .drain = http1_drain,
    .stop = http1_stop,
};
