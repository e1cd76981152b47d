/*
 * nearest.h - which known name a person meant who wrote another one.
 */
#ifndef LIB_BASE_NEAREST_H
#define LIB_BASE_NEAREST_H

#include <stddef.h>

enum {
	NEAREST_NAME_MAX = 64
};

/* The search: set `name`, offer every known name, read `found`. */
struct nearest {
	const char *name;
	const char *found; /* NULL: none is near */
	size_t distance;
};

/* A name is near when at most four letters, and at most half of its own,
 * differ; upper and lower case do not. */
void nearest_offer(struct nearest *, const char *known);

#endif
