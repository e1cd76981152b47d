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

/* What the answer showed. */
struct reapply_shown {
	int wire_id; /* of the profile it came by */
	int numbering;
	enum policy_attestation attestation;
	const struct selector_appraisal *appraisal; /* NULL: not attested now */
	const struct inventory *inventory;
	bool requests; /* it asked for something, as the rows say */
};

/* Copies all it needs. */
void reapply_observe(struct worker *, const struct tam_domain *,
    int64_t device_id, const uint8_t thumbprint[COSE_THUMBPRINT_SIZE],
    const struct store_observation *, const struct reapply_shown *);

#endif
