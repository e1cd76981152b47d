#include "config.h"

#include "lib/base/text.h"

#include "lib/base/terminal.h"
#include "lib/base/utf8.h"

/* Nearly every text: nothing to look up for these bytes. */
static bool
is_plain(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < ' ' || s.p[i] > '~')
			return false;
	}
	return true;
}

static bool
is_allowed(uint32_t code, enum text_kind kind)
{
	if (kind == TEXT_NAME)
		return false;
	if (code == 0x200c || code == 0x200d) /* the joiners */
		return true;
	return kind == TEXT_LINES &&
	    (code == '\n' || code == '\r' || code == '\t');
}

static const char *
fault_of_characters(struct slice s, enum text_kind kind)
{
	while (s.n > 0) {
		uint32_t code;
		size_t n = utf8_next(s, &code);

		if (n == 0)
			return "is not valid UTF-8";
		if (!terminal_is_safe((struct slice){s.p, n}) &&
		    !is_allowed(code, kind))
			return "contains a control character, a character that "
			       "changes the direction of reading, or one that "
			       "shows nothing";
		s.p += n;
		s.n -= n;
	}
	return NULL;
}

const char *
text_fault(struct slice s, enum text_kind kind)
{
	if (kind == TEXT_NAME && s.n == 0)
		return "is empty";
	if (kind == TEXT_NAME && (slice_is(s, ".") || slice_is(s, "..")))
		return "is a dot segment, which no URL can name";
	return is_plain(s) ? NULL : fault_of_characters(s, kind);
}
