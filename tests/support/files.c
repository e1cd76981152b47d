#include "config.h"

#include "tests/support/files.h"

#include <stdio.h>
#include <stdlib.h>

#include <check.h>

#include "lib/base/hex.h"

enum {
	FILE_MAX_BYTES = 1 << 20
};

struct slice
test_file(struct arena *arena, const char *path)
{
	const char *top = getenv("srcdir");
	char *full = path[0] == '/'
	    ? arena_strdup(arena, slice_str(path))
	    : arena_printf(arena, "%s/tests/%s", top == NULL ? "." : top, path);
	uint8_t *bytes = arena_alloc(arena, FILE_MAX_BYTES);
	FILE *f = fopen(full, "rb");
	size_t n;

	ck_assert_msg(f != NULL, "cannot open %s", full);
	n = fread(bytes, 1, FILE_MAX_BYTES, f);
	ck_assert_int_eq(fclose(f), 0);
	return (struct slice){bytes, n};
}

struct slice
test_hex(struct arena *arena, const char *digits)
{
	size_t n = 0, bytes_n = 0;
	char *packed = arena_alloc(arena, strlen(digits) + 1);
	uint8_t *bytes = arena_alloc(arena, strlen(digits) + 1);

	for (; *digits != '\0'; digits++) {
		if (*digits != ' ')
			packed[n++] = *digits;
	}
	ck_assert(hex_decode(packed, n, bytes, n, &bytes_n));
	return (struct slice){bytes, bytes_n};
}
