/*
 * percent.h - percent-encoding of URLs (RFC 3986, 2.1).
 *
 * A part of a URL (a segment of a path, a name or a value of a query) is
 * decoded exactly once, after the URL was taken apart: a '/' that was written
 * as %2F belongs to the segment and does not split it.
 */
#ifndef LIB_BASE_PERCENT_H
#define LIB_BASE_PERCENT_H

#include "lib/base/arena.h"
#include "lib/base/buf.h"

/* False when a '%' is not followed by two hexadecimal digits.  The result is in
 * the arena, or is the text itself when there is nothing to decode. */
bool percent_decode(struct arena *, struct slice text, struct slice *out);
/* The same for a part of a query, where '+' is a blank
 * (application/x-www-form-urlencoded). */
bool percent_decode_form(struct arena *, struct slice text, struct slice *out);

/* Appends the text; every byte that is not unreserved (RFC 3986, 2.3) is
 * encoded. */
void percent_encode(struct slice text, struct buf *out);

#endif
