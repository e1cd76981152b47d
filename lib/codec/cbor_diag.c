#include "config.h"

#include "lib/codec/cbor_diag.h"

#include "lib/base/hex.h"
#include "lib/codec/cbor_in.h"

enum {
	INDENT = 2,
	EMBEDDED_MIN = 2
};

struct printer {
	struct arena *arena;
	struct buf *out;
	int depth;
};

static void item(struct printer *, struct cbor_in *);

static void
new_line(struct printer *p)
{
	buf_add_byte(p->out, '\n');
	for (int i = 0; i < p->depth * INDENT; i++)
		buf_add_byte(p->out, ' ');
}

static void
quoted(struct printer *p, struct slice text)
{
	buf_add_byte(p->out, '"');
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] == '"' || text.p[i] == '\\')
			buf_printf(p->out, "\\%c", text.p[i]);
		else if (text.p[i] < ' ' || text.p[i] == 0x7f)
			buf_printf(p->out, "\\u%04x", text.p[i]);
		else
			buf_add_byte(p->out, text.p[i]);
	}
	buf_add_byte(p->out, '"');
}

/* Arrays and maps only: any byte below 0x18 would be a number. */
static bool
is_embedded(struct slice bytes)
{
	unsigned major = bytes.n == 0 ? 0 : bytes.p[0] >> 5;
	bool plain, sorted;

	return bytes.n >= EMBEDDED_MIN && major >= CBOR_ARRAY &&
	    major <= CBOR_TAG &&
	    cbor_in_prove(bytes, &plain, &sorted) == TAM_OK;
}

static void
byte_string(struct printer *p, struct slice bytes)
{
	struct cbor_in inner;

	if (p->depth >= CBOR_DEPTH_MAX || !is_embedded(bytes)) {
		buf_printf(p->out, "h'%s'", hex_dup(p->arena, bytes));
		return;
	}
	cbor_in_open(&inner, bytes, p->arena, CBOR_ANY);
	buf_add_str(p->out, "<<");
	item(p, &inner);
	buf_add_str(p->out, ">>");
}

static void
array(struct printer *p, struct cbor_in *in)
{
	size_t n = cbor_in_array(in, SIZE_MAX / 2);

	buf_add_byte(p->out, '[');
	p->depth++;
	for (size_t i = 0; i < n && in->err == TAM_OK; i++) {
		if (i > 0)
			buf_add_byte(p->out, ',');
		new_line(p);
		item(p, in);
	}
	p->depth--;
	if (n > 0)
		new_line(p);
	buf_add_byte(p->out, ']');
}

static void
map(struct printer *p, struct cbor_in *in)
{
	size_t n = cbor_in_map(in, SIZE_MAX / 4);

	buf_add_byte(p->out, '{');
	p->depth++;
	for (size_t i = 0; i < n && in->err == TAM_OK; i++) {
		if (i > 0)
			buf_add_byte(p->out, ',');
		new_line(p);
		item(p, in);
		buf_add_str(p->out, ": ");
		item(p, in);
	}
	p->depth--;
	if (n > 0)
		new_line(p);
	buf_add_byte(p->out, '}');
}

static void
simple(struct printer *p, struct cbor_in *in)
{
	struct slice raw = cbor_in_item(in);

	if (raw.n == 0)
		return;
	switch (raw.p[0]) {
	case 0xf4:
		buf_add_str(p->out, "false");
		break;
	case 0xf5:
		buf_add_str(p->out, "true");
		break;
	case 0xf6:
		buf_add_str(p->out, "null");
		break;
	case 0xf7:
		buf_add_str(p->out, "undefined");
		break;
	default:
		buf_printf(p->out, "float'%s'",
		    hex_dup(p->arena, (struct slice){raw.p + 1, raw.n - 1}));
	}
}

static void
item(struct printer *p, struct cbor_in *in)
{
	switch (cbor_in_peek(in)) {
	case CBOR_UINT:
		buf_printf(p->out, "%llu",
		    (unsigned long long)cbor_in_uint(in, UINT64_MAX));
		break;
	case CBOR_NEGATIVE:
		buf_printf(p->out, "%lld", (long long)cbor_in_int(in));
		break;
	case CBOR_BYTES:
		byte_string(p, cbor_in_bytes(in, 0, SIZE_MAX / 2));
		break;
	case CBOR_TEXT:
		quoted(p, cbor_in_any_text(in));
		break;
	case CBOR_ARRAY:
		array(p, in);
		break;
	case CBOR_MAP:
		map(p, in);
		break;
	case CBOR_TAG:
		buf_printf(p->out, "%llu(",
		    (unsigned long long)cbor_in_tag(in));
		item(p, in);
		buf_add_byte(p->out, ')');
		break;
	case CBOR_SIMPLE:
		simple(p, in);
		break;
	case CBOR_END:
	default:
		break;
	}
}

enum tam_err
cbor_diag(struct slice bytes, struct arena *arena, struct buf *out)
{
	struct printer p = {arena, out, 0};
	struct cbor_in in;
	size_t begin = out->n;

	cbor_in_open(&in, bytes, arena, CBOR_ANY);
	if (in.err == TAM_OK)
		item(&p, &in);
	if (cbor_in_finish(&in) != TAM_OK)
		out->n = begin;
	return cbor_in_finish(&in);
}
