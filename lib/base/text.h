/*
 * text.h - which foreign texts are kept.
 *
 * Text that is kept comes back in lists, logs, audit events and URLs.  It is
 * valid UTF-8 (RFC 3629) without control characters, without characters that
 * change the direction of reading or show nothing (the list of terminal.h),
 * so that two texts that differ also look different.
 */
#ifndef LIB_BASE_TEXT_H
#define LIB_BASE_TEXT_H

#include "lib/base/slice.h"

enum text_kind {
	/* A name, which is also a segment of a URL: not empty, not "." and
	 * not "..", which clients resolve before they send (RFC 3986, 5.2.4). */
	TEXT_NAME,
	/* One line.  Zero-width joiners are taken: some scripts need them. */
	TEXT_LINE,
	/* Lines: newline, carriage return and tab are taken too. */
	TEXT_LINES
};

/* NULL for a text of this kind; else the reason why not, which goes on after
 * "it ". */
const char *text_fault(struct slice, enum text_kind);

#endif
