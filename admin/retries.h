/*
 * retries.h - a change that is sent twice is made once.
 *
 * A request with an Idempotency-Key (draft-ietf-httpapi-idempotency-key-header)
 * keeps its answer, in the transaction that makes the change, for a day.  The
 * same request by the same principal with the same key gets this answer again
 * and changes nothing; while the first is under way the second waits for it.
 * A request that failed keeps nothing: it may be sent again with its key.
 */
#ifndef ADMIN_RETRIES_H
#define ADMIN_RETRIES_H

#include "admin/request.h"

/* Before a change: takes the key.  *done: the request was answered before, and
 * the response is that answer; 422 when the key was used for another one. */
enum tam_err retries_begin(struct api_request *, bool *done);
/* After it: keeps the answer. */
enum tam_err retries_keep(struct api_request *);

#endif
