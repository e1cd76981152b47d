#include "config.h"

#include "lib/base/mem.h"

#include <stdlib.h>

void *
mem_alloc(size_t n)
{
	void *p = malloc(n == 0 ? 1 : n);

	if (p == NULL)
		abort();
	return p;
}

void *
mem_calloc(size_t n, size_t size)
{
	void *p = calloc(n == 0 ? 1 : n, size == 0 ? 1 : size);

	if (p == NULL)
		abort();
	return p;
}

void *
mem_realloc(void *old, size_t n)
{
	void *p = realloc(old, n == 0 ? 1 : n);

	if (p == NULL)
		abort();
	return p;
}

char *
mem_strdup(const char *s)
{
	return mem_dup(slice_str(s));
}

char *
mem_dup(struct slice bytes)
{
	char *p = mem_alloc(bytes.n + 1);

	if (bytes.n > 0)
		memcpy(p, bytes.p, bytes.n);
	p[bytes.n] = '\0';
	return p;
}
