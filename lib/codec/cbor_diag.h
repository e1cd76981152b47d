/*
 * cbor_diag.h - CBOR for people: diagnostic notation (RFC 8949 section 8).
 */
#ifndef LIB_CODEC_CBOR_DIAG_H
#define LIB_CODEC_CBOR_DIAG_H

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/err.h"

/*
 * Appends one item, indented; a byte string that is itself well-formed CBOR of
 * more than one byte is shown as <<...>>.  Bytes that are not well-formed are
 * an error, and nothing is appended.
 */
enum tam_err cbor_diag(struct slice, struct arena *, struct buf *);

#endif
