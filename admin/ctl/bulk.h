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

/* Sends the file in parts; a result for each of its lines.  The exit status:
 * 1 when a part was refused, of which nothing was done. */
int bulk_send(const struct client_options *, const struct api_route *,
    const char *output, const char *path, const char *file);

/* The route's list from its first page to its last; `path` asks for
 * limit=all.  With json a line for each item. */
int bulk_list(const struct client_options *, const struct api_route *,
    const char *output, const char *path);

/* Whether it does. */
bool bulk_is_wanted(const char *path);

/* Says what to do with the answers to a change that is made in parts. */
struct bulk_told {
	const char
	    *output; /* format in which each answer is printed; NULL: none */
	int64_t *devices; /* sum of their "devices" members; or NULL */
};

/* The same request until the answer names no part to go on with.  `body` has a
 * member "after". */
int bulk_change(const struct client_options *, const struct api_route *,
    const char *path, struct slice body, const struct bulk_told *);
bool bulk_is_in_parts(struct slice body);

/* Says what a refused request came to; `about`: what was sent, or NULL. */
void bulk_problem(const char *about, const struct client_answer *);

#endif
