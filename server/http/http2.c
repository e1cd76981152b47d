#include "config.h"

#include <nghttp2/nghttp2.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "server/http/conn.h"

/*
 * HTTP/2 (RFC 9113) by nghttp2: streams become exchanges.  Its callbacks run
 * inside mem_recv() and mem_send(); none of them ends the session or the
 * connection, they mark it and conn_end_turn() does.
 *
 *	on_begin_headers   a stream: an exchange in the making
 *	on_header          its fields, within the limit
 *	on_data            its body, within the route's limit
 *	on_frame           its end: the route's handler has it
 *	http2_send         the answer, queued; pull_output() writes it
 *	on_stream_close    gone, answered or not
 */

enum {
	/* What a peer may send for free: a token bucket for frames that cost
	 * us more than them (CVE-2023-44487 and its like).  Arbitrary, but
	 * far above what any agent or gateway does. */
	ABUSE_BURST = 400,
	ABUSE_PER_SECOND = 40
};

struct stream {
	TAILQ_ENTRY(stream) link;
	struct http_exchange *exchange;
	struct buf body;
	size_t head_bytes;
	int64_t started_us;
	bool received, dispatched;
	int refused;        /* a status decided before the body was here */
	struct slice reply; /* in the exchange's arena */
	size_t reply_sent;
};

TAILQ_HEAD(streams, stream);

struct http2 {
	nghttp2_session *session;
	struct streams streams;
	size_t n_receiving;
	int64_t bucket, bucket_us;
	bool abusive;
};

static struct http2 *
h2_of(struct http_conn *c)
{
	return c->proto_data;
}

static void http2_send(struct http_exchange *, int, const struct http_header *,
    size_t, struct slice);

static void
spend(struct http_conn *c)
{
	struct http2 *h = h2_of(c);
	int64_t now = clock_mono_us();
	int64_t refill = (now - h->bucket_us) * ABUSE_PER_SECOND / CLOCK_SECOND;

	if (refill > 0) {
		h->bucket += refill;
		h->bucket_us = now;
		if (h->bucket > ABUSE_BURST)
			h->bucket = ABUSE_BURST;
	}
	if (--h->bucket >= 0 || h->abusive)
		return;
	h->abusive = true;
	COUNT(c->server->counters, http2_abuse);
	log_peer(LOG_LEVEL_INFO, "http2_abuse", "streams=%zu", h->n_receiving);
	(void)nghttp2_session_terminate_session(h->session,
	    NGHTTP2_ENHANCE_YOUR_CALM);
}

static void
rearm(struct http_conn *c)
{
	bool idle = TAILQ_EMPTY(&h2_of(c)->streams);

	c->doing = idle ? "waiting for a request" : "exchanging";
	conn_set_deadline(c,
	    idle ? c->server->limits->idle_http2_ms
	         : c->server->limits->request_time_ms);
}

/* --- a request arrives ------------------------------------------------------------- */

static int
on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame,
    void *arg)
{
	struct http_conn *c = arg;
	struct http2 *h = h2_of(c);
	struct stream *s;

	if (frame->hd.type != NGHTTP2_HEADERS ||
	    frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	s = mem_new(struct stream);
	s->exchange = conn_new_exchange(c);
	s->exchange->stream_id = frame->hd.stream_id;
	s->exchange->send = http2_send;
	s->started_us = clock_mono_us();
	buf_init(&s->body, 0);
	TAILQ_INSERT_TAIL(&h->streams, s, link);
	h->n_receiving++;
	COUNT(c->server->counters, http2_requests);
	(void)nghttp2_session_set_stream_user_data(session, frame->hd.stream_id,
	    s);
	rearm(c);
	return 0;
}

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

static int
on_header(nghttp2_session *session, const nghttp2_frame *frame,
    const uint8_t *name, size_t name_n, const uint8_t *value, size_t value_n,
    uint8_t flags, void *arg)
{
	struct http_conn *c = arg;
	struct stream *s =
	    nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	struct slice n = {name, name_n}, v = {value, value_n};
	struct http_exchange *x;

	(void)flags;
	if (s == NULL || s->dispatched || s->received)
		return 0;
	x = s->exchange;
	s->head_bytes += name_n + value_n + 32; /* RFC 9113, 6.5.2 */
	if (s->head_bytes > (size_t)c->server->limits->head_max ||
	    x->n_headers == HTTP_HEADERS_MAX) {
		s->refused = 431;
		return 0;
	}
	v = arena_dup(x->arena, v);
	if (slice_is(n, ":method")) {
		x->method = v;
	} else if (slice_is(n, ":path")) {
		set_path(x, v);
	} else if (name_n > 0 && name[0] != ':') {
		x->headers[x->n_headers].name = arena_dup(x->arena, n);
		x->headers[x->n_headers++].value = v;
	}
	return 0;
}

static void
after_head(struct http_conn *c, struct stream *s)
{
	struct http_exchange *x = s->exchange;
	int status;

	x->route = http_find_route(c->server, x, &status);
	if (x->route == NULL && s->refused == 0)
		s->refused = status;
	if (s->refused == 0)
		s->refused = http_admit(c->server, c->source);
	if (x->route != NULL)
		buf_init(&s->body, x->route->body_max);
}

static int
on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id,
    const uint8_t *data, size_t n, void *arg)
{
	struct stream *s =
	    nghttp2_session_get_stream_user_data(session, stream_id);

	(void)flags;
	(void)arg;
	if (s == NULL || s->refused != 0)
		return 0;
	buf_add(&s->body, data, n);
	if (s->body.full)
		s->refused = 413;
	return 0;
}

static void
dispatch(struct http_conn *c, struct stream *s)
{
	struct http_exchange *x = s->exchange;

	s->received = true;
	s->dispatched = true;
	h2_of(c)->n_receiving--;
	if (s->refused != 0) {
		COUNT(c->server->counters, http_bad_requests);
		http_answer(x,
		    &(struct http_response){.status = s->refused,
		        .n_extra = s->refused == 405 ? 1 : 0,
		        .extra = {{SLICE_LIT("allow"), SLICE_LIT("POST")}}});
		return;
	}
	x->body = buf_slice(&s->body);
	x->route->handler(x);
}

static int
on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct http_conn *c = arg;
	struct stream *s;

	switch (frame->hd.type) {
	case NGHTTP2_HEADERS:
	case NGHTTP2_DATA:
		break;
	case NGHTTP2_RST_STREAM:
	case NGHTTP2_SETTINGS:
	case NGHTTP2_PING:
	case NGHTTP2_PRIORITY:
		spend(c);
		return 0;
	default:
		return 0;
	}
	s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	if (s == NULL || s->dispatched)
		return 0;
	if (frame->hd.type == NGHTTP2_DATA && frame->hd.length == 0 &&
	    (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0)
		spend(c);
	if (frame->hd.type == NGHTTP2_HEADERS &&
	    frame->headers.cat == NGHTTP2_HCAT_REQUEST)
		after_head(c, s);
	if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
		dispatch(c, s);
	return 0;
}

static int
on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int code,
    void *arg)
{
	struct http_conn *c = arg;

	(void)session;
	(void)frame;
	(void)code;
	COUNT(c->server->counters, http_bad_requests);
	spend(c);
	return 0;
}

static void
free_stream(struct http_conn *c, struct stream *s)
{
	struct http2 *h = h2_of(c);

	TAILQ_REMOVE(&h->streams, s, link);
	if (!s->received)
		h->n_receiving--;
	if (s->dispatched && !s->exchange->answered)
		conn_abandon_exchange(s->exchange);
	else
		conn_free_exchange(s->exchange);
	buf_fini(&s->body);
	free(s);
}

static int
on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t code,
    void *arg)
{
	struct http_conn *c = arg;
	struct stream *s =
	    nghttp2_session_get_stream_user_data(session, stream_id);

	(void)code;
	if (s == NULL)
		return 0;
	free_stream(c, s);
	rearm(c);
	return 0;
}

/* --- the answer ------------------------------------------------------------------------ */

static ssize_t
read_reply(nghttp2_session *session, int32_t stream_id, uint8_t *to, size_t max,
    uint32_t *flags, nghttp2_data_source *source, void *arg)
{
	struct stream *s = source->ptr;
	size_t n = s->reply.n - s->reply_sent;

	(void)session;
	(void)stream_id;
	(void)arg;
	if (n > max)
		n = max;
	memcpy(to, s->reply.p + s->reply_sent, n);
	s->reply_sent += n;
	if (s->reply_sent == s->reply.n)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

static nghttp2_nv
field(struct slice name, struct slice value)
{
	return (nghttp2_nv){slice_unconst(name), slice_unconst(value), name.n,
	    value.n, NGHTTP2_NV_FLAG_NONE};
}

static void
http2_send(struct http_exchange *x, int status,
    const struct http_header *headers, size_t n, struct slice body)
{
	struct http_conn *c = x->conn;
	struct http2 *h = h2_of(c);
	struct stream *s =
	    nghttp2_session_get_stream_user_data(h->session, x->stream_id);
	nghttp2_data_provider provider = {{.ptr = s}, read_reply};
	nghttp2_nv fields[24];
	size_t fields_n = 0;

	s->reply = arena_dup(x->arena, body);
	fields[fields_n++] = field(SLICE_LIT(":status"),
	    slice_str(arena_printf(x->arena, "%d", status)));
	for (size_t i = 0; i < n; i++)
		fields[fields_n++] = field(headers[i].name, headers[i].value);
	if (status != 204)
		fields[fields_n++] = field(SLICE_LIT("content-length"),
		    slice_str(arena_printf(x->arena, "%zu", body.n)));
	(void)nghttp2_submit_response(h->session, x->stream_id, fields,
	    fields_n, body.n > 0 ? &provider : NULL);
	conn_touch(c);
}

/* --- the connection ---------------------------------------------------------------------- */

static void
http2_output(struct http_conn *c)
{
	struct http2 *h = h2_of(c);
	const uint8_t *bytes;
	ssize_t n;

	while (c->out.n < CONN_OUTPUT_HIGH) {
		n = nghttp2_session_mem_send(h->session, &bytes);
		if (n < 0) {
			c->state = CONN_DEAD;
			return;
		}
		if (n == 0)
			break;
		buf_add(&c->out, bytes, (size_t)n);
	}
	if (c->state == CONN_OPEN && !nghttp2_session_want_read(h->session) &&
	    !nghttp2_session_want_write(h->session))
		conn_end(c);
}

static void
http2_input(struct http_conn *c)
{
	struct http2 *h = h2_of(c);
	ssize_t n;

	if (c->in.n == 0)
		return;
	n = nghttp2_session_mem_recv(h->session, c->in.p, c->in.n);
	if (n < 0) {
		COUNT(c->server->counters, http_bad_requests);
		buf_clear(&c->in);
		http2_output(c); /* the GOAWAY that says why */
		conn_end(c);
		return;
	}
	buf_consume(&c->in, (size_t)n);
}

static nghttp2_session_callbacks *
make_callbacks(void)
{
	nghttp2_session_callbacks *cbs;

	if (nghttp2_session_callbacks_new(&cbs) != 0)
		abort();
	nghttp2_session_callbacks_set_on_begin_headers_callback(cbs,
	    on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cbs, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cbs, on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cbs, on_frame);
	nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(cbs,
	    on_invalid_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(cbs,
	    on_stream_close);
	return cbs;
}

static void
http2_start(struct http_conn *c)
{
	struct http2 *h = mem_new(struct http2);
	nghttp2_session_callbacks *cbs = make_callbacks();
	nghttp2_option *option;
	nghttp2_settings_entry settings[] = {
	    {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS,
	        (uint32_t)c->server->limits->streams_max},
	    {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
	        (uint32_t)c->server->limits->head_max},
	    {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 0},
	};

	TAILQ_INIT(&h->streams);
	h->bucket = ABUSE_BURST;
	h->bucket_us = clock_mono_us();
	c->proto_data = h;
	if (nghttp2_option_new(&option) != 0)
		abort();
	nghttp2_option_set_no_closed_streams(option, 1);
	if (nghttp2_session_server_new2(&h->session, cbs, c, option) != 0)
		abort();
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(cbs);
	(void)nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings,
	    sizeof(settings) / sizeof(settings[0]));
	if (c->server->draining)
		(void)nghttp2_submit_shutdown_notice(h->session);
	rearm(c);
}

/* Ends what took too long to arrive; what is being answered has deadlines of
 * its own. */
static void
http2_timeout(struct http_conn *c)
{
	struct http2 *h = h2_of(c);
	int64_t oldest = clock_mono_us() -
	    (int64_t)c->server->limits->request_time_ms * 1000;
	struct stream *s;

	if (TAILQ_EMPTY(&h->streams)) {
		(void)nghttp2_session_terminate_session(h->session,
		    NGHTTP2_NO_ERROR);
		return;
	}
	TAILQ_FOREACH (s, &h->streams, link) {
		if (s->received || s->started_us > oldest)
			continue;
		COUNT(c->server->counters, http_timeouts);
		(void)nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE,
		    s->exchange->stream_id, NGHTTP2_CANCEL);
	}
	rearm(c);
}

/*
 * RFC 9113, 6.8, in two steps: first a notice, so that what was sent before
 * the peer reads it is still answered; then the last stream that will be.
 */
static void
http2_drain(struct http_conn *c)
{
	struct http2 *h = h2_of(c);

	if (!c->server->closing) {
		(void)nghttp2_submit_shutdown_notice(h->session);
		return;
	}
	(void)nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE,
	    nghttp2_session_get_last_proc_stream_id(h->session),
	    NGHTTP2_NO_ERROR, NULL, 0);
}

static void
http2_stop(struct http_conn *c)
{
	struct http2 *h = h2_of(c);
	struct stream *s;

	/* free_stream() takes it off the list, which the analyzer misses. */
	while ((s = TAILQ_FIRST(&h->streams)) != NULL)
		free_stream(c, s); /* NOLINT(clang-analyzer-unix.Malloc) */
	nghttp2_session_del(h->session);
	free(h);
}

const struct http_proto http2_proto = {
    .start = http2_start,
    .input = http2_input,
    .output = http2_output,
    .timeout = http2_timeout,
    .drain = http2_drain,
    .stop = http2_stop,
};
