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
is_about_the_same(const struct rule_target *a, const struct rule_target *b)
{
	if (a->manifest != NULL && b->manifest != NULL)
		return slice_eq(a->manifest->id, b->manifest->id);
	if (a->manifest != NULL)
		return policy_manifest_brings(a->manifest, b->absent);
	return b->manifest != NULL
	    ? policy_manifest_brings(b->manifest, a->absent)
	    : slice_eq(a->absent, b->absent);
}

static bool
contradict(const struct rule_target *a, const struct rule_target *b)
{
	return a->manifest != b->manifest && is_about_the_same(a, b);
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

/* As it is now; NULL when there is no such policy. */
static const struct rule *
rule_named(const struct policy_set *set, const char *name)
{
	for (size_t i = 0; i < set->n_rules; i++) {
		if (set->rules[i].side == RULE_NOW &&
		    strcmp(set->rules[i].name, name) == 0)
			return &set->rules[i];
	}
	return NULL;
}

/* Of a rollout that ended: it is no more than counted. */
static bool
is_past(const struct rule *r)
{
	return r->rollout != NULL && r->rollout->at.settling;
}

/* A policy may be several rules while it changes: none contradicts another of
 * them, as no device has two. */
static bool
conflicts(const struct policy_set *set, const struct rule *rule,
    const char *prefix, char error[POLICY_ERROR_MAX])
{
	for (size_t i = 0; i < set->n_rules; i++) {
		const struct rule *other = &set->rules[i];
		size_t target;

		if (strcmp(other->name, rule->name) == 0 ||
		    other->priority != rule->priority || is_past(other))
			continue;
		target = contradicted(rule, other);
		if (target == rule->n || !can_both_match(rule, other))
			continue;
		(void)snprintf(error, POLICY_ERROR_MAX,
		    "%s/components/%zu: contradicts policy %.64s, which has "
		    "the same priority and can be for the same devices",
		    prefix, target, other->name);
		return true;
	}
	return false;
}

bool
policy_conflicts(const struct policy_set *set, const char *name,
    char error[POLICY_ERROR_MAX])
{
	const struct rule *rule = rule_named(set, name);

	return rule != NULL && conflicts(set, rule, "", error);
}

/* --- rollouts ------------------------------------------------------------------------ */

static const struct live_rollout *
rollout_named(const struct policy_set *set, const char *name)
{
	for (size_t i = 0; i < set->n_rollouts; i++) {
		if (strcmp(set->rollouts[i]->name, name) == 0)
			return set->rollouts[i];
	}
	return NULL;
}

const struct rollout_plan *
policy_rollout_plan(const struct policy_set *set, const char *name)
{
	const struct live_rollout *r = rollout_named(set, name);

	return r == NULL ? NULL : &r->plan;
}

size_t
policy_rollout_ids(const struct policy_set *set, int64_t ids[ROLLOUT_LIVE_MAX])
{
	for (size_t i = 0; i < set->n_rollouts; i++)
		ids[i] = set->rollouts[i]->id;
	return set->n_rollouts;
}

/* Whether two rollouts would both say what becomes of one thing. */
static bool
fights(const struct rule *a, const struct rule *b)
{
	if (b->side == RULE_NOW || is_past(b) || a->rollout == b->rollout ||
	    !can_both_match(a, b))
		return false;
	for (size_t i = 0; i < a->n; i++) {
		for (size_t k = 0; k < b->n; k++) {
			if (is_about_the_same(&a->targets[i], &b->targets[k]))
				return true;
		}
	}
	return false;
}

static bool
rule_conflicts(const struct policy_set *set, const struct rule *rule,
    char error[POLICY_ERROR_MAX])
{
	const char *prefix = rule->rollout->plan.channel != NULL ? "/channel"
	    : rule->side == RULE_BACK                            ? "/rollback"
	                                                         : "/document";

	if (conflicts(set, rule, prefix, error))
		return true;
	for (size_t i = 0; i < set->n_rules; i++) {
		if (!fights(rule, &set->rules[i]))
			continue;
		(void)snprintf(error, POLICY_ERROR_MAX,
		    "%s: rollout %.64s is under way and speaks about the same "
		    "for devices that can be in both",
		    prefix, set->rules[i].rollout->name);
		return true;
	}
	return false;
}

bool
policy_rollout_conflicts(const struct policy_set *set, const char *name,
    char error[POLICY_ERROR_MAX])
{
	const struct live_rollout *r = rollout_named(set, name);

	for (size_t i = 0; r != NULL && i < set->n_rules; i++) {
		const struct rule *rule = &set->rules[i];

		if (rule->rollout == r && rule->side != RULE_NOW &&
		    rule_conflicts(set, rule, error))
			return true;
	}
	return false;
}

/* --- what is revoked ------------------------------------------------------------------- */

static const struct policy_manifest *
revoked_of(const struct policy_set *set, const struct rule *rule)
{
	for (size_t i = 0; i < rule->n; i++) {
		const struct policy_manifest *m = rule->targets[i].manifest;

		if (m != NULL && policy_is_revoked(set, m))
			return m;
	}
	return NULL;
}

const struct policy_manifest *
policy_names_revoked(const struct policy_set *set, const char *name)
{
	const struct rule *rule = rule_named(set, name);

	return rule == NULL ? NULL : revoked_of(set, rule);
}

/* Whether the policy wants it as it is. */
static bool
is_wanted_now(const struct policy_set *set, const struct rule *next,
    const struct policy_manifest *m)
{
	const struct rule *now = rule_named(set, next->name);

	if (now == NULL || now->rollout != next->rollout)
		return false;
	for (size_t k = 0; k < now->n; k++) {
		if (now->targets[k].manifest == m)
			return true;
	}
	return false;
}

static bool
brings_revoked(const struct policy_set *set, const struct rule *next)
{
	for (size_t i = 0; i < next->n; i++) {
		const struct policy_manifest *m = next->targets[i].manifest;

		if (m != NULL && policy_is_revoked(set, m) &&
		    !is_wanted_now(set, next, m))
			return true;
	}
	return false;
}

bool
policy_rollout_revoked(const struct policy_set *set, const char *name)
{
	const struct live_rollout *r = rollout_named(set, name);

	for (size_t i = 0; r != NULL && i < set->n_rules; i++) {
		if (set->rules[i].rollout == r &&
		    set->rules[i].side == RULE_NEXT &&
		    brings_revoked(set, &set->rules[i]))
			return true;
	}
	return false;
}
