/*
 * rule_index.h - the rules that a device can match, without asking the others;
 * for policy/ only.
 *
 * Each rule is filed under the one thing it needs (a class, a label's value)
 * that the fewest rules need; a rule that needs nothing is asked for every
 * device.
 */
#ifndef POLICY_RULE_INDEX_H
#define POLICY_RULE_INDEX_H

#include "policy/selector.h"

struct rule;
struct rule_index;

/* The rules stay the caller's, and in their places. */
struct rule_index *rule_index_new(const struct rule *, size_t n);
void rule_index_free(struct rule_index *);

/* Places of the rules worth asking, in their order; in the arena. */
size_t rule_index_find(const struct rule_index *,
    const struct selector_subject *, struct arena *, uint32_t **out);

#endif
