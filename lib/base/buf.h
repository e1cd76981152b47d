/*
 * buf.h - bytes that grow up to a maximum.
 *
 * The maximum is part of the buffer: one that can grow without bound cannot
 * be written down.  An append that would exceed it changes nothing, sets
 * `full` and every later append is a no-op, so a writer asks once at the end.
 * Consuming at the front moves no bytes: a reader of many small pieces costs
 * no more than the pieces.
 */
#ifndef LIB_BASE_BUF_H
#define LIB_BASE_BUF_H

#include <stdarg.h>

#include "lib/base/slice.h"

struct buf {
	uint8_t *p;  /* the content */
	size_t n;    /* bytes of it */
	size_t gap;  /* consumed bytes before p; p - gap was allocated */
	size_t room; /* allocated */
	size_t max;
	bool full; /* an append was refused; sticky until buf_clear() */
};

void buf_init(struct buf *, size_t max);
void buf_fini(struct buf *);
void buf_clear(struct buf *);

void buf_add(struct buf *, const void *, size_t);
void buf_add_slice(struct buf *, struct slice);
void buf_add_str(struct buf *, const char *);
void buf_add_byte(struct buf *, uint8_t);
void buf_printf(struct buf *, const char *, ...)
    __attribute__((format(printf, 2, 3)));

/* Room for n more bytes, or NULL when the maximum forbids it. */
uint8_t *buf_reserve(struct buf *, size_t n);
/* Drops n bytes at the front. */
void buf_consume(struct buf *, size_t n);

static inline struct slice
buf_slice(const struct buf *b)
{
	return (struct slice){b->p, b->n};
}

/* The content as a C string; owned by the buffer. */
const char *buf_cstr(struct buf *);

#endif
