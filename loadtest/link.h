/*
 * link.h - the simulator's HTTPS client: connections that carry POSTs.
 *
 * A link is one connection, HTTP/1.1 (one request at a time) or HTTP/2 (many
 * streams), made when it is needed and made again when it is lost.  A request
 * that got no answer is sent again on the next connection: TEEP messages are
 * harmless twice.  A callback runs once, from the loop.
 */
#ifndef LOADTEST_LINK_H
#define LOADTEST_LINK_H

#include <sys/queue.h>

#include "lib/base/buf.h"

struct event;
struct event_base;
struct ssl_ctx_st;
struct ssl_st;

/* Why the last try got no answer. */
enum link_cause {
	LINK_NO_CONNECTION,
	LINK_NO_TLS,
	LINK_LOST,   /* the connection ended, or broke the protocol */
	LINK_TIMEOUT /* nothing whole in time */
};

/* Status 0: no answer, however often it was tried: see the request's cause and
 * why.  Borrowed bytes. */
typedef void (*link_cb)(int status, struct slice body, void *);

struct link_request {
	TAILQ_ENTRY(link_request) link;
	const char *path;  /* the caller's until the callback */
	struct slice body; /* the same */
	link_cb cb;
	void *arg;
	unsigned tries;
	int64_t since_us; /* when this try began, monotonic */
	enum link_cause cause;
	const char *why; /* borrowed until the callback returns */
	/* The protocol's. */
	int32_t stream_id;
	size_t sent;
	int status;
	struct buf answer;
};

TAILQ_HEAD(link_requests, link_request);

struct link_options {
	struct event_base *base;
	struct ssl_ctx_st *tls;
	const char *host;
	int port;
	unsigned tries_max;
	int64_t timeout_us; /* of connecting, and of each try of a request */
	unsigned sources;   /* of 127.0.0.0/8, taken in turn; 0: the system's */
	uint64_t *retries, *connects; /* counted there */
};

enum link_state {
	LINK_DOWN,
	LINK_CONNECTING,
	LINK_HANDSHAKE,
	LINK_OPEN
};

struct link {
	const struct link_options *options;
	bool http2;
	enum link_state state;
	int fd;
	struct ssl_st *ssl;
	struct event *event, *timer, *watch;
	int64_t since_us; /* when it began to connect */
	char why[160];    /* the last fault */
	short events;     /* what `event` waits for */
	struct buf in, out;
	struct link_requests waiting, active;
	size_t n_active;
	bool closing; /* no new requests on this connection */
	void *proto;  /* nghttp2_session, or http1's state */
};

struct link *link_new(const struct link_options *, bool http2);
void link_free(struct link *);
void link_post(struct link *, struct link_request *);

/* --- between link.c and the protocols ----------------------------------------- */

struct link_proto {
	void (*start)(struct link *);
	bool (*input)(struct link *);  /* false: the peer broke the protocol */
	void (*output)(struct link *); /* sends what waits */
	void (*stop)(struct link *);
};

extern const struct link_proto link_http1, link_http2;

/* Moves the next waiting request to the active ones; NULL when none waits. */
struct link_request *link_take(struct link *);
/* The answer is whole: tells the caller. */
void link_done(struct link *, struct link_request *);
/* Not taken by the server: back to the front of the queue. */
void link_again(struct link *, struct link_request *);

#endif
