/*
 * clock.h - the two clocks, in microseconds.
 *
 * Deadlines and latencies use the monotonic one; what other machines see
 * (tokens, events) the wall.  Code that decides takes time as an argument.
 */
#ifndef LIB_BASE_CLOCK_H
#define LIB_BASE_CLOCK_H

#include <stdint.h>

#define CLOCK_SECOND INT64_C(1000000)

int64_t clock_mono_us(void);
int64_t clock_wall_us(void);

/* How far a test has moved the wall clock of this process: it is the decimal
 * number of seconds at the beginning of the file that TAM_CLOCK names, read
 * each time.  With --enable-fault-points only; else always 0. */
int64_t clock_moved_us(void);

/* CPU time this process has used so far. */
int64_t clock_cpu_us(void);

#endif
