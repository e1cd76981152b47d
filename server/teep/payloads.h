/*
 * payloads.h - the TAM as a host of binaries (the draft's first scenario):
 * GET /payload/{domain}/{digest}.
 *
 * What is served is named by its SHA-256 and never changes, so that anybody
 * may keep it: ETag, If-None-Match, one range a request, If-Range.  A worker
 * keeps what was asked for lately and reads each payload once, however many
 * wait for it.  All answers send the same bytes.  The image of a revoked
 * component is not served.
 */
#ifndef SERVER_TEEP_PAYLOADS_H
#define SERVER_TEEP_PAYLOADS_H

#include <stddef.h>

struct batch;
struct http_account;
struct http_exchange;
struct payload_cache;

/* The account, for what is not in the cache, and the batch are borrowed. */
struct payload_cache *payload_cache_new(size_t max_bytes, struct http_account *,
    struct batch *);
/* Before the account ends: nothing is charged to it any more. */
void payload_cache_close(struct payload_cache *);
void payload_cache_free(struct payload_cache *);

/* The handler. */
void payload_transport(struct http_exchange *);

#endif
