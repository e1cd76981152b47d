/*
 * standing.h - a device in a rollout: on which side it is, and what its
 * decision makes of it there; for policy/ only.
 */
#ifndef POLICY_STANDING_H
#define POLICY_STANDING_H

#include "policy/rules.h"

struct place {
	enum rule_side side; /* whose rules are for the device */
	size_t stage;
	bool reached;     /* it has been there */
	const char *hold; /* why it gets nothing new there; NULL: it does */
};

struct place place_in(const struct policy_facts *,
    const struct selector_subject *, const struct live_rollout *);

/* The decision's entry for this rollout. */
struct policy_standing *standing_in(struct policy_decision *,
    const struct live_rollout *, const struct place *);

/* A rollout that ended, of which an answer of the device is to come. */
bool part_is_waiting(const struct policy_facts *, const struct live_rollout *);

/* What a verdict about one target of the rollout's rules means for it. */
void standing_note(struct policy_standing *, const char *verdict);

#endif
