/*
 * reapply.h - observations that were answered before they were written.
 *
 * A poll that changes nothing, as far as the cache knows, gets its 204 at
 * once; its observation is batched.  When the database contradicts the cache,
 * the device is evicted and the observation is applied in full here, without
 * an exchange: an Update it would cause waits for the device's next poll.
 */
#ifndef SERVER_TEEP_REAPPLY_H
#define SERVER_TEEP_REAPPLY_H

#include "policy/policy.h"
#include "server/teep/inventory.h"
#include "storage/device_store.h"

struct tam_domain;
struct worker;

/* Copies all it needs.  `requests`: it asked for something, as the rows say. */
void reapply_observe(struct worker *, const struct tam_domain *,
    int64_t device_id, const uint8_t thumbprint[COSE_THUMBPRINT_SIZE],
    const struct store_observation *, int numbering, enum policy_attestation,
    const struct inventory *, bool requests);

#endif
