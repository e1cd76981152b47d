/*
 * control.h - the control thread: snapshots, the lease, the change log.  It
 * starts the thread of the chores (chores.h).
 *
 * The lease is what makes a revocation certain: this node may answer devices
 * until staleness_max after it *began* to renew a row in which it says which
 * epoch its workers serve.  Whoever sees that every unexpired row shows an
 * epoch knows that no older one is served anywhere.
 */
#ifndef SERVER_CONTROL_H
#define SERVER_CONTROL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/base/readiness.h"
#include "server/chores.h"
#include "server/worker_thread.h"

struct config;
struct control;

/* What others may read of it, at any time. */
struct control_status {
	struct readiness readiness;
	_Atomic int64_t lease_until_us; /* monotonic */
	atomic_bool stopping;
	atomic_bool schema_wrong, clock_off;
	_Atomic int admission;     /* an enum admission_state */
	atomic_bool memory_broken; /* state_dir cannot be read or written */
	_Atomic int64_t clock_offset_us; /* wall clock less the database's */
	_Atomic int64_t seal_lag_us;     /* device events wait for their seal */
	struct chore_status chores[CHORE_COUNT];
	_Atomic uint64_t snapshots; /* how many were taken into service */
};

struct control *control_start(const struct config *, struct worker_thread *,
    size_t n_workers, struct control_status *);
/* Gives the lease back and ends the thread. */
void control_stop(struct control *);

#endif
