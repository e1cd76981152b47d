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

/* CPU time this process has used so far. */
int64_t clock_cpu_us(void);

#endif
