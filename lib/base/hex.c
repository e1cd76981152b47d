#include "config.h"

#include "lib/base/hex.h"

void
hex_encode(struct slice bytes, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < bytes.n; i++) {
		*out++ = digits[bytes.p[i] >> 4];
		*out++ = digits[bytes.p[i] & 15];
	}
	*out = '\0';
}

char *
hex_dup(struct arena *a, struct slice bytes)
{
	char *out = arena_alloc(a, 2 * bytes.n + 1);

	hex_encode(bytes, out);
	return out;
}

static int
nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool
hex_decode(const char *text, size_t text_n, uint8_t *out, size_t max,
    size_t *n_out)
{
	if (text_n % 2 != 0 || text_n / 2 > max)
		return false;
	for (size_t i = 0; i < text_n / 2; i++) {
		int hi = nibble(text[2 * i]), lo = nibble(text[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return false;
		out[i] = (uint8_t)(hi << 4 | lo);
	}
	*n_out = text_n / 2;
	return true;
}

char *
base64_dup(struct arena *a, struct slice in)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	                             "abcdefghijklmnopqrstuvwxyz0123456789+/";
	char *out = arena_alloc(a, (in.n + 2) / 3 * 4 + 1), *q = out;

	for (size_t i = 0; i < in.n; i += 3) {
		size_t left = in.n - i;
		uint32_t v = (uint32_t)in.p[i] << 16;

		if (left > 1)
			v |= (uint32_t)in.p[i + 1] << 8;
		if (left > 2)
			v |= in.p[i + 2];
		*q++ = digits[v >> 18 & 63];
		*q++ = digits[v >> 12 & 63];
		*q++ = '=';
		if (left > 1)
			q[-1] = digits[v >> 6 & 63];
		*q++ = '=';
		if (left > 2)
			q[-1] = digits[v & 63];
	}
	*q = '\0';
	return out;
}

static int
sextet(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+' || c == '-')
		return 62;
	if (c == '/' || c == '_')
		return 63;
	return -1;
}

bool
base64_decode(struct arena *a, struct slice text, struct slice *out)
{
	uint8_t *to = arena_alloc(a, text.n / 4 * 3 + 3);
	size_t n = 0;
	uint32_t v = 0;
	unsigned bits = 0;

	while (text.n > 0 && text.p[text.n - 1] == '=')
		text.n--;
	if (text.n % 4 == 1)
		return false;
	for (size_t i = 0; i < text.n; i++) {
		int s = sextet(text.p[i]);

		if (s < 0)
			return false;
		v = v << 6 | (uint32_t)s;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			to[n++] = (uint8_t)(v >> bits);
		}
	}
	*out = (struct slice){to, n};
	return true;
}
