#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "server/http/http2.h"

/*
 * One HTTP/2 request, from its header block to the last byte of its answer.
 *
 *	stream_begin      an exchange in the making, if there is room for one
 *	stream_header     its fields, within the limit
 *	stream_head_done  its route; refused at once, or its body may come
 *	stream_data       its body, within the route's limit and the account
 *	stream_end        the route's handler has it
 *	http2_send        the answer, given to nghttp2, which asks read_reply()
 *	stream_judge      the answer, or the request, does not get on
 *	stream_free       gone, answered or not
 *
 * What is refused is answered at once and reset a moment later (http2.c), so
 * that it holds nothing and frees its place.
 */

enum {
	HEAD_FREE = 4 << 10, /* of a head; what an exchange has room for */
	LEAVE_MS = 500       /* for a refused peer to end what it is sending */
};

static void http2_go_on(struct http_exchange *);
static void http2_send(struct http_exchange *, int, const struct http_header *,
    size_t, struct http_body);

struct stream *
stream_begin(struct http_conn *c, int32_t id)
{
	struct http2 *h = h2_of(c);
	struct http_exchange *x = conn_new_exchange(c, &h->refusal);
	struct stream *s;

	if (x == NULL)
		return NULL;
	s = mem_new(struct stream);
	s->exchange = x;
	x->stream_id = id;
	x->send = http2_send;
	x->go_on = http2_go_on;
	s->started_us = clock_mono_us();
	buf_init(&s->body, 0);
	TAILQ_INSERT_TAIL(&h->streams, s, link);
	conn_hasten(c, stream_deadline(c, s));
	return s;
}

/* --- refusing ---------------------------------------------------------------------- */

static void
refuse(struct http_conn *c, struct stream *s, int status)
{
	s->dispatched = true;
	s->refused = true;
	COUNT(c->server->counters, http_bad_requests);
	http_refuse(s->exchange, status);
}

static nghttp2_nv
field(struct slice name, struct slice value)
{
	return (nghttp2_nv){slice_unconst(name), slice_unconst(value), name.n,
	    value.n, NGHTTP2_NV_FLAG_NONE};
}

void
stream_refuse_bare(struct http_conn *c, int32_t id)
{
	int status = h2_of(c)->refusal;
	char code[8], after[8];
	nghttp2_nv fields[3];

	(void)snprintf(code, sizeof(code), "%d", status);
	(void)snprintf(after, sizeof(after), "%d", HTTP_RETRY_AFTER_S);
	fields[0] = field(SLICE_LIT(":status"), slice_str(code));
	fields[1] = field(SLICE_LIT("retry-after"), slice_str(after));
	fields[2] = field(SLICE_LIT("content-length"), SLICE_LIT("0"));
	(void)nghttp2_submit_response(h2_of(c)->session, id, fields, 3, NULL);
	if (status == 503)
		COUNT(c->server->counters, responses_5xx);
	else
		COUNT(c->server->counters, responses_4xx);
}

/* --- a request arrives ------------------------------------------------------------- */

static void
set_path(struct http_exchange *x, struct slice target)
{
	const uint8_t *q =
	    target.n == 0 ? NULL : memchr(target.p, '?', target.n);

	x->path = target;
	if (q == NULL)
		return;
	x->path.n = (size_t)(q - target.p);
	x->query = (struct slice){q + 1, target.n - x->path.n - 1};
}

static void
keep_field(struct http_exchange *x, struct slice name, struct slice value)
{
	value = arena_dup(x->arena, value);
	if (slice_is(name, ":method")) {
		x->method = value;
	} else if (slice_is(name, ":path")) {
		set_path(x, value);
	} else if (name.n > 0 && name.p[0] != ':') {
		x->headers[x->n_headers].name = arena_dup(x->arena, name);
		x->headers[x->n_headers++].value = value;
	}
}

/* Header bytes that no request will ever use. */
static bool
charge_excess(struct http_conn *c, size_t n)
{
	struct http2 *h = h2_of(c);
	size_t per = h->block_bytes > (size_t)c->server->limits->head_max
	    ? HTTP2_EXCESS_BYTES
	    : HTTP2_HEADER_BYTES;

	h->excess += n;
	http2_spend(c, (int64_t)(h->excess / per));
	h->excess %= per;
	return !h->abusive;
}

bool
stream_header(struct http_conn *c, struct stream *s, struct slice name,
    struct slice value)
{
	size_t n = name.n + value.n + 32; /* RFC 9113, 6.5.2 */
	struct http_exchange *x;

	h2_of(c)->block_bytes += n;
	if (s == NULL || s->refused)
		return charge_excess(c, n);
	s->head_bytes += n;
	if (s->head_bytes > (size_t)c->server->limits->head_max)
		return charge_excess(c, n);
	x = s->exchange;
	if (s->head_done) /* trailers: nothing we serve looks at them */
		return true;
	if (x->n_headers == HTTP_HEADERS_MAX) {
		s->head_bytes = SIZE_MAX / 2;
		return charge_excess(c, n);
	}
	if (s->head_bytes > HEAD_FREE && exchange_charge(x, n) != 0) {
		s->head_bytes = SIZE_MAX / 2;
		return charge_excess(c, n);
	}
	keep_field(x, name, value);
	return true;
}

void
stream_head_done(struct http_conn *c, struct stream *s)
{
	struct http_exchange *x = s->exchange;
	int status = 0;

	s->head_done = true;
	x->route = http_find_route(c->server, x, &status);
	if (s->head_bytes > (size_t)c->server->limits->head_max)
		status = 431;
	else if (x->route != NULL)
		status = conn_admit(c, x->route);
	if (x->route == NULL || status != 0) {
		refuse(c, s, status);
		return;
	}
	buf_init(&s->body, x->route->body_max);
	if (x->route->head == NULL || s->ended)
		return;
	s->deciding = true;
	x->route->head(x);
}

static void
http2_go_on(struct http_exchange *x)
{
	struct http_conn *c = x->conn;
	nghttp2_session *session = h2_of(c)->session;
	struct stream *s =
	    nghttp2_session_get_stream_user_data(session, x->stream_id);

	s->deciding = false;
	(void)nghttp2_session_consume_stream(session, x->stream_id, s->unread);
	if (s->ended)
		stream_end(s);
	conn_touch(c);
}

void
stream_data(struct http_conn *c, struct stream *s, struct slice data)
{
	int status;

	if (s->dispatched)
		return;
	status = exchange_add(s->exchange, &s->body, data.p, data.n);
	if (status != 0)
		refuse(c, s, status);
}

void
stream_end(struct stream *s)
{
	struct http_exchange *x = s->exchange;

	if (s->dispatched || s->deciding)
		return;
	s->dispatched = true;
	x->body = buf_slice(&s->body);
	x->route->handler(x);
	if (!x->answered)
		exchange_park(x);
}

/* --- the answer ------------------------------------------------------------------------ */

static ssize_t
read_reply(nghttp2_session *session, int32_t stream_id, uint8_t *to, size_t max,
    uint32_t *flags, nghttp2_data_source *source, void *arg)
{
	struct http_conn *c = arg;
	struct http2 *h = h2_of(c);
	struct stream *s = source->ptr;
	size_t n = s->reply.bytes.n - s->reply_sent;

	(void)session;
	(void)stream_id;
	if (n > max)
		n = max;
	memcpy(to, s->reply.bytes.p + s->reply_sent, n);
	s->reply_sent += n;
	h->sent += n;
	http2_budget_earn(&h->budget, (int64_t)(n / HTTP2_SENT_BYTES));
	if (s->reply_sent == s->reply.bytes.n)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

/* Keeps the body until it is sent: by reference, or a small copy. */
static void
keep_reply(struct http_conn *c, struct stream *s, struct http_body body)
{
	s->reply = body;
	if (body.bytes.n == 0)
		return;
	if (body.shared == NULL)
		s->reply.bytes = arena_dup(s->exchange->arena, body.bytes);
	s->mark_us = clock_mono_us();
	s->mark_total = h2_of(c)->sent;
	conn_hasten(c, stream_deadline(c, s));
}

static void
http2_send(struct http_exchange *x, int status,
    const struct http_header *headers, size_t n, struct http_body body)
{
	struct http_conn *c = x->conn;
	struct http2 *h = h2_of(c);
	struct stream *s =
	    nghttp2_session_get_stream_user_data(h->session, x->stream_id);
	nghttp2_data_provider provider = {{.ptr = s}, read_reply};
	nghttp2_nv fields[24];
	size_t fields_n = 0, body_n = body.bytes.n;

	s->dispatched = true;
	s->deciding = false;
	if (http_is_head(x)) {
		http_shared_unref(body.shared);
		body = (struct http_body){slice_none(), NULL};
	}
	keep_reply(c, s, body);
	exchange_drop_body(x, &s->body);
	fields[fields_n++] = field(SLICE_LIT(":status"),
	    slice_str(arena_printf(x->arena, "%d", status)));
	for (size_t i = 0; i < n; i++)
		fields[fields_n++] = field(headers[i].name, headers[i].value);
	if (status != 204 && status != 304)
		fields[fields_n++] = field(SLICE_LIT("content-length"),
		    slice_str(arena_printf(x->arena, "%zu", body_n)));
	(void)nghttp2_submit_response(h->session, x->stream_id, fields,
	    fields_n, body.bytes.n > 0 ? &provider : NULL);
	conn_touch(c);
}

/* --- time ---------------------------------------------------------------------------- */

int64_t
stream_deadline(const struct http_conn *c, const struct stream *s)
{
	const struct http_server *server = c->server;
	int64_t since;

	if (s->given_up)
		return 0;
	if (s->leave_us != 0)
		return s->leave_us;
	if (!s->dispatched) {
		int64_t at = s->started_us +
		    (int64_t)server->limits->request_time_ms * 1000;
		int64_t closed =
		    server->closing_us + CONN_CLOSING_MS * INT64_C(1000);

		return server->closing && closed < at ? closed : at;
	}
	if (s->mark_us == 0)
		return 0;
	since =
	    s->mark_us > server->closing_us ? s->mark_us : server->closing_us;
	return since + conn_patience_us(c);
}

/* The peer withholds what this answer needs: its window for the stream, or the
 * one for the connection while no other answer gets on either.  An answer that
 * waits for the socket is the connection's business. */
static bool
is_stuck(struct http_conn *c, const struct stream *s)
{
	struct http2 *h = h2_of(c);
	size_t rest = s->reply.bytes.n - s->mark_sent;
	size_t enough = rest < CONN_PROGRESS_MIN ? rest : CONN_PROGRESS_MIN;

	if (s->reply_sent - s->mark_sent >= enough)
		return false;
	if (nghttp2_session_get_stream_remote_window_size(h->session,
	        s->exchange->stream_id) <= 0)
		return true;
	return nghttp2_session_get_remote_window_size(h->session) <= 0 &&
	    h->sent - s->mark_total < enough;
}

static void
give_up(struct http_conn *c, struct stream *s, uint32_t code)
{
	s->given_up = true;
	(void)nghttp2_submit_rst_stream(h2_of(c)->session, NGHTTP2_FLAG_NONE,
	    s->exchange->stream_id, code);
}

void
stream_leave(struct http_conn *c, struct stream *s)
{
	s->leave_us = clock_mono_us() + LEAVE_MS * INT64_C(1000);
	conn_hasten(c, s->leave_us);
}

void
stream_judge(struct http_conn *c, struct stream *s, int64_t now_us)
{
	if (s->leave_us != 0) {
		give_up(c, s, NGHTTP2_NO_ERROR);
		return;
	}
	if (!s->dispatched) {
		COUNT(c->server->counters, http_timeouts);
		give_up(c, s, NGHTTP2_CANCEL);
		/* Without its end, a header block holds up all others. */
		if (!s->head_done)
			http2_spend(c, HTTP2_BURST + 1);
		return;
	}
	if (!is_stuck(c, s)) {
		s->mark_us = now_us;
		s->mark_sent = s->reply_sent;
		s->mark_total = h2_of(c)->sent;
		return;
	}
	COUNT(c->server->counters, send_timeouts);
	log_peer(LOG_LEVEL_DEBUG, "send_timeout", "stream=%d pending=%zu",
	    (int)s->exchange->stream_id, s->reply.bytes.n - s->reply_sent);
	give_up(c, s, NGHTTP2_CANCEL);
	http2_spend(c, HTTP2_STUCK);
}

/* --- its end -------------------------------------------------------------------------- */

void
stream_free(struct http_conn *c, struct stream *s, bool well)
{
	struct http2 *h = h2_of(c);
	bool answered = s->exchange->answered;

	TAILQ_REMOVE(&h->streams, s, link);
	http_shared_unref(s->reply.shared);
	if ((s->dispatched || s->deciding) && !answered)
		conn_abandon_exchange(s->exchange);
	else
		conn_free_exchange(s->exchange);
	buf_fini(&s->body);
	/* A window update for the stream and one for the connection are part
	 * of an answer that was taken. */
	if (well && answered && !s->refused)
		http2_budget_earn(&h->budget, s->paid + HTTP2_ANSWER_TAKEN);
	else if (!s->refused && s->head_bytes < SIZE_MAX / 2)
		http2_spend(c, (int64_t)(s->head_bytes / HTTP2_HEADER_BYTES));
	free(s);
}
