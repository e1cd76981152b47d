/*
 * hist.h - a latency histogram: log-linear, mergeable, never clipping.
 *
 * Values are microseconds.  Each power of two is cut into 64 equal parts, so
 * a percentile is right within 1.6 percent.  Not for two threads at once:
 * each keeps its own and the reader merges.
 */
#ifndef LIB_BASE_HIST_H
#define LIB_BASE_HIST_H

#include <stdint.h>

enum {
	HIST_SUB_BITS = 6,
	HIST_BUCKETS = (64 - HIST_SUB_BITS) << HIST_SUB_BITS
};

struct hist {
	uint64_t count;
	uint64_t sum;
	uint64_t max;
	uint64_t buckets[HIST_BUCKETS];
};

/* Negative values count as 0. */
void hist_add(struct hist *, int64_t value_us);
void hist_merge(struct hist *into, const struct hist *);

/* The value that `percent` of the samples do not exceed; 0 without samples. */
uint64_t hist_percentile(const struct hist *, double percent);

#endif
