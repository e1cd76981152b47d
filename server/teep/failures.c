#include "config.h"

#include "server/teep/failures.h"

#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "lib/codec/crypto.h"
#include "server/http/server.h"
#include "server/teep/token.h"

enum {
	SETS = 1024, /* power of two */
	WAYS = 4,
	SHARE = 8, /* one source has this part of the worker's budget */
	TOKENS = 1024,
	STRIKES = 3
};

static const int64_t strike_life_us = 60 * CLOCK_SECOND;

/* What is left; what a second adds is its source's or the worker's rate. */
struct level {
	double left;
	int64_t at_us;
};

struct slot {
	uint8_t source[HTTP_SOURCE_SIZE];
	struct level level;
};

struct failures {
	uint64_t seed; /* so that nobody can aim at the slot of another */
	double rate, source_rate;
	struct level all;
	struct slot slots[SETS][WAYS];
	struct {
		uint64_t tag;
		unsigned strikes;
		int64_t until_us;
	} tokens[TOKENS];
};

/* The level now; a second's worth is the most that it holds. */
static double
refilled(const struct level *l, double rate, int64_t now_us)
{
	double left = l->left + (double)(now_us - l->at_us) * rate / 1e6;

	return left > rate ? rate : left;
}

static void
charge(struct level *l, double rate, unsigned n, int64_t now_us)
{
	l->left = refilled(l, rate, now_us) - n;
	l->at_us = now_us;
	if (l->left < -rate)
		l->left = -rate;
}

struct failures *
failures_new(double per_second)
{
	struct failures *f = mem_new(struct failures);
	int64_t now_us = clock_mono_us();

	crypto_random(&f->seed, sizeof(f->seed));
	f->rate = per_second < 1.0 ? 1.0 : per_second;
	f->source_rate = f->rate / SHARE < 1.0 ? 1.0 : f->rate / SHARE;
	f->all = (struct level){f->rate, now_us};
	for (size_t i = 0; i < SETS; i++) {
		for (size_t k = 0; k < WAYS; k++)
			f->slots[i][k].level =
			    (struct level){f->source_rate, now_us};
	}
	return f;
}

void
failures_free(struct failures *f)
{
	free(f);
}

static uint64_t
hash_of(const struct failures *f, const uint8_t *source)
{
	uint64_t half[2];

	memcpy(half, source, sizeof(half));
	half[0] = (half[0] ^ f->seed) * UINT64_C(0x9e3779b97f4a7c15);
	half[1] = (half[1] ^ half[0] >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
	return half[1] ^ half[1] >> 32;
}

static struct level *
level_of(struct failures *f, const uint8_t *source, int64_t now_us)
{
	struct slot *set = f->slots[hash_of(f, source) & (SETS - 1)];
	struct slot *best = set;

	for (struct slot *s = set; s < set + WAYS; s++) {
		if (memcmp(s->source, source, sizeof(s->source)) == 0)
			return &s->level;
		if (refilled(&s->level, f->source_rate, now_us) >
		    refilled(&best->level, f->source_rate, now_us))
			best = s;
	}
	memcpy(best->source, source, sizeof(best->source));
	return &best->level;
}

bool
failures_allow(struct failures *f, const uint8_t *source, enum failure_by by,
    int64_t now_us)
{
	if (by == FAILURE_BY_STRANGER &&
	    refilled(&f->all, f->rate, now_us) < 1.0)
		return false;
	return source == NULL ||
	    refilled(level_of(f, source, now_us), f->source_rate, now_us) >=
	    1.0;
}

void
failures_charge(struct failures *f, const uint8_t *source, enum failure_by by,
    unsigned n, int64_t now_us)
{
	if (by == FAILURE_BY_STRANGER)
		charge(&f->all, f->rate, n, now_us);
	if (source != NULL)
		charge(level_of(f, source, now_us), f->source_rate, n, now_us);
}

/* --- tokens --------------------------------------------------------------------- */

/* A token ends in a MAC, which is as good as random. */
static uint64_t
tag_of(const struct failures *f, const uint8_t *source, struct slice token)
{
	uint64_t mac;

	memcpy(&mac, token.p + TOKEN_SIZE - sizeof(mac), sizeof(mac));
	return mac ^ hash_of(f, source);
}

void
failures_strike(struct failures *f, const uint8_t *source, struct slice token,
    int64_t now_us)
{
	uint64_t tag;
	size_t i;

	if (source == NULL || token.n != TOKEN_SIZE)
		return;
	tag = tag_of(f, source, token);
	i = tag % TOKENS;
	if (f->tokens[i].tag != tag || f->tokens[i].until_us <= now_us) {
		f->tokens[i].tag = tag;
		f->tokens[i].strikes = 0;
		f->tokens[i].until_us = now_us + strike_life_us;
	}
	f->tokens[i].strikes++;
}

bool
failures_is_struck(const struct failures *f, const uint8_t *source,
    struct slice token, int64_t now_us)
{
	uint64_t tag;
	size_t i;

	if (source == NULL || token.n != TOKEN_SIZE)
		return false;
	tag = tag_of(f, source, token);
	i = tag % TOKENS;
	return f->tokens[i].tag == tag && f->tokens[i].strikes >= STRIKES &&
	    f->tokens[i].until_us > now_us;
}
