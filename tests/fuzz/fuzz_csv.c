#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "admin/ctl/csv.h"
#include "admin/table.h"
#include "lib/base/slice.h"

/* Rows of a CSV file for an import: each becomes a document with known members
 * alone, or an empty array. */

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static void
check_row(json_t *row)
{
	const char *name;
	json_t *value;

	if (json_is_array(row) && json_array_size(row) == 0)
		return;
	json_object_foreach(row, name, value)
	{
		const struct api_field *f = api_import_fields;

		while (f->name != NULL && strcmp(f->name, name) != 0)
			f++;
		if (f->name == NULL)
			abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	FILE *in;
	struct csv *csv;
	json_t *row;

	if (fileno(stderr) == 2)
		stderr = fopen("/dev/null", "we");
	if (n == 0 || stderr == NULL)
		return 0;
	in = fmemopen(slice_unconst((struct slice){data, n}), n, "r");
	if (in == NULL)
		abort();
	csv = csv_new(in, "x", api_import_fields);
	while (csv != NULL && csv_next(csv, &row)) {
		check_row(row);
		json_decref(row);
	}
	if (csv != NULL)
		csv_free(csv);
	(void)fclose(in);
	return 0;
}
