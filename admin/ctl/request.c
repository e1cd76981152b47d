#include "config.h"

#include "admin/ctl/request.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/ctl/ctl.h"
#include "admin/ctl/output.h"
#include "lib/base/nearest.h"
#include "lib/base/number.h"

enum {
	PATH_MAX_BYTES = 1 << 16,
	BODY_MAX = 64 << 20,
	VALUE_MAX = 1 << 20
};

void
request_print_usage(const struct api_route *r)
{
	const struct api_field *query[API_QUERY_MAX];
	size_t n = api_query_fields(r, query);

	(void)fprintf(stderr, "usage: tamctl %s%s %s",
	    n > 0 ? "[-q QUERY] " : "", r->noun, r->verb);
	for (const char *p = strchr(r->path, '{'); p != NULL;
	     p = strchr(p + 1, '{'))
		(void)fprintf(stderr, " %.*s", (int)strcspn(p + 1, "}"), p + 1);
	(void)fprintf(stderr, "%s\n",
	    r->body == BODY_NONE       ? n > 0 ? " [NAME=VALUE...]" : ""
	        : r->body == BODY_JSON ? " FIELD=VALUE..."
	                               : " FILE");
	for (const struct api_field *f = r->fields;
	     f != NULL && f->name != NULL; f++)
		(void)fprintf(stderr, "  %-20s %s%s\n", f->name, f->help,
		    f->required ? " (required)" : "");
	for (size_t i = 0; i < n; i++)
		(void)fprintf(stderr, "  %s%-*s %s\n",
		    r->body == BODY_NONE ? "" : "-q ",
		    r->body == BODY_NONE ? 20 : 17, query[i]->name,
		    query[i]->help);
}

/* --- values ----------------------------------------------------------------------- */

/* RFC 7468: every sort of private key has these words in its label. */
static bool
has_private_key(struct slice text)
{
	static const char words[] = "PRIVATE KEY-----";

	return text.n > 0 &&
	    memmem(text.p, text.n, words, sizeof(words) - 1) != NULL;
}

bool
request_value(const char *text, struct buf *out)
{
	if (text[0] != '@' || text[1] == '@') {
		buf_add_str(out, text + (text[0] == '@'));
	} else if (!ctl_read_file(text + 1, out)) {
		ctl_complain("the text '%s' itself is written @%s", text, text);
		return false;
	}
	if (has_private_key(buf_slice(out))) {
		ctl_complain("%s: is a private key; it was not sent",
		    text[0] == '@' ? text + 1 : "a value");
		return false;
	}
	if (!out->full && memchr(buf_cstr(out), '\0', out->n) == NULL)
		return true;
	ctl_complain("%s: is no text, or too long a one", text);
	return false;
}

static json_t *
string_of(const char *name, const char *text)
{
	struct buf value;
	json_t *v = NULL;

	buf_init(&value, VALUE_MAX);
	if (request_value(text, &value)) {
		v = json_string(buf_cstr(&value));
		if (v == NULL)
			ctl_complain("%s: must be UTF-8", name);
	}
	buf_fini(&value);
	return v;
}

static json_t *
integer_of(const char *name, const char *text)
{
	int64_t v;

	if (number_parse(text, INT64_MIN, INT64_MAX, &v))
		return json_integer(v);
	ctl_complain("%s: must be a whole number, not '%s'", name, text);
	return NULL;
}

static json_t *
boolean_of(const char *name, const char *text)
{
	if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)
		return json_boolean(text[0] == 't');
	ctl_complain("%s: must be true or false, not '%s'", name, text);
	return NULL;
}

static json_t *
structure_of(const struct api_field *f, const char *text)
{
	json_t *v = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	bool list = f->type == TYPE_STRINGS;

	if (v != NULL && (list ? json_is_array(v) : json_is_object(v)))
		return v;
	json_decref(v);
	ctl_complain("%s: must be a JSON %s, like %s", f->name,
	    list ? "array" : "object",
	    list ? "[\"a\", \"b\"]" : "{\"name\": \"value\"}");
	return NULL;
}

/* NULL after complaining. */
static json_t *
value_of(const struct api_field *f, const char *text)
{
	switch (f->type) {
	case TYPE_STRING:
		return string_of(f->name, text);
	case TYPE_INTEGER:
		return integer_of(f->name, text);
	case TYPE_BOOLEAN:
		return boolean_of(f->name, text);
	case TYPE_OBJECT:
	case TYPE_STRINGS:
	case TYPE_PATCH:
	default:
		return structure_of(f, text);
	}
}

/* --- the path and its query ------------------------------------------------------------ */

static const char unreserved[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

static void
add_escaped(struct buf *b, const char *s, size_t n, const char *as_is)
{
	for (size_t i = 0; i < n; i++) {
		if (s[i] != '\0' &&
		    (strchr(unreserved, s[i]) != NULL ||
		        strchr(as_is, s[i]) != NULL))
			buf_add_byte(b, (uint8_t)s[i]);
		else
			buf_printf(b, "%%%02X", (unsigned char)s[i]);
	}
}

static void
complain_unknown(const char *what, const char *name, size_t n,
    const struct nearest *near)
{
	ctl_complain("there is no %s '%.*s'%s%s%s", what, (int)n, name,
	    near->found == NULL ? "" : "; did you mean '",
	    near->found == NULL ? "" : near->found,
	    near->found == NULL ? "" : "'?");
}

/* NAME=VALUE, where the value may be escaped already. */
static bool
check_parameter(const struct api_route *r, const char *text, size_t n)
{
	size_t name_n = strcspn(text, "=&");
	const struct api_field *f = api_query_field(r, text, name_n);
	const struct api_field *known[API_QUERY_MAX];
	char name[NEAREST_NAME_MAX + 1], value[32];
	struct nearest near = {.name = name};
	json_t *v;

	(void)snprintf(name, sizeof(name), "%.*s", (int)name_n, text);
	if (f == NULL) {
		for (size_t i = api_query_fields(r, known); i > 0; i--)
			nearest_offer(&near, known[i - 1]->name);
		complain_unknown("query parameter", text, name_n, &near);
		return false;
	}
	if (name_n == n || f->type == TYPE_STRING)
		return true;
	(void)snprintf(value, sizeof(value), "%.*s", (int)(n - name_n - 1),
	    text + name_n + 1);
	if (api_is_list(r) && strcmp(name, "limit") == 0 &&
	    strcmp(value, "all") == 0)
		return true;
	v = value_of(f, value);
	json_decref(v);
	return v != NULL;
}

static bool
add_raw_query(const struct api_route *r, const char *query, struct buf *path)
{
	for (const char *p = query; *p != '\0';) {
		size_t n = strcspn(p, "&");

		if (!check_parameter(r, p, n))
			return false;
		p += n + (p[n] == '&');
	}
	buf_add_byte(path, '?');
	/* A user who escaped something did so with %. */
	add_escaped(path, query, strlen(query), "=&%+!$'()*,;:@/?");
	return true;
}

/* Without a body NAME=VALUE is a parameter. */
static bool
add_query(const struct api_route *r, int argc, char **argv, char separator,
    struct buf *path)
{
	for (int i = 0; i < argc; i++) {
		size_t n = strcspn(argv[i], "=");

		if (argv[i][n] != '=') {
			ctl_complain("%s: must be NAME=VALUE", argv[i]);
			return false;
		}
		if (!check_parameter(r, argv[i], strlen(argv[i])))
			return false;
		buf_printf(path, "%c%.*s=", separator, (int)n, argv[i]);
		add_escaped(path, argv[i] + n + 1, strlen(argv[i] + n + 1), "");
		separator = '&';
	}
	return true;
}

/* How many arguments the path took, or -1 when there are too few. */
static int
fill_path(const struct api_route *r, int argc, char **argv, struct buf *path)
{
	int used = 0;

	for (const char *p = r->path; *p != '\0'; p++) {
		if (*p != '{') {
			buf_add_byte(path, (uint8_t)*p);
			continue;
		}
		if (used == argc)
			return -1;
		add_escaped(path, argv[used], strlen(argv[used]), "");
		used++;
		p += strcspn(p, "}");
	}
	return used;
}

/* --- the body ------------------------------------------------------------------------------ */

static const struct api_field *
field_named(const struct api_route *r, const char *name, size_t n,
    struct nearest *near)
{
	for (const struct api_field *f = r->fields;
	     f != NULL && f->name != NULL; f++) {
		if (strlen(f->name) == n && strncmp(f->name, name, n) == 0)
			return f;
		nearest_offer(near, f->name);
	}
	return NULL;
}

static bool
add_field(const struct api_route *r, const char *text, json_t *doc)
{
	size_t n = strcspn(text, "=");
	char name[NEAREST_NAME_MAX + 1];
	struct nearest near = {.name = name};
	const struct api_field *f;
	json_t *value;

	(void)snprintf(name, sizeof(name), "%.*s", (int)n, text);
	if (text[n] != '=') {
		ctl_complain("%s: must be FIELD=VALUE", text);
		return false;
	}
	f = field_named(r, text, n, &near);
	if (f == NULL) {
		complain_unknown("field", text, n, &near);
		return false;
	}
	if (json_object_get(doc, f->name) != NULL) {
		ctl_complain("%s: is given twice", f->name);
		return false;
	}
	value = value_of(f, text + n + 1);
	return value != NULL && json_object_set_new(doc, f->name, value) == 0;
}

static bool
has_required(const struct api_route *r, const json_t *doc)
{
	for (const struct api_field *f = r->fields;
	     f != NULL && f->name != NULL; f++) {
		if (f->required && json_object_get(doc, f->name) == NULL) {
			ctl_complain("%s= is missing: %s", f->name, f->help);
			return false;
		}
	}
	return true;
}

static bool
make_json(const struct api_route *r, int argc, char **argv, struct buf *body)
{
	json_t *doc = json_object();
	bool ok = true;

	for (int i = 0; ok && i < argc; i++)
		ok = add_field(r, argv[i], doc);
	ok = ok && has_required(r, doc);
	if (ok) {
		char *text = json_dumps(doc, JSON_COMPACT);

		buf_add_str(body, text);
		free(text);
	}
	json_decref(doc);
	return ok;
}

static bool
make_file(const struct api_route *r, const char *file, struct buf *body)
{
	if (!ctl_read_file(file, body))
		return false;
	/* A payload may be whatever devices want. */
	if (r->body == BODY_FILE || !has_private_key(buf_slice(body)))
		return true;
	ctl_complain("%s: has a private key in it; it was not sent", file);
	return false;
}

static bool
make_body(const struct api_route *r, int argc, char **argv,
    struct request_text *q)
{
	static const char *const types[] = {[BODY_NONE] = NULL,
	    [BODY_JSON] = "application/json",
	    [BODY_RAW] = "application/json",
	    [BODY_BYTES] = "application/suit-envelope+cose",
	    [BODY_FILE] = "application/octet-stream",
	    [BODY_NDJSON] = "application/x-ndjson"};

	q->content_type = types[r->body];
	if (r->body == BODY_JSON)
		return make_json(r, argc, argv, &q->body);
	if (argc != 1) {
		request_print_usage(r);
		return false;
	}
	if (r->body != BODY_NDJSON)
		return make_file(r, argv[0], &q->body);
	q->file = argv[0];
	return true;
}

bool
request_make(const struct api_route *r, const char *query, int argc,
    char **argv, struct request_text *q)
{
	int used;
	bool ok;

	*q = (struct request_text){0};
	buf_init(&q->path, PATH_MAX_BYTES);
	buf_init(&q->body, BODY_MAX);
	used = fill_path(r, argc, argv, &q->path);
	if (used < 0) {
		request_print_usage(r);
		return false;
	}
	ok = query == NULL || add_raw_query(r, query, &q->path);
	if (ok && r->body == BODY_NONE)
		ok = add_query(r, argc - used, argv + used,
		    query == NULL ? '?' : '&', &q->path);
	else if (ok)
		ok = make_body(r, argc - used, argv + used, q);
	if (ok && q->path.full) {
		ctl_complain("the arguments are too long");
		ok = false;
	}
	return ok;
}

void
request_fini(struct request_text *q)
{
	buf_fini(&q->path);
	buf_fini(&q->body);
}
