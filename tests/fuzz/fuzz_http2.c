#include "config.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/log.h"
#include "server/http/http2.h"
#include "tests/support/wire.h"

/*
 * The HTTP/2 side of a connection, frames in and answers out.  The input is a
 * list of steps, so that frames have right lengths without luck:
 *
 *	type flags stream n payload[n]   a frame; stream numbers are small
 *	0xf0 n bytes[n]                  bytes as they are
 *	0xf1                             a handler that waits answers
 *	0xf2                             the server runs, we do not read
 *	0xf3                             a deadline passes
 *	0xf4 n                           n WINDOW_UPDATEs of 64 KiB
 *
 * What must hold: the answers are well-formed frames, a stream has one answer,
 * and nothing is held when the connection is gone.
 */

enum {
	BYTES = 0xf0,
	ANSWER,
	RUN,
	TIME,
	WINDOWS,
	STREAMS = 32,
	BIG = 128 << 10
};

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static void
check_answers(const struct wire *w)
{
	size_t at = 0, headers[STREAMS] = {0};
	bool ended[STREAMS] = {0};
	struct wire_frame f;

	while (wire_next(w, &at, &f)) {
		assert(f.length <= 16384);
		if (f.stream >= STREAMS)
			continue;
		if (f.type == WIRE_HEADERS)
			assert(++headers[f.stream] == 1);
		if (f.type != WIRE_HEADERS && f.type != WIRE_DATA)
			continue;
		assert(headers[f.stream] == 1 && !ended[f.stream]);
		ended[f.stream] = (f.flags & WIRE_END_STREAM) != 0;
	}
}

static void
answer_one(struct wire *w)
{
	for (size_t i = 0; i < w->n_parked; i++) {
		struct http_exchange *x = w->parked[i];

		if (x == NULL)
			continue;
		w->parked[i] = NULL;
		http_answer(x,
		    &(struct http_response){.status = 200,
		        .body = w->big->bytes,
		        .shared = i % 2 == 0 ? w->big : NULL});
		return;
	}
}

/* Every stream, and the connection, is past its deadline. */
static void
pass_time(struct wire *w)
{
	struct http_conn *c = TAILQ_FIRST(&w->server.conns);
	struct stream *s;

	if (c == NULL || c->state != CONN_OPEN)
		return;
	TAILQ_FOREACH (s, &h2_of(c)->streams, link) {
		s->started_us = 1;
		if (s->mark_us != 0)
			s->mark_us = 1;
	}
	c->proto->timeout(c);
	conn_touch(c);
}

/* Runs one step; how many bytes it took. */
static size_t
step(struct wire *w, const uint8_t *p, size_t n)
{
	size_t length = n > 1 ? p[1] : 0;

	switch (p[0]) {
	case ANSWER:
		answer_one(w);
		return 1;
	case RUN:
		wire_turn(w, false);
		return 1;
	case TIME:
		pass_time(w);
		return 1;
	case WINDOWS:
		for (size_t i = 0; i < length; i++)
			wire_frame32(w, WIRE_WINDOW_UPDATE, i % STREAMS,
			    64 << 10);
		return 2;
	case BYTES:
		length = length < n - 2 ? length : n - 2;
		wire_send(w, p + 2, length);
		return 2 + length;
	default:
		if (n < 4)
			return n;
		length = p[3] < n - 4 ? p[3] : n - 4;
		wire_frame(w, p[0], p[1], p[2] % STREAMS, p + 4, length);
		return 4 + length;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct wire w;

	if (w.base == NULL) {
		log_set_level(LOG_LEVEL_ERROR);
		wire_open(&w, BIG);
		w.limits.streams_max = 8;
		w.limits.head_max = 2048;
		w.limits.connection_share = 160 << 10;
	}
	(void)wire_connect(&w, &http2_proto, 1);
	wire_greet(&w, n > 0 ? data[0] : 0);
	while (n > 1 && w.fd >= 0) {
		size_t taken = step(&w, data, n);

		data += taken < n ? taken : n;
		n -= taken < n ? taken : n;
		if (n % 4 == 0)
			wire_turn(&w, true);
	}
	wire_turn(&w, true);
	check_answers(&w);
	assert(wire_end(&w));
	assert(w.server.account.held == 0);
	assert(w.server.n_exchanges == 0);
	assert(w.big->refs == 1);
	return 0;
}
