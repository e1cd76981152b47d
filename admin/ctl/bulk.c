#include "config.h"

#include "admin/ctl/bulk.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/ctl/answer.h"
#include "admin/ctl/csv.h"
#include "admin/ctl/output.h"
#include "lib/base/mem.h"

enum {
	PART_LINES = 2000,
	PART_BYTES = 1 << 20,
	PAGE = 500,
	CURSOR_MAX = 2048
};

/* --- sending --------------------------------------------------------------------- */

struct sending {
	const struct bulk_call *call;
	const char *file;
	FILE *in;
	struct buf part;
	int64_t before, lines; /* of the file: before this part, in it */
	int64_t results;       /* that the server owes for this part */
	int64_t sent, failed;  /* documents */
	bool head;             /* was printed */
	bool proposed;         /* a part waits for a second person */
};

/* A result with the number that its line has in the file. */
static bool
take_result(struct sending *s, struct slice line, json_t *items)
{
	json_t *doc = json_loadb((const char *)line.p, line.n,
	    JSON_REJECT_DUPLICATES, NULL);
	const char *status = json_string_value(json_object_get(doc, "status"));
	json_int_t at = json_integer_value(json_object_get(doc, "line"));

	if (status == NULL || at < 1 || at > s->lines) {
		json_decref(doc);
		return false;
	}
	s->failed += strcmp(status, "error") == 0;
	s->results--;
	(void)json_object_set_new(doc, "line", json_integer(s->before + at));
	(void)json_array_append_new(items, doc);
	return true;
}

/* Every line that was sent has a result, or the answer is not one. */
static int
print_results(struct sending *s, struct slice body)
{
	json_t *items = json_array();
	bool good = true;

	while (good && body.n > 0) {
		const uint8_t *end = memchr(body.p, '\n', body.n);
		size_t n = end == NULL ? body.n : (size_t)(end - body.p);

		good = take_result(s, (struct slice){body.p, n}, items);
		body.p += n + (end != NULL);
		body.n -= n + (end != NULL);
	}
	output_items(s->call->output, s->call->route, items, !s->head);
	s->head = true;
	json_decref(items);
	if (good && s->results == 0)
		return CTL_OK;
	ctl_complain(
	    "the server's answer does not have a result for each line");
	return CTL_NO_ANSWER;
}

static int
ask_part(struct sending *s)
{
	struct client_request q = {.method = s->call->route->method,
	    .path = s->call->path,
	    .content_type = "application/x-ndjson",
	    .body = buf_slice(&s->part)};
	struct client_answer a;
	json_t *doc = NULL;
	int status = client_ask(s->call->client, &q, &a);

	if (status == CTL_OK)
		status = answer_read(&a, NULL, &doc);
	if (status == CTL_OK && doc != NULL) {
		ctl_complain("the server answered no results");
		status = CTL_NO_ANSWER;
	}
	if (status == CTL_OK)
		status = print_results(s, buf_slice(&a.body));
	json_decref(doc);
	client_answer_fini(&a);
	return status;
}

static int
send_part(struct sending *s)
{
	int64_t last = s->before + s->lines;
	int status;

	s->sent += s->results;
	status = ask_part(s);
	if (status == CTL_PROPOSED) {
		s->proposed = true;
		s->sent -= s->results;
		status = CTL_OK;
	}
	if (status == CTL_NO_ANSWER)
		ctl_complain("%s: the lines before %lld were sent; whether "
		             "those up to %lld were taken is not known",
		    s->file, (long long)s->before + 1, (long long)last);
	else if (status != CTL_OK)
		ctl_complain("%s: the lines before %lld were sent, those from "
		             "there on were not taken",
		    s->file, (long long)s->before + 1);
	s->before = last;
	s->lines = 0;
	s->results = 0;
	buf_clear(&s->part);
	return status == CTL_OK && !output_holds() ? CTL_OUTPUT : status;
}

/* RFC 7517: "d" is the private half of a key. */
static bool
has_private_key(const char *line, size_t n)
{
	json_t *doc = json_loadb(line, n, 0, NULL);
	bool has = json_object_get(json_object_get(doc, "key"), "d") != NULL;

	json_decref(doc);
	return has;
}

/* With its line break. */
static int
add_line(struct sending *s, const char *line, size_t n)
{
	int status = CTL_OK;

	if (has_private_key(line, n)) {
		ctl_complain("%s: line %lld has a private key; it was not sent",
		    s->file, (long long)s->before + s->lines + 1);
		return CTL_FAILED;
	}
	if (s->lines > 0 &&
	    (s->lines == PART_LINES || s->part.n + n > PART_BYTES))
		status = send_part(s);
	buf_add(&s->part, line, n);
	s->lines++;
	/* The server has nothing to say about an empty line. */
	s->results += n > 1 || line[0] != '\n';
	return status;
}

static int
send_lines(struct sending *s)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t n;
	int status = CTL_OK;

	if (!csv_skip_mark(s->in)) {
		ctl_complain("%s: is not UTF-8", s->file);
		return CTL_USAGE;
	}
	while (status == CTL_OK && (n = getline(&line, &room, s->in)) >= 0)
		status = add_line(s, line, (size_t)n);
	free(line);
	return status;
}

/* The row that names the columns is line 1. */
static int
send_rows(struct sending *s)
{
	struct csv *csv = csv_new(s->in, s->file, s->call->route->fields);
	json_t *doc;
	int status = CTL_OK;

	if (csv == NULL)
		return CTL_USAGE;
	s->before = 1;
	while (status == CTL_OK && csv_next(csv, &doc)) {
		char *text = json_dumps(doc, JSON_COMPACT | JSON_ENCODE_ANY);
		size_t n = strlen(text);

		text = mem_realloc(text, n + 1);
		text[n] = '\n';
		status = add_line(s, text, n + 1);
		free(text);
		json_decref(doc);
	}
	csv_free(csv);
	return status;
}

/* The last part, and what came of all. */
static int
finish(struct sending *s, int status)
{
	if (status == CTL_OK && ferror(s->in) != 0) {
		ctl_complain("%s: cannot be read further than line %lld",
		    s->file, (long long)s->before + s->lines);
		status = CTL_FAILED;
	}
	if (status == CTL_OK && s->lines > 0)
		status = send_part(s);
	if (s->failed == 0)
		return status == CTL_OK && s->proposed ? CTL_PROPOSED : status;
	ctl_complain("%s: %lld of %lld were refused", s->file,
	    (long long)s->failed, (long long)s->sent);
	return status == CTL_OK ? CTL_FAILED : status;
}

static bool
is_csv(const char *file)
{
	size_t n = strlen(file);

	return n > 4 && strcmp(file + n - 4, ".csv") == 0;
}

int
bulk_send(const struct bulk_call *call, const char *file)
{
	struct sending s = {.call = call,
	    .file = file,
	    .in = strcmp(file, "-") == 0 ? stdin : fopen(file, "re")};
	int status;

	if (s.in == NULL) {
		ctl_complain("%s: %s", file, strerror(errno));
		return CTL_USAGE;
	}
	buf_init(&s.part, 64 << 20);
	status = is_csv(file) ? send_rows(&s) : send_lines(&s);
	status = finish(&s, status);
	buf_fini(&s.part);
	if (s.in != stdin)
		(void)fclose(s.in);
	return status;
}

/* --- listing ------------------------------------------------------------------------ */

struct listing {
	const struct bulk_call *call;
	struct buf path; /* without limit and cursor */
	bool all;        /* limit=all */
	bool one_page;
	char cursor[CURSOR_MAX]; /* of the next page; "" behind the last */
	size_t pages;
};

static bool
is_parameter(struct slice p, const char *name)
{
	size_t n = strlen(name);

	return p.n > n && memcmp(p.p, name, n) == 0 && p.p[n] == '=';
}

/* Parts the path: what is asked, and which page of it. */
static void
read_path(struct listing *l, const char *path)
{
	size_t n = strcspn(path, "?");
	const char *p = path + n;
	char separator = '?';

	buf_add(&l->path, path, n);
	while (*p != '\0') {
		struct slice one = {(const uint8_t *)p + 1,
		    strcspn(p + 1, "&")};

		if (slice_is(one, "limit=all")) {
			l->all = true;
		} else {
			l->one_page |= is_parameter(one, "limit");
			buf_printf(&l->path, "%c%.*s", separator, (int)one.n,
			    (const char *)one.p);
			separator = '&';
		}
		p += 1 + one.n;
	}
}

/* A cursor is base64, which a query needs escaped. */
static void
add_cursor(struct buf *path, const char *cursor)
{
	buf_add_str(path, "&cursor=");
	for (; *cursor != '\0'; cursor++) {
		if (*cursor == '+' || *cursor == '/' || *cursor == '=')
			buf_printf(path, "%%%02X", (unsigned)*cursor);
		else
			buf_add_byte(path, (uint8_t)*cursor);
	}
}

static int
ask_page(struct listing *l, struct client_answer *a, json_t **doc)
{
	struct buf path;
	int status;

	buf_init(&path, 1 << 17);
	buf_add_slice(&path, buf_slice(&l->path));
	if (!l->one_page)
		buf_printf(&path, "%climit=%d",
		    memchr(l->path.p, '?', l->path.n) == NULL ? '?' : '&',
		    PAGE);
	if (l->cursor[0] != '\0')
		add_cursor(&path, l->cursor);
	status = client_ask(l->call->client,
	    &(struct client_request){.method = "GET", .path = buf_cstr(&path)},
	    a);
	if (status == CTL_OK)
		status = answer_read(a, NULL, doc);
	buf_fini(&path);
	return status;
}

/* Where the next page begins.  A list whose page is empty or ends where the
 * one before did would never end. */
static int
next_page(struct listing *l, const json_t *doc)
{
	const json_t *cursor = json_object_get(doc, "cursor");
	const char *text = json_string_value(cursor);
	size_t n = json_array_size(json_object_get(doc, "items"));

	if (cursor == NULL) {
		l->cursor[0] = '\0';
		return CTL_OK;
	}
	if (text == NULL || text[0] == '\0' || strlen(text) >= CURSOR_MAX ||
	    n == 0 || strcmp(text, l->cursor) == 0) {
		ctl_complain("the server's list does not go on: it is not "
		             "whole");
		return CTL_NO_ANSWER;
	}
	(void)snprintf(l->cursor, sizeof(l->cursor), "%s", text);
	return CTL_OK;
}

/* As JSON the pages become one document, whose items are lines. */
static void
print_merged(struct listing *l, json_t *items)
{
	size_t i;
	json_t *item;

	(void)fputs(l->pages == 0 ? "{\"items\":[" : "", stdout);
	json_array_foreach(items, i, item)
	{
		char *text = json_dumps(item, JSON_COMPACT | JSON_ENCODE_ANY);

		(void)fputs(l->pages > 0 || i > 0 ? ",\n" : "", stdout);
		output_json(slice_str(text));
		free(text);
	}
	(void)fputs(l->cursor[0] == '\0' ? "]}\n" : "", stdout);
}

static int
print_page(struct listing *l, const struct client_answer *a, json_t *doc)
{
	const struct bulk_call *c = l->call;
	json_t *items = json_object_get(doc, "items");
	bool json = strcmp(c->output, "json") == 0;

	if (!json_is_array(items)) {
		ctl_complain("the server answered no list");
		return CTL_NO_ANSWER;
	}
	if (json && !l->all && !l->one_page &&
	    (l->pages > 0 || l->cursor[0] != '\0'))
		print_merged(l, items);
	else if (json && !l->all)
		return output_answer(c->output, c->route, buf_slice(&a->body),
		    doc);
	else
		output_items(c->output, c->route, items, l->pages == 0);
	return output_holds() ? CTL_OK : CTL_OUTPUT;
}

static int
list_page(struct listing *l)
{
	struct client_answer a;
	json_t *doc = NULL;
	int status = ask_page(l, &a, &doc);

	if (status == CTL_OK)
		status = next_page(l, doc);
	if (status == CTL_OK)
		status = print_page(l, &a, doc);
	l->pages++;
	json_decref(doc);
	client_answer_fini(&a);
	return status;
}

int
bulk_list(const struct bulk_call *call)
{
	struct listing l = {.call = call};
	int status;

	buf_init(&l.path, 1 << 17);
	read_path(&l, call->path);
	do {
		status = list_page(&l);
	} while (status == CTL_OK && !l.one_page && l.cursor[0] != '\0');
	if (status == CTL_OK && l.cursor[0] != '\0')
		ctl_complain("there are more: go on with cursor=%s, or list "
		             "all with limit=all",
		    l.cursor);
	buf_fini(&l.path);
	return status;
}

/* --- changing ------------------------------------------------------------------------- */

bool
bulk_is_in_parts(struct slice body)
{
	json_t *doc = json_loadb((const char *)body.p, body.n, 0, NULL);
	bool parts = json_object_get(doc, "after") != NULL;

	json_decref(doc);
	return parts;
}

static int
print_part(const struct api_route *route, const struct client_answer *a,
    json_t *doc, const struct bulk_told *told)
{
	int status = CTL_OK;

	if (told->output != NULL)
		status = output_answer(told->output, route, buf_slice(&a->body),
		    doc);
	if (told->devices != NULL)
		*told->devices +=
		    json_integer_value(json_object_get(doc, "devices"));
	return status;
}

/* *after becomes where to go on; NULL: nowhere. */
static int
change_part(struct client *client, const struct api_route *route,
    const char *path, const char *body, const struct bulk_told *told,
    json_t **after)
{
	struct client_answer a;
	json_t *doc = NULL;
	int status = client_ask(client,
	    &(struct client_request){.method = route->method,
	        .path = path,
	        .content_type = "application/json",
	        .body = slice_str(body)},
	    &a);

	*after = NULL;
	if (status == CTL_OK)
		status = answer_read(&a, NULL, &doc);
	if (status == CTL_OK || status == CTL_PROPOSED) {
		int printed = print_part(route, &a, doc, told);

		status = status == CTL_OK ? printed : status;
		*after = json_incref(json_object_get(doc, "after"));
	}
	json_decref(doc);
	client_answer_fini(&a);
	return status;
}

int
bulk_change(struct client *client, const struct api_route *route,
    const char *path, struct slice body, const struct bulk_told *told)
{
	json_t *doc = json_loadb((const char *)body.p, body.n, 0, NULL);
	json_t *after = NULL;
	int status;

	do {
		char *text = json_dumps(doc, JSON_COMPACT);
		json_int_t begun =
		    json_integer_value(json_object_get(doc, "after"));

		status = change_part(client, route, path, text, told, &after);
		free(text);
		if (status == CTL_OK && after != NULL &&
		    json_integer_value(after) <= begun) {
			ctl_complain("the server's change does not go on: it "
			             "is not whole");
			status = CTL_NO_ANSWER;
		}
		if (after != NULL)
			(void)json_object_set_new(doc, "after", after);
	} while (status == CTL_OK && after != NULL);
	json_decref(doc);
	return status;
}
