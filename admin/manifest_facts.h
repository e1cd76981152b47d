/*
 * manifest_facts.h - of a manifest, what policy/ decides by.
 */
#ifndef ADMIN_MANIFEST_FACTS_H
#define ADMIN_MANIFEST_FACTS_H

#include "lib/codec/suit.h"
#include "policy/policy.h"

struct manifest_facts {
	struct policy_manifest manifest; /* points into this struct */
	struct policy_component components[SUIT_BROUGHT_MAX];
	struct slice dependencies[SUIT_COMPONENTS_MAX];
};

/* Its forms to be sent, envelope and bare, are the caller's to add. */
void manifest_facts_of(const struct suit_info *, struct slice digest,
    struct manifest_facts *);

#endif
