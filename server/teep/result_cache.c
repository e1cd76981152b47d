#include "config.h"

#include "server/teep/result_cache.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"

/* Sets of WAYS entries, chosen by the digest; the oldest of a set goes. */

enum {
	WAYS = 4
};

struct entry {
	struct result_key key; /* domain_id 0: empty */
	size_t verifier;
};

struct result_cache {
	size_t sets;
	struct set {
		struct entry entries[WAYS];
		unsigned next;
	} * table;
};

struct result_cache *
result_cache_new(size_t max)
{
	struct result_cache *c = mem_new(struct result_cache);

	c->sets = max / WAYS + 1;
	c->table = mem_new_n(c->sets, struct set);
	return c;
}

void
result_cache_free(struct result_cache *c)
{
	if (c == NULL)
		return;
	free(c->table);
	free(c);
}

static struct set *
set_of(const struct result_cache *c, const struct result_key *key)
{
	uint64_t h;

	memcpy(&h, key->digest, sizeof(h));
	return &c->table[h % c->sets];
}

static bool
same(const struct result_key *a, const struct result_key *b)
{
	return a->domain_id == b->domain_id && a->epoch == b->epoch &&
	    memcmp(a->digest, b->digest, sizeof(a->digest)) == 0;
}

bool
result_cache_find(const struct result_cache *c, const struct result_key *key,
    size_t *verifier)
{
	const struct set *s = set_of(c, key);

	for (size_t i = 0; i < WAYS; i++) {
		if (same(&s->entries[i].key, key)) {
			*verifier = s->entries[i].verifier;
			return true;
		}
	}
	return false;
}

void
result_cache_put(struct result_cache *c, const struct result_key *key,
    size_t verifier)
{
	struct set *s = set_of(c, key);

	s->entries[s->next] = (struct entry){*key, verifier};
	s->next = (s->next + 1) % WAYS;
}
