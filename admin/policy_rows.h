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

/*
 * The same up to where it is built, leaving one policy out (NULL: none): what
 * a change of that policy is tried with.
 */
enum tam_err policy_rows_begin(struct sql *, const char *domain_id,
    const char *without, struct policy_builder **out);

#endif
