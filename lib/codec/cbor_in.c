#include "config.h"

#include "lib/codec/cbor_in.h"

#include <assert.h>

#include "lib/base/utf8.h"

/*
 * Why not libcbor's decoder: 0.8, Debian 12's, refuses the one-byte tags 6 to
 * 20, COSE_Sign1's among them, and its tree builder allocates what a length
 * claims.  libcbor writes our messages and checks this reader in the tests.
 *
 * The file: one head; the proof of a whole message; its rewriting when it is
 * not plain; the reader.
 */

struct head {
	enum cbor_major type; /* RFC 8949 section 3.1 */
	unsigned info;        /* the low five bits of the first byte */
	uint64_t arg;
	size_t n;        /* bytes of the head itself */
	bool indefinite; /* or, for CBOR_SIMPLE, the "break" */
	bool shortest;
};

/* TAM_OK, TAM_TRUNCATED or TAM_MALFORMED. */
static enum tam_err
read_head(struct slice in, struct head *h)
{
	size_t width;

	if (in.n == 0)
		return TAM_TRUNCATED;
	*h = (struct head){.type = (enum cbor_major)(in.p[0] >> 5),
	    .info = in.p[0] & 31u,
	    .n = 1,
	    .shortest = true};
	if (h->info == 31) {
		h->indefinite = true;
		return h->type == CBOR_UINT || h->type == CBOR_NEGATIVE ||
		        h->type == CBOR_TAG
		    ? TAM_MALFORMED
		    : TAM_OK;
	}
	if (h->info > 27)
		return TAM_MALFORMED;
	width = h->info < 24 ? 0 : (size_t)1 << (h->info - 24);
	if (in.n < 1 + width)
		return TAM_TRUNCATED;
	h->arg = width == 0 ? h->info : 0;
	for (size_t i = 1; i <= width; i++)
		h->arg = h->arg << 8 | in.p[i];
	h->n = 1 + width;
	if (h->type == CBOR_SIMPLE) {
		/* RFC 8949, 3.3: a two-byte simple value below 32. */
		return h->info == 24 && h->arg < 32 ? TAM_MALFORMED : TAM_OK;
	}
	h->shortest = width == 0 ||
	    h->arg >= (width == 1 ? 24 : UINT64_C(1) << 4 * width);
	return TAM_OK;
}

/* --- the proof ---------------------------------------------------------- */

struct proof {
	struct slice rest;
	bool plain;  /* definite lengths and shortest heads only */
	bool sorted; /* every map's keys ascend bytewise */
};

static enum tam_err prove_item(struct proof *, unsigned depth);

static void
pass(struct proof *p, size_t n)
{
	p->rest.p += n;
	p->rest.n -= n;
}

static bool
at_break(const struct proof *p)
{
	return p->rest.n > 0 && p->rest.p[0] == 0xff;
}

static enum tam_err
prove_string(struct proof *p, const struct head *h)
{
	struct slice s;

	if (h->arg > p->rest.n)
		return TAM_TRUNCATED;
	s = (struct slice){p->rest.p, (size_t)h->arg};
	pass(p, s.n);
	return h->type == CBOR_TEXT && !utf8_valid(s) ? TAM_BAD_UTF8 : TAM_OK;
}

/* RFC 8949, 3.2.3: definite chunks of the same type up to the break. */
static enum tam_err
prove_chunks(struct proof *p, enum cbor_major type)
{
	enum tam_err err = TAM_OK;
	struct head h;

	while (err == TAM_OK && !at_break(p)) {
		err = read_head(p->rest, &h);
		if (err == TAM_OK && (h.type != type || h.indefinite))
			err = TAM_MALFORMED;
		if (err == TAM_OK) {
			pass(p, h.n);
			err = prove_string(p, &h);
		}
	}
	if (err == TAM_OK)
		pass(p, 1);
	return err;
}

static enum tam_err
prove_items(struct proof *p, const struct head *h, unsigned depth)
{
	enum tam_err err = TAM_OK;

	/* Every item is at least a byte long. */
	if (!h->indefinite && h->arg > p->rest.n)
		return TAM_TRUNCATED;
	for (uint64_t i = 0; err == TAM_OK; i++) {
		if (h->indefinite ? at_break(p) : i == h->arg)
			break;
		err = prove_item(p, depth);
	}
	if (err == TAM_OK && h->indefinite)
		pass(p, 1);
	return err;
}

static bool
among(const struct slice *keys, size_t n, struct slice key)
{
	for (size_t i = 0; i < n; i++) {
		if (slice_eq(keys[i], key))
			return true;
	}
	return false;
}

/*
 * Duplicate keys: ascending ones cannot repeat; of others at most
 * CBOR_UNSORTED_MAX are compared with each other.  In a message that is not
 * plain equal keys may differ in bytes; it is rewritten and proven again.
 */
static enum tam_err
prove_map(struct proof *p, const struct head *h, unsigned depth)
{
	struct slice keys[CBOR_UNSORTED_MAX];
	struct slice key, last = {0};
	bool ascending = true;
	enum tam_err err = TAM_OK;

	if (!h->indefinite && h->arg > p->rest.n / 2)
		return TAM_TRUNCATED;
	for (uint64_t i = 0; err == TAM_OK; i++) {
		if (h->indefinite ? at_break(p) : i == h->arg)
			break;
		key.p = p->rest.p;
		err = prove_item(p, depth);
		key.n = (size_t)(p->rest.p - key.p);
		if (err != TAM_OK)
			break;
		if (i > 0 && slice_bytewise(last, key) >= 0)
			ascending = false;
		if (!ascending && i >= CBOR_UNSORTED_MAX)
			return TAM_TOO_LARGE;
		if (!ascending && among(keys, (size_t)i, key))
			return TAM_DUPLICATE_KEY;
		if (i < CBOR_UNSORTED_MAX)
			keys[i] = key;
		last = key;
		err = prove_item(p, depth);
	}
	if (err == TAM_OK && h->indefinite)
		pass(p, 1);
	p->sorted &= ascending;
	return err;
}

static enum tam_err
prove_item(struct proof *p, unsigned depth)
{
	struct head h;
	enum tam_err err;

	err = read_head(p->rest, &h);
	if (err != TAM_OK)
		return err;
	if (h.indefinite || !h.shortest)
		p->plain = false;
	pass(p, h.n);
	if (h.type >= CBOR_ARRAY && h.type <= CBOR_TAG) {
		if (depth == 0)
			return TAM_TOO_DEEP;
		depth--;
	}
	switch (h.type) {
	case CBOR_BYTES:
	case CBOR_TEXT:
		return h.indefinite ? prove_chunks(p, h.type)
		                    : prove_string(p, &h);
	case CBOR_ARRAY:
		return prove_items(p, &h, depth);
	case CBOR_MAP:
		return prove_map(p, &h, depth);
	case CBOR_TAG:
		return prove_item(p, depth);
	case CBOR_SIMPLE: /* a break where none belongs */
		return h.indefinite ? TAM_MALFORMED : TAM_OK;
	case CBOR_UINT:
	case CBOR_NEGATIVE:
	case CBOR_END:
	default:
		return TAM_OK;
	}
}

static enum tam_err
prove(struct slice message, struct proof *p)
{
	enum tam_err err;

	*p = (struct proof){.rest = message, .plain = true, .sorted = true};
	err = prove_item(p, CBOR_DEPTH_MAX);
	if (err == TAM_OK && p->rest.n > 0)
		err = TAM_TRAILING_BYTES;
	return err;
}

enum tam_err
cbor_in_prove(struct slice message, bool *plain, bool *sorted)
{
	struct proof p;
	enum tam_err err = prove(message, &p);

	*plain = p.plain;
	*sorted = p.sorted;
	return err;
}

/* --- rewriting ---------------------------------------------------------- */

/*
 * Writes what was proven with definite lengths and shortest heads.  Heads
 * never grow, except that an indefinite one (a byte, and one for its break)
 * may need up to nine: `to` has room for five times the input.
 */
struct rewrite {
	struct slice from;
	uint8_t *to;
	size_t n;
};

static void
put_head(struct rewrite *w, enum cbor_major type, uint64_t arg)
{
	uint8_t major = (uint8_t)((unsigned)type << 5);
	unsigned width = arg < 24 ? 0
	    : arg <= UINT8_MAX    ? 1
	    : arg <= UINT16_MAX   ? 2
	    : arg <= UINT32_MAX   ? 4
	                          : 8;

	if (width == 0) {
		w->to[w->n++] = (uint8_t)(major | arg);
		return;
	}
	w->to[w->n++] = (uint8_t)(major |
	    (width == 1          ? 24
	            : width == 2 ? 25
	            : width == 4 ? 26
	                         : 27));
	for (unsigned i = width; i-- > 0;)
		w->to[w->n++] = (uint8_t)(arg >> 8 * i);
}

static void
put_bytes(struct rewrite *w, size_t n)
{
	memcpy(w->to + w->n, w->from.p, n);
	w->n += n;
	w->from.p += n;
	w->from.n -= n;
}

static void rewrite_item(struct rewrite *);

static struct head
take_head(struct rewrite *w)
{
	struct head h;
	enum tam_err err = read_head(w->from, &h);

	assert(err == TAM_OK); /* it was proven */
	w->from.p += h.n;
	w->from.n -= h.n;
	return h;
}

/* Items first, then their head is put before them. */
static void
rewrite_indefinite(struct rewrite *w, enum cbor_major type)
{
	uint8_t head[9] = {0};
	struct rewrite h = {.to = head};
	size_t start = w->n;
	uint64_t count = 0;

	while (w->from.p[0] != 0xff) {
		if (type == CBOR_BYTES || type == CBOR_TEXT) {
			struct head chunk = take_head(w);

			put_bytes(w, (size_t)chunk.arg);
			continue;
		}
		rewrite_item(w);
		if (type == CBOR_MAP)
			rewrite_item(w);
		count++;
	}
	w->from.p++;
	w->from.n--;
	if (type == CBOR_BYTES || type == CBOR_TEXT)
		count = w->n - start;
	put_head(&h, type, count);
	memmove(w->to + start + h.n, w->to + start, w->n - start);
	memcpy(w->to + start, head, h.n);
	w->n += h.n;
}

static void
rewrite_item(struct rewrite *w)
{
	const uint8_t *start = w->from.p;
	struct head h = take_head(w);
	uint64_t items;

	if (h.indefinite) {
		rewrite_indefinite(w, h.type);
		return;
	}
	if (h.type == CBOR_SIMPLE) { /* floats keep their width */
		memcpy(w->to + w->n, start, h.n);
		w->n += h.n;
		return;
	}
	put_head(w, h.type, h.arg);
	if (h.type == CBOR_BYTES || h.type == CBOR_TEXT)
		put_bytes(w, (size_t)h.arg);
	items = h.type == CBOR_ARRAY ? h.arg
	    : h.type == CBOR_MAP     ? 2 * h.arg
	    : h.type == CBOR_TAG     ? 1
	                             : 0;
	while (items-- > 0)
		rewrite_item(w);
}

static struct slice
rewritten(struct slice message, struct arena *arena)
{
	struct rewrite w = {.from = message};

	w.to = arena_alloc(arena, 5 * message.n + 16);
	rewrite_item(&w);
	return (struct slice){w.to, w.n};
}

/* --- the reader --------------------------------------------------------- */

void
cbor_in_nested(struct cbor_in *in, struct slice proven)
{
	*in = (struct cbor_in){.rest = proven};
}

void
cbor_in_open(struct cbor_in *in, struct slice message, struct arena *arena,
    enum cbor_form form)
{
	struct proof p;
	enum tam_err err;

	err = prove(message, &p);
	if (err == TAM_OK &&
	    ((form != CBOR_ANY && !p.plain) ||
	        (form == CBOR_DETERMINISTIC && !p.sorted)))
		err = TAM_NOT_DETERMINISTIC;
	if (err == TAM_OK && !p.plain) {
		message = rewritten(message, arena);
		err = prove(message, &p);
	}
	*in = (struct cbor_in){.rest = message};
	if (err != TAM_OK) {
		in->offset = message.n - p.rest.n;
		cbor_in_fail(in, err);
	}
}

void
cbor_in_fail(struct cbor_in *in, enum tam_err err)
{
	if (in->err != TAM_OK)
		return;
	in->err = err;
	in->err_offset = in->offset;
	in->rest.n = 0;
}

enum tam_err
cbor_in_finish(const struct cbor_in *in)
{
	if (in->err == TAM_OK && in->rest.n != 0)
		return TAM_TRAILING_BYTES;
	return in->err;
}

static void
skip(struct cbor_in *in, size_t n)
{
	in->rest.p += n;
	in->rest.n -= n;
	in->offset += n;
}

/* Takes the head when the item has this type; fails and says false if not. */
static bool
expect(struct cbor_in *in, enum cbor_major type, struct head *h)
{
	enum tam_err err;

	if (in->err != TAM_OK)
		return false;
	err = read_head(in->rest, h);
	if (err == TAM_OK && (h->type != type || h->indefinite))
		err = TAM_WRONG_TYPE;
	if (err != TAM_OK) {
		cbor_in_fail(in, err);
		return false;
	}
	skip(in, h->n);
	return true;
}

enum cbor_major
cbor_in_peek(const struct cbor_in *in)
{
	if (in->err != TAM_OK || in->rest.n == 0)
		return CBOR_END;
	return (enum cbor_major)(in->rest.p[0] >> 5);
}

uint64_t
cbor_in_uint(struct cbor_in *in, uint64_t max)
{
	struct head h;

	if (!expect(in, CBOR_UINT, &h))
		return 0;
	if (h.arg > max) {
		cbor_in_fail(in, TAM_OUT_OF_RANGE);
		return 0;
	}
	return h.arg;
}

int64_t
cbor_in_int(struct cbor_in *in)
{
	enum cbor_major type = cbor_in_peek(in);
	struct head h;

	if (!expect(in, type == CBOR_NEGATIVE ? CBOR_NEGATIVE : CBOR_UINT, &h))
		return 0;
	if (h.arg > INT64_MAX) {
		cbor_in_fail(in, TAM_OUT_OF_RANGE);
		return 0;
	}
	return type == CBOR_NEGATIVE ? -1 - (int64_t)h.arg : (int64_t)h.arg;
}

bool
cbor_in_label(struct cbor_in *in, int64_t *label)
{
	if (cbor_in_peek(in) == CBOR_TEXT) {
		cbor_in_skip(in);
		cbor_in_skip(in);
		return false;
	}
	*label = cbor_in_int(in);
	return true;
}

bool
cbor_in_bool(struct cbor_in *in)
{
	struct head h;

	if (!expect(in, CBOR_SIMPLE, &h))
		return false;
	if (h.n != 1 || (h.arg != 20 && h.arg != 21))
		cbor_in_fail(in, TAM_WRONG_TYPE);
	return in->err == TAM_OK && h.arg == 21;
}

static struct slice
string(struct cbor_in *in, enum cbor_major type, size_t min, size_t max)
{
	struct head h;
	struct slice bytes;

	if (!expect(in, type, &h))
		return (struct slice){0};
	if (h.arg > max)
		cbor_in_fail(in, TAM_TOO_LARGE);
	else if (h.arg > in->rest.n)
		cbor_in_fail(in, TAM_TRUNCATED);
	else if (h.arg < min)
		cbor_in_fail(in, TAM_OUT_OF_RANGE);
	if (in->err != TAM_OK)
		return (struct slice){0};
	bytes = (struct slice){in->rest.p, (size_t)h.arg};
	skip(in, bytes.n);
	return bytes;
}

struct slice
cbor_in_bytes(struct cbor_in *in, size_t min, size_t max)
{
	return string(in, CBOR_BYTES, min, max);
}

struct slice
cbor_in_any_text(struct cbor_in *in)
{
	return string(in, CBOR_TEXT, 0, SIZE_MAX / 2);
}

struct slice
cbor_in_text(struct cbor_in *in, size_t min, size_t max)
{
	struct slice text = string(in, CBOR_TEXT, min, max);

	if (text.n == 0 || memchr(text.p, '\0', text.n) == NULL)
		return text;
	cbor_in_fail(in, TAM_NUL_IN_TEXT);
	return (struct slice){0};
}

static size_t
enter(struct cbor_in *in, enum cbor_major type, size_t max)
{
	struct head h;

	if (!expect(in, type, &h))
		return 0;
	if (h.arg > max) {
		cbor_in_fail(in, TAM_TOO_LARGE);
		return 0;
	}
	return (size_t)h.arg;
}

size_t
cbor_in_array(struct cbor_in *in, size_t max)
{
	return enter(in, CBOR_ARRAY, max);
}

size_t
cbor_in_map(struct cbor_in *in, size_t max)
{
	return enter(in, CBOR_MAP, max);
}

void
cbor_in_array_of(struct cbor_in *in, size_t n)
{
	if (cbor_in_array(in, SIZE_MAX) != n)
		cbor_in_fail(in, TAM_OUT_OF_RANGE);
}

uint64_t
cbor_in_tag(struct cbor_in *in)
{
	struct head h;

	return expect(in, CBOR_TAG, &h) ? h.arg : 0;
}

bool
cbor_in_accept_tag(struct cbor_in *in, uint64_t tag)
{
	struct head h;

	if (cbor_in_peek(in) != CBOR_TAG || read_head(in->rest, &h) != TAM_OK ||
	    h.arg != tag)
		return false;
	skip(in, h.n);
	return true;
}

bool
cbor_in_accept_null(struct cbor_in *in)
{
	if (in->err != TAM_OK || in->rest.n == 0 || in->rest.p[0] != 0xf6)
		return false;
	skip(in, 1);
	return true;
}

static void
skip_item(struct cbor_in *in, unsigned depth)
{
	struct head h;
	uint64_t items = 0;
	enum cbor_major type = cbor_in_peek(in);

	if (type == CBOR_END) {
		cbor_in_fail(in, TAM_TRUNCATED);
		return;
	}
	if (!expect(in, type, &h))
		return;
	if (type == CBOR_BYTES || type == CBOR_TEXT) {
		if (h.arg > in->rest.n)
			cbor_in_fail(in, TAM_TRUNCATED);
		else
			skip(in, (size_t)h.arg);
		return;
	}
	if (type == CBOR_ARRAY || type == CBOR_TAG)
		items = type == CBOR_TAG ? 1 : h.arg;
	else if (type == CBOR_MAP && h.arg <= in->rest.n)
		items = 2 * h.arg;
	if (items > 0 && depth == 0)
		cbor_in_fail(in, TAM_TOO_DEEP);
	for (; items > 0 && in->err == TAM_OK; items--)
		skip_item(in, depth - 1);
}

struct slice
cbor_in_item(struct cbor_in *in)
{
	const uint8_t *start = in->rest.p;

	skip_item(in, CBOR_DEPTH_MAX);
	if (in->err != TAM_OK)
		return (struct slice){0};
	return (struct slice){start, (size_t)(in->rest.p - start)};
}

void
cbor_in_skip(struct cbor_in *in)
{
	(void)cbor_in_item(in);
}
