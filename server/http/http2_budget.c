#include "config.h"

#include "server/http/http2_budget.h"

#include <nghttp2/nghttp2.h>
#include <string.h>

#include "lib/base/clock.h"

void
http2_budget_init(struct http2_budget *b, int64_t now_us)
{
	*b = (struct http2_budget){HTTP2_BURST, now_us};
}

bool
http2_budget_spend(struct http2_budget *b, int64_t points, int64_t now_us)
{
	int64_t refill =
	    (now_us - b->refilled_us) * HTTP2_PER_SECOND / CLOCK_SECOND;

	if (refill > 0) {
		b->refilled_us = now_us;
		http2_budget_earn(b, refill);
	}
	b->points -= points;
	return b->points >= 0;
}

void
http2_budget_earn(struct http2_budget *b, int64_t points)
{
	b->points += points;
	if (b->points > HTTP2_BURST)
		b->points = HTTP2_BURST;
}

void
http2_meter_init(struct http2_meter *m)
{
	*m = (struct http2_meter){.skip = HTTP2_PREFACE};
}

static void
read_head(const uint8_t *p, struct http2_frame *f)
{
	f->length = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
	f->type = p[3];
	f->flags = p[4];
	f->stream = (int32_t)((uint32_t)(p[5] & 0x7f) << 24 |
	    (uint32_t)p[6] << 16 | (uint32_t)p[7] << 8 | p[8]);
}

bool
http2_meter_take(struct http2_meter *m, const uint8_t *bytes, size_t *n,
    struct http2_frame *frame)
{
	size_t head = 0, rest;
	bool begins = false;

	if (m->skip == 0) {
		head = *n < sizeof(m->head) - m->head_n
		    ? *n
		    : sizeof(m->head) - m->head_n;
		memcpy(m->head + m->head_n, bytes, head);
		m->head_n += head;
		if (m->head_n < sizeof(m->head)) {
			*n = head;
			return false;
		}
		read_head(m->head, frame);
		m->head_n = 0;
		m->skip = frame->length;
		begins = true;
	}
	rest = *n - head < m->skip ? *n - head : m->skip;
	m->skip -= rest;
	*n = head + rest;
	return begins;
}

int64_t
http2_frame_price(const struct http2_frame *f)
{
	int64_t paid = (int64_t)(f->length / HTTP2_DATA_BYTES);

	switch (f->type) {
	case NGHTTP2_HEADERS:
	case NGHTTP2_CONTINUATION:
		return HTTP2_FRAME + (int64_t)(f->length / HTTP2_HEADER_BYTES);
	case NGHTTP2_DATA:
		/* The last one may be small, and even empty. */
		if ((f->flags & NGHTTP2_FLAG_END_STREAM) != 0)
			return 0;
		return paid < HTTP2_FRAME ? HTTP2_FRAME - paid : 0;
	case NGHTTP2_WINDOW_UPDATE:
		return HTTP2_FRAME;
	case NGHTTP2_SETTINGS:
		return HTTP2_SETTINGS_COST;
	default: /* PING, PRIORITY, RST_STREAM, GOAWAY, unknown ones */
		return HTTP2_CONTROL;
	}
}
