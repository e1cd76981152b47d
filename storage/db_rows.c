#include "config.h"

#include "storage/db_rows.h"

#include <assert.h>

size_t
db_rows_n(const struct db_rows *rows)
{
	return (size_t)PQntuples(rows->res);
}

bool
db_is_null(const struct db_rows *rows, size_t row, int column)
{
	return PQgetisnull(rows->res, (int)row, column) == 1;
}

static uint64_t
big_endian(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v = v << 8 | p[i];
	return v;
}

int64_t
db_int(const struct db_rows *rows, size_t row, int column)
{
	struct slice v = db_bytes(rows, row, column);

	if (v.n == 4)
		return (int32_t)big_endian(v.p, 4);
	assert(v.n == 8 || v.n == 0);
	return (int64_t)big_endian(v.p, v.n);
}

struct slice
db_bytes(const struct db_rows *rows, size_t row, int column)
{
	return (struct slice){(const uint8_t *)PQgetvalue(rows->res, (int)row,
	                          column),
	    (size_t)PQgetlength(rows->res, (int)row, column)};
}

/* The binary form: dimensions, flags, element type, then per dimension its
 * size and lower bound, then each element with its length. */
struct db_array
db_array(const struct db_rows *rows, size_t row, int column)
{
	struct slice v = db_bytes(rows, row, column);
	struct db_array a = {0};

	if (v.n < 20 || big_endian(v.p, 4) != 1)
		return a;
	a.left = big_endian(v.p + 12, 4);
	a.rest = (struct slice){v.p + 20, v.n - 20};
	return a;
}

bool
db_array_next(struct db_array *a, struct slice *out)
{
	size_t n;

	if (a->left == 0 || a->rest.n < 4)
		return false;
	n = big_endian(a->rest.p, 4);
	if (n > a->rest.n - 4)
		return false;
	*out = (struct slice){a->rest.p + 4, n};
	a->rest.p += 4 + n;
	a->rest.n -= 4 + n;
	a->left--;
	return true;
}
