#include "config.h"

#include <stdio.h>

#include "lib/base/hex.h"
#include "lib/codec/cbor_out.h"
#include "lib/codec/suit.h"

enum {
	SEGMENTS_MAX = 16,
	ID_MAX = 256
};

struct slice
suit_component_id(struct cbor_in *in)
{
	struct slice id;
	const uint8_t *start = in->rest.p;
	size_t n = cbor_in_array(in, SEGMENTS_MAX);

	if (n == 0)
		cbor_in_fail(in, TAM_OUT_OF_RANGE);
	for (size_t i = 0; i < n; i++)
		(void)cbor_in_bytes(in, 0, ID_MAX);
	if (in->err != TAM_OK)
		return (struct slice){0};
	id = (struct slice){start, (size_t)(in->rest.p - start)};
	if (id.n > ID_MAX) {
		cbor_in_fail(in, TAM_TOO_LARGE);
		return (struct slice){0};
	}
	return id;
}

/* [alg, bytes]; a digest of another algorithm is well-formed but no use. */
static struct slice
read_digest(struct cbor_in *in)
{
	int64_t alg;
	struct slice bytes;

	cbor_in_array_of(in, 2);
	alg = cbor_in_int(in);
	bytes = cbor_in_bytes(in, 1, 64);
	if (alg != COSE_ALG_SHA256)
		return (struct slice){0};
	if (in->err == TAM_OK && bytes.n != 32)
		cbor_in_fail(in, TAM_OUT_OF_RANGE);
	return bytes;
}

struct slice
suit_digest_claim(struct cbor_in *in)
{
	struct slice wrapped, digest;
	struct cbor_in inner;
	bool plain, sorted;

	if (cbor_in_peek(in) == CBOR_ARRAY)
		return read_digest(in);
	wrapped = cbor_in_bytes(in, 0, 128);
	if (in->err != TAM_OK)
		return (struct slice){0};
	if (cbor_in_prove(wrapped, &plain, &sorted) != TAM_OK || !plain) {
		cbor_in_fail(in, TAM_MALFORMED);
		return (struct slice){0};
	}
	cbor_in_nested(&inner, wrapped);
	digest = read_digest(&inner);
	if (cbor_in_finish(&inner) != TAM_OK) {
		cbor_in_fail(in, cbor_in_finish(&inner));
		return (struct slice){0};
	}
	return digest;
}

void
suit_digest_encode(struct slice digest, struct buf *out)
{
	cbor_out_array(out, 2);
	cbor_out_int(out, COSE_ALG_SHA256);
	cbor_out_bytes(out, digest);
}

/* --- component ids as text ------------------------------------------------ */

static bool
plain_char(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	    (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

static bool
plain_segment(struct slice s)
{
	if (s.n == 0 || (s.n >= 2 && s.p[0] == '0' && s.p[1] == 'x'))
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (!plain_char(s.p[i]))
			return false;
	}
	return true;
}

char *
suit_component_text(struct arena *arena, struct slice cbor)
{
	struct cbor_in in;
	char *out = arena_alloc(arena, 2 * cbor.n + (size_t)4 * SEGMENTS_MAX),
	     *q = out;
	size_t n;

	cbor_in_nested(&in, cbor);
	n = cbor_in_array(&in, SEGMENTS_MAX);
	for (size_t i = 0; i < n && in.err == TAM_OK; i++) {
		struct slice segment = cbor_in_bytes(&in, 0, ID_MAX);

		if (i > 0)
			*q++ = '/';
		if (plain_segment(segment)) {
			memcpy(q, segment.p, segment.n);
			q += segment.n;
			continue;
		}
		*q++ = '0';
		*q++ = 'x';
		hex_encode(segment, q);
		q += 2 * segment.n;
	}
	*q = '\0';
	return cbor_in_finish(&in) == TAM_OK && n > 0
	    ? out
	    : arena_strdup(arena, SLICE_LIT("?"));
}

static bool
write_segment(struct buf *b, const char *text, size_t n)
{
	uint8_t bytes[ID_MAX];
	size_t bytes_n;

	if (n >= 2 && text[0] == '0' && text[1] == 'x') {
		if (!hex_decode(text + 2, n - 2, bytes, sizeof(bytes),
		        &bytes_n))
			return false;
		cbor_out_bytes(b, (struct slice){bytes, bytes_n});
		return true;
	}
	if (!plain_segment((struct slice){(const uint8_t *)text, n}))
		return false;
	cbor_out_bytes(b, (struct slice){(const uint8_t *)text, n});
	return true;
}

bool
suit_component_parse(struct arena *arena, const char *text, struct slice *out)
{
	uint8_t room[ID_MAX];
	struct buf b = {.p = room, .room = sizeof(room), .max = sizeof(room)};
	size_t segments = 1;

	for (const char *p = text; *p != '\0'; p++)
		segments += *p == '/';
	if (segments > SEGMENTS_MAX)
		return false;
	cbor_out_array(&b, segments);
	for (size_t i = 0; i < segments; i++) {
		size_t n = strcspn(text, "/");

		if (!write_segment(&b, text, n))
			return false;
		text += n + 1;
	}
	if (b.full)
		return false;
	*out = arena_dup(arena, buf_slice(&b));
	return true;
}
