/*
 * bulk.h - what is larger than one request: a file of documents, a line each,
 * or a row where its name ends in .csv; lists to their end; a change that is
 * made in parts.  Nothing of it is held in memory whole.
 */
#ifndef ADMIN_CTL_BULK_H
#define ADMIN_CTL_BULK_H

#include "admin/ctl/client.h"
#include "admin/ctl/ctl.h"
#include "admin/table.h"

/* One call of a command: a route, the path with its query, how to print. */
struct bulk_call {
	struct client *client;
	const struct api_route *route;
	const char *output, *path;
};

/* Sends the file in parts; a result is printed for each of its lines.  The exit
 * status: CTL_FAILED when the server refused a line or a part. */
int bulk_send(const struct bulk_call *, const char *file);

/*
 * A list.  Without a limit=N in its path all pages are read: as JSON they
 * become one document, like a page.  With limit=all too, and as JSON a line
 * for each item.  With a number one page is read, and where it does not reach
 * the end, standard error says how to go on.
 */
int bulk_list(const struct bulk_call *);

/* Says what to do with the answers to a change that is made in parts. */
struct bulk_told {
	const char
	    *output; /* format in which each answer is printed; NULL: none */
	int64_t *devices; /* sum of their "devices" members; or NULL */
};

/* The same request until the answer names no part to go on with.  `body` has a
 * member "after". */
int bulk_change(struct client *, const struct api_route *, const char *path,
    struct slice body, const struct bulk_told *);
bool bulk_is_in_parts(struct slice body);

#endif
