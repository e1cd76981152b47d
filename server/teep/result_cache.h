/*
 * result_cache.h - attestation results whose signature this worker has
 * verified.
 *
 * A device that presents the same passport again costs no second signature.
 * Only that is remembered, by the result's digest and under one epoch: what
 * the result says, its times and its nonce are judged every time, and a
 * change of Verifiers raises the epoch.  Bounded; forgets when it is full.
 */
#ifndef SERVER_TEEP_RESULT_CACHE_H
#define SERVER_TEEP_RESULT_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	RESULT_DIGEST_SIZE = 32
};

struct result_key {
	uint8_t digest[RESULT_DIGEST_SIZE];
	int32_t domain_id;
	int64_t epoch;
};

struct result_cache;

struct result_cache *result_cache_new(size_t max);
void result_cache_free(struct result_cache *);

/* Which of the domain's verifiers signed it; false when not known. */
bool result_cache_find(const struct result_cache *, const struct result_key *,
    size_t *verifier);
void result_cache_put(struct result_cache *, const struct result_key *,
    size_t verifier);

#endif
