/*
 * routes.h - where TEEP and the admin API meet HTTP.
 */
#ifndef SERVER_ROUTES_H
#define SERVER_ROUTES_H

#include <stddef.h>

struct config;
struct http_route;

/* What devices may ask; the body limit is set once, before any worker. */
void routes_init(const struct config *);
const struct http_route *device_routes(size_t *n);

#endif
