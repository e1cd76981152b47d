/*
 * arena.h - memory that lives exactly as long as one exchange.
 *
 * Allocation cannot fail: the size of everything allocated here was checked
 * against a limit before, and a machine that is out of memory all the same is
 * stopped by abort().  Nothing taken from an arena is freed one by one.
 * Arenas of one thread share a pool of blocks; a pool belongs to its thread.
 */
#ifndef LIB_BASE_ARENA_H
#define LIB_BASE_ARENA_H

#include <stddef.h>

#include "lib/base/slice.h"

struct arena;
struct arena_block;

/* Blocks waiting to be used again, at most `keep` of them. */
struct arena_pool {
	struct arena_block *free;
	size_t n, keep;
};

void arena_pool_init(struct arena_pool *, size_t keep);
void arena_pool_fini(struct arena_pool *);

/* The arena lives in its own first block.  A NULL pool means the heap. */
struct arena *arena_new_in(struct arena_pool *);
void arena_free(struct arena *);
/* Bytes its blocks take. */
size_t arena_size(const struct arena *);

void *arena_alloc(struct arena *, size_t) __attribute__((malloc));
void *arena_calloc(struct arena *, size_t n, size_t) __attribute__((malloc));

/* Zeroed room for one T, or for n of them. */
#define arena_new(arena, T)      ((T *)arena_calloc((arena), 1, sizeof(T)))
#define arena_new_n(arena, n, T) ((T *)arena_calloc((arena), (n), sizeof(T)))

/*
 * Room for one more entry of a list that only grows: call it before each
 * append, with the entries so far.  A list of 8, 16, 32, ... entries is copied
 * to twice the room; any other has room and is returned as it is.
 */
void *arena_room(struct arena *, void *list, size_t n, size_t entry_size);

/* Copies; the string one ends in a NUL that the length does not count. */
struct slice arena_dup(struct arena *, struct slice);
char *arena_strdup(struct arena *, struct slice);
char *arena_printf(struct arena *, const char *, ...)
    __attribute__((format(printf, 2, 3)));

#endif
