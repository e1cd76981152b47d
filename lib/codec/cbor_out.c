#include "config.h"

#include "lib/codec/cbor_out.h"

#include <cbor.h>

enum {
	HEAD_MAX = 9
};

void
cbor_out_uint(struct buf *b, uint64_t v)
{
	uint8_t head[HEAD_MAX];

	buf_add(b, head, cbor_encode_uint(v, head, sizeof(head)));
}

void
cbor_out_int(struct buf *b, int64_t v)
{
	uint8_t head[HEAD_MAX];

	if (v >= 0) {
		cbor_out_uint(b, (uint64_t)v);
		return;
	}
	buf_add(b, head,
	    cbor_encode_negint((uint64_t)(-1 - v), head, sizeof(head)));
}

void
cbor_out_bytes_head(struct buf *b, size_t n)
{
	uint8_t head[HEAD_MAX];

	buf_add(b, head, cbor_encode_bytestring_start(n, head, sizeof(head)));
}

void
cbor_out_bytes(struct buf *b, struct slice s)
{
	cbor_out_bytes_head(b, s.n);
	buf_add_slice(b, s);
}

void
cbor_out_text(struct buf *b, struct slice s)
{
	uint8_t head[HEAD_MAX];

	buf_add(b, head, cbor_encode_string_start(s.n, head, sizeof(head)));
	buf_add_slice(b, s);
}

void
cbor_out_array(struct buf *b, size_t items)
{
	uint8_t head[HEAD_MAX];

	buf_add(b, head, cbor_encode_array_start(items, head, sizeof(head)));
}

void
cbor_out_map(struct buf *b, size_t pairs)
{
	uint8_t head[HEAD_MAX];

	buf_add(b, head, cbor_encode_map_start(pairs, head, sizeof(head)));
}

void
cbor_out_tag(struct buf *b, uint64_t tag)
{
	uint8_t head[HEAD_MAX];

	buf_add(b, head, cbor_encode_tag(tag, head, sizeof(head)));
}

void
cbor_out_bool(struct buf *b, bool v)
{
	buf_add_byte(b, v ? 0xf5 : 0xf4);
}

void
cbor_out_null(struct buf *b)
{
	buf_add_byte(b, 0xf6);
}
