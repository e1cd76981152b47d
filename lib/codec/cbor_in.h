/*
 * cbor_in.h - read one CBOR data item after another from a message in memory.
 *
 * cbor_in_open() first proves the whole message: well-formed, nested no deeper
 * than CBOR_DEPTH_MAX, valid UTF-8, no map with the same key twice, nothing
 * after the last item.  A message that is well-formed but not in preferred
 * serialization (indefinite lengths, long heads) is rewritten into the arena,
 * so that what follows reads definite, shortest heads only.
 *
 * The reader remembers its first error and turns every later call into a
 * no-op that yields zero, so a decoder is written as the list of fields its
 * CDDL names and asks for the verdict once, with cbor_in_finish().  Slices it
 * yields live as long as the message and the arena.
 *
 *	cbor_in_open(&in, message, arena, CBOR_ANY);
 *	n = cbor_in_array(&in, 5);
 *	type = cbor_in_uint(&in, UINT64_MAX);
 *	token = cbor_in_bytes(&in, 8, 64);
 *	return cbor_in_finish(&in);
 */
#ifndef LIB_CODEC_CBOR_IN_H
#define LIB_CODEC_CBOR_IN_H

#include "lib/base/arena.h"
#include "lib/base/err.h"
#include "lib/base/slice.h"

enum {
	CBOR_DEPTH_MAX = 16,
	/* Pairs of a map whose keys are not in ascending order: comparing
	 * them is quadratic. */
	CBOR_UNSORTED_MAX = 32
};

/* TEEP messages may be any well-formed CBOR; manifests and keys may not. */
enum cbor_form {
	CBOR_ANY,
	CBOR_PLAIN,        /* preferred serialization: RFC 8949 section 4.1 */
	CBOR_DETERMINISTIC /* and map keys in order: section 4.2.1 */
};

enum cbor_major {
	CBOR_UINT,
	CBOR_NEGATIVE,
	CBOR_BYTES,
	CBOR_TEXT,
	CBOR_ARRAY,
	CBOR_MAP,
	CBOR_TAG,
	CBOR_SIMPLE, /* booleans, null, floats */
	CBOR_END     /* nothing left, or the reader is in error */
};

struct cbor_in {
	struct slice rest; /* not read yet */
	size_t offset;     /* of rest within the message, for the log */
	enum tam_err err;  /* the first one; sticky */
	size_t err_offset; /* where it was met */
};

/* Proves the message and starts at its first byte; see above. */
void cbor_in_open(struct cbor_in *, struct slice message, struct arena *,
    enum cbor_form);

/* Reads a part of a message that was proven before; no second proof. */
void cbor_in_nested(struct cbor_in *, struct slice proven);

/* TAM_OK only when no read failed and no bytes are left over. */
enum tam_err cbor_in_finish(const struct cbor_in *)
    __attribute__((warn_unused_result));

/* The decoder's own verdict, kept like one of the reader's. */
void cbor_in_fail(struct cbor_in *, enum tam_err);

enum cbor_major cbor_in_peek(const struct cbor_in *);

uint64_t cbor_in_uint(struct cbor_in *, uint64_t max);
int64_t cbor_in_int(struct cbor_in *);
bool cbor_in_bool(struct cbor_in *);
/* A map's next key where labels are integers; false: it is a text, and the
 * pair was skipped. */
bool cbor_in_label(struct cbor_in *, int64_t *);
struct slice cbor_in_bytes(struct cbor_in *, size_t min, size_t max);
/* Text without a NUL: no column of the database can hold one. */
struct slice cbor_in_text(struct cbor_in *, size_t min, size_t max);
/* The same as it came: to be shown, not kept. */
struct slice cbor_in_any_text(struct cbor_in *);

/* Enters; the items (for a map: pairs) follow. */
size_t cbor_in_array(struct cbor_in *, size_t max);
size_t cbor_in_map(struct cbor_in *, size_t max);

/* Enters an array of exactly n. */
void cbor_in_array_of(struct cbor_in *, size_t n);

uint64_t cbor_in_tag(struct cbor_in *);
/* Passes the tag and says true when the next item has this one. */
bool cbor_in_accept_tag(struct cbor_in *, uint64_t tag);
/* Passes null and says true when the next item is null. */
bool cbor_in_accept_null(struct cbor_in *);

/* Passes the next item, whatever it is, and yields its bytes. */
struct slice cbor_in_item(struct cbor_in *);
void cbor_in_skip(struct cbor_in *);

/* Only the proof: for tests, and for callers that need no reader. */
enum tam_err cbor_in_prove(struct slice message, bool *plain, bool *sorted);

#endif
