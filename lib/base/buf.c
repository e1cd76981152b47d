#include "config.h"

#include "lib/base/buf.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/mem.h"

enum {
	FIRST_ROOM = 256
};

void
buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){.max = max};
}

void
buf_fini(struct buf *b)
{
	if (b->p != NULL)
		free(b->p - b->gap);
	*b = (struct buf){.max = b->max};
}

/* Moves the content to the front of what was allocated. */
static void
close_gap(struct buf *b)
{
	if (b->p == NULL || b->gap == 0)
		return;
	if (b->n > 0)
		memmove(b->p - b->gap, b->p, b->n);
	b->p -= b->gap;
	b->gap = 0;
}

void
buf_clear(struct buf *b)
{
	b->n = 0;
	b->full = false;
	close_gap(b);
}

uint8_t *
buf_reserve(struct buf *b, size_t n)
{
	size_t room = b->room == 0 ? FIRST_ROOM : b->room;

	if (b->full || n > b->max - b->n) {
		b->full = true;
		return NULL;
	}
	if (b->room - b->gap - b->n >= n && b->p != NULL)
		return b->p + b->n;
	close_gap(b);
	while (room - b->n < n)
		room *= 2;
	if (room > b->room) {
		b->p = mem_realloc(b->p, room);
		b->room = room;
	}
	return b->p + b->n;
}

void
buf_add(struct buf *b, const void *bytes, size_t n)
{
	uint8_t *to = buf_reserve(b, n);

	if (to == NULL || n == 0)
		return;
	memcpy(to, bytes, n);
	b->n += n;
}

void
buf_add_slice(struct buf *b, struct slice s)
{
	buf_add(b, s.p, s.n);
}

void
buf_add_str(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void
buf_add_byte(struct buf *b, uint8_t byte)
{
	buf_add(b, &byte, 1);
}

void
buf_printf(struct buf *b, const char *format, ...)
{
	va_list ap;
	int n;
	uint8_t *to;

	va_start(ap, format);
	n = vsnprintf(NULL, 0, format, ap);
	va_end(ap);
	assert(n >= 0);
	to = buf_reserve(b, (size_t)n + 1);
	if (to == NULL)
		return;
	va_start(ap, format);
	(void)vsnprintf((char *)to, (size_t)n + 1, format, ap);
	va_end(ap);
	b->n += (size_t)n;
}

void
buf_consume(struct buf *b, size_t n)
{
	assert(n <= b->n);
	if (n == 0)
		return;
	b->n -= n;
	b->p += n;
	b->gap += n;
	if (b->n == 0)
		close_gap(b);
}

const char *
buf_cstr(struct buf *b)
{
	bool full = b->full;

	/* The NUL is not content: it may go one beyond the maximum. */
	b->full = false;
	b->max++;
	buf_add_byte(b, '\0');
	b->max--;
	b->n--;
	b->full = full;
	return (const char *)b->p;
}
