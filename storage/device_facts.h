/*
 * device_facts.h - from the rows of a device to the facts policy decides by.
 *
 * Whoever decides about a device assembles its facts here: a session, an
 * answer that is applied later (server/teep/reapply.h), explain and dry run.
 * So what an administrator is told is what the device gets.
 *
 *	device_facts    the rows, and what one answer of the device shows
 *	device_decide   the rows alone: the device is expected to show what it
 *	                showed last
 *
 * Pure; everything lives in the arena or in what was passed in.
 */
#ifndef STORAGE_DEVICE_FACTS_H
#define STORAGE_DEVICE_FACTS_H

#include "policy/policy.h"
#include "storage/device_store.h"

/* The rules of the wire profile that a device comes by. */
struct device_profile {
	size_t update_max; /* bytes of manifests in one Update */
	bool asks_proof;   /* each QueryRequest asks for attestation */
};

/* What one answer shows.  An answer whose attestation failed is not believed:
 * its lists count as empty. */
struct device_shown {
	enum policy_attestation attestation;
	/* The findings about this answer; NULL: the rows have the last. */
	const struct selector_appraisal *appraisal;
	size_t n_components, n_requested, n_unneeded;
	const struct policy_component *components;
	const struct policy_request *requested;
	const struct slice *unneeded; /* manifest ids */
};

/* The newest Update of a device, beside one of this content. */
struct policy_last device_last(const struct store_update *,
    const uint8_t content[STORE_DIGEST_SIZE]);

/* Components as policy has them. */
struct policy_component *device_components(struct arena *,
    const struct store_component *, size_t n);

/* The least of the limits that the device and its wire profile set. */
size_t device_update_max(const struct store_device *,
    const struct device_profile *);

struct policy_facts device_facts(struct arena *, struct slice domain,
    const struct store_device *, const struct device_profile *,
    const struct device_shown *, int64_t now_us);

/*
 * The decision if the device comes now, and the facts it rests on.
 *
 * The device shows the components and requests of its rows.  A profile that
 * asks for proof gets the result of the last appraisal again.  Otherwise the
 * device comes without proof, and the last appraisal counts while it is young
 * enough; a device that failed it fails again when a policy asks for proof.
 *
 * The trace is NULL or empty.
 */
void device_decide(const struct policy_set *, struct arena *,
    struct slice domain, const struct store_device *,
    const struct device_profile *, int64_t now_us, struct policy_facts *,
    struct policy_decision *, struct policy_trace *);

/* What the decision says of rollouts, to be written down; returns the number
 * of marks. */
size_t device_marks(const struct policy_facts *, const struct policy_decision *,
    bool offered, struct store_mark[STORE_MARKS_MAX]);

#endif
