/*
 * csv.h - rows of a CSV file (RFC 4180) as JSON objects, for an import.
 *
 * The first row names the members; each must be a field of the route, or
 * labels.KEY, a label, and none may be there twice.  A field that is not a
 * string is written as JSON; an empty cell is no member.  The quote in front
 * of what a spreadsheet would run as a formula is taken off, and so is the byte
 * order mark that spreadsheets write in front of the file.
 */
#ifndef ADMIN_CTL_CSV_H
#define ADMIN_CTL_CSV_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "admin/table.h"

struct csv;

/* Reads the first row.  NULL after complaining about it, in the name of the
 * file.  The file stays the caller's. */
struct csv *csv_new(FILE *, const char *file, const struct api_field *);
void csv_free(struct csv *);

/* The next row; false after the last.  A row that has another number of cells
 * than the first, or cannot be read, is an empty array. */
bool csv_next(struct csv *, json_t **);

/* Skips a byte order mark of UTF-8 at the beginning of a file; false when there
 * is a part of one, which is no UTF-8. */
bool csv_skip_mark(FILE *);

#endif
