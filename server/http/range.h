/*
 * range.h - which bytes of a representation a Range field asks for (RFC 9110,
 * 14.1).
 */
#ifndef SERVER_HTTP_RANGE_H
#define SERVER_HTTP_RANGE_H

#include "lib/base/slice.h"

struct http_range {
	size_t first, n;
};

enum range_verdict {
	RANGE_NONE, /* or not one that is understood, or several: the whole */
	RANGE_GOOD,
	RANGE_OUTSIDE /* 416 */
};

/* The size is that of the whole and not 0. */
enum range_verdict http_range_parse(struct slice field, size_t size,
    struct http_range *out);

#endif
