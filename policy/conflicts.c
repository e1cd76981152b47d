#include "config.h"

#include <stdio.h>

#include "policy/rules.h"

/*
 * Two policies contradict each other when one device can match both, neither
 * has the higher priority, and they want something else about one thing.
 */

static bool
shares_a_value(const struct selector_need *a, const struct selector_need *b)
{
	for (size_t i = 0; i < a->n; i++) {
		for (size_t k = 0; k < b->n; k++) {
			if (slice_eq(a->values[i], b->values[k]))
				return true;
		}
	}
	return false;
}

/* Unless they need different values of one thing, a device may match both. */
static bool
can_both_match(const struct rule *a, const struct rule *b)
{
	struct selector_need x, y;

	if ((a->attestation == RULE_REPAIR) != (b->attestation == RULE_REPAIR))
		return false;
	for (size_t i = 0; selector_needs(a->selector, i, &x); i++) {
		for (size_t k = 0; selector_needs(b->selector, k, &y); k++) {
			if (slice_eq(x.label, y.label) &&
			    !shares_a_value(&x, &y))
				return false;
		}
	}
	return true;
}

static bool
contradict(const struct rule_target *a, const struct rule_target *b)
{
	if (a->manifest != NULL && b->manifest != NULL)
		return a->manifest != b->manifest &&
		    slice_eq(a->manifest->id, b->manifest->id);
	if (a->manifest != NULL)
		return policy_manifest_brings(a->manifest, b->absent);
	return b->manifest != NULL &&
	    policy_manifest_brings(b->manifest, a->absent);
}

/* The first target of `a` that one of `b` contradicts; a->n: none. */
static size_t
contradicted(const struct rule *a, const struct rule *b)
{
	for (size_t i = 0; i < a->n; i++) {
		for (size_t k = 0; k < b->n; k++) {
			if (contradict(&a->targets[i], &b->targets[k]))
				return i;
		}
	}
	return a->n;
}

static const struct rule *
rule_named(const struct policy_set *set, const char *name)
{
	for (size_t i = 0; i < set->n_rules; i++) {
		if (strcmp(set->rules[i].name, name) == 0)
			return &set->rules[i];
	}
	return NULL;
}

bool
policy_conflicts(const struct policy_set *set, const char *name,
    char error[POLICY_ERROR_MAX])
{
	const struct rule *rule = rule_named(set, name);

	for (size_t i = 0; rule != NULL && i < set->n_rules; i++) {
		const struct rule *other = &set->rules[i];
		size_t target;

		if (other == rule || other->priority != rule->priority)
			continue;
		target = contradicted(rule, other);
		if (target == rule->n || !can_both_match(rule, other))
			continue;
		(void)snprintf(error, POLICY_ERROR_MAX,
		    "/components/%zu: contradicts policy %.64s, which has "
		    "the same priority and can be for the same devices",
		    target, other->name);
		return true;
	}
	return false;
}

const struct policy_manifest *
policy_names_revoked(const struct policy_set *set, const char *name)
{
	const struct rule *rule = rule_named(set, name);

	for (size_t i = 0; rule != NULL && i < rule->n; i++) {
		const struct policy_manifest *m = rule->targets[i].manifest;

		if (m != NULL && policy_is_revoked(set, m))
			return m;
	}
	return NULL;
}
