#include "config.h"

#include "server/http/range.h"

#include <strings.h>

#include "lib/base/number.h"

/* Digits of a position, if there are any; false when there are too many. */
static bool
take_position(struct slice *s, bool *there, size_t *out)
{
	int64_t v;

	*there = s->n > 0 && s->p[0] >= '0' && s->p[0] <= '9';
	if (!*there)
		return true;
	if (!number_take(s, 0, INT64_MAX, &v))
		return false;
	*out = (size_t)v;
	return true;
}

/* int-range or suffix-range, of the one range unit there is. */
static bool
read_positions(struct slice s, bool *has_first, size_t *first, bool *has_last,
    size_t *last)
{
	static const char unit[] = "bytes=";
	size_t n = sizeof(unit) - 1;

	if (s.n < n || strncasecmp((const char *)s.p, unit, n) != 0)
		return false;
	s = (struct slice){s.p + n, s.n - n};
	if (!take_position(&s, has_first, first) || s.n == 0 || s.p[0] != '-')
		return false;
	s = (struct slice){s.p + 1, s.n - 1};
	return take_position(&s, has_last, last) && s.n == 0 &&
	    (*has_first || *has_last) &&
	    !(*has_first && *has_last && *last < *first);
}

enum range_verdict
http_range_parse(struct slice field, size_t size, struct http_range *out)
{
	size_t first = 0, last = 0;
	bool has_first, has_last;

	if (!read_positions(field, &has_first, &first, &has_last, &last))
		return RANGE_NONE;
	if (!has_first) { /* the last so many bytes */
		if (last == 0)
			return RANGE_OUTSIDE;
		first = last > size ? 0 : size - last;
		last = size - 1;
	} else if (!has_last || last >= size) {
		last = size - 1;
	}
	if (first >= size)
		return RANGE_OUTSIDE;
	*out = (struct http_range){first, last - first + 1};
	return RANGE_GOOD;
}
