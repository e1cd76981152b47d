/*
 * request.h - the request that a command line describes: a row of the API's
 * table, its arguments, and nothing that the row does not know.
 *
 * Everything is checked here, before anything is sent: arguments, the names and
 * types of query parameters and of body fields, and that no private key is
 * among them.
 */
#ifndef ADMIN_CTL_REQUEST_H
#define ADMIN_CTL_REQUEST_H

#include "admin/table.h"
#include "lib/base/buf.h"

struct request_text {
	struct buf path; /* with its query */
	struct buf body;
	const char *content_type; /* NULL: no body */
	const char *file; /* of documents, to be sent in parts; or NULL */
};

/* `query` is the text of -q, or NULL.  False after complaining. */
bool request_make(const struct api_route *, const char *query, int argc,
    char **argv, struct request_text *);
void request_fini(struct request_text *);

/* What may stand behind the noun and the verb, on standard error. */
void request_print_usage(const struct api_route *);

/* "text", or the content of the file of "@file"; "@@x" is the text "@x".
 * False after complaining. */
bool request_value(const char *text, struct buf *);

#endif
