/*
 * client.h - HTTPS requests to one origin, in the loop of the worker that
 * makes them.
 *
 * Connections are kept and used again.  So many requests are under way at
 * most; one more is refused, like every request while the origin is known to
 * be down: after FAILURES_MAX failures in a row nothing is sent for a while,
 * then a single request tries.  A failure is no answer, or status 5xx.  The
 * certificate must name the host and chain to the CA that was given, else to
 * the system's.  A callback runs once, from the loop, unless cancelled.
 */
#ifndef SERVER_HTTP_CLIENT_H
#define SERVER_HTTP_CLIENT_H

#include "lib/base/slice.h"

struct event_base;
struct http_call;
struct http_client;

enum {
	HTTP_ANSWER_MAX = 256 << 10
};

struct http_client_options {
	struct event_base *base;
	const char *url; /* https://host[:port][/path]; the path is prefixed */
	const char *ca_pem; /* "": the system's */
	int timeout_ms;     /* of one request, connecting included */
	size_t concurrency;
};

/* NULL when the URL or the CA is not usable. */
struct http_client *http_client_new(const struct http_client_options *);
/* Nothing is under way. */
bool http_client_idle(const struct http_client *);
/* Pending callbacks do not run. */
void http_client_free(struct http_client *);

struct http_answer {
	int status;                                /* 0: none came */
	struct slice location, content_type, body; /* until the callback ends */
};

typedef void (*http_answer_cb)(const struct http_answer *, void *);

struct http_ask {
	const char *method; /* GET, POST or DELETE */
	const char *path;   /* behind the prefix; one that begins with the
	                     * prefix, or https:, is taken as it is */
	const char *accept, *content_type; /* NULL: none */
	struct slice body;
	int delay_ms; /* sent so much later */
};

/* NULL: refused, see above. */
struct http_call *http_client_send(struct http_client *,
    const struct http_ask *, http_answer_cb, void *);
void http_call_cancel(struct http_call *);

#endif
