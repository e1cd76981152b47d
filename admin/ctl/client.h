/*
 * client.h - tamctl's side of the admin API: HTTPS requests, by libcurl.
 *
 * One request at a time, from one thread.  The certificate must name the host
 * and chain to the CA that was given, else to the system's; redirects and
 * proxies are not followed.  Every request ends: connecting, silence and the
 * whole have their limits, and an answer has a largest size.
 *
 * An answer is whole or none: a body shorter than its length, a body without a
 * length that the end of the connection ends, a broken chunk and a header that
 * was cut are errors.
 *
 * Reading requests share a connection.  Every other request has its own, since
 * libcurl sends a request once more when a kept connection turns out closed.
 */
#ifndef ADMIN_CTL_CLIENT_H
#define ADMIN_CTL_CLIENT_H

#include "lib/base/buf.h"

struct client;

struct client_options {
	/* host, host:port, [address]:port, each also behind https:// */
	const char *server;
	const char *token;   /* NULL: none */
	const char *ca_file; /* NULL: the CAs of the system */
	int64_t timeout_s;   /* of one request */
};

/* NULL after saying what is wrong with the options.  They are copied, but for
 * the token. */
struct client *client_new(const struct client_options *);
void client_free(struct client *);

struct client_request {
	const char *method, *path;
	const char *content_type; /* of the body; NULL: no body */
	const char *if_match;     /* entity tag; NULL: none */
	bool creates;             /* only if there is no such object yet */
	struct slice body;
	int64_t until_us; /* monotonic: gives up then; 0: the client's time */
};

struct client_answer {
	int status;
	bool is_json; /* by its Content-Type */
	struct buf body;
};

/*
 * Returns CTL_OK with any whole answer; else, after saying why on standard
 * error: CTL_UNREACHABLE when nothing was sent, CTL_NO_ANSWER when what was
 * asked may have been done.  A request that the server refused because another
 * one came at the same time (503 try_again) is sent again a few times.
 * client_answer_fini() in every case.
 */
int client_ask(struct client *, const struct client_request *,
    struct client_answer *);
void client_answer_fini(struct client_answer *);

#endif
