/*
 * chores.h - the work that a cluster needs done now and then, by one node at a
 * time: token keys, expiry, partitions of events, who is affected by a
 * revocation, seals, rollouts, sums, and what is published.
 *
 * Chores have a thread and a connection of their own, so that a chore that
 * fails or hangs delays no lease and no epoch.  Each chore has its interval,
 * its back-off and its metrics: one that fails delays no other.  No chore runs
 * while the node has no lease: its clock may be off, or its database refused.
 */
#ifndef SERVER_CHORES_H
#define SERVER_CHORES_H

#include <stdatomic.h>
#include <stdint.h>

#include "server/worker_thread.h"

struct buf;
struct chores;
struct config;
struct tam_snapshot;

enum chore_id {
	CHORE_TOKEN_KEYS,
	CHORE_EXPIRE, /* Updates that nobody answered */
	CHORE_EVENTS, /* partitions of events are made and dropped */
	CHORE_SPREAD, /* devices that a revocation affects */
	CHORE_SEAL,   /* device events */
	CHORE_ROLLOUTS,
	CHORE_TALLY, /* sums of revocations */
	CHORE_PUBLISH,
	CHORE_COUNT
};

/* What the thread measures; any thread reads it. */
struct chore_status {
	_Atomic uint64_t successes, failures;
	_Atomic int64_t succeeded_us; /* monotonic; 0: never */
};

/* Borrowed for the life of the thread. */
struct chores_options {
	struct chore_status *status; /* CHORE_COUNT of them */
	_Atomic int64_t *seal_lag_us;
	const struct config *config;
	const uint8_t *master_key; /* 32 bytes */
	struct worker_thread *workers;
	size_t n_workers;
	const _Atomic int64_t *lease_until_us; /* monotonic */
};

struct chores *chores_start(const struct chores_options *);
void chores_stop(struct chores *);

/* Any thread.  From now on this snapshot; takes a reference of its own. */
void chores_serve(struct chores *, struct tam_snapshot *);

const char *chore_name(enum chore_id);
/* Successes, failures and ages, for /metrics. */
void chores_metrics(const struct chore_status[CHORE_COUNT], struct buf *);

#endif
