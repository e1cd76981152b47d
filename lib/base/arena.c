#include "config.h"

#include "lib/base/arena.h"

#include <assert.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/mem.h"

enum {
	BLOCK_ROOM = 8192, /* a session with a 1 kB message stays in one */
	LIST_ROOM = 8      /* entries of a list at first; a power of two */
};

struct arena_block {
	struct arena_block *next;
	size_t room;
	alignas(max_align_t) unsigned char bytes[];
};

struct arena {
	struct arena_pool *pool;
	struct arena_block *blocks; /* the newest first */
	size_t used;                /* of the newest */
	size_t size;                /* of all together */
};

void
arena_pool_init(struct arena_pool *pool, size_t keep)
{
	*pool = (struct arena_pool){.keep = keep};
}

void
arena_pool_fini(struct arena_pool *pool)
{
	struct arena_block *next;

	for (struct arena_block *b = pool->free; b != NULL; b = next) {
		next = b->next;
		free(b);
	}
	*pool = (struct arena_pool){0};
}

static struct arena_block *
take_block(struct arena_pool *pool, size_t n)
{
	size_t room = n > BLOCK_ROOM ? n : BLOCK_ROOM;
	struct arena_block *b;

	if (n <= BLOCK_ROOM && pool != NULL && pool->free != NULL) {
		b = pool->free;
		pool->free = b->next;
		pool->n--;
		return b;
	}
	b = mem_alloc(sizeof(*b) + room);
	b->room = room;
	return b;
}

static void
drop_block(struct arena_pool *pool, struct arena_block *b)
{
	if (pool == NULL || pool->n >= pool->keep || b->room != BLOCK_ROOM) {
		free(b);
		return;
	}
	b->next = pool->free;
	pool->free = b;
	pool->n++;
}

static size_t
aligned(size_t n)
{
	return (n + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
}

struct arena *
arena_new_in(struct arena_pool *pool)
{
	struct arena_block *b = take_block(pool, sizeof(struct arena));
	struct arena *a = (void *)b->bytes;

	b->next = NULL;
	*a = (struct arena){pool, b, aligned(sizeof(*a)), b->room};
	return a;
}

void
arena_free(struct arena *a)
{
	struct arena_pool *pool;
	struct arena_block *next;

	if (a == NULL)
		return;
	pool = a->pool;
	for (struct arena_block *b = a->blocks; b != NULL; b = next) {
		next = b->next;
		drop_block(pool, b);
	}
}

size_t
arena_size(const struct arena *a)
{
	return a->size;
}

void *
arena_alloc(struct arena *a, size_t n)
{
	struct arena_block *b = a->blocks;
	void *p;

	n = aligned(n);
	if (n > b->room - a->used) {
		b = take_block(a->pool, n);
		b->next = a->blocks;
		a->blocks = b;
		a->used = 0;
		a->size += b->room;
	}
	p = b->bytes + a->used;
	a->used += n;
	return p;
}

void *
arena_calloc(struct arena *a, size_t n, size_t size)
{
	void *p;

	assert(size == 0 || n <= SIZE_MAX / 2 / size);
	p = arena_alloc(a, n * size);
	return memset(p, 0, n * size);
}

void *
arena_room(struct arena *a, void *list, size_t n, size_t entry_size)
{
	void *larger;

	if (n > 0 && (n < LIST_ROOM || (n & (n - 1)) != 0))
		return list;
	larger = arena_calloc(a, n == 0 ? LIST_ROOM : 2 * n, entry_size);
	if (n > 0)
		memcpy(larger, list, n * entry_size);
	return larger;
}

struct slice
arena_dup(struct arena *a, struct slice s)
{
	uint8_t *p = arena_alloc(a, s.n);

	if (s.n > 0)
		memcpy(p, s.p, s.n);
	return (struct slice){p, s.n};
}

char *
arena_strdup(struct arena *a, struct slice s)
{
	char *p = arena_alloc(a, s.n + 1);

	if (s.n > 0)
		memcpy(p, s.p, s.n);
	p[s.n] = '\0';
	return p;
}

char *
arena_printf(struct arena *a, const char *format, ...)
{
	va_list ap;
	char *p;
	int n;

	va_start(ap, format);
	n = vsnprintf(NULL, 0, format, ap);
	va_end(ap);
	assert(n >= 0);
	p = arena_alloc(a, (size_t)n + 1);
	va_start(ap, format);
	(void)vsnprintf(p, (size_t)n + 1, format, ap);
	va_end(ap);
	return p;
}
