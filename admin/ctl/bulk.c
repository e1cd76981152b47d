#include "config.h"

#include "admin/ctl/bulk.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/ctl/csv.h"
#include "admin/ctl/output.h"

enum {
	PART_LINES = 2000,
	PART_BYTES = 1 << 20,
	PAGE = 500
};

void
bulk_problem(const char *about, const struct client_answer *a)
{
	json_t *doc = json_loadb((const char *)a->body.p, a->body.n, 0, NULL);
	const char *detail = json_string_value(json_object_get(doc, "detail"));
	const char *code = json_string_value(json_object_get(doc, "code"));
	const char *pointer = json_string_value(
	    json_object_get(json_array_get(json_object_get(doc, "errors"), 0),
	        "pointer"));

	(void)fprintf(stderr, "tamctl: %s%s%d %s%s%s: %s\n",
	    about == NULL ? "" : about, about == NULL ? "" : ": ", a->status,
	    code == NULL ? "" : code, pointer == NULL ? "" : " at ",
	    pointer == NULL ? "" : pointer, detail == NULL ? "" : detail);
	json_decref(doc);
}

/* --- sending --------------------------------------------------------------------- */

struct sending {
	const struct client_options *client;
	const struct api_route *route;
	const char *output, *path;
	FILE *in;
	struct buf part;
	int64_t before, lines; /* of the file: before this part, in it */
	bool head;             /* was printed */
};

/* The results of a part, with the numbers that lines have in the file. */
static void
print_results(struct sending *s, struct slice body)
{
	json_t *items = json_array();

	while (body.n > 0) {
		const uint8_t *end = memchr(body.p, '\n', body.n);
		size_t n = end == NULL ? body.n : (size_t)(end - body.p);
		json_t *doc = json_loadb((const char *)body.p, n, 0, NULL);

		if (doc != NULL) {
			(void)json_object_set_new(doc, "line",
			    json_integer(s->before +
			        json_integer_value(
			            json_object_get(doc, "line"))));
			(void)json_array_append_new(items, doc);
		}
		body.p += n + (end != NULL);
		body.n -= n + (end != NULL);
	}
	output_items(s->output, s->route, items, !s->head);
	s->head = true;
	json_decref(items);
}

static int
send_part(struct sending *s)
{
	struct client_answer answer;
	int status = CTL_OK;

	if (!client_request(s->client, s->route->method, s->path,
	        "application/x-ndjson", buf_slice(&s->part), &answer)) {
		status = CTL_UNREACHABLE;
	} else if (answer.status >= 300) {
		bulk_problem(NULL, &answer);
		status = CTL_FAILED;
	} else {
		print_results(s, buf_slice(&answer.body));
	}
	client_answer_fini(&answer);
	if (status != CTL_OK)
		(void)fprintf(stderr,
		    "tamctl: lines 1 to %lld were taken, those from there on "
		    "were not\n",
		    (long long)s->before);
	s->before += s->lines;
	s->lines = 0;
	buf_clear(&s->part);
	return status;
}

/* With its end. */
static int
add_line(struct sending *s, const char *line, size_t n)
{
	int status = CTL_OK;

	if (s->lines > 0 &&
	    (s->lines == PART_LINES || s->part.n + n > PART_BYTES))
		status = send_part(s);
	buf_add(&s->part, line, n);
	s->lines++;
	return status;
}

static int
send_lines(struct sending *s)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t n;
	int status = CTL_OK;

	while (status == CTL_OK && (n = getline(&line, &room, s->in)) >= 0)
		status = add_line(s, line, (size_t)n);
	free(line);
	return status == CTL_OK && s->lines > 0 ? send_part(s) : status;
}

/* Its head is line 1. */
static int
send_rows(struct sending *s)
{
	struct csv *csv = csv_new(s->in);
	json_t *doc;
	int status = CTL_OK;

	s->before = 1;
	while (status == CTL_OK && csv_next(csv, &doc)) {
		char *line = json_dumps(doc, JSON_COMPACT | JSON_ENCODE_ANY);

		status = add_line(s, line, strlen(line));
		buf_add_str(&s->part, "\n");
		free(line);
		json_decref(doc);
	}
	csv_free(csv);
	return status == CTL_OK && s->lines > 0 ? send_part(s) : status;
}

int
bulk_send(const struct client_options *client, const struct api_route *route,
    const char *output, const char *path, const char *file)
{
	struct sending s = {.client = client,
	    .route = route,
	    .output = output,
	    .path = path,
	    .in = strcmp(file, "-") == 0 ? stdin : fopen(file, "re")};
	int status;

	if (s.in == NULL) {
		(void)fprintf(stderr, "tamctl: %s: %s\n", file,
		    strerror(errno));
		return CTL_USAGE;
	}
	buf_init(&s.part, 64 << 20);
	status =
	    strlen(file) > 4 && strcmp(file + strlen(file) - 4, ".csv") == 0
	    ? send_rows(&s)
	    : send_lines(&s);
	buf_fini(&s.part);
	if (s.in != stdin)
		(void)fclose(s.in);
	return status;
}

/* --- listing ------------------------------------------------------------------------ */

static const char *
all_in(const char *path)
{
	const char *at = strstr(path, "limit=all");

	return at != NULL && (at[-1] == '?' || at[-1] == '&') &&
	        (at[9] == '\0' || at[9] == '&')
	    ? at
	    : NULL;
}

bool
bulk_is_wanted(const char *path)
{
	return all_in(path) != NULL;
}

/* Base64, in a query. */
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

/* A page, and where the next begins; "" behind the last. */
static int
list_page(const struct client_options *client, const struct api_route *route,
    const char *output, const char *path, bool head, char cursor[512])
{
	struct client_answer answer;
	json_t *doc = NULL;
	int status = CTL_OK;

	cursor[0] = '\0';
	if (!client_request(client, "GET", path, NULL, slice_none(), &answer))
		status = CTL_UNREACHABLE;
	else
		doc = json_loadb((const char *)answer.body.p, answer.body.n, 0,
		    NULL);
	if (status == CTL_OK && (answer.status != 200 || doc == NULL)) {
		bulk_problem(NULL, &answer);
		status = CTL_FAILED;
	}
	if (status == CTL_OK) {
		const char *next =
		    json_string_value(json_object_get(doc, "cursor"));

		output_items(output, route, json_object_get(doc, "items"),
		    head);
		(void)snprintf(cursor, 512, "%s", next == NULL ? "" : next);
	}
	json_decref(doc);
	client_answer_fini(&answer);
	return status;
}

int
bulk_list(const struct client_options *client, const struct api_route *route,
    const char *output, const char *path)
{
	const char *at = all_in(path);
	char cursor[512] = "";
	bool head = true;
	int status;

	do {
		struct buf page;

		buf_init(&page, 65536);
		buf_printf(&page, "%.*slimit=%d", (int)(at - path), path, PAGE);
		if (cursor[0] != '\0')
			add_cursor(&page, cursor);
		buf_add_str(&page, at + strlen("limit=all"));
		status = list_page(client, route, output, buf_cstr(&page), head,
		    cursor);
		buf_fini(&page);
		head = false;
	} while (status == CTL_OK && cursor[0] != '\0');
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

/* *after becomes where to go on; NULL: nowhere. */
static int
change_part(const struct client_options *client, const struct api_route *route,
    const char *path, const char *body, const struct bulk_told *told,
    json_t **after)
{
	struct client_answer a;
	json_t *doc;
	int status = CTL_OK;

	*after = NULL;
	if (!client_request(client, route->method, path, "application/json",
	        slice_str(body), &a)) {
		status = CTL_UNREACHABLE;
	} else if (a.status >= 300) {
		bulk_problem(NULL, &a);
		status = CTL_FAILED;
	} else {
		doc = json_loadb((const char *)a.body.p, a.body.n, 0, NULL);
		if (told->output != NULL)
			output_answer(told->output, route, buf_slice(&a.body));
		if (told->devices != NULL)
			*told->devices +=
			    json_integer_value(json_object_get(doc, "devices"));
		*after = json_incref(json_object_get(doc, "after"));
		json_decref(doc);
	}
	client_answer_fini(&a);
	return status;
}

int
bulk_change(const struct client_options *client, const struct api_route *route,
    const char *path, struct slice body, const struct bulk_told *told)
{
	json_t *doc = json_loadb((const char *)body.p, body.n, 0, NULL);
	json_t *after = NULL;
	int status;

	do {
		char *text = json_dumps(doc, JSON_COMPACT);

		status = change_part(client, route, path, text, told, &after);
		free(text);
		if (after != NULL)
			(void)json_object_set_new(doc, "after", after);
	} while (status == CTL_OK && after != NULL);
	json_decref(doc);
	return status;
}
