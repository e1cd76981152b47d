#include "config.h"

#include "admin/ctl/output.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum format {
	FORMAT_TABLE,
	FORMAT_CSV,
	FORMAT_NAME
};

bool
output_is_known(const char *format)
{
	return strcmp(format, "table") == 0 || strcmp(format, "csv") == 0 ||
	    strcmp(format, "name") == 0 || strcmp(format, "json") == 0;
}

/* Quoted where it has to be; what a spreadsheet would run as a formula is
 * text. */
static void
print_csv(const char *s)
{
	bool formula = *s != '\0' && strchr("=+-@\t", *s) != NULL;

	if (!formula && strpbrk(s, ",\"\r\n") == NULL) {
		(void)fputs(s, stdout);
		return;
	}
	(void)fputc('"', stdout);
	if (formula)
		(void)fputc('\'', stdout);
	for (; *s != '\0'; s++) {
		if (*s == '"')
			(void)fputc('"', stdout);
		(void)fputc(*s, stdout);
	}
	(void)fputc('"', stdout);
}

static void
print_text(enum format format, const char *s)
{
	if (format == FORMAT_CSV)
		print_csv(s);
	else
		(void)fputs(s, stdout);
}

static void
print_cell(enum format format, const json_t *v)
{
	char *text;

	if (v == NULL || json_is_null(v)) {
		print_text(format, format == FORMAT_CSV ? "" : "-");
	} else if (json_is_string(v)) {
		print_text(format, json_string_value(v));
	} else {
		text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
		if (json_is_number(v))
			(void)fputs(text, stdout);
		else
			print_text(format, text);
		free(text);
	}
}

/* A row of NULL is the head. */
static void
print_row(enum format format, const char *columns, const json_t *row)
{
	char column[64];

	while (*columns != '\0') {
		size_t n = strcspn(columns, ",");

		(void)snprintf(column, sizeof(column), "%.*s", (int)n, columns);
		if (row == NULL)
			(void)fputs(column, stdout);
		else
			print_cell(format, json_object_get(row, column));
		columns += n + (columns[n] == ',');
		if (format == FORMAT_NAME)
			break;
		if (*columns != '\0')
			(void)fputc(format == FORMAT_CSV ? ',' : '\t', stdout);
	}
	(void)fputs(format == FORMAT_CSV ? "\r\n" : "\n", stdout);
}

static void
print_object(enum format format, json_t *doc)
{
	const char *key;
	json_t *value;

	json_object_foreach(doc, key, value)
	{
		print_text(format, key);
		(void)fputc(format == FORMAT_CSV ? ',' : '\t', stdout);
		print_cell(format, value);
		(void)fputs(format == FORMAT_CSV ? "\r\n" : "\n", stdout);
	}
}

static enum format
format_of(const char *name)
{
	return strcmp(name, "csv") == 0 ? FORMAT_CSV
	    : strcmp(name, "name") == 0 ? FORMAT_NAME
	                                : FORMAT_TABLE;
}

void
output_items(const char *format, const struct api_route *r, json_t *items,
    bool head)
{
	size_t i;
	json_t *item;

	if (head && strcmp(format, "json") != 0 &&
	    format_of(format) != FORMAT_NAME)
		print_row(format_of(format), r->columns, NULL);
	json_array_foreach(items, i, item)
	{
		if (strcmp(format, "json") == 0) {
			(void)json_dumpf(item, stdout, JSON_COMPACT);
			(void)fputc('\n', stdout);
		} else {
			print_row(format_of(format), r->columns, item);
		}
	}
}

void
output_answer(const char *format_name, const struct api_route *r,
    struct slice body)
{
	enum format format = format_of(format_name);
	json_t *doc = NULL, *items;

	if (strcmp(format_name, "json") != 0)
		doc = json_loadb((const char *)body.p, body.n, 0, NULL);
	items = json_object_get(doc, "items");
	if (items != NULL)
		output_items(format_name, r, items, true);
	else if (doc != NULL && r->columns[0] != '\0')
		print_row(format, r->columns, doc);
	else if (doc != NULL)
		print_object(format, doc);
	else
		(void)fwrite(body.p, 1, body.n, stdout);
	json_decref(doc);
}
