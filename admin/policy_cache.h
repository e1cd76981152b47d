/*
 * policy_cache.h - the policy_sets the admin API asks, each loaded once per
 * epoch of its domain; shared by its threads.
 */
#ifndef ADMIN_POLICY_CACHE_H
#define ADMIN_POLICY_CACHE_H

#include "admin/request.h"
#include "policy/policy.h"

/* A reference to the set of the request's domain at its present epoch.  The
 * failure has been answered. */
enum tam_err policy_cache_get(struct api_request *, struct policy_set **);

/* When no request is under way any more. */
void policy_cache_clear(void);

#endif
