/*
 * mem.h - heap memory of known, bounded size; out of memory stops the process.
 *
 * Sizes that a peer can influence are checked against a limit before they get
 * here, so that a failing allocator means a broken machine (docs/HACKING.md).
 */
#ifndef LIB_BASE_MEM_H
#define LIB_BASE_MEM_H

#include <stddef.h>

#include "lib/base/slice.h"

void *mem_alloc(size_t) __attribute__((malloc));
void *mem_calloc(size_t n, size_t size) __attribute__((malloc));
void *mem_realloc(void *, size_t);
char *mem_strdup(const char *) __attribute__((malloc));

/* A copy that ends in a NUL the length does not count. */
char *mem_dup(struct slice) __attribute__((malloc));

/* Zeroed room for one T, or for n of them. */
#define mem_new(T)      ((T *)mem_calloc(1, sizeof(T)))
#define mem_new_n(n, T) ((T *)mem_calloc((n), sizeof(T)))

#endif
