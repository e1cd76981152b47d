#include "config.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "admin/ctl/answer.h"
#include "admin/ctl/client.h"
#include "admin/ctl/ctl.h"
#include "admin/ctl/output.h"
#include "lib/base/mem.h"

/*
 * tamctl policy diff, policy apply: policies that are kept in files, one each,
 * NAME.json, beside those there are.
 *
 *	read_files   all of them, before anything is done
 *	look         what the policy says now, and its revision
 *	differ       how the two differ, by lines
 *	put          the file, if the policy is still what was looked at
 */

enum {
	DOCUMENT_MAX = 1 << 20,
	LINES_MAX = 4000
};

struct policy_file {
	const char *path;
	char name[65];
	json_t *document;
	json_t *now; /* NULL: there is no such policy */
	json_int_t revision;
};

/* --- files ----------------------------------------------------------------------- */

/* policies/app.json is about "app". */
static bool
name_of(const char *path, char name[65])
{
	const char *slash = strrchr(path, '/');
	const char *base = slash == NULL ? path : slash + 1;
	size_t n = strlen(base);

	if (n < 6 || n > 69 || strcmp(base + n - 5, ".json") != 0)
		return false;
	memcpy(name, base, n - 5);
	name[n - 5] = '\0';
	return strspn(name,
	           "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	           "0123456789._-") == n - 5;
}

static bool
read_one(const char *path, struct policy_file *f)
{
	struct buf text;
	json_error_t where;

	f->path = path;
	if (!name_of(path, f->name)) {
		ctl_complain("%s: must be named NAME.json, of letters, digits, "
		             ". _ and -",
		    path);
		return false;
	}
	buf_init(&text, DOCUMENT_MAX);
	if (ctl_read_file(path, &text)) {
		f->document = json_loadb((const char *)text.p, text.n,
		    JSON_REJECT_DUPLICATES, &where);
		if (f->document == NULL)
			ctl_complain("%s: line %d: %s", path, where.line,
			    where.text);
	}
	buf_fini(&text);
	return f->document != NULL;
}

static void
free_files(struct policy_file *files, int n)
{
	for (int i = 0; i < n; i++) {
		json_decref(files[i].document);
		json_decref(files[i].now);
	}
	free(files);
}

/* NULL after complaining. */
static struct policy_file *
read_files(const char *verb, int n, char **paths)
{
	struct policy_file *files =
	    mem_new_n((size_t)n + 1, struct policy_file);

	if (n == 0)
		(void)fprintf(stderr, "usage: tamctl policy %s NAME.json...\n",
		    verb);
	for (int i = 0; i < n; i++) {
		if (read_one(paths[i], &files[i]))
			continue;
		free_files(files, n);
		return NULL;
	}
	if (n > 0)
		return files;
	free(files);
	return NULL;
}

/* --- policies ---------------------------------------------------------------------- */

static int
look(struct client *client, struct policy_file *f)
{
	struct client_answer a;
	json_t *doc = NULL;
	char path[96];
	int status;

	(void)snprintf(path, sizeof(path), "/v1/policies/%s", f->name);
	status = client_ask(client,
	    &(struct client_request){.method = "GET", .path = path}, &a);
	if (status == CTL_OK && a.status != 404)
		status = answer_read(&a, f->path, &doc);
	if (status == CTL_OK && a.status != 404) {
		f->now = json_incref(json_object_get(doc, "document"));
		f->revision =
		    json_integer_value(json_object_get(doc, "revision"));
		if (f->now == NULL || f->revision == 0) {
			ctl_complain("%s: the server's answer is not a policy",
			    f->path);
			status = CTL_NO_ANSWER;
		}
	}
	json_decref(doc);
	client_answer_fini(&a);
	return status;
}

static bool
is_same(const struct policy_file *f)
{
	return f->now != NULL && json_equal(f->now, f->document) == 1;
}

/* --- how they differ ------------------------------------------------------------------ */

struct text {
	char *whole;
	size_t n;
	char *lines[LINES_MAX];
};

/* As it is printed; the rest of a very long one is one line. */
static void
split(json_t *doc, struct text *t)
{
	char *p;

	t->whole = doc == NULL
	    ? mem_strdup("")
	    : json_dumps(doc, JSON_INDENT(2) | JSON_SORT_KEYS);
	t->n = 0;
	for (p = t->whole; *p != '\0' && t->n < LINES_MAX;) {
		t->lines[t->n++] = p;
		p += strcspn(p, "\n");
		if (*p == '\n' && t->n < LINES_MAX)
			*p++ = '\0';
	}
}

/* The longest lists of lines that both have: of what begins at line i of a and
 * at line k of b. */
static uint16_t *
common(const struct text *a, const struct text *b)
{
	size_t width = b->n + 1;
	uint16_t *table = mem_calloc((a->n + 1) * width, sizeof(*table));

	for (size_t i = a->n; i-- > 0;) {
		for (size_t k = b->n; k-- > 0;) {
			uint16_t *at = &table[i * width + k];

			if (strcmp(a->lines[i], b->lines[k]) == 0)
				*at = (uint16_t)(at[width + 1] + 1);
			else
				*at = at[width] > at[1] ? at[width] : at[1];
		}
	}
	return table;
}

static void
print_line(char side, const char *line)
{
	(void)putchar(side);
	output_json(slice_str(line));
	(void)putchar('\n');
}

static void
print_lines(const struct text *a, const struct text *b)
{
	uint16_t *table = common(a, b);
	size_t width = b->n + 1, i = 0, k = 0;

	while (i < a->n || k < b->n) {
		const uint16_t *at = &table[i * width + k];

		if (i < a->n && k < b->n &&
		    strcmp(a->lines[i], b->lines[k]) == 0) {
			print_line(' ', a->lines[i++]);
			k++;
		} else if (k == b->n || (i < a->n && at[width] >= at[1])) {
			print_line('-', a->lines[i++]);
		} else {
			print_line('+', b->lines[k++]);
		}
	}
	free(table);
}

static void
differ(const struct policy_file *f)
{
	struct text *a = mem_new(struct text), *b = mem_new(struct text);

	if (f->now == NULL)
		(void)printf("--- %s, none\n", f->name);
	else
		(void)printf("--- %s, revision %lld\n", f->name,
		    (long long)f->revision);
	(void)printf("+++ %s\n", f->path);
	split(f->now, a);
	split(f->document, b);
	print_lines(a, b);
	free(a->whole);
	free(b->whole);
	free(a);
	free(b);
}

/* --- putting --------------------------------------------------------------------------- */

static int
put(struct client *client, const struct policy_file *f)
{
	char path[96], revision[32];
	char *body = json_dumps(f->document, JSON_COMPACT);
	json_t *doc;
	int status;

	(void)snprintf(path, sizeof(path), "/v1/policies/%s", f->name);
	(void)snprintf(revision, sizeof(revision), "\"%lld\"",
	    (long long)f->revision);
	status = answer_ask(client,
	    &(struct client_request){.method = "PUT",
	        .path = path,
	        .content_type = "application/json",
	        .if_match = f->now == NULL ? NULL : revision,
	        .creates = f->now == NULL,
	        .body = slice_str(body)},
	    f->path, &doc);
	if (status == CTL_OK)
		(void)printf("%s revision %lld\n", f->name,
		    (long long)json_integer_value(
		        json_object_get(doc, "revision")));
	json_decref(doc);
	free(body);
	return status;
}

/* --- the verbs ------------------------------------------------------------------------ */

static int
diff_one(struct client *client, const struct policy_file *f)
{
	(void)client;
	if (is_same(f))
		return CTL_OK;
	differ(f);
	return CTL_FAILED;
}

static int
apply_one(struct client *client, const struct policy_file *f)
{
	if (!is_same(f))
		return put(client, f);
	(void)printf("%s unchanged\n", f->name);
	return CTL_OK;
}

/* Every file is looked at, whatever became of those before. */
static int
each(struct client *client, const char *verb, int argc, char **argv,
    int (*one)(struct client *, const struct policy_file *))
{
	struct policy_file *files = read_files(verb, argc, argv);
	int status = CTL_OK, worst = CTL_OK;

	if (files == NULL)
		return CTL_USAGE;
	for (int i = 0;
	     i < argc && status != CTL_UNREACHABLE && status != CTL_NO_ANSWER;
	     i++) {
		status = look(client, &files[i]);
		if (status == CTL_OK)
			status = one(client, &files[i]);
		worst = status > worst ? status : worst;
	}
	free_files(files, argc);
	return worst;
}

int
ctl_policy_diff(struct client *client, int argc, char **argv)
{
	return each(client, "diff", argc, argv, diff_one);
}

int
ctl_policy_apply(struct client *client, int argc, char **argv)
{
	return each(client, "apply", argc, argv, apply_one);
}
