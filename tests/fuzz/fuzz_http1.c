#include "config.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/wire.h"

/*
 * The HTTP/1.1 side of a connection, bytes in and answers out.  Each input is
 * sent twice, at once and in pieces: where a packet ends must change nothing.
 * The first byte is the length of the pieces.
 */

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

/* The clock of an answer is not compared. */
static void
blank_dates(struct buf *b)
{
	static const char name[] = "\r\ndate: ";
	uint8_t *p = b->p, *end = b->p + b->n;

	while (p != NULL && p < end &&
	    (p = memmem(p, (size_t)(end - p), name, sizeof(name) - 1)) !=
	        NULL) {
		p += sizeof(name) - 1;
		for (; p < end && *p != '\r'; p++)
			*p = '-';
	}
}

static void
answer_parked(struct wire *w)
{
	for (size_t i = 0; i < w->n_parked; i++) {
		struct http_exchange *x = w->parked[i];

		w->parked[i] = NULL;
		if (x != NULL)
			http_answer_status(x, 204);
	}
	w->n_parked = 0;
}

/* What the server says to the bytes, sent in pieces of `piece`. */
static void
talk(struct wire *w, const uint8_t *data, size_t n, size_t piece)
{
	if (w->base == NULL) {
		wire_open(w, 64 << 10);
		w->limits.head_max = 2048;
	}
	(void)wire_connect(w, &http1_proto, 1);
	wire_turn(w, true);
	for (size_t sent = 0; sent < n && w->fd >= 0; sent += piece) {
		wire_send(w, data + sent, n - sent < piece ? n - sent : piece);
		for (int i = 0; i < 3; i++) {
			wire_turn(w, true);
			answer_parked(w);
		}
	}
	for (int i = 0; i < 20 && w->fd >= 0; i++) {
		wire_turn(w, true);
		answer_parked(w);
	}
	blank_dates(&w->got);
}

static void
end(struct wire *w)
{
	assert(wire_end(w));
	assert(w->server.account.held == 0);
	assert(w->server.n_exchanges == 0);
	assert(w->big->refs == 1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct wire whole, pieces;

	/* Longer inputs fill sockets, and then pieces do matter. */
	if (n < 2 || n > 4096)
		return 0;
	talk(&whole, data + 1, n - 1, n);
	talk(&pieces, data + 1, n - 1, (size_t)data[0] + 1);
	assert(whole.n_served == pieces.n_served);
	assert(whole.got.n == pieces.got.n);
	assert(whole.got.n == 0 ||
	    memcmp(whole.got.p, pieces.got.p, whole.got.n) == 0);
	end(&whole);
	end(&pieces);
	return 0;
}
