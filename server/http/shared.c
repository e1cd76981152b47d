#include "config.h"

#include "server/http/shared.h"

#include <stdlib.h>

#include "lib/base/mem.h"

struct http_shared *
http_shared_take(struct slice bytes,
    void (*on_last)(struct http_shared *, void *), void *arg)
{
	struct http_shared *s = mem_new(struct http_shared);

	*s = (struct http_shared){1, bytes, on_last, arg};
	return s;
}

struct http_shared *
http_shared_copy(struct slice s)
{
	uint8_t *bytes = mem_alloc(s.n);

	memcpy(bytes, s.p, s.n);
	return http_shared_take((struct slice){bytes, s.n}, NULL, NULL);
}

struct http_shared *
http_shared_ref(struct http_shared *s)
{
	s->refs++;
	return s;
}

void
http_shared_unref(struct http_shared *s)
{
	if (s == NULL || --s->refs > 0)
		return;
	if (s->on_last != NULL)
		s->on_last(s, s->arg);
	free(slice_unconst(s->bytes));
	free(s);
}
