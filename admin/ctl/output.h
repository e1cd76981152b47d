/*
 * output.h - an answer of the API, for people and for scripts.
 *
 *	table   columns with tabs, a head
 *	csv     RFC 4180, a head
 *	name    the first column only
 *	json    as it came
 */
#ifndef ADMIN_CTL_OUTPUT_H
#define ADMIN_CTL_OUTPUT_H

#include <jansson.h>

#include "admin/table.h"
#include "lib/base/slice.h"

bool output_is_known(const char *format);
/* Items of a list; `head`: with the names of the columns before.  As json a
 * line each. */
void output_items(const char *, const struct api_route *, json_t *items,
    bool head);
void output_answer(const char *, const struct api_route *, struct slice body);

#endif
