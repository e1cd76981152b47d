/*
 * dry_run.h - what a change of policy would do, without doing it: the device
 * path's decision about each device it can concern, before and after.
 */
#ifndef ADMIN_DRY_RUN_H
#define ADMIN_DRY_RUN_H

#include "admin/device_query.h"
#include "policy/policy.h"
#include "policy/rollout.h"

struct policy_change;

/*
 * Answers with how many active devices would be told something else than by
 * the policies of now, by kind of change and class, some of them, and how old
 * what is known of them is.  `who` holds the condition of those that can be
 * concerned.  `plan`, if not NULL, is that of the one rollout in the set that is
 * only tried and has the number 0: the devices of its stages are counted, and
 * what is wrong with them is said.  Reads only; a part of the fleet at a time.
 */
enum tam_err dry_run(struct api_request *, const struct policy_set *after,
    const struct rollout_plan *plan, struct device_query *who);

/* Answers nothing: only counts the devices of each stage. */
enum tam_err dry_run_sizes(struct api_request *, const struct policy_set *after,
    const struct rollout_plan *plan, struct device_query *who,
    int64_t sizes[ROLLOUT_STAGES_MAX]);

/* What rollout_warnings() says, as JSON; the caller's.  *never: the text of the
 * first of those that never pass, or NULL. */
json_t *dry_run_warnings(struct api_request *, const struct rollout_plan *plan,
    const int64_t sizes[ROLLOUT_STAGES_MAX], const char **never);

/* Tries one change to the policies of now. */
enum tam_err dry_run_change(struct api_request *, const struct policy_change *,
    struct device_query *who);

#endif
