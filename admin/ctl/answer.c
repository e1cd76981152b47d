#include "config.h"

#include "admin/ctl/answer.h"

#include "admin/ctl/ctl.h"
#include "admin/ctl/output.h"

static json_t *
parse(const struct client_answer *a, json_error_t *why)
{
	return json_loadb((const char *)a->body.p, a->body.n,
	    JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, why);
}

static const char *
text_of(const json_t *doc, const char *name)
{
	return json_string_value(json_object_get(doc, name));
}

bool
answer_has_code(const struct client_answer *a, const char *code)
{
	json_error_t why;
	json_t *doc = a->is_json ? parse(a, &why) : NULL;
	const char *text = text_of(doc, "code");
	bool has = text != NULL && strcmp(text, code) == 0;

	json_decref(doc);
	return has;
}

/* "NAME: 404 not_found at /x: there is no such object" */
static void
tell_problem(const char *about, int status, const json_t *doc)
{
	const char *code = text_of(doc, "code");
	const char *detail = text_of(doc, "detail");
	const char *pointer =
	    text_of(json_array_get(json_object_get(doc, "errors"), 0),
	        "pointer");

	ctl_complain("%s%s%d%s%s%s%s: %s", about == NULL ? "" : about,
	    about == NULL ? "" : ": ", status, code == NULL ? "" : " ",
	    code == NULL ? "" : code, pointer == NULL ? "" : " at ",
	    pointer == NULL ? "" : pointer,
	    detail != NULL    ? detail
	        : doc == NULL ? "the answer does not say why"
	                      : "the server does not say why");
}

static int
tell_refusal(const struct client_answer *a, const char *about)
{
	json_error_t why;
	json_t *doc = a->is_json ? parse(a, &why) : NULL;

	tell_problem(about, a->status, doc);
	if (a->status == 401)
		ctl_complain("give a token with -t, TAMCTL_TOKEN_FILE or "
		             "TAMCTL_TOKEN");
	json_decref(doc);
	return CTL_FAILED;
}

static int
tell_proposal(const json_t *doc)
{
	const json_t *id = json_object_get(doc, "id");

	if (json_is_integer(id))
		ctl_complain("waits for a second person: tamctl proposal "
		             "approve %lld",
		    (long long)json_integer_value(id));
	else
		ctl_complain("waits for a second person: tamctl proposal list");
	return CTL_PROPOSED;
}

int
answer_read(const struct client_answer *a, const char *about, json_t **document)
{
	json_error_t why;

	*document = NULL;
	if (a->status >= 400 && a->status < 600)
		return tell_refusal(a, about);
	if (a->status < 200 || a->status > 204) {
		ctl_complain("the server answered %d, as tamd never does; is "
		             "it the admin listener of tamd?",
		    a->status);
		return CTL_NO_ANSWER;
	}
	if (!a->is_json || a->status == 204)
		return CTL_OK;
	*document = parse(a, &why);
	if (*document == NULL) {
		ctl_complain("the server's answer is not JSON: line %d: %s",
		    why.line, why.text);
		return CTL_NO_ANSWER;
	}
	return a->status == 202 ? tell_proposal(*document) : CTL_OK;
}

int
answer_ask(struct client *client, const struct client_request *q,
    const char *about, json_t **document)
{
	struct client_answer a;
	int status = client_ask(client, q, &a);

	*document = NULL;
	if (status == CTL_OK)
		status = answer_read(&a, about, document);
	if (status == CTL_OK && *document == NULL) {
		ctl_complain("the server answered no JSON");
		status = CTL_NO_ANSWER;
	}
	client_answer_fini(&a);
	return status;
}
