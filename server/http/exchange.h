/*
 * exchange.h - one request and its response, whichever HTTP carried them.
 *
 * An exchange is made by http1.c or http2.c, given whole to its route's
 * handler, and ended by http_answer(), exactly once.  Everything in it lives
 * in its arena, which goes with it.  Handlers run in the loop of the server's
 * thread and may answer at once or later.
 */
#ifndef SERVER_HTTP_EXCHANGE_H
#define SERVER_HTTP_EXCHANGE_H

#include "lib/base/arena.h"
#include "lib/base/slice.h"
#include "server/http/shared.h"

struct http_conn;
struct http_route;
struct http_server;

enum {
	HTTP_HEADERS_MAX = 64,
	HTTP_PARAMS_MAX = 4,
	HTTP_COPY_MAX = 16 << 10, /* a body that is copied into the output */
	HTTP_RETRY_AFTER_S = 5    /* when a limit of ours refuses a request */
};

struct http_header {
	struct slice name; /* lower case */
	struct slice value;
};

struct http_exchange {
	struct http_server *server;
	struct http_conn *conn; /* NULL once the peer is gone */
	struct arena *arena;    /* freed with the exchange */
	const struct http_route *route;
	struct slice method, path, query;
	/* The {..} of the route's path, percent-decoded. */
	struct slice params[HTTP_PARAMS_MAX];
	size_t n_headers;
	struct http_header headers[HTTP_HEADERS_MAX];
	struct slice body; /* whole, and no longer than the route allows */
	int32_t stream_id; /* of HTTP/2 */
	bool answered;
	const char *allow; /* methods, for a 405; NULL: not known */
	uint64_t id;       /* of the request, for logs */
	size_t held;       /* bytes charged for it to its connection */
	size_t copied;     /* of them, a copy of the answer's body */

	/*
	 * Called at most once, when the peer is gone before the answer: drop
	 * every reference to the exchange.  Set by the handler.
	 */
	void (*on_abandon)(struct http_exchange *, void *);
	void *handler_data;
	/* http_go_on() and answering go through here; http1.c's or http2.c's. */
	void (*go_on)(struct http_exchange *);
	/* Answering goes through here; http1.c's or http2.c's. */
	void (*send)(struct http_exchange *, int status,
	    const struct http_header *headers, size_t n, struct http_body);
};

struct http_response {
	int status;
	const char *content_type;   /* NULL: none */
	struct slice body;          /* borrowed until http_answer() returns */
	struct http_shared *shared; /* what the body is part of: referred to
	                             * until it is sent; NULL: copied */
	int retry_after_s;          /* 0: not sent */
	const char *cache_control;  /* NULL: no-store */
	size_t n_extra;
	struct http_header extra[4];
};

/*
 * Room the handlers keep with the connection: n bytes, zeroed when they are
 * first asked for, gone with the connection; n is the same in every call.
 * NULL when the peer is gone.
 */
void *http_notes(const struct http_exchange *, size_t n);

/*
 * Ends the exchange; the caller does not touch it afterwards.  A large body
 * that is not shared is copied and charged: when there is no room for the
 * copy, the answer becomes 503.
 */
void http_answer(struct http_exchange *, const struct http_response *);
/* The route's head() lets the body be read. */
void http_go_on(struct http_exchange *);
/* Ends an exchange that no handler gets, with what the status calls for. */
void http_refuse(struct http_exchange *, int status);
/* True when the answer has no body, but the head of one (RFC 9110, 9.3.2). */
bool http_is_head(const struct http_exchange *);
/* The same without a body. */
void http_answer_status(struct http_exchange *, int status);

/* The peer's address, of HTTP_SOURCE_SIZE bytes. */
const uint8_t *http_source_of(const struct http_exchange *);
/* The source that the request counts for (sources.c), as long as the
 * connection lives; NULL when it is trusted, or the peer is gone. */
const uint8_t *http_share_of(const struct http_exchange *);

/* Empty when the request has no such header; the first if it has several. */
struct slice http_header(const struct http_exchange *, const char *name);
/* The values of all its lines, joined by commas (RFC 9110, 5.3); NULL when it
 * was not sent. */
const char *http_header_all(const struct http_exchange *, struct arena *,
    const char *name);
/* Whether it was sent at all. */
bool http_has_header(const struct http_exchange *, const char *name);

#endif
