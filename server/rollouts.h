/*
 * rollouts.h - the controller of rollouts: reads where each is, asks
 * policy/rollout.h where it is to be, and writes that.
 *
 * A step is one transaction under an advisory lock that compares the version
 * of the rollout's row and sets it: whoever dies, no step is done twice, and
 * none is left out.  Nothing is kept between steps.  Called by the chores
 * of every node.
 */
#ifndef SERVER_ROLLOUTS_H
#define SERVER_ROLLOUTS_H

#include <stdint.h>

#include "lib/base/err.h"

struct sql;
struct tam_snapshot;

/* One step of each rollout under way that the snapshot knows.  A rollout whose
 * step is refused delays no other; TAM_DATABASE_ERROR says that one was. */
enum tam_err rollouts_step(struct sql *, const struct tam_snapshot *,
    int64_t now_us);

#endif
