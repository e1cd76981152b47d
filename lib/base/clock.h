/*
 * clock.h - the clocks, in microseconds.
 *
 * Deadlines and latencies use the monotonic one.  What other nodes see (stamps,
 * tokens, expiry, events of devices) goes by cluster time.  The wall clock of
 * this machine is for logs, HTTP dates and programs without a cluster.  Code
 * that decides takes time as an argument.
 */
#ifndef LIB_BASE_CLOCK_H
#define LIB_BASE_CLOCK_H

#include <stdint.h>

#define CLOCK_SECOND INT64_C(1000000)

int64_t clock_mono_us(void);
int64_t clock_wall_us(void);

/*
 * The time that all nodes of a cluster agree on, as the database said it last
 * (cluster_us() in the migrations) and carried on by the monotonic clock: a
 * wall clock that is set does not move it.  For one thread it never goes back,
 * unless the database's is behind by more than 2 s.  The wall clock as long as
 * nothing was set.
 */
int64_t clock_cluster_us(void);
/* That it was `cluster_us` when the monotonic clock showed `mono_us`. */
void clock_cluster_set(int64_t cluster_us, int64_t mono_us);

/* How far a test has moved the wall clock of this process: it is the decimal
 * number of seconds at the beginning of the file that TAM_CLOCK names, read
 * each time.  With --enable-fault-points only; else always 0. */
int64_t clock_moved_us(void);

/* CPU time this process has used so far. */
int64_t clock_cpu_us(void);

#endif
