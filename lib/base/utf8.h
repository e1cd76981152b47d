/*
 * utf8.h - RFC 3629 text: is it valid, and where may it be cut.
 */
#ifndef LIB_BASE_UTF8_H
#define LIB_BASE_UTF8_H

#include "lib/base/slice.h"

bool utf8_valid(struct slice);

/* The length of the first code point of a text that is not empty, and the code
 * point; 0 when the text does not begin with valid UTF-8. */
size_t utf8_next(struct slice, uint32_t *out);

/* Of valid text: the longest prefix of at most max bytes that ends between code points. */
struct slice utf8_cut(struct slice s, size_t max);

/* Of valid text: without the blanks at its beginning and end.  Blanks are what
 * shows nothing: white space of any script, and characters without width. */
struct slice utf8_trim(struct slice s);

/* Writes '?' over each byte that is not part of valid UTF-8. */
void utf8_repair(char *text);

#endif
