/*
 * csv.h - rows of a CSV file (RFC 4180) as JSON objects, for an import.
 *
 * The first row names the members.  A column labels.KEY is a label; labels and
 * key are JSON, update_bytes a number, what else there is a string; an empty
 * cell is no member.  The quote in front of what a spreadsheet would run as a
 * formula is taken off.
 */
#ifndef ADMIN_CTL_CSV_H
#define ADMIN_CTL_CSV_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

struct csv;

/* The file stays the caller's. */
struct csv *csv_new(FILE *);
void csv_free(struct csv *);

/* The next row; false after the last.  A row that has another number of cells
 * than the first, or cannot be read, is an empty array. */
bool csv_next(struct csv *, json_t **);

#endif
