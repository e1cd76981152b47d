/*
 * wire.h - an HTTP server of this process, and the other end of one of its
 * connections, for tests and fuzz targets that speak bytes.
 *
 * The server and its peer share a thread: wire_turn() lets the server run
 * until it waits, then reads what it wrote.  Frames are built and taken apart
 * here by RFC 9113, not by the library that the server uses.
 */
#ifndef TESTS_SUPPORT_WIRE_H
#define TESTS_SUPPORT_WIRE_H

#include "server/http/conn.h"

enum {
	WIRE_BIG = 4 << 20, /* bytes of what /big serves in tests */
	WIRE_ROUTES = 5
};

struct wire {
	struct event_base *base;
	struct http_pool pool;
	struct http_limits limits;
	struct counters counters;
	struct http_route routes[WIRE_ROUTES];
	struct http_server server;
	struct http_shared *big;
	struct http_exchange *parked[512]; /* by /park, never answered */
	size_t n_parked, n_served;
	int fd;         /* our end; -1 once the server closed it */
	struct buf got; /* what the server wrote */
};

/* POST /echo, GET /big (one shared body), POST /park, GET /copy (a large body
 * that is not shared), GET /page (one that is copied). Limits may be changed before the first wire_connect().
 */
void wire_open(struct wire *, size_t big);
/* Ends all connections; true when none is left. */
bool wire_end(struct wire *);
void wire_close(struct wire *);

/* A new connection, whose end is w->fd; the source is 127.0.0.n. */
struct http_conn *wire_connect(struct wire *, const struct http_proto *,
    uint8_t n);
void wire_send(struct wire *, const void *, size_t);
/* Lets the server run; `reading` also takes what it wrote. */
void wire_turn(struct wire *, bool reading);
/* Turns and waits, until the condition holds; false after 60 s. */
bool wire_until(struct wire *, bool reading, bool (*)(struct wire *, void *),
    void *);

/* --- frames: RFC 9113, 4.1 ------------------------------------------------------- */

enum wire_frame_type {
	WIRE_DATA = 0x0,
	WIRE_HEADERS = 0x1,
	WIRE_PRIORITY = 0x2,
	WIRE_RST_STREAM = 0x3,
	WIRE_SETTINGS = 0x4,
	WIRE_PING = 0x6,
	WIRE_GOAWAY = 0x7,
	WIRE_WINDOW_UPDATE = 0x8,
	WIRE_CONTINUATION = 0x9,
	WIRE_END_STREAM = 0x1, /* flags */
	WIRE_ACK = 0x1,
	WIRE_END_HEADERS = 0x4
};

struct wire_frame {
	size_t length;
	uint8_t type, flags;
	uint32_t stream;
	const uint8_t *payload;
};

/* The preface (3.4) and SETTINGS with an initial window. */
void wire_greet(struct wire *, uint32_t initial_window);
void wire_frame(struct wire *, uint8_t type, uint8_t flags, uint32_t stream,
    const void *payload, size_t n);
/* A frame whose payload is one 32-bit number. */
void wire_frame32(struct wire *, uint8_t type, uint32_t stream, uint32_t v);
/* HEADERS of a request, in literals that are not indexed (RFC 7541, 6.2.2). */
void wire_request(struct wire *, uint32_t stream, const char *method,
    const char *path, bool end_stream);
/* The next frame of w->got from *at on; false when it is not all there. */
bool wire_next(const struct wire *, size_t *at, struct wire_frame *);
/* How many frames of a type came, for a stream, or for any: UINT32_MAX; the
 * 32-bit number at `offset` of the last one's payload in *value, if not NULL. */
size_t wire_count(const struct wire *, uint8_t type, uint32_t stream,
    size_t offset, uint32_t *value);

#endif
