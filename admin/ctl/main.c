#include "config.h"

#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/ctl/bulk.h"
#include "admin/ctl/client.h"
#include "admin/ctl/ctl.h"
#include "admin/ctl/output.h"
#include "admin/table.h"
#include "lib/base/mem.h"
#include "lib/codec/crypto.h"

/*
 * tamctl NOUN VERB [ARGUMENT]... : a row of the API's table.  Arguments fill
 * the {..} of its path in order; then field=value for a JSON body, or the
 * name of a file (- is standard input) for any other.
 */

struct ctl {
	struct client_options client;
	const char *output; /* table, json, csv or name */
	const char *query;
	struct buf token;
};

/* --- usage ------------------------------------------------------------------------ */

static void
print_commands(FILE *to)
{
	(void)fputs("usage: tamctl [-s SERVER] [-t TOKEN-FILE] [-C CA-FILE] "
	            "[-o table|json|csv|name]\n"
	            "              [-q QUERY] NOUN VERB [ARGUMENT]...\n\n",
	    to);
	for (size_t i = 0; i < API_ROUTE_COUNT; i++) {
		const struct api_route *r = &api_routes[i];

		(void)fprintf(to, "  %-13s %-9s %s\n", r->noun, r->verb,
		    r->summary);
	}
	ctl_print_verbs(to);
	(void)
	    fputs("\n  db            status|plan|migrate|verify|accept-restore"
	          "\n  audit         verify: whether the record is whole; "
	          "retain: for how long"
	          "\n  bootstrap     the first domain, its keys and an "
	          "administrator"
	          "\n  key           add|use|retire: the TAM's own keys"
	          "\n  suit          create|keygen"
	          "\n  revocation-list publish|show: what is revoked, signed"
	          "\n  suspend       a domain; resume: it goes on"
	          "\n  completion    bash|zsh: a script for the shell"
	          "\n  inspect       what a message, envelope, report or token "
	          "says, and holds\n",
	        to);
}

static void
print_fields(const struct api_route *r)
{
	(void)fprintf(stderr, "usage: tamctl %s %s", r->noun, r->verb);
	for (const char *p = strchr(r->path, '{'); p != NULL;
	     p = strchr(p + 1, '{'))
		(void)fprintf(stderr, " %.*s", (int)strcspn(p + 1, "}"), p + 1);
	(void)fprintf(stderr, "%s\n",
	    r->body == BODY_NONE       ? " [NAME=VALUE...]"
	        : r->body == BODY_JSON ? " FIELD=VALUE..."
	                               : " FILE");
	for (const struct api_field *f = r->fields;
	     f != NULL && f->name != NULL; f++)
		(void)fprintf(stderr, "  %-20s %s%s\n", f->name, f->help,
		    f->required ? " (required)" : "");
}

static const struct api_route *
route_named(const char *noun, const char *verb)
{
	for (size_t i = 0; i < API_ROUTE_COUNT; i++) {
		if (strcmp(api_routes[i].noun, noun) == 0 &&
		    strcmp(api_routes[i].verb, verb) == 0)
			return &api_routes[i];
	}
	return NULL;
}

/* "show" is "get", or what stands for it. */
static const struct api_route *
find_route(const char *noun, const char *verb)
{
	const struct api_route *r = route_named(noun, verb);

	if (r == NULL && strcmp(verb, "show") == 0)
		r = route_named(noun, "get");
	if (r == NULL && strcmp(verb, "show") == 0)
		r = route_named(noun, "status");
	return r;
}

/* --- the request -------------------------------------------------------------------- */

static void
add_escaped(struct buf *b, const char *s)
{
	for (; *s != '\0'; s++) {
		if (strchr(
		        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
		        "0123456789-._~",
		        *s) != NULL)
			buf_add_byte(b, (uint8_t)*s);
		else
			buf_printf(b, "%%%02X", (unsigned char)*s);
	}
}

/* Without a body NAME=VALUE is a parameter.  How many there were. */
static int
add_query(int argc, char **argv, char separator, struct buf *path)
{
	int used = 0;

	for (; used < argc && strchr(argv[used], '=') != NULL; used++) {
		size_t n = strcspn(argv[used], "=");

		buf_printf(path, "%c%.*s=", separator, (int)n, argv[used]);
		add_escaped(path, argv[used] + n + 1);
		separator = '&';
	}
	return used;
}

/* How many arguments were used, or -1. */
static int
make_path(const struct ctl *ctl, const struct api_route *r, int argc,
    char **argv, struct buf *path)
{
	int used = 0;

	for (const char *p = r->path; *p != '\0'; p++) {
		if (*p != '{') {
			buf_add_byte(path, (uint8_t)*p);
			continue;
		}
		if (used == argc)
			return -1;
		add_escaped(path, argv[used++]);
		p += strcspn(p, "}");
	}
	if (ctl->query != NULL)
		buf_printf(path, "?%s", ctl->query);
	if (r->body == BODY_NONE)
		used += add_query(argc - used, argv + used,
		    ctl->query == NULL ? '?' : '&', path);
	return used;
}

static json_t *
value_of(const struct api_field *f, const char *text)
{
	json_t *parsed;

	if (f == NULL || f->type == TYPE_STRING) {
		struct buf file;
		json_t *v;

		if (text[0] != '@')
			return json_string(text);
		/* @FILE: a PEM key, say. */
		buf_init(&file, 1 << 20);
		v = ctl_read_file(text + 1, &file)
		    ? json_string(buf_cstr(&file))
		    : NULL;
		buf_fini(&file);
		return v;
	}
	parsed = json_loads(text, JSON_DECODE_ANY, NULL);
	return parsed != NULL ? parsed : json_string(text);
}

static const struct api_field *
field_named(const struct api_route *r, const char *name, size_t n)
{
	for (const struct api_field *f = r->fields;
	     f != NULL && f->name != NULL; f++) {
		if (strlen(f->name) == n && strncmp(f->name, name, n) == 0)
			return f;
	}
	return NULL;
}

static bool
make_json(const struct api_route *r, int argc, char **argv, struct buf *body)
{
	json_t *doc = json_object();
	char *text;
	bool ok = true;

	for (int i = 0; ok && i < argc; i++) {
		size_t n = strcspn(argv[i], "=");
		json_t *value = argv[i][n] != '='
		    ? NULL
		    : value_of(field_named(r, argv[i], n), argv[i] + n + 1);

		if (value == NULL) {
			(void)fprintf(stderr,
			    "tamctl: %s: must be FIELD=VALUE\n", argv[i]);
			ok = false;
			break;
		}
		(void)json_object_setn_new(doc, argv[i], n, value);
	}
	text = json_dumps(doc, JSON_COMPACT);
	buf_add_str(body, text);
	free(text);
	json_decref(doc);
	return ok;
}

static bool
make_body(const struct api_route *r, int argc, char **argv, struct buf *body)
{
	switch (r->body) {
	case BODY_NONE:
		return argc == 0;
	case BODY_JSON:
		return make_json(r, argc, argv, body);
	case BODY_RAW:
	case BODY_BYTES:
	case BODY_FILE:
	case BODY_NDJSON:
	default:
		return argc == 1 && ctl_read_file(argv[0], body);
	}
}

/* --- the request, sent ------------------------------------------------------------ */

static int
call(struct ctl *ctl, const struct api_route *r, int argc, char **argv)
{
	static const char *const types[] = {[BODY_NONE] = NULL,
	    [BODY_JSON] = "application/json",
	    [BODY_RAW] = "application/json",
	    [BODY_BYTES] = "application/suit-envelope+cose",
	    [BODY_FILE] = "application/octet-stream",
	    [BODY_NDJSON] = "application/x-ndjson"};
	struct client_answer answer;
	struct buf path, body;
	int used, status = CTL_USAGE;

	buf_init(&path, 65536);
	buf_init(&body, 64 << 20);
	used = make_path(ctl, r, argc, argv, &path);
	if (used == argc && bulk_is_wanted(buf_cstr(&path))) {
		status =
		    bulk_list(&ctl->client, r, ctl->output, buf_cstr(&path));
	} else if (used >= 0 && argc - used == 1 && r->body == BODY_NDJSON) {
		status = bulk_send(&ctl->client, r, ctl->output,
		    buf_cstr(&path), argv[used]);
	} else if (used < 0 || !make_body(r, argc - used, argv + used, &body)) {
		print_fields(r);
	} else if (r->body == BODY_JSON && bulk_is_in_parts(buf_slice(&body))) {
		status = bulk_change(&ctl->client, r, buf_cstr(&path),
		    buf_slice(&body),
		    &(struct bulk_told){.output = ctl->output});
	} else if (!client_request(&ctl->client, r->method, buf_cstr(&path),
	               types[r->body], buf_slice(&body), &answer)) {
		status = CTL_UNREACHABLE;
		client_answer_fini(&answer);
	} else {
		status = answer.status < 300 ? CTL_OK : CTL_FAILED;
		if (status == CTL_OK)
			output_answer(ctl->output, r, buf_slice(&answer.body));
		else
			bulk_problem(NULL, &answer);
		client_answer_fini(&answer);
	}
	buf_fini(&path);
	buf_fini(&body);
	return status;
}

/* --- main ------------------------------------------------------------------------------ */

static bool
read_token(struct ctl *ctl, const char *file)
{
	const char *token = getenv("TAMCTL_TOKEN");

	buf_init(&ctl->token, 4096);
	if (file != NULL && !ctl_read_file(file, &ctl->token))
		return false;
	while (ctl->token.n > 0 && ctl->token.p[ctl->token.n - 1] <= ' ')
		ctl->token.n--;
	ctl->client.token = ctl->token.n > 0 ? buf_cstr(&ctl->token) : token;
	return true;
}

static int
run_local(int argc, char **argv)
{
	if (argc > 0 && strcmp(argv[0], "audit") == 0)
		return ctl_audit(argc, argv);
	if (argc > 0 && strcmp(argv[0], "revocation-list") == 0)
		return ctl_revocation_list(argc, argv);
	if (argc > 0 &&
	    (strcmp(argv[0], "suspend") == 0 || strcmp(argv[0], "resume") == 0))
		return ctl_suspend(argc, argv);
	if (argc > 0 && strcmp(argv[0], "db") == 0)
		return ctl_db(argc, argv);
	if (argc > 0 && strcmp(argv[0], "bootstrap") == 0)
		return ctl_bootstrap(argc, argv);
	if (argc > 0 && strcmp(argv[0], "key") == 0)
		return ctl_key(argc, argv);
	if (argc > 0 && strcmp(argv[0], "suit") == 0)
		return ctl_suit(argc, argv);
	if (argc > 0 && strcmp(argv[0], "completion") == 0)
		return ctl_completion(argc, argv);
	if (argc > 0 && strcmp(argv[0], "inspect") == 0)
		return ctl_inspect(argc, argv);
	return -1;
}

int
main(int argc, char **argv)
{
	struct ctl ctl = {.output = "table"};
	const char *token_file = getenv("TAMCTL_TOKEN_FILE");
	const struct api_route *r;
	const struct ctl_verb *verb = NULL;
	int c, status;

	ctl.client.server = getenv("TAMCTL_SERVER");
	ctl.client.ca_file = getenv("TAMCTL_CA");
	crypto_init();
	while ((c = getopt(argc, argv, "+s:t:C:o:q:h")) != -1) {
		if (c == 's')
			ctl.client.server = optarg;
		else if (c == 't')
			token_file = optarg;
		else if (c == 'C')
			ctl.client.ca_file = optarg;
		else if (c == 'o')
			ctl.output = optarg;
		else if (c == 'q')
			ctl.query = optarg;
		else {
			print_commands(c == 'h' ? stdout : stderr);
			return c == 'h' ? CTL_OK : CTL_USAGE;
		}
	}
	argc -= optind;
	argv += optind;
	status = run_local(argc, argv);
	if (status >= 0)
		return status;
	if (argc >= 2)
		verb = ctl_verb_named(argv[0], argv[1]);
	r = argc < 2 ? NULL : find_route(argv[0], argv[1]);
	if ((r == NULL && verb == NULL) || !output_is_known(ctl.output)) {
		print_commands(stderr);
		return CTL_USAGE;
	}
	if (ctl.client.server == NULL)
		ctl.client.server = "localhost:8444";
	if (!read_token(&ctl, token_file))
		return CTL_USAGE;
	status = verb != NULL ? verb->run(&ctl.client, argc - 2, argv + 2)
	                      : call(&ctl, r, argc - 2, argv + 2);
	buf_fini(&ctl.token);
	return status;
}
