/*
 * http2_budget.h - how much work an HTTP/2 peer may give us for nothing.
 *
 * A token bucket of one connection.  Every frame is charged when it begins,
 * also unknown ones and CONTINUATION; so are header bytes beyond the limit, and
 * streams that end badly.  A request that is answered earns what its frames
 * cost, and bytes of answers that the peer takes pay for its WINDOW_UPDATEs.  A point is about a
 * microsecond of CPU.  The prices are arbitrary, but far above what an agent
 * or a gateway sends (RFC 9113, 10.5; CVE-2019-9511 to 9518, CVE-2023-44487).
 */
#ifndef SERVER_HTTP_HTTP2_BUDGET_H
#define SERVER_HTTP_HTTP2_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	HTTP2_BURST = 10000,
	HTTP2_PER_SECOND = 1000,

	HTTP2_FRAME = 10,   /* any frame, and the least of all prices */
	HTTP2_CONTROL = 20, /* one that is answered, or changes a stream */
	HTTP2_SETTINGS_COST = 40,
	HTTP2_INVALID = 100,
	HTTP2_ANSWER_TAKEN = 2 * HTTP2_FRAME, /* what a taken answer earns */
	HTTP2_STUCK = HTTP2_BURST / 8,        /* an answer that was not taken */

	HTTP2_HEADER_BYTES = 64, /* decoded, per point, within the limit */
	HTTP2_EXCESS_BYTES = 16, /* and beyond it */
	HTTP2_DATA_BYTES = 64,   /* of a DATA frame that pay one point of it */
	HTTP2_SENT_BYTES = 512,  /* taken by the peer, that earn one point */
	HTTP2_PREFACE = 24       /* bytes of the preface of a client (3.4) */
};

struct http2_budget {
	int64_t points, refilled_us;
};

void http2_budget_init(struct http2_budget *, int64_t now_us);
/* Charges points; false once the peer has spent more than it has. */
bool http2_budget_spend(struct http2_budget *, int64_t points, int64_t now_us);
void http2_budget_earn(struct http2_budget *, int64_t points);

/* Finds the frames in what a peer sends (RFC 9113, 4.1), those too that
 * nghttp2 ignores and tells nobody of. */
struct http2_meter {
	size_t skip; /* bytes of the preface, or of a payload, still to come */
	uint8_t head[9];
	size_t head_n;
};

struct http2_frame {
	size_t length;
	uint8_t type, flags;
	int32_t stream;
};

void http2_meter_init(struct http2_meter *);
/* How many of n bytes belong to the frame that has begun, or begins here; true
 * when it begins: then *frame is filled in. */
bool http2_meter_take(struct http2_meter *, const uint8_t *, size_t *n,
    struct http2_frame *frame);

/* The price of a frame when it begins. */
int64_t http2_frame_price(const struct http2_frame *);

#endif
