/*
 * rules.h - the inside of a policy_set; for policy/ only.
 */
#ifndef POLICY_RULES_H
#define POLICY_RULES_H

#include <stdatomic.h>

#include "policy/policy.h"
#include "policy/rollout.h"
#include "policy/rule_index.h"

struct rule_target {
	const struct policy_manifest *manifest; /* present */
	const char *channel;                    /* that led to it, or NULL */
	bool on_request;                        /* only if it is asked for */
	struct slice absent;                    /* or a component id */
};

/* Which devices of its selector a rule is for. */
enum rule_attestation {
	RULE_ANY,
	RULE_REQUIRED, /* those that were attested */
	RULE_REPAIR    /* those that failed: what is to mend them */
};

/* A rollout under way. */
struct live_rollout {
	int64_t id;
	const char *name;
	int offset; /* of the buckets its percentages begin with */
	struct rollout_position at;
	struct rollout_plan plan;
	size_t n_next; /* rules it makes */
};

/* Whether a rule is as policies are, or as a rollout makes one, or unmakes. */
enum rule_side {
	RULE_NOW,
	RULE_NEXT,
	RULE_BACK
};

struct rule {
	char *name; /* of its policy */
	/* NEXT and BACK: the rollout they are of; NOW: the one that is to
	 * replace it, or NULL. */
	const struct live_rollout *rollout;
	enum rule_side side;
	bool verify;    /* ask again after an Update */
	int64_t poll_s; /* advice to its devices; 0: none */
	int64_t priority;
	enum rule_attestation attestation;
	int64_t max_age_us;      /* REQUIRED: of an earlier one that will do */
	struct selector *claims; /* and what it has to say; NULL: anything */
	struct selector *selector;
	size_t n;
	struct rule_target *targets;
};

/* A revocation, once per component it makes a device lose. */
struct revoked {
	struct slice component;
	struct slice digest; /* only this image; empty: any */
	int64_t id;
	const struct policy_manifest *replacement; /* or NULL */
	bool quarantine; /* who holds it keeps it, and gets nothing else */
};

/* A class of devices that get nothing. */
struct revoked_class {
	struct slice name;
	int64_t id;
};

struct policy_set {
	atomic_int refs;
	struct arena *arena; /* of what is below, unless it is sorted */
	size_t n_manifests, n_rules;
	size_t n_revoked, n_revoked_manifests, n_revoked_classes;
	struct policy_manifest *manifests; /* by digest */
	struct rule *rules; /* best first: by priority, then name */
	struct rule_index *index;
	size_t n_images;
	struct policy_image *images;           /* sorted */
	struct revoked *revoked;               /* by component */
	struct slice *revoked_manifests;       /* digests, sorted */
	struct revoked_class *revoked_classes; /* by name */
	size_t n_rollouts;
	struct live_rollout *rollouts[ROLLOUT_LIVE_MAX];
};

/* The first entry for a component, or a class; the others of it follow. */
size_t revoked_first(const struct policy_set *, struct slice component);
size_t revoked_class_first(const struct policy_set *, struct slice name);
/* A device that does not tell the digest is taken to hold the revoked one. */
bool revoked_hits(const struct revoked *, struct slice digest);

/* How deep manifests may depend on each other. */
enum {
	DEPENDENCY_DEPTH = 4
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
