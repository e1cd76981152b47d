/*
 * fault.h - named points at which a test may kill the process.
 *
 * Compiled in by --enable-fault-points only; without it they are nothing.
 * TAM_FAULT=point:N in the environment kills at the Nth passage with SIGKILL;
 * TAM_FAULT=point:N:stop stops it with SIGSTOP, until somebody continues it.
 */
#ifndef SERVER_TEEP_FAULT_H
#define SERVER_TEEP_FAULT_H

enum fault_point {
	FAULT_BEFORE_COMMIT,
	FAULT_AFTER_COMMIT,
	FAULT_BEFORE_FLUSH,
	FAULT_BEFORE_STEP, /* of a rollout */
	FAULT_AFTER_STEP
};

#ifdef TAM_FAULT_POINTS
void fault_point(enum fault_point);
#else
static inline void
fault_point(enum fault_point point)
{
	(void)point;
}
#endif

#endif
