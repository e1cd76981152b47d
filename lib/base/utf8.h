/*
 * utf8.h - RFC 3629 text: is it valid, and where may it be cut.
 */
#ifndef LIB_BASE_UTF8_H
#define LIB_BASE_UTF8_H

#include "lib/base/slice.h"

bool utf8_valid(struct slice);

/* Of valid text: the longest prefix of at most max bytes that ends between code points. */
struct slice utf8_cut(struct slice s, size_t max);

#endif
