/*
 * terminal.h - foreign text made safe to show on a terminal.
 *
 * Foreign text is whatever a server, a device, a file or another person wrote.
 * Shown as it is, it could move the cursor, change colours, hide lines, or
 * turn the direction of reading so that a name looks like another one.
 *
 * Valid UTF-8 that a terminal only draws stays as it is.  Escaped are C0
 * controls (newline and tab too), DEL, C1 controls, the characters that
 * control the direction of reading (UAX #9), line and paragraph separators,
 * zero-width and tag characters, non-characters, and bytes that are not
 * UTF-8 (RFC 3629).
 */
#ifndef LIB_BASE_TERMINAL_H
#define LIB_BASE_TERMINAL_H

#include "lib/base/buf.h"

/* An escaped character is \u{202e}, a byte that is not UTF-8 is \xff. */
void terminal_escape(struct slice text, struct buf *out);

/* Makes the text of a JSON document safe without changing its values: inside
 * strings an escaped character is backslash, u, four digits (two of them
 * beyond the first plane).  White space between tokens stays; only valid
 * JSON may be given. */
void terminal_escape_json(struct slice document, struct buf *out);

/* False for text that terminal_escape() would change. */
bool terminal_is_safe(struct slice text);

#endif
