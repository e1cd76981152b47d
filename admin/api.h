/*
 * api.h - the admin listener: the JSON API, health and metrics.
 *
 * Its own port, thread and database connections, so that a slow report
 * delays no device.  The listener's thread answers health and metrics itself
 * and hands everything else to a few job threads, each with a connection to
 * the database; one request is one transaction, bound to one domain.
 */
#ifndef ADMIN_API_H
#define ADMIN_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/counters.h"

struct admin;
struct buf;
struct http_limits;
struct readiness;
struct ssl_ctx_st;

struct admin_options {
	const char *database;
	const int *fds; /* listening sockets */
	size_t n_fds;
	struct ssl_ctx_st *tls;
	const struct http_limits *limits;
	size_t upload_max;

	/* What /metrics sums, and /readyz asks; borrowed, any thread. */
	const struct counters *const *counters;
	size_t n_counters;
	struct readiness *readiness;
	void (*look_around)(void *); /* called before the registry is read */
	/* Why no change is taken now; NULL when changes are. */
	const char *(*refusal)(void *);
	/* Adds what the process measures beside the counters to /metrics. */
	void (*metrics)(void *, struct buf *);
	void *ready_arg;
};

struct admin *admin_start(const struct admin_options *);
/* For connections from now on; takes the reference. */
void admin_set_tls(struct admin *, struct ssl_ctx_st *);
/* Answers what is being answered, then ends. */
void admin_stop(struct admin *);

#endif
