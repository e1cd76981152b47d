#include "config.h"

#include "lib/base/utf8.h"

size_t
utf8_next(struct slice s, uint32_t *out)
{
	const uint8_t *p = s.p;
	size_t len;
	uint32_t code, least;

	if (p[0] < 0x80) {
		*out = p[0];
		return 1;
	}
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
	if (s.n < len)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (p[i] & 0x3fu);
	}
	if (code < least || code > 0x10ffff ||
	    (code >= 0xd800 && code < 0xe000))
		return 0;
	*out = code;
	return len;
}

bool
utf8_valid(struct slice s)
{
	while (s.n > 0) {
		uint32_t code;
		size_t len = utf8_next(s, &code);

		if (len == 0)
			return false;
		s.p += len;
		s.n -= len;
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

/* White_Space of Unicode 15, and U+200B to U+200F, U+2060 and U+FEFF, which
 * have no width. */
static bool
is_blank(uint32_t c)
{
	return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 ||
	    c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200f) ||
	    c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
	    c == 0x2060 || c == 0x3000 || c == 0xfeff;
}

struct slice
utf8_trim(struct slice s)
{
	uint32_t code;
	size_t len, end = 0;
	struct slice rest;

	while (s.n > 0 && (len = utf8_next(s, &code)) > 0 && is_blank(code)) {
		s.p += len;
		s.n -= len;
	}
	rest = s;
	while (rest.n > 0 && (len = utf8_next(rest, &code)) > 0) {
		rest.p += len;
		rest.n -= len;
		if (!is_blank(code))
			end = s.n - rest.n;
	}
	return (struct slice){s.p, rest.n > 0 ? s.n : end};
}

void
utf8_repair(char *text)
{
	struct slice s = slice_str(text);

	while (s.n > 0) {
		uint32_t code;
		size_t len = utf8_next(s, &code);

		if (len == 0) {
			text[(const char *)s.p - text] = '?';
			len = 1;
		}
		s.p += len;
		s.n -= len;
	}
}
