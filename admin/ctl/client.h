/*
 * client.h - tamctl's side of the admin API: one HTTPS request at a time.
 */
#ifndef ADMIN_CTL_CLIENT_H
#define ADMIN_CTL_CLIENT_H

#include "lib/base/buf.h"

struct client_options {
	const char *server; /* host:port, or https://host:port */
	const char *token;  /* NULL: none */
	const char *ca_file;
	const char *if_match; /* only if it is this revision; NULL: whichever */
};

struct client_answer {
	int status;
	struct buf head, body;
};

/* False after saying on standard error what went wrong. */
bool client_request(const struct client_options *, const char *method,
    const char *path, const char *content_type, struct slice body,
    struct client_answer *);
void client_answer_fini(struct client_answer *);

#endif
