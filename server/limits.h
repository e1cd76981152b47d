/*
 * limits.h - what the configuration means for the listeners: shares of the
 * budget of bytes, of connections and of descriptors.
 */
#ifndef SERVER_LIMITS_H
#define SERVER_LIMITS_H

#include "server/http/server.h"

struct config;

struct listener_limits {
	struct http_limits device, admin;
	struct http_pool device_pool, admin_pool;
	struct http_trusted trusted;
};

/* The struct is not moved afterwards: it points into itself.  Raises the soft
 * limit of descriptors, and lowers connections_max when they do not suffice,
 * with a line in the log. */
void limits_init(struct listener_limits *, const struct config *,
    size_t n_workers);

#endif
