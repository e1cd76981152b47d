/*
 * slice.h - a borrowed view of bytes somebody else owns.
 *
 * A struct slice is passed and returned by value and never freed.  Whoever
 * hands one out documents how long the bytes behind it live.
 */
#ifndef LIB_BASE_SLICE_H
#define LIB_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
	const uint8_t *p;
	size_t n;
};

#define SLICE_LIT(s)    ((struct slice){(const uint8_t *)(s), sizeof(s) - 1})
#define SLICE_OF(array) ((struct slice){(array), sizeof(array)})

/* Nothing: no bytes, and no place. */
static inline struct slice
slice_none(void)
{
	return (struct slice){0};
}

static inline struct slice
slice_str(const char *s)
{
	if (s == NULL)
		return slice_none();
	return (struct slice){(const uint8_t *)s, strlen(s)};
}

static inline bool
slice_eq(struct slice a, struct slice b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool
slice_is(struct slice a, const char *s)
{
	return slice_eq(a, slice_str(s));
}

/* Shorter first, then bytewise: RFC 8949 section 4.2.3's length-first order. */
static inline int
slice_cmp(struct slice a, struct slice b)
{
	if (a.n != b.n)
		return a.n < b.n ? -1 : 1;
	return a.n == 0 ? 0 : memcmp(a.p, b.p, a.n);
}

/* Bytewise, a prefix first: the order of RFC 8949 section 4.2.1. */
static inline int
slice_bytewise(struct slice a, struct slice b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int c = n == 0 ? 0 : memcmp(a.p, b.p, n);

	if (c != 0)
		return c;
	return a.n < b.n ? -1 : a.n > b.n;
}

/* For the few interfaces that take what they only read as not const. */
static inline uint8_t *
slice_unconst(struct slice s)
{
	union {
		const uint8_t *from;
		uint8_t *to;
	} u = {.from = s.p};

	return u.to;
}

#endif
