#include "config.h"

#include "lib/base/utf8.h"

/* Bytes of the sequence that starts here; 0 when none does. */
static size_t
sequence(const uint8_t *p, size_t n)
{
	size_t len;
	uint32_t code, least;

	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf) {
		len = 2;
		least = 0x80;
		code = p[0] & 0x1fu;
	} else if ((p[0] & 0xf0) == 0xe0) {
		len = 3;
		least = 0x800;
		code = p[0] & 0x0fu;
	} else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
		len = 4;
		least = 0x10000;
		code = p[0] & 0x07u;
	} else {
		return 0;
	}
	if (n < len)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (p[i] & 0x3fu);
	}
	if (code < least || code > 0x10ffff ||
	    (code >= 0xd800 && code < 0xe000))
		return 0;
	return len;
}

bool
utf8_valid(struct slice s)
{
	for (size_t i = 0; i < s.n;) {
		size_t len = sequence(s.p + i, s.n - i);

		if (len == 0)
			return false;
		i += len;
	}
	return true;
}

struct slice
utf8_cut(struct slice s, size_t max)
{
	if (s.n <= max)
		return s;
	while (max > 0 && (s.p[max] & 0xc0) == 0x80)
		max--;
	return (struct slice){s.p, max};
}
