#include "config.h"

#include "server/teep/device_cache.h"

#include <stdlib.h>

#include "lib/base/mem.h"

/*
 * Two hash tables over the same entries, by key and by device; eviction by
 * second chance (CLOCK) over a ring of slots.
 */

struct entry {
	struct cached_device device;
	struct entry *next_by_key, *next_by_id;
	size_t slot;
	bool asked;
};

struct device_cache {
	size_t max, n, hand, buckets; /* power of two */
	struct entry **slots, **by_key, **by_id;
};

struct device_cache *
device_cache_new(size_t max)
{
	struct device_cache *c = mem_new(struct device_cache);

	c->max = max == 0 ? 1 : max;
	c->buckets = 64;
	while (c->buckets < c->max)
		c->buckets *= 2;
	c->slots = mem_new_n(c->max, struct entry *);
	c->by_key = mem_new_n(c->buckets, struct entry *);
	c->by_id = mem_new_n(c->buckets, struct entry *);
	return c;
}

/* A thumbprint is a hash already. */
static struct entry **
key_bucket(struct device_cache *c, const uint8_t *thumbprint)
{
	uint64_t h;

	memcpy(&h, thumbprint, sizeof(h));
	return &c->by_key[h & (c->buckets - 1)];
}

static struct entry **
id_bucket(struct device_cache *c, int64_t id)
{
	uint64_t h = (uint64_t)id * UINT64_C(0x9e3779b97f4a7c15);

	return &c->by_id[h >> 20 & (c->buckets - 1)];
}

static void
unlink_entry(struct device_cache *c, struct entry *e)
{
	struct entry **p;

	for (p = key_bucket(c, e->device.key.thumbprint); *p != e;
	     p = &(*p)->next_by_key)
		continue;
	*p = e->next_by_key;
	for (p = id_bucket(c, e->device.id); *p != e; p = &(*p)->next_by_id)
		continue;
	*p = e->next_by_id;
	c->slots[e->slot] = NULL;
	c->n--;
	free(e);
}

void
device_cache_clear(struct device_cache *c)
{
	for (size_t i = 0; i < c->max; i++) {
		if (c->slots[i] != NULL)
			unlink_entry(c, c->slots[i]);
	}
}

void
device_cache_free(struct device_cache *c)
{
	if (c == NULL)
		return;
	device_cache_clear(c);
	free(c->slots);
	free(c->by_key);
	free(c->by_id);
	free(c);
}

static struct entry *
find(struct device_cache *c, int32_t domain_id, const uint8_t *thumbprint)
{
	struct entry *e = *key_bucket(c, thumbprint);

	while (e != NULL &&
	    (e->device.domain_id != domain_id ||
	        memcmp(e->device.key.thumbprint, thumbprint,
	            COSE_THUMBPRINT_SIZE) != 0))
		e = e->next_by_key;
	return e;
}

struct cached_device *
device_cache_find(struct device_cache *c, int32_t domain_id,
    const uint8_t thumbprint[COSE_THUMBPRINT_SIZE])
{
	struct entry *e = find(c, domain_id, thumbprint);

	if (e == NULL)
		return NULL;
	e->asked = true;
	return &e->device;
}

static size_t
free_slot(struct device_cache *c)
{
	for (;;) {
		size_t i = c->hand++ % c->max;

		if (c->slots[i] == NULL)
			return i;
		if (!c->slots[i]->asked) {
			unlink_entry(c, c->slots[i]);
			return i;
		}
		c->slots[i]->asked = false;
	}
}

void
device_cache_put(struct device_cache *c, const struct cached_device *d)
{
	struct entry *e = find(c, d->domain_id, d->key.thumbprint), **p;

	if (e != NULL && e->device.id != d->id) { /* the key changed hands */
		unlink_entry(c, e);
		e = NULL;
	}
	if (e == NULL) {
		e = mem_new(struct entry);
		e->slot = free_slot(c);
		e->device = *d;
		c->slots[e->slot] = e;
		c->n++;
		p = key_bucket(c, d->key.thumbprint);
		e->next_by_key = *p;
		*p = e;
		p = id_bucket(c, d->id);
		e->next_by_id = *p;
		*p = e;
	} else {
		e->device = *d;
	}
	e->asked = true;
}

void
device_cache_drop(struct device_cache *c, int32_t domain_id, int64_t device_id)
{
	struct entry *e = *id_bucket(c, device_id), *next;

	for (; e != NULL; e = next) {
		next = e->next_by_id;
		if (e->device.id == device_id &&
		    e->device.domain_id == domain_id)
			unlink_entry(c, e);
	}
}

size_t
device_cache_size(const struct device_cache *c)
{
	return c->n;
}
