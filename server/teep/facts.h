/*
 * facts.h - between rows and policy: a device as policy sees it, and what of
 * a decision is to be written down.
 */
#ifndef SERVER_TEEP_FACTS_H
#define SERVER_TEEP_FACTS_H

#include "policy/policy.h"
#include "server/teep/inventory.h"
#include "storage/device_store.h"

struct tam_domain;

/* A device's rows and its inventory as policy sees them; in the arena.
 * update_max is its wire profile's. */
struct policy_facts policy_facts_of(struct arena *, const struct tam_domain *,
    const struct store_device *, const struct inventory *,
    enum policy_attestation, size_t update_max, int64_t now_us);

/* What the decision says of rollouts; how much. */
size_t facts_marks(const struct policy_facts *, const struct policy_decision *,
    bool offered, struct store_mark[STORE_MARKS_MAX]);

#endif
