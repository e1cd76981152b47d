/*
 * rules.h - the inside of a policy_set; for policy/ only.
 */
#ifndef POLICY_RULES_H
#define POLICY_RULES_H

#include <stdatomic.h>

#include "policy/policy.h"
#include "policy/rule_index.h"

struct rule_target {
	const struct policy_manifest *manifest; /* present */
	bool on_request;                        /* only if it is asked for */
	struct slice absent;                    /* or a component id */
};

/* Which devices of its selector a rule is for. */
enum rule_attestation {
	RULE_ANY,
	RULE_REQUIRED, /* those that were attested */
	RULE_REPAIR    /* those that failed: what is to mend them */
};

struct rule {
	char *name;
	int64_t priority;
	enum rule_attestation attestation;
	struct selector *selector;
	size_t n;
	struct rule_target *targets;
};

/* A revocation, once per component it makes a device lose. */
struct revoked {
	struct slice component;
	struct slice digest; /* only this image; empty: any */
	int64_t id;
};

struct policy_set {
	atomic_int refs;
	struct arena *arena; /* of what is below, unless it is sorted */
	size_t n_manifests, n_rules, n_revoked, n_revoked_manifests;
	struct policy_manifest *manifests; /* by digest */
	struct rule *rules; /* best first: by priority, then name */
	struct rule_index *index;
	size_t n_images;
	struct policy_image *images;     /* sorted */
	struct revoked *revoked;         /* by component */
	struct slice *revoked_manifests; /* digests, sorted */
};

struct channel {
	const char *name;
	const struct policy_manifest *manifest;
};

struct policy_builder {
	struct policy_set *set;
	size_t n_channels;
	struct channel *channels;
	size_t room_manifests, room_rules, room_revocations;
	struct policy_revocation *revocations;
	size_t n_revocations;
};

#endif
