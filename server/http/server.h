/*
 * server.h - what the HTTP side of one thread owns.
 *
 * Made, used and torn down by its thread.  The routes, limits and TLS context
 * it points to are immutable and outlive it; the TLS context may be replaced
 * by another between two turns of the loop.
 */
#ifndef SERVER_HTTP_SERVER_H
#define SERVER_HTTP_SERVER_H

#include <sys/queue.h>

#include "lib/base/arena.h"
#include "lib/base/counters.h"
#include "server/http/account.h"
#include "server/http/exchange.h"

struct event;
struct event_base;
struct http_listener;
struct ssl_ctx_st;

struct http_limits {
	int head_max;               /* bytes of request line and headers */
	int streams_max;            /* of one HTTP/2 connection */
	int connections_max;        /* of this thread */
	int source_connections_max; /* of them, of one source; 0: any */
	/* Connections beyond these limits, which serve reserved routes alone;
	 * a newer one takes the place of the oldest. */
	int reserved_max;

	/* The budget of bytes of the process, NULL: no limit; and how many
	 * of them one connection, and one source in this thread, may hold;
	 * 0: any. */
	struct http_pool *pool;
	size_t connection_share, source_share;

	double source_rate; /* requests a second of one source; 0: any */
	const struct http_trusted *trusted; /* sources without a share */
	int request_time_ms;                /* for a whole request to arrive */
	int send_progress_ms; /* for a peer to take some of an answer */
	int idle_http1_ms, idle_http2_ms;
};

/* Networks whose requests, connections and bytes are not counted by source:
 * gateways, load tests. */
struct http_trusted {
	size_t n;
	struct {
		uint8_t address[16]; /* IPv4 as ::ffff:a.b.c.d */
		unsigned bits;
	} nets[32];
};

/* "10.0.0.0/8, ::1"; false when it is not a list of networks. */
bool http_trusted_parse(const char *, struct http_trusted *);

/* Path patterns are matched by decoded segments; {name} takes any one segment
 * that is a name (lib/base/text.h). */
struct http_route {
	const char *method; /* NULL: any, the handler says 405 itself */
	const char *path;
	size_t body_max;
	void (*handler)(struct http_exchange *);
	const void *data;
	/* Asked before a body is read, if one is to come: it answers, or says
	 * http_go_on(), now or later.  NULL: the body is read. */
	void (*head)(struct http_exchange *);
	bool reserved; /* served on reserved connections too, without a rate */
};

TAILQ_HEAD(http_conns, http_conn);

struct http_server {
	struct event_base *base;
	struct ssl_ctx_st *tls; /* its own reference; NULL: cleartext */
	const struct http_route *routes;
	size_t n_routes;
	const struct http_limits *limits;
	struct counters *counters;
	void *owner; /* the worker; what handlers need */
	/* The body, as problem+json, of what is refused before a handler has
	 * it; NULL: none. */
	const char *(*problem)(struct http_exchange *, int status);

	struct arena_pool arenas;
	struct http_account account;
	struct http_sources *sources;
	struct http_conns conns;
	struct http_conns dirty; /* to be flushed or freed this turn */
	size_t n_conns, n_exchanges;
	size_t n_reserved; /* of the connections */
	struct event *flush;
	struct http_listener *listeners;
	int reserve_fd; /* given up to refuse a peer when no other is left */
	struct event *accept_again;
	bool draining;      /* responses say that the connection will close */
	bool closing;       /* and idle connections are closed */
	int64_t closing_us; /* since then no peer is waited for long */
	uint64_t next_id;
	int64_t date_s; /* what `date` says */
	char date[32];
};

void http_server_init(struct http_server *);
/* Ends every connection at once. */
void http_server_fini(struct http_server *);

/* Takes over a bound, non-blocking socket and begins to listen on it. */
bool http_server_listen(struct http_server *, int fd);
/* Accepts what is queued, then closes the listening socket. */
void http_server_unlisten(struct http_server *);
/* From now on every response is the last of its connection. */
void http_server_drain(struct http_server *);
/* Some time later: ends the connections that have nothing to do. */
void http_server_close_idle(struct http_server *);

/* Binds a TCP socket: with SO_REUSEPORT, for workers and nodes that share
 * it, or else listening already; -1 and errno. */
int http_listen_socket(const char *address, int port, bool reuse_port);

/* The route of a request, its parameters set and decoded; NULL with *status 404,
 * 405 (x->allow says what is allowed), 415 for an encoded body, or 400 for a
 * path that is not well encoded or names what no name is. */
const struct http_route *http_find_route(const struct http_server *,
    struct http_exchange *, int *status);

/* --- sources.c ------------------------------------------------------------------- */

enum {
	HTTP_SOURCE_SIZE = 16
};

/*
 * A source is an IPv4 address or an IPv6 network of 64 bits, which is what one
 * subscriber gets.  Its rate is kept in a bounded table of token buckets; a
 * full one forgets.  Its connections and bytes are counted exactly, for as
 * long as it has connections.
 */
struct http_sources *http_sources_new(void);
void http_sources_free(struct http_sources *);
/* Takes a token: one more request of this source may be served now. */
bool http_sources_take(struct http_sources *, const struct http_limits *,
    const uint8_t address[HTTP_SOURCE_SIZE], int64_t now_us);

struct http_source {
	struct http_source *next;
	uint8_t address[HTTP_SOURCE_SIZE];
	bool trusted;
	size_t n_conns, held;
};

/* Counts one more connection of a source; NULL when it has too many, and this
 * one is not reserved. */
struct http_source *http_source_join(struct http_sources *,
    const struct http_limits *, const uint8_t address[HTTP_SOURCE_SIZE],
    bool reserved);
void http_source_leave(struct http_sources *, struct http_source *);

/* 0, or the status (429) to refuse one more request with. */
int http_admit(struct http_server *, const uint8_t address[HTTP_SOURCE_SIZE]);

/* --- tls.c ---------------------------------------------------------------------- */

/* TLS 1.2 and 1.3, ALPN h2 and http/1.1; NULL with a line in the log. */
struct ssl_ctx_st *http_tls_new(const char *cert_file, const char *key_file);
/* Counted references: connections hold one each, servers too. */
struct ssl_ctx_st *http_tls_ref(struct ssl_ctx_st *);
void http_tls_free(struct ssl_ctx_st *);

#endif
