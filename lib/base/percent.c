#include "config.h"

#include "lib/base/percent.h"

#include "lib/base/hex.h"

static bool
has_any(struct slice s, const char *bytes)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] != '\0' && strchr(bytes, s.p[i]) != NULL)
			return true;
	}
	return false;
}

static bool
decode(struct arena *arena, struct slice s, bool form, struct slice *out)
{
	uint8_t *to;
	size_t n = 0, one;

	if (!has_any(s, form ? "%+" : "%")) {
		*out = s;
		return true;
	}
	to = arena_alloc(arena, s.n);
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '%') {
			if (s.n - i < 3 ||
			    !hex_decode((const char *)s.p + i + 1, 2, to + n, 1,
			        &one))
				return false;
			n++;
			i += 2;
		} else {
			to[n++] = form && s.p[i] == '+' ? ' ' : s.p[i];
		}
	}
	*out = (struct slice){to, n};
	return true;
}

bool
percent_decode(struct arena *arena, struct slice text, struct slice *out)
{
	return decode(arena, text, false, out);
}

bool
percent_decode_form(struct arena *arena, struct slice text, struct slice *out)
{
	return decode(arena, text, true, out);
}

void
percent_encode(struct slice text, struct buf *out)
{
	static const char unreserved[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	    "0123456789-._~";

	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] != '\0' && strchr(unreserved, text.p[i]) != NULL)
			buf_add_byte(out, text.p[i]);
		else
			buf_printf(out, "%%%02X", text.p[i]);
	}
}
