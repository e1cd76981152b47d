#include "config.h"

#include "lib/base/terminal.h"

#include "lib/base/utf8.h"

/* First and last of each range, in order. */
static const struct {
	uint32_t first, last;
} unsafe[] = {
    {0x00, 0x1f},       /* C0 */
    {0x7f, 0x9f},       /* DEL, C1 */
    {0xad, 0xad},       /* soft hyphen */
    {0x061c, 0x061c},   /* Arabic letter mark */
    {0x115f, 0x1160},   /* Hangul fillers */
    {0x180e, 0x180e},   /* Mongolian vowel separator */
    {0x200b, 0x200f},   /* zero width, left-to-right and right-to-left marks */
    {0x2028, 0x202e},   /* separators, embeddings and overrides */
    {0x2060, 0x206f},   /* word joiner, isolates, deprecated controls */
    {0x3164, 0x3164},   /* Hangul filler */
    {0xfdd0, 0xfdef},   /* not characters */
    {0xfeff, 0xfeff},   /* byte order mark */
    {0xffa0, 0xffa0},   /* Hangul filler */
    {0xfff9, 0xfffb},   /* interlinear annotation */
    {0xfffe, 0xffff},   /* not characters */
    {0xe0000, 0xe0fff}, /* tags, variation selectors */
};

static bool
is_unsafe(uint32_t code)
{
	for (size_t i = 0; i < sizeof(unsafe) / sizeof(unsafe[0]); i++) {
		if (code >= unsafe[i].first && code <= unsafe[i].last)
			return true;
	}
	/* The last two of every plane are not characters. */
	return (code & 0xfffe) == 0xfffe;
}

void
terminal_escape(struct slice text, struct buf *out)
{
	while (text.n > 0) {
		uint32_t code;
		size_t n = utf8_next(text, &code);

		if (n == 0)
			buf_printf(out, "\\x%02x", text.p[0]);
		else if (is_unsafe(code))
			buf_printf(out, "\\u{%x}", code);
		else
			buf_add(out, text.p, n);
		text.p += n == 0 ? 1 : n;
		text.n -= n == 0 ? 1 : n;
	}
}

static void
add_json_escape(uint32_t code, struct buf *out)
{
	if (code < 0x10000) {
		buf_printf(out, "\\u%04x", code);
		return;
	}
	code -= 0x10000;
	buf_printf(out, "\\u%04x\\u%04x", 0xd800 + (code >> 10),
	    0xdc00 + (code & 0x3ff));
}

void
terminal_escape_json(struct slice document, struct buf *out)
{
	while (document.n > 0) {
		uint32_t code;
		size_t n = utf8_next(document, &code);

		if (n == 0) {
			code = 0xfffd;
			n = 1;
		}
		/* Below blank: white space between tokens, or not JSON. */
		if (code < ' ' || !is_unsafe(code))
			buf_add(out, document.p, n);
		else
			add_json_escape(code, out);
		document.p += n;
		document.n -= n;
	}
}

bool
terminal_is_safe(struct slice text)
{
	while (text.n > 0) {
		uint32_t code;
		size_t n = utf8_next(text, &code);

		if (n == 0 || is_unsafe(code))
			return false;
		text.p += n;
		text.n -= n;
	}
	return true;
}
