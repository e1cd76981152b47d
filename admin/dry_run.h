/*
 * dry_run.h - what a change of policy would do, without doing it: the device
 * path's decision about each device it can concern, before and after.
 */
#ifndef ADMIN_DRY_RUN_H
#define ADMIN_DRY_RUN_H

#include "admin/device_query.h"
#include "policy/policy.h"

struct policy_change;

/*
 * Answers with how many active devices would be told something else than by
 * the policies of now, by kind of change and class, some of them, and how old
 * what is known of them is.  `who` holds the condition of those that can be
 * concerned.  A rollout that is only tried has the number 0 and n_stages
 * stages (0: none is), which are counted.  Reads only; a part of the fleet at
 * a time.
 */
enum tam_err dry_run(struct api_request *, const struct policy_set *after,
    size_t n_stages, struct device_query *who);

/* Tries one change to the policies of now. */
enum tam_err dry_run_change(struct api_request *, const struct policy_change *,
    struct device_query *who);

#endif
