#include "config.h"

#include "server/http/http2.h"

#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"

/*
 * HTTP/2 (RFC 9113) by nghttp2: streams become exchanges (http2_stream.c).
 * Its callbacks run inside mem_recv() and mem_send(); none of them ends the
 * session or the connection, they mark it and http2_input() or
 * conn_end_turn() does.
 */

void
http2_spend(struct http_conn *c, int64_t points)
{
	struct http2 *h = h2_of(c);

	if (h->abusive || points == 0 ||
	    http2_budget_spend(&h->budget, points, clock_mono_us()))
		return;
	h->abusive = true;
	COUNT(c->server->counters, http2_abuse);
	log_peer(LOG_LEVEL_INFO, "http2_abuse", "doing=\"%s\"", c->doing);
	(void)nghttp2_session_terminate_session(h->session,
	    NGHTTP2_ENHANCE_YOUR_CALM);
	conn_touch(c);
}

/* --- frames arrive ------------------------------------------------------------------ */

static struct stream *
find(nghttp2_session *session, int32_t id)
{
	return nghttp2_session_get_stream_user_data(session, id);
}

static int
on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame,
    void *arg)
{
	struct http_conn *c = arg;

	if (frame->hd.type != NGHTTP2_HEADERS ||
	    frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	COUNT(c->server->counters, http2_requests);
	c->doing = "exchanging";
	(void)nghttp2_session_set_stream_user_data(session, frame->hd.stream_id,
	    stream_begin(c, frame->hd.stream_id));
	return 0;
}

static int
on_header(nghttp2_session *session, const nghttp2_frame *frame,
    const uint8_t *name, size_t name_n, const uint8_t *value, size_t value_n,
    uint8_t flags, void *arg)
{
	(void)flags;
	/* A pause leaves the rest of the block undecoded. */
	return stream_header(arg, find(session, frame->hd.stream_id),
	           (struct slice){name, name_n}, (struct slice){value, value_n})
	    ? 0
	    : NGHTTP2_ERR_PAUSE;
}

static int
on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id,
    const uint8_t *data, size_t n, void *arg)
{
	struct stream *s = find(session, stream_id);

	(void)flags;
	(void)nghttp2_session_consume_connection(session, n);
	if (s != NULL && s->deciding)
		s->unread += n;
	else
		(void)nghttp2_session_consume_stream(session, stream_id, n);
	if (s != NULL)
		stream_data(arg, s, (struct slice){data, n});
	return 0;
}

/* A whole header block, and perhaps the end of its request. */
static void
on_headers(struct http_conn *c, const nghttp2_frame *frame, struct stream *s)
{
	bool request = frame->headers.cat == NGHTTP2_HCAT_REQUEST;

	if (s != NULL)
		s->paid += h2_of(c)->block_paid;
	if (request && s != NULL)
		stream_head_done(c, s);
	else if (request)
		stream_refuse_bare(c, frame->hd.stream_id);
}

static int
on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct http_conn *c = arg;
	struct stream *s;

	if (frame->hd.type == NGHTTP2_SETTINGS)
		h2_of(c)->greeted = true;
	if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
		return 0;
	s = find(session, frame->hd.stream_id);
	if (s != NULL && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
		s->ended = true;
	if (frame->hd.type == NGHTTP2_HEADERS)
		on_headers(c, frame, s);
	if (s != NULL && s->ended)
		stream_end(s);
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
	http2_spend(c, HTTP2_INVALID);
	return 0;
}

/* RFC 9113, 8.1: a complete answer, then RST_STREAM with NO_ERROR, tells the
 * peer to send no more of a request that was refused before its end.  A peer
 * whose request is nearly sent gets a moment for the rest: some clients lose
 * the answer to a reset that they read while they write. */
static int
on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	int32_t id = frame->hd.stream_id;
	struct stream *s = find(session, id);

	if ((frame->hd.type != NGHTTP2_HEADERS &&
	        frame->hd.type != NGHTTP2_DATA) ||
	    (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0 ||
	    nghttp2_session_get_stream_remote_close(session, id) != 0)
		return 0;
	if (s != NULL)
		stream_leave(arg, s);
	else
		(void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id,
		    NGHTTP2_NO_ERROR);
	return 0;
}

/* When a connection without streams ends. */
static int64_t
idle_deadline(struct http_conn *c)
{
	struct http2 *h = h2_of(c);
	const struct http_limits *limits = c->server->limits;

	return h->idle_us +
	    (int64_t)(h->greeted ? limits->idle_http2_ms
	                         : limits->request_time_ms) *
	    1000;
}

static int
on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t code,
    void *arg)
{
	struct http_conn *c = arg;
	struct http2 *h = h2_of(c);
	struct stream *s = find(session, stream_id);

	if (s == NULL)
		return 0;
	if (s->ended)
		h->closed[h->n_closed++ % HTTP2_CLOSED_MAX] = stream_id;
	stream_free(c, s, code == NGHTTP2_NO_ERROR);
	if (TAILQ_EMPTY(&h->streams)) {
		h->idle_us = clock_mono_us();
		c->doing = "waiting for a request";
		conn_hasten(c, idle_deadline(c));
	}
	return 0;
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
			conn_set_state(c, CONN_DEAD);
			return;
		}
		if (n == 0)
			break;
		buf_add(&c->out, bytes, (size_t)n);
	}
	if (c->state == CONN_OPEN &&
	    (h->abusive ||
	        (!nghttp2_session_want_read(h->session) &&
	            !nghttp2_session_want_write(h->session))))
		conn_end(c);
}

/* No more input: what is left is the GOAWAY that says why. */
static void
stop_input(struct http_conn *c)
{
	buf_clear(&c->in);
	c->paused = true;
	c->linger = true; /* the peer may be sending: let it read why */
}

/* Charges a frame before anything is done for it. */
static void
charge_frame(struct http_conn *c, const struct http2_frame *f)
{
	struct http2 *h = h2_of(c);
	int64_t price = http2_frame_price(f);
	struct stream *s;

	if (f->type == NGHTTP2_HEADERS) {
		h->block_paid = price;
		h->block_bytes = 0;
	} else if (f->type == NGHTTP2_CONTINUATION) {
		h->block_paid += price;
	} else if (f->type == NGHTTP2_DATA && price > 0 &&
	    (s = find(h->session, f->stream)) != NULL) {
		s->paid += price;
	}
	http2_spend(c, price);
}

/* What nghttp2 cannot go on with: RFC 9113, 3.4 and 10.5. */
static void
fail(struct http_conn *c, ssize_t code)
{
	uint32_t why = NGHTTP2_ENHANCE_YOUR_CALM;

	if (code == NGHTTP2_ERR_BAD_CLIENT_MAGIC)
		why = NGHTTP2_PROTOCOL_ERROR;
	else if (code == NGHTTP2_ERR_STREAM_CLOSED)
		why = NGHTTP2_STREAM_CLOSED;
	COUNT(c->server->counters, http_bad_requests);
	(void)nghttp2_session_terminate_session(h2_of(c)->session, why);
	stop_input(c);
	http2_output(c);
	if (c->state != CONN_DEAD)
		conn_end(c);
}

/*
 * RFC 9113, 5.1: a peer that ended a stream and sends more of it is in error.
 * nghttp2 keeps no closed streams for us, whose number is the peer's to choose;
 * the last few are remembered here.  Streams that we reset are not among them:
 * what was under way then is ignored.
 */
static bool
is_of_closed(const struct http2 *h, const struct http2_frame *f)
{
	if (f->type != NGHTTP2_HEADERS && f->type != NGHTTP2_DATA)
		return false;
	for (unsigned i = 0; i < HTTP2_CLOSED_MAX && i < h->n_closed; i++) {
		if (h->closed[i] == f->stream)
			return true;
	}
	return false;
}

static void
http2_input(struct http_conn *c)
{
	struct http2 *h = h2_of(c);
	struct http2_frame frame;
	ssize_t taken;

	while (c->in.n > 0 && !c->paused) {
		size_t n = c->in.n;

		if (http2_meter_take(&h->meter, c->in.p, &n, &frame)) {
			if (is_of_closed(h, &frame)) {
				fail(c, NGHTTP2_ERR_STREAM_CLOSED);
				return;
			}
			charge_frame(c, &frame);
		}
		taken = h->abusive
		    ? 0
		    : nghttp2_session_mem_recv(h->session, c->in.p, n);
		if (taken < 0)
			fail(c, taken);
		else if (h->abusive)
			stop_input(c);
		else
			buf_consume(&c->in, n);
	}
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
	nghttp2_session_callbacks_set_on_frame_send_callback(cbs,
	    on_frame_sent);
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
	h->idle_us = clock_mono_us();
	http2_budget_init(&h->budget, h->idle_us);
	http2_meter_init(&h->meter);
	c->proto_data = h;
	c->doing = "waiting for the preface";
	conn_set_deadline(c, c->server->limits->request_time_ms);
	if (nghttp2_option_new(&option) != 0)
		abort();
	nghttp2_option_set_no_closed_streams(option, 1);
	nghttp2_option_set_no_auto_window_update(option, 1);
	if (nghttp2_session_server_new2(&h->session, cbs, c, option) != 0)
		abort();
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(cbs);
	(void)nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings,
	    sizeof(settings) / sizeof(settings[0]));
	if (c->server->draining)
		(void)nghttp2_submit_shutdown_notice(h->session);
}

/* Looks at every stream, each with a deadline of its own; sets the next one to
 * look again. */
static void
http2_timeout(struct http_conn *c)
{
	struct http2 *h = h2_of(c);
	int64_t now = clock_mono_us(), next = 0;
	struct stream *s;

	TAILQ_FOREACH (s, &h->streams, link) {
		int64_t at = stream_deadline(c, s);

		if (at != 0 && at <= now) {
			stream_judge(c, s, now);
			at = stream_deadline(c, s);
		}
		if (at != 0 && (next == 0 || at < next))
			next = at;
	}
	if (TAILQ_EMPTY(&h->streams)) {
		next = idle_deadline(c);
		if (next <= now) {
			(void)nghttp2_session_terminate_session(h->session,
			    NGHTTP2_NO_ERROR);
			next = 0;
		}
	}
	if (next != 0)
		conn_hasten(c, next);
	if (h->abusive)
		stop_input(c);
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
	conn_hasten(c, c->server->closing_us + CONN_CLOSING_MS * INT64_C(1000));
	(void)nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE,
	    nghttp2_session_get_last_proc_stream_id(h->session),
	    NGHTTP2_NO_ERROR, NULL, 0);
}

static void
http2_stop(struct http_conn *c)
{
	struct http2 *h = h2_of(c);
	struct stream *s;

	h->abusive = true; /* nothing is charged any more */
	/* stream_free() takes it off the list, which the analyzer misses. */
	while ((s = TAILQ_FIRST(&h->streams)) != NULL)
		stream_free(c, s,
		    true); /* NOLINT(clang-analyzer-unix.Malloc) */
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
