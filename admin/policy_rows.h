/*
 * policy_rows.h - a domain's policy_set from its rows; for nodes, which serve
 * it, and for the admin API, which explains it.
 */
#ifndef ADMIN_POLICY_ROWS_H
#define ADMIN_POLICY_ROWS_H

#include "policy/policy.h"
#include "storage/sql.h"

/*
 * Reads manifests, policies and revocations; what is not sound is logged and
 * left out.  Without `envelopes` the set knows their sizes only.
 */
enum tam_err policy_rows_load(struct sql *, const char *domain_id,
    bool envelopes, struct policy_set **out);

/* What is otherwise in a set that a change is tried with. */
struct policy_change {
	const char *without; /* a policy that is left out; or NULL */
	const char *channel; /* one that points to another manifest; or NULL */
	struct slice manifest; /* its digest */
};

/* The same up to where it is built; NULL: everything as it is. */
enum tam_err policy_rows_begin(struct sql *, const char *domain_id,
    const struct policy_change *, struct policy_builder **out);

#endif
