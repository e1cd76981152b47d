/*
 * hex.h - bytes as hexadecimal and base64 text, and back.
 */
#ifndef LIB_BASE_HEX_H
#define LIB_BASE_HEX_H

#include "lib/base/arena.h"
#include "lib/base/slice.h"

/* Lower case, NUL-terminated; out has room for 2 * n + 1. */
void hex_encode(struct slice, char *out);
char *hex_dup(struct arena *, struct slice);

/* False unless text is exactly 2 * n digits for n <= max; *n_out set then. */
bool hex_decode(const char *text, size_t text_n, uint8_t *out, size_t max,
    size_t *n_out);

/* Standard alphabet, padded. */
char *base64_dup(struct arena *, struct slice);
/* Either alphabet, padding optional; false on anything else. */
bool base64_decode(struct arena *, struct slice text, struct slice *out);

#endif
