/*
 * conn.h - one connection: bytes in, bytes out, over TLS or not.
 *
 * conn.c moves bytes and keeps time; what they mean is a struct http_proto's
 * business (http1.c, http2.c).  A protocol never frees the connection: it
 * says conn_end(), and the turn's tail does it.  Output is gathered during a
 * turn of the loop and written once at its end.
 */
#ifndef SERVER_HTTP_CONN_H
#define SERVER_HTTP_CONN_H

#include <sys/queue.h>

#include "lib/base/buf.h"
#include "server/http/exchange.h"
#include "server/http/server.h"

struct http_conn;

struct http_proto {
	void (*start)(struct http_conn *);
	/* Consumes what it can of conn->in; called when there is more, and
	 * when an exchange ended. */
	void (*input)(struct http_conn *);
	/* Puts what is ready into conn->out, below OUTPUT_HIGH. */
	void (*output)(struct http_conn *);
	/* The deadline passed. */
	void (*timeout)(struct http_conn *);
	void (*drain)(struct http_conn *);
	/* Abandons its exchanges and frees its own state. */
	void (*stop)(struct http_conn *);
};

extern const struct http_proto http1_proto, http2_proto;

enum {
	CONN_INPUT_MAX = 64 << 10,
	CONN_OUTPUT_HIGH = 128 << 10,
	CONN_OUTPUT_MAX = 64 << 20
};

enum conn_state {
	CONN_HANDSHAKE,
	CONN_OPEN,
	CONN_FLUSHING,  /* ends when the output is written */
	CONN_LINGERING, /* written and shut; what still comes is thrown away */
	CONN_DEAD
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
	bool paused; /* the protocol wants no more input now */
	bool linger; /* the peer may still be sending when we end */
	size_t discarded;
	int64_t deadline_us;
	uint8_t source[HTTP_SOURCE_SIZE]; /* the peer's address */
	struct buf in, out;
	const struct http_proto *proto;
	void *proto_data;
	void *notes; /* the handlers'; see http_notes() */
};

/* Starts a connection on an accepted socket. */
void conn_start(struct http_server *, int fd,
    const uint8_t source[HTTP_SOURCE_SIZE]);

/* Something changed: flush, read on, or free at the end of the turn. */
void conn_touch(struct http_conn *);
/* No more input; the connection ends when its output is written. */
void conn_end(struct http_conn *);
/* Sets when timeout() is called, milliseconds from now. */
void conn_set_deadline(struct http_conn *, int ms);

/* Frees connections whose time has come; the flush event's callback. */
void conn_end_turn(struct http_server *);
/* Ends it now; for the server's own end. */
void conn_abort(struct http_conn *);

/* An exchange for this connection, and its end; for the protocols. */
struct http_exchange *conn_new_exchange(struct http_conn *);
void conn_free_exchange(struct http_exchange *);
/* Tells the handler that the peer is gone, then frees. */
void conn_abandon_exchange(struct http_exchange *);

#endif
