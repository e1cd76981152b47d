/*
 * http2.h - what http2.c and http2_stream.c share; nobody else includes it.
 *
 * http2.c is the connection and nghttp2's callbacks, http2_stream.c the life
 * of one request.  A stream is freed when nghttp2 closes it, and nowhere else.
 */
#ifndef SERVER_HTTP_HTTP2_H
#define SERVER_HTTP_HTTP2_H

#include <nghttp2/nghttp2.h>

#include "server/http/conn.h"
#include "server/http/http2_budget.h"

struct stream {
	TAILQ_ENTRY(stream) link;
	struct http_exchange *exchange;
	struct buf body;
	size_t head_bytes; /* decoded, counted as RFC 9113, 6.5.2 does */
	int64_t started_us;
	bool head_done;   /* the whole header block is here */
	bool deciding;    /* the route looks at the head */
	size_t unread;    /* bytes that came meanwhile; no window for more */
	bool ended;       /* END_STREAM came */
	bool dispatched;  /* answered, or a handler has it */
	bool refused;     /* answered by us, not by a handler */
	bool given_up;    /* reset, or about to be */
	int64_t leave_us; /* answered before its end: reset then; 0: no */
	int64_t paid;     /* points for its frames; earned by a good end */

	struct http_body reply;
	size_t reply_sent;
	int64_t mark_us;     /* when progress was looked at last; 0: no reply */
	size_t mark_sent;    /* of this reply, then */
	uint64_t mark_total; /* of all replies of the connection, then */
};

TAILQ_HEAD(streams, stream);

enum {
	HTTP2_CLOSED_MAX = 16 /* streams of which it is remembered */
};

struct http2 {
	nghttp2_session *session;
	struct streams streams;
	struct http2_budget budget;
	struct http2_meter meter;
	uint64_t sent;      /* bytes of answers given to the connection */
	int64_t idle_us;    /* since then there is no stream */
	int refusal;        /* of the header block that has no stream */
	int64_t block_paid; /* points for the header block that arrives */
	size_t block_bytes; /* decoded from it so far */
	size_t excess;      /* header bytes not yet worth a point */
	int32_t closed[HTTP2_CLOSED_MAX]; /* that the peer ended, the last */
	unsigned n_closed;
	bool greeted; /* the peer's first SETTINGS came */
	bool abusive; /* told so; no more input is taken */
};

static inline struct http2 *
h2_of(struct http_conn *c)
{
	return c->proto_data;
}

/* Charges work; the connection ends when the budget is spent. */
void http2_spend(struct http_conn *, int64_t points);

/* --- http2_stream.c, in the order of a stream's life ----------------------------- */

/* NULL when there is no room; then h2->refusal is what to answer. */
struct stream *stream_begin(struct http_conn *, int32_t id);
/* False when it makes the connection end. */
bool stream_header(struct http_conn *, struct stream *, struct slice name,
    struct slice value);
void stream_head_done(struct http_conn *, struct stream *);
void stream_data(struct http_conn *, struct stream *, struct slice);
/* END_STREAM: the handler has it. */
void stream_end(struct stream *);
/* Answers a request that has no stream of ours, with h2->refusal. */
void stream_refuse_bare(struct http_conn *, int32_t id);
/* It was answered before its end: the peer gets a moment to end it. */
void stream_leave(struct http_conn *, struct stream *);
/* When it must have got on; 0: it waits for a handler, or for our socket. */
int64_t stream_deadline(const struct http_conn *, const struct stream *);
/* The deadline passed: gives up what did not get on. */
void stream_judge(struct http_conn *, struct stream *, int64_t now_us);
void stream_free(struct http_conn *, struct stream *, bool well);

#endif
