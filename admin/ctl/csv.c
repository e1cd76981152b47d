#include "config.h"

#include "admin/ctl/csv.h"

#include <stdlib.h>
#include <string.h>

#include "admin/ctl/output.h"
#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/base/nearest.h"

enum {
	COLUMNS_MAX = 256,
	CELL_MAX = 1 << 20
};

static const char label_prefix[] = "labels.";

struct csv {
	FILE *in;
	const struct api_field *fields;
	size_t n_names;
	char *names[COLUMNS_MAX];
	const struct api_field *columns[COLUMNS_MAX]; /* NULL: a label */
	bool has_names;
};

void
csv_free(struct csv *c)
{
	if (c == NULL)
		return;
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

/* Reads to the closing quote, which two quotes are not; returns what is behind
 * it. */
static int
quoted(FILE *in, struct buf *cell, bool *whole)
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
	*whole = false;
	return EOF;
}

static enum cell_end
read_cell(FILE *in, struct buf *cell, bool *whole)
{
	int c = getc(in);

	if (c == '"')
		c = quoted(in, cell, whole);
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

static bool
is_label(const char *name)
{
	size_t n = sizeof(label_prefix) - 1;

	return strncmp(name, label_prefix, n) == 0 && name[n] != '\0';
}

static void
set_label(json_t *doc, const char *name, const char *text)
{
	json_t *labels = json_object_get(doc, "labels");

	if (!json_is_object(labels)) {
		labels = json_object();
		(void)json_object_set_new(doc, "labels", labels);
	}
	(void)json_object_set_new(labels, name + sizeof(label_prefix) - 1,
	    json_string(text));
}

static void
set(const struct csv *c, json_t *doc, size_t column, const char *text)
{
	const struct api_field *f = c->columns[column];

	if (text[0] == '\0')
		return;
	if (f == NULL)
		set_label(doc, c->names[column], text);
	else
		(void)json_object_set_new(doc, f->name,
		    f->type == TYPE_STRING ? json_string(text) : parsed(text));
}

static void
take(struct csv *c, json_t *doc, size_t column, const char *text)
{
	if (c->has_names && column < c->n_names)
		set(c, doc, column, without_guard(text));
	else if (!c->has_names && column < COLUMNS_MAX)
		c->names[c->n_names++] = mem_strdup(text);
}

static bool
has_nul(struct buf *cell)
{
	return strlen(buf_cstr(cell)) < cell->n;
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
		end = read_cell(c->in, &cell, whole);
		if (end == END_FILE && n == 0 && cell.n == 0)
			break;
		*whole &= !cell.full && !has_nul(&cell);
		take(c, doc, n++, buf_cstr(&cell));
	} while (end == END_CELL);
	buf_fini(&cell);
	return n;
}

/* --- the first row --------------------------------------------------------------------- */

bool
csv_skip_mark(FILE *in)
{
	static const int mark[] = {0xef, 0xbb, 0xbf};
	int c = getc(in);

	if (c != mark[0]) {
		(void)ungetc(c, in);
		return true;
	}
	return getc(in) == mark[1] && getc(in) == mark[2];
}

/* The field of a column; `known` says whether there is such a column at all. */
static const struct api_field *
field_of(const struct csv *c, const char *name, bool *known,
    struct nearest *near)
{
	*known = is_label(name);
	for (const struct api_field *f = c->fields; f->name != NULL; f++) {
		if (strcmp(f->name, name) == 0) {
			*known = true;
			return f;
		}
		nearest_offer(near, f->name);
	}
	return NULL;
}

static bool
check_name(struct csv *c, size_t column, const char *file)
{
	const char *name = c->names[column];
	struct nearest near = {.name = name};
	bool known;

	c->columns[column] = field_of(c, name, &known, &near);
	if (!known) {
		ctl_complain("%s: no column '%s' is known%s%s%s", file, name,
		    near.found == NULL ? "" : "; did you mean '",
		    near.found == NULL ? "" : near.found,
		    near.found == NULL ? "" : "'?");
		return false;
	}
	for (size_t i = 0; i < column; i++) {
		if (strcmp(c->names[i], name) == 0) {
			ctl_complain("%s: the column '%s' is there twice", file,
			    name);
			return false;
		}
	}
	return true;
}

static bool
has_required(const struct csv *c, const char *file)
{
	for (const struct api_field *f = c->fields; f->name != NULL; f++) {
		bool found = !f->required;

		for (size_t i = 0; i < c->n_names; i++)
			found |= c->columns[i] == f;
		if (!found) {
			ctl_complain("%s: the column '%s' is missing: %s", file,
			    f->name, f->help);
			return false;
		}
	}
	return true;
}

static bool
read_names(struct csv *c, const char *file)
{
	bool whole = true;
	size_t n = read_row(c, NULL, &whole);

	if (n == 0 || n > COLUMNS_MAX || !whole) {
		ctl_complain("%s: the first row must name the columns", file);
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		if (!check_name(c, i, file))
			return false;
	}
	c->has_names = true;
	return has_required(c, file);
}

struct csv *
csv_new(FILE *in, const char *file, const struct api_field *fields)
{
	struct csv *c = mem_new(struct csv);

	c->in = in;
	c->fields = fields;
	if (!csv_skip_mark(in))
		ctl_complain("%s: is not UTF-8", file);
	else if (read_names(c, file))
		return c;
	csv_free(c);
	return NULL;
}

/* --- the others -------------------------------------------------------------------------- */

bool
csv_next(struct csv *c, json_t **out)
{
	bool whole = true;
	size_t n;

	*out = json_object();
	n = read_row(c, *out, &whole);
	if (n > 0 && n == c->n_names && whole)
		return true;
	json_decref(*out);
	*out = n > 0 ? json_array() : NULL;
	return n > 0;
}
