/*
 * payloads.h - the TAM as a host of binaries (the draft's first scenario):
 * GET /payload/{domain}/{digest}.
 *
 * What is served is named by its SHA-256 and never changes, so that anybody
 * may keep it: ETag, If-None-Match, one range a request, If-Range.  A worker
 * keeps what was asked for lately and reads each payload once, however many
 * wait for it.  The image of a revoked component is not served.
 */
#ifndef SERVER_TEEP_PAYLOADS_H
#define SERVER_TEEP_PAYLOADS_H

#include <stddef.h>

struct http_exchange;
struct payload_cache;

struct payload_cache *payload_cache_new(size_t max_bytes);
void payload_cache_free(struct payload_cache *);

/* The handler. */
void payload_transport(struct http_exchange *);

#endif
