/*
 * failures.h - what a worker spends on messages that turn out to be forged.
 *
 * Anybody can name a key, so a failure is charged to the source it came from
 * (server/http/server.h) and to the token it used, never to the key it named.
 * A source has an eighth of what the worker spends in a second.  While that is
 * gone, the source is told to come again; others are served.
 *
 * A stranger is who names a key this worker does not have in its cache, or
 * none: finding out about it costs a look-up.  Strangers of all sources share
 * the worker's budget; who names a cached key is not stopped by it.
 *
 * Memory is bounded: sources share slots, and a newcomer takes over the slot
 * of its set that was used least, with what is left in it.  So many sources
 * make the limit stricter, never milder.  A source that is NULL is trusted
 * (trusted_sources): only the worker's budget applies.
 *
 * One thread's.  Time is monotonic microseconds.
 */
#ifndef SERVER_TEEP_FAILURES_H
#define SERVER_TEEP_FAILURES_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/slice.h"

struct failures;

enum failure_by {
	FAILURE_BY_KNOWN,
	FAILURE_BY_STRANGER
};

struct failures *failures_new(double per_second);
void failures_free(struct failures *);

/* Whether one more failure could be paid for. */
bool failures_allow(struct failures *, const uint8_t *source, enum failure_by,
    int64_t now_us);
/* Charges n failures; a budget may be overdrawn by as much as it holds. */
void failures_charge(struct failures *, const uint8_t *source, enum failure_by,
    unsigned n, int64_t now_us);

/*
 * Tokens with which signatures failed.  Three strikes from one source, and
 * the token is refused from this source for a minute; from any other it is as
 * good as before.
 */
void failures_strike(struct failures *, const uint8_t *source,
    struct slice token, int64_t now_us);
bool failures_is_struck(const struct failures *, const uint8_t *source,
    struct slice token, int64_t now_us);

#endif
