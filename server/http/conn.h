/*
 * conn.h - one connection: bytes in, bytes out, over TLS or not.
 *
 * conn.c keeps state, time and the account, conn_io.c moves bytes; what they
 * mean is a struct http_proto's business (http1.c, http2.c).  A protocol never
 * frees the connection: it says conn_end(), and the turn's tail does it.
 * Output is gathered during a turn of the loop and written once at its end.
 *
 * A connection waits for its peer in two ways, each with a deadline: the
 * protocol's (conn_set_deadline()), for what is to arrive; and, while output
 * waits, limits->send_progress_ms for the peer to take at least
 * CONN_PROGRESS_MIN bytes of it.  Nothing but that progress moves the second.
 * A peer that does not read is not read from either.
 *
 * What the connection holds is charged to itself, its source and the process.
 * Buffers are charged at the end of a turn, when they stay; a connection for
 * whose buffers there is no room ends.
 */
#ifndef SERVER_HTTP_CONN_H
#define SERVER_HTTP_CONN_H

#include <sys/queue.h>
#include <sys/types.h>

#include "lib/base/buf.h"
#include "server/http/exchange.h"
#include "server/http/server.h"

struct http_conn;

struct http_proto {
	void (*start)(struct http_conn *);
	/* Consumes what it can of conn->in; called when there is more, and
	 * when an exchange ended. */
	void (*input)(struct http_conn *);
	/* Puts what is ready into conn->out, below OUTPUT_HIGH.  Called again
	 * when all that was put there is written. */
	void (*output)(struct http_conn *);
	/* The deadline passed. */
	void (*timeout)(struct http_conn *);
	void (*drain)(struct http_conn *);
	/* Abandons its exchanges and frees its own state. */
	void (*stop)(struct http_conn *);
};

extern const struct http_proto http1_proto, http2_proto;

enum {
	CONN_READ_CHUNK = 16 << 10,
	CONN_INPUT_MAX = 64 << 10,
	CONN_OUTPUT_HIGH = 32 << 10,
	/* A turn's worth of small answers beyond that, or a frame. */
	CONN_OUTPUT_MAX = 256 << 10,
	CONN_PROGRESS_MIN = 1 << 10,
	/* An exchange without its body: the arena and a stream's state. */
	CONN_EXCHANGE_COST = 9 << 10,
	CONN_CLOSING_MS = 2000 /* no wait for a peer is longer when we stop */
};

enum conn_state {
	CONN_HANDSHAKE,
	CONN_OPEN,
	CONN_FLUSHING,  /* ends when the output is written */
	CONN_LINGERING, /* written and shut; what still comes is thrown away */
	CONN_DEAD,
	CONN_STATES
};

struct http_conn {
	TAILQ_ENTRY(http_conn) link, dirty_link;
	struct http_server *server;
	enum conn_state state;
	const char *doing; /* for a log line about a timeout */
	int fd;
	struct ssl_st *ssl;
	struct event *read_event, *write_event, *timer;
	bool dirty, reading, writing, eof;
	bool paused;  /* the protocol wants no more input now */
	bool blocked; /* input waits for the peer to take output */
	bool linger;  /* the peer may still be sending when we end */
	size_t discarded;
	int64_t deadline_us; /* the protocol's; 0: none */
	int64_t stall_us;    /* of the output that waits; 0: none waits */
	int64_t wake_us;     /* what the timer is set for; 0: it is not */
	uint64_t written;    /* bytes given to the socket so far */
	uint64_t taken;      /* by the peer, when stall_us was set */
	uint8_t source[HTTP_SOURCE_SIZE]; /* the peer's address */
	bool reserved; /* beyond the limits; for reserved routes alone */
	struct http_source *share;
	size_t held;         /* charged, all together */
	size_t held_buffers; /* of it, for in and out */
	struct buf in, out;
	struct http_body tail; /* written after out; HTTP/1.1's large bodies */
	size_t held_tail;      /* charged for it, if it is a copy */
	const struct http_proto *proto;
	void *proto_data;
	void *notes; /* the handlers'; see http_notes() */
};

/* Starts a connection on an accepted socket, which it owns; with a protocol,
 * or NULL: what ALPN says. */
void conn_start(struct http_server *, int fd,
    const uint8_t source[HTTP_SOURCE_SIZE], const struct http_proto *);

/* 0, or the status (429, 503) to refuse a request for this route with. */
int conn_admit(struct http_conn *, const struct http_route *);

/* Something changed: flush, read on, or free at the end of the turn. */
void conn_touch(struct http_conn *);
/* No more input; the connection ends when its output is written. */
void conn_end(struct http_conn *);
/* Goes on with another protocol, which finds what was read in conn->in. */
void conn_switch(struct http_conn *, const struct http_proto *);
/* The only writer of the state; asserts that the move is legal. */
void conn_set_state(struct http_conn *, enum conn_state);

/* When timeout() is called: milliseconds from now, or never. */
void conn_set_deadline(struct http_conn *, int ms);
void conn_no_deadline(struct http_conn *);
/* Not later than this, of the monotonic clock. */
void conn_hasten(struct http_conn *, int64_t at_us);
/* How long a peer may go without progress: less when the server closes. */
int64_t conn_patience_us(const struct http_conn *);

/* Bytes to be written. */
static inline size_t
conn_pending(const struct http_conn *c)
{
	return c->out.n + c->tail.bytes.n;
}

/* Sends the body after what is in out; takes the reference, and the charge
 * for a copy over from the exchange. */
void conn_send_body(struct http_conn *, struct http_exchange *,
    struct http_body);

/* Frees connections whose time has come; the flush event's callback. */
void conn_end_turn(struct http_server *);
/* Ends it now; for the server's own end. */
void conn_abort(struct http_conn *);
/* The server closes: no connection waits long for its peer from now on. */
void conn_hurry(struct http_conn *);

/* --- the account -------------------------------------------------------------------- */

/* Charges n bytes that are about to be allocated.  0, or the status to refuse
 * with, and nothing is charged: 429 when the connection or its source has its
 * share, 503 when the process has. */
int conn_charge(struct http_conn *, size_t n);
void conn_release(struct http_conn *, size_t n);

/* An exchange for this connection, and its end; for the protocols.  NULL with
 * the status to refuse with when there is no room for one. */
struct http_exchange *conn_new_exchange(struct http_conn *, int *status);
void conn_free_exchange(struct http_exchange *);
/* Tells the handler that the peer is gone, then frees. */
void conn_abandon_exchange(struct http_exchange *);

/* The same as conn_charge(), until the exchange ends. */
int exchange_charge(struct http_exchange *, size_t n);
/* Adds to a body, charging its room first.  0, or 413, 429, 503. */
int exchange_add(struct http_exchange *, struct buf *body, const void *,
    size_t n);
/* Charges what the handler that waits has decoded and put into queues. */
void exchange_park(struct http_exchange *);
/* Frees a request's body when its answer is there. */
void exchange_drop_body(struct http_exchange *, struct buf *body);

/* --- conn_io.c ---------------------------------------------------------------------- */

/* Goes on with the TLS handshake; true when it is done. */
bool conn_io_handshake(struct http_conn *);
/* Bytes read, 0 when there are none now, -1 when there will be none. */
ssize_t conn_io_read(struct http_conn *, uint8_t *to, size_t n);
/* Bytes written, 0 when the socket is full, -1 when the peer is gone. */
ssize_t conn_io_write(struct http_conn *, struct slice);
void conn_io_want_write(struct http_conn *);
/* Bytes that the kernel has and the peer has not taken. */
size_t conn_io_unsent(const struct http_conn *);
/* No more output: closes our side. */
void conn_io_shut(struct http_conn *);

#endif
