/*
 * cbor_out.h - write CBOR in preferred serialization into a struct buf.
 *
 * A thin layer over libcbor's flat encoder.  The caller writes maps in
 * deterministic key order (RFC 8949 section 4.2.1).  A buffer that is full
 * stays full, so the writer asks once, buf->full, at the end.
 */
#ifndef LIB_CODEC_CBOR_OUT_H
#define LIB_CODEC_CBOR_OUT_H

#include "lib/base/buf.h"

void cbor_out_uint(struct buf *, uint64_t);
void cbor_out_int(struct buf *, int64_t);
void cbor_out_bytes(struct buf *, struct slice);
void cbor_out_text(struct buf *, struct slice);
void cbor_out_array(struct buf *, size_t items);
void cbor_out_map(struct buf *, size_t pairs);
void cbor_out_tag(struct buf *, uint64_t);
void cbor_out_bool(struct buf *, bool);
void cbor_out_null(struct buf *);

/* The head of a byte string whose n bytes the caller appends. */
void cbor_out_bytes_head(struct buf *, size_t n);

#endif
