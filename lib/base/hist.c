#include "config.h"

#include "lib/base/hist.h"

enum {
	SUB = 1 << HIST_SUB_BITS
};

static unsigned
bucket_of(uint64_t v)
{
	unsigned shift;

	if (v < SUB)
		return (unsigned)v;
	shift = 63u - (unsigned)__builtin_clzll(v) - HIST_SUB_BITS;
	return ((shift + 1) << HIST_SUB_BITS) + (unsigned)(v >> shift) - SUB;
}

/* The largest value that falls into the bucket. */
static uint64_t
bucket_top(unsigned i)
{
	unsigned shift;

	if (i < SUB)
		return i;
	shift = (i >> HIST_SUB_BITS) - 1;
	return ((uint64_t)(i % SUB + SUB + 1) << shift) - 1;
}

void
hist_add(struct hist *h, int64_t value_us)
{
	uint64_t v = value_us < 0 ? 0 : (uint64_t)value_us;

	h->count++;
	h->sum += v;
	if (v > h->max)
		h->max = v;
	h->buckets[bucket_of(v)]++;
}

void
hist_merge(struct hist *into, const struct hist *h)
{
	into->count += h->count;
	into->sum += h->sum;
	if (h->max > into->max)
		into->max = h->max;
	for (unsigned i = 0; i < HIST_BUCKETS; i++)
		into->buckets[i] += h->buckets[i];
}

uint64_t
hist_percentile(const struct hist *h, double percent)
{
	double want = (double)h->count * percent / 100.0;
	uint64_t seen = 0;

	if (h->count == 0)
		return 0;
	for (unsigned i = 0; i < HIST_BUCKETS; i++) {
		seen += h->buckets[i];
		if (seen > 0 && (double)seen >= want)
			return bucket_top(i) < h->max ? bucket_top(i) : h->max;
	}
	return h->max;
}
