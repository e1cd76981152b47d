#include "config.h"

#include "loadtest/account.h"

#include <stdio.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/hex.h"
#include "lib/base/mem.h"

enum {
	BYTES_MAX = 256 /* of a component id */
};

struct account {
	FILE *f;
};

struct account *
account_open(const char *path)
{
	FILE *f = fopen(path, "we");
	struct account *a;

	if (f == NULL)
		return NULL;
	a = mem_new(struct account);
	a->f = f;
	return a;
}

bool
account_close(struct account *a)
{
	bool ok = true;

	if (a == NULL)
		return true;
	ok = ferror(a->f) == 0;
	ok &= fclose(a->f) == 0;
	free(a);
	return ok;
}

/* As COPY takes a bytea; \N is no value. */
static void
add_bytes(FILE *f, struct slice bytes)
{
	char hex[2 * BYTES_MAX + 1];

	if (bytes.n == 0 || bytes.n > BYTES_MAX) {
		(void)fputs("\t\\N", f);
		return;
	}
	hex_encode(bytes, hex);
	(void)fprintf(f, "\t\\\\x%s", hex);
}

void
account_add(struct account *a, char kind, struct slice thumbprint,
    struct slice component, struct slice digest)
{
	if (a == NULL)
		return;
	(void)fprintf(a->f, "%lld\t%c", (long long)clock_wall_us(), kind);
	add_bytes(a->f, thumbprint);
	add_bytes(a->f, component);
	add_bytes(a->f, digest);
	(void)fputc('\n', a->f);
}
