#include "config.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/ctl/answer.h"
#include "admin/ctl/bulk.h"
#include "admin/ctl/client.h"
#include "admin/ctl/ctl.h"
#include "admin/ctl/output.h"
#include "admin/ctl/request.h"
#include "admin/table.h"
#include "lib/base/number.h"
#include "lib/codec/crypto.h"

/*
 * tamctl NOUN VERB [ARGUMENT]... : a row of the API's table.  Arguments fill
 * the {..} of its path in order; then field=value for a JSON body, or the
 * name of a file (- is standard input) for any other.
 */

enum {
	TOKEN_MAX = 4096,
	TIMEOUT_S = 300,
	TIMEOUT_MAX_S = 86400
};

struct ctl {
	struct client_options options;
	struct client *client;
	const char *output; /* table, json, csv or name */
	const char *query, *token_file, *timeout;
	const char *path; /* of the request, with its query */
	struct buf token;
};

/* --- usage ------------------------------------------------------------------------ */

static void
print_commands(FILE *to)
{
	(void)fputs("usage: tamctl [-s SERVER] [-t TOKEN-FILE] [-C CA-FILE] "
	            "[-T SECONDS]\n"
	            "              [-o table|json|csv|name] [-q QUERY] "
	            "NOUN VERB [ARGUMENT]...\n\n",
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

/* --- one command ------------------------------------------------------------------ */

static int
ask_once(struct ctl *ctl, const struct api_route *r,
    const struct request_text *q)
{
	struct client_answer a;
	json_t *doc = NULL;
	int status = client_ask(ctl->client,
	    &(struct client_request){.method = r->method,
	        .path = ctl->path,
	        .content_type = q->content_type,
	        .body = buf_slice(&q->body)},
	    &a);

	if (status == CTL_OK)
		status = answer_read(&a, NULL, &doc);
	if (status == CTL_OK || status == CTL_PROPOSED) {
		int printed =
		    output_answer(ctl->output, r, buf_slice(&a.body), doc);

		status = status == CTL_OK ? printed : status;
	}
	json_decref(doc);
	client_answer_fini(&a);
	return status;
}

static int
call(struct ctl *ctl, const struct api_route *r, int argc, char **argv)
{
	struct request_text q;
	struct bulk_call bulk = {.client = ctl->client,
	    .route = r,
	    .output = ctl->output};
	int status = CTL_USAGE;

	if (request_make(r, ctl->query, argc, argv, &q)) {
		ctl->path = bulk.path = buf_cstr(&q.path);
		if (api_is_list(r))
			status = bulk_list(&bulk);
		else if (q.file != NULL)
			status = bulk_send(&bulk, q.file);
		else if (r->body == BODY_JSON &&
		    bulk_is_in_parts(buf_slice(&q.body)))
			status = bulk_change(ctl->client, r, ctl->path,
			    buf_slice(&q.body),
			    &(struct bulk_told){.output = ctl->output});
		else
			status = ask_once(ctl, r, &q);
	}
	request_fini(&q);
	return status;
}

/* --- main ------------------------------------------------------------------------------ */

/* The token of the file, which nobody else may read, else of the environment. */
static bool
read_token(struct ctl *ctl)
{
	const char *file = ctl->token_file;
	bool ok = true;

	buf_init(&ctl->token, TOKEN_MAX);
	ctl->options.token = getenv("TAMCTL_TOKEN");
	if (file == NULL)
		return true;
	ok = strcmp(file, "-") == 0 ? ctl_read_file(file, &ctl->token)
	                            : ctl_read_secret(file, &ctl->token);
	while (ctl->token.n > 0 && ctl->token.p[ctl->token.n - 1] <= ' ')
		ctl->token.n--;
	if (ok && ctl->token.n == 0) {
		ctl_complain("%s: there is no token in it", file);
		ok = false;
	}
	ctl->options.token = buf_cstr(&ctl->token);
	return ok;
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

static bool
set_option(struct ctl *ctl, int c)
{
	switch (c) {
	case 's':
		ctl->options.server = optarg;
		return true;
	case 't':
		ctl->token_file = optarg;
		return true;
	case 'C':
		ctl->options.ca_file = optarg;
		return true;
	case 'T':
		ctl->timeout = optarg;
		return true;
	case 'o':
		ctl->output = optarg;
		return output_is_known(optarg);
	case 'q':
		ctl->query = optarg;
		return true;
	default:
		return false;
	}
}

static bool
read_timeout(struct ctl *ctl)
{
	ctl->options.timeout_s = TIMEOUT_S;
	if (ctl->timeout == NULL ||
	    number_parse(ctl->timeout, 1, TIMEOUT_MAX_S,
	        &ctl->options.timeout_s))
		return true;
	ctl_complain("the time-out must be from 1 to %d seconds, not '%s'",
	    TIMEOUT_MAX_S, ctl->timeout);
	return false;
}

/* NOUN VERB [ARGUMENT]... */
static int
run_remote(struct ctl *ctl, int argc, char **argv)
{
	const struct ctl_verb *verb =
	    argc < 2 ? NULL : ctl_verb_named(argv[0], argv[1]);
	const struct api_route *r =
	    argc < 2 ? NULL : find_route(argv[0], argv[1]);
	int status = CTL_USAGE;

	if (r == NULL && verb == NULL) {
		print_commands(stderr);
		return CTL_USAGE;
	}
	if (verb != NULL && ctl->query != NULL) {
		ctl_complain("%s %s takes no -q", argv[0], argv[1]);
		return CTL_USAGE;
	}
	if (read_timeout(ctl) && read_token(ctl))
		ctl->client = client_new(&ctl->options);
	if (ctl->client != NULL)
		status = verb != NULL
		    ? verb->run(ctl->client, argc - 2, argv + 2)
		    : call(ctl, r, argc - 2, argv + 2);
	client_free(ctl->client);
	crypto_zero(ctl->token.p, ctl->token.n);
	buf_fini(&ctl->token);
	return status;
}

static void
read_environment(struct ctl *ctl)
{
	const char *server = getenv("TAMCTL_SERVER");

	ctl->options.server = server == NULL ? "localhost" : server;
	ctl->options.ca_file = getenv("TAMCTL_CA");
	ctl->token_file = getenv("TAMCTL_TOKEN_FILE");
	ctl->timeout = getenv("TAMCTL_TIMEOUT");
}

int
main(int argc, char **argv)
{
	struct ctl ctl = {.output = "table"};
	int c, status;

	output_start();
	crypto_init();
	read_environment(&ctl);
	while ((c = getopt(argc, argv, "+s:t:C:T:o:q:h")) != -1) {
		if (!set_option(&ctl, c)) {
			print_commands(c == 'h' ? stdout : stderr);
			return output_finish(c == 'h' ? CTL_OK : CTL_USAGE);
		}
	}
	argc -= optind;
	argv += optind;
	status = run_local(argc, argv);
	if (status < 0)
		status = run_remote(&ctl, argc, argv);
	return output_finish(status);
}
