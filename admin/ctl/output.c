#include "config.h"

#include "admin/ctl/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/ctl/ctl.h"
#include "lib/base/terminal.h"

enum format {
	FORMAT_TABLE,
	FORMAT_CSV,
	FORMAT_NAME,
	FORMAT_JSON,
	FORMAT_COUNT
};

enum {
	COMPLAINT_MAX = 16384,
	/* Escaped text is at most so many times as long. */
	GROWTH = 8
};

static const char *const format_names[FORMAT_COUNT] = {"table", "csv", "name",
    "json"};

/* FORMAT_COUNT for one that is not known. */
static enum format
format_of(const char *name)
{
	int f = 0;

	while (f < FORMAT_COUNT && strcmp(format_names[f], name) != 0)
		f++;
	return (enum format)f;
}

bool
output_is_known(const char *format)
{
	return format_of(format) != FORMAT_COUNT;
}

/* --- standard streams ------------------------------------------------------------------ */

void
ctl_complain(const char *format, ...)
{
	char text[COMPLAINT_MAX];
	struct buf line;
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	buf_init(&line, GROWTH * sizeof(text));
	terminal_escape(slice_str(text), &line);
	(void)fprintf(stderr, "tamctl: %s\n", buf_cstr(&line));
	buf_fini(&line);
}

void
output_start(void)
{
	/* Opened the wrong way round, so that using it fails. */
	static const int modes[] = {O_WRONLY, O_RDONLY, O_RDONLY};

	for (int fd = 0; fd < 3; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		if (open("/dev/null", modes[fd]) != fd)
			abort();
	}
}

bool
output_holds(void)
{
	return ferror(stdout) == 0;
}

int
output_finish(int status)
{
	errno = 0;
	if (fflush(stdout) == 0 && ferror(stdout) == 0)
		return status;
	ctl_complain("standard output cannot be written whole: %s",
	    errno == 0 ? "an earlier write failed" : strerror(errno));
	return status == CTL_OK ? CTL_OUTPUT : status;
}

/* --- text ---------------------------------------------------------------------------------- */

static void
write_bytes(struct slice bytes)
{
	if (bytes.n > 0)
		(void)fwrite(bytes.p, 1, bytes.n, stdout);
}

static void
write_escaped(struct slice text, void (*escape)(struct slice, struct buf *))
{
	struct buf b;

	buf_init(&b, GROWTH * text.n + 1);
	escape(text, &b);
	write_bytes(buf_slice(&b));
	buf_fini(&b);
}

void
output_text(struct slice text)
{
	write_escaped(text, terminal_escape);
}

void
output_json(struct slice document)
{
	write_escaped(document, terminal_escape_json);
}

/* Quoted where it has to be; what a spreadsheet would run as a formula is
 * text. */
static void
add_csv(const char *s, struct buf *out)
{
	bool formula = *s != '\0' && strchr("=+-@\t", *s) != NULL;

	if (!formula && strpbrk(s, ",\"\r\n") == NULL) {
		buf_add_str(out, s);
		return;
	}
	buf_add_str(out, formula ? "\"'" : "\"");
	for (; *s != '\0'; s++) {
		if (*s == '"')
			buf_add_byte(out, '"');
		buf_add_byte(out, (uint8_t)*s);
	}
	buf_add_byte(out, '"');
}

static void
print_csv(const char *s)
{
	struct buf cell;

	buf_init(&cell, 2 * strlen(s) + 4);
	add_csv(s, &cell);
	if (isatty(STDOUT_FILENO))
		output_text(buf_slice(&cell));
	else
		write_bytes(buf_slice(&cell));
	buf_fini(&cell);
}

static void
print_text(enum format format, const char *s)
{
	if (format == FORMAT_CSV)
		print_csv(s);
	else
		output_text(slice_str(s));
}

/* --- rows ---------------------------------------------------------------------------------- */

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

static void
print_json_line(const json_t *item)
{
	char *text = json_dumps(item, JSON_COMPACT | JSON_ENCODE_ANY);

	output_json(slice_str(text));
	(void)fputc('\n', stdout);
	free(text);
}

void
output_items(const char *format_name, const struct api_route *r, json_t *items,
    bool head)
{
	enum format format = format_of(format_name);
	size_t i;
	json_t *item;

	if (head && (format == FORMAT_TABLE || format == FORMAT_CSV))
		print_row(format, r->columns, NULL);
	json_array_foreach(items, i, item)
	{
		if (format == FORMAT_JSON)
			print_json_line(item);
		else
			print_row(format, r->columns, item);
	}
}

/* --- answers ------------------------------------------------------------------------------- */

/* Bytes that are not JSON: a file, which is not for a terminal. */
static int
print_file(struct slice body)
{
	if (isatty(STDOUT_FILENO) && !terminal_is_safe(body)) {
		ctl_complain("the answer is a file: send it to one, with >");
		return CTL_USAGE;
	}
	write_bytes(body);
	return CTL_OK;
}

int
output_answer(const char *format_name, const struct api_route *r,
    struct slice body, json_t *doc)
{
	enum format format = format_of(format_name);
	json_t *items = json_object_get(doc, "items");

	if (doc == NULL)
		return print_file(body);
	if (format == FORMAT_JSON || (items == NULL && !json_is_object(doc)))
		output_json(body);
	else if (items != NULL)
		output_items(format_name, r, items, true);
	else if (r->columns[0] != '\0')
		print_row(format, r->columns, doc);
	else
		print_object(format, doc);
	return CTL_OK;
}
