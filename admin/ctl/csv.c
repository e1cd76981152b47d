#include "config.h"

#include "admin/ctl/csv.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/mem.h"

enum {
	COLUMNS_MAX = 256,
	CELL_MAX = 1 << 20
};

struct csv {
	FILE *in;
	size_t n_names;
	char *names[COLUMNS_MAX];
	bool has_names;
};

struct csv *
csv_new(FILE *in)
{
	struct csv *c = mem_new(struct csv);

	c->in = in;
	return c;
}

void
csv_free(struct csv *c)
{
	for (size_t i = 0; i < c->n_names; i++)
		free(c->names[i]);
	free(c);
}

/* --- cells ------------------------------------------------------------------------ */

enum cell_end {
	END_CELL,
	END_ROW,
	END_FILE
};

/* Behind a quote within quotes: another one, or the end. */
static int
quoted(FILE *in, struct buf *cell)
{
	int c;

	while ((c = getc(in)) != EOF) {
		if (c == '"') {
			c = getc(in);
			if (c != '"')
				return c;
		}
		buf_add_byte(cell, (uint8_t)c);
	}
	return EOF;
}

static enum cell_end
read_cell(FILE *in, struct buf *cell)
{
	int c = getc(in);

	if (c == '"')
		c = quoted(in, cell);
	while (c != ',' && c != '\n' && c != EOF) {
		if (c != '\r')
			buf_add_byte(cell, (uint8_t)c);
		c = getc(in);
	}
	return c == ',' ? END_CELL : c == '\n' ? END_ROW : END_FILE;
}

/* What print_csv() of output.c put there. */
static const char *
without_guard(const char *s)
{
	return s[0] == '\'' && s[1] != '\0' && strchr("=+-@\t", s[1]) != NULL
	    ? s + 1
	    : s;
}

/* --- rows --------------------------------------------------------------------------- */

static json_t *
parsed(const char *text)
{
	json_t *v = json_loads(text, JSON_DECODE_ANY, NULL);

	return v != NULL ? v : json_string(text);
}

static void
set(json_t *doc, const char *name, const char *text)
{
	json_t *labels = json_object_get(doc, "labels");

	if (text[0] == '\0')
		return;
	if (strncmp(name, "labels.", 7) == 0) {
		if (!json_is_object(labels)) {
			labels = json_object();
			(void)json_object_set_new(doc, "labels", labels);
		}
		(void)json_object_set_new(labels, name + 7, json_string(text));
	} else if (strcmp(name, "labels") == 0 || strcmp(name, "key") == 0 ||
	    strcmp(name, "update_bytes") == 0) {
		(void)json_object_set_new(doc, name, parsed(text));
	} else {
		(void)json_object_set_new(doc, name, json_string(text));
	}
}

static void
take(struct csv *c, json_t *doc, size_t column, const char *text)
{
	if (c->has_names && column < c->n_names)
		set(doc, c->names[column], without_guard(text));
	else if (!c->has_names && column < COLUMNS_MAX)
		c->names[c->n_names++] = mem_strdup(text);
}

/* How many cells it has; 0 behind the last row. */
static size_t
read_row(struct csv *c, json_t *doc, bool *whole)
{
	enum cell_end end;
	struct buf cell;
	size_t n = 0;

	buf_init(&cell, CELL_MAX);
	do {
		buf_clear(&cell);
		end = read_cell(c->in, &cell);
		if (end == END_FILE && n == 0 && cell.n == 0)
			break;
		*whole &= !cell.full;
		take(c, doc, n++, buf_cstr(&cell));
	} while (end == END_CELL);
	buf_fini(&cell);
	return n;
}

bool
csv_next(struct csv *c, json_t **out)
{
	bool whole = true;
	size_t n;

	if (!c->has_names) {
		if (read_row(c, NULL, &whole) == 0)
			return false;
		c->has_names = true;
	}
	*out = json_object();
	n = read_row(c, *out, &whole);
	if (n > 0 && n == c->n_names && whole)
		return true;
	json_decref(*out);
	*out = n > 0 ? json_array() : NULL;
	return n > 0;
}
