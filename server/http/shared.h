/*
 * shared.h - bytes that several answers send at once.
 *
 * An answer refers to them instead of copying them: sixteen megabytes that a
 * hundred streams wait for exist once.  Counted references of one thread; the
 * last one runs the owner's callback, or frees the bytes.
 */
#ifndef SERVER_HTTP_SHARED_H
#define SERVER_HTTP_SHARED_H

#include "lib/base/slice.h"

struct http_shared {
	size_t refs;
	struct slice bytes;
	void (*on_last)(struct http_shared *, void *); /* NULL: none */
	void *arg;
};

/* Takes bytes from malloc(); one reference, the caller's.  on_last may be
 * NULL; it runs before the bytes are freed. */
struct http_shared *http_shared_take(struct slice,
    void (*on_last)(struct http_shared *, void *), void *arg);
struct http_shared *http_shared_copy(struct slice);
struct http_shared *http_shared_ref(struct http_shared *);
/* NULL is accepted. */
void http_shared_unref(struct http_shared *);

/* The body of an answer: bytes, and whose they are. */
struct http_body {
	struct slice bytes;
	struct http_shared *shared; /* NULL: borrowed until the call returns */
};

#endif
