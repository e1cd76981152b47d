#include "config.h"

#include "admin/proposals.h"

#include <assert.h>
#include <stdlib.h>

#include "admin/conditions.h"
#include "admin/learn.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/utf8.h"
#include "storage/admin_statements.h"

enum {
	LIFE_S = 7 * 86400,
	BODY_MAX = 1 << 20 /* as the table proposal has it */
};

/* --- what is kept ------------------------------------------------------------------- */

/* A document with sorted members and no blanks (as RFC 8785 has it, but for the
 * text of fractions): what a second person reads is what is done. */
static struct slice
canonical(struct api_request *r, const json_t *doc)
{
	char *text = json_dumps(doc, JSON_COMPACT | JSON_SORT_KEYS);
	struct slice out = slice_str(arena_strdup(r->arena, slice_str(text)));

	free(text);
	return out;
}

static enum tam_err
canonical_document(struct api_request *r, struct slice *out)
{
	json_error_t where;
	json_t *doc = json_loadb((const char *)r->body.p, r->body.n,
	    JSON_REJECT_DUPLICATES, &where);

	if (doc == NULL)
		return api_problem(r, 400, "malformed_json", NULL,
		    "line %d, column %d: %s", where.line, where.column,
		    where.text);
	*out = canonical(r, doc);
	json_decref(doc);
	return TAM_OK;
}

/* Lines become an array; blank ones are left out. */
static enum tam_err
canonical_lines(struct api_request *r, struct slice *out)
{
	json_t *all = json_array(), *doc;
	struct slice rest = r->body;
	enum tam_err err = TAM_OK;
	size_t line = 0;

	while (err == TAM_OK && rest.n > 0) {
		const uint8_t *end = memchr(rest.p, '\n', rest.n);
		size_t n = end == NULL ? rest.n : (size_t)(end - rest.p);

		line++;
		doc = json_loadb((const char *)rest.p, n,
		    JSON_REJECT_DUPLICATES, NULL);
		if (doc != NULL)
			(void)json_array_append_new(all, doc);
		else if (utf8_trim((struct slice){rest.p, n}).n > 0)
			err = api_problem(r, 400, "malformed_json", NULL,
			    "line %zu is not JSON", line);
		rest.p += n + (end != NULL);
		rest.n -= n + (end != NULL);
	}
	if (err == TAM_OK)
		*out = canonical(r, all);
	json_decref(all);
	return err;
}

static enum tam_err
canonical_body(struct api_request *r, struct slice *out)
{
	enum tam_err err = TAM_OK;

	*out = slice_none();
	switch (r->route->body) {
	case BODY_JSON:
		*out = canonical(r, r->json);
		break;
	case BODY_RAW:
		err = canonical_document(r, out);
		break;
	case BODY_NDJSON:
		err = canonical_lines(r, out);
		break;
	case BODY_NONE:
		break;
	case BODY_BYTES:
	case BODY_FILE:
	default:
		abort(); /* a route whose body cannot be shown is guarded */
	}
	if (err != TAM_OK || out->n <= BODY_MAX)
		return err;
	return api_problem(r, 413, "too_large", NULL,
	    "what a second person has to read may have %d bytes at most: "
	    "ask for it in parts",
	    BODY_MAX);
}

/* The lines again, of an array that was kept. */
static struct slice
lines_of(struct api_request *r, struct slice kept)
{
	json_t *all = json_loadb((const char *)kept.p, kept.n,
	    JSON_REJECT_DUPLICATES, NULL);
	json_t *doc;
	struct slice lines;
	struct buf b;
	size_t i;

	buf_init(&b, (size_t)2 * BODY_MAX);
	json_array_foreach(all, i, doc)
	{
		buf_add_slice(&b, canonical(r, doc));
		buf_add_str(&b, "\n");
	}
	json_decref(all);
	lines = arena_dup(r->arena, buf_slice(&b));
	buf_fini(&b);
	return lines;
}

/* --- stopping ----------------------------------------------------------------------- */

static enum tam_err
asks_for_two(struct api_request *r, bool *two)
{
	const char *sort = api_two_persons_for(r->route);
	struct sql_result *rows;
	enum tam_err err = API_EXEC(r, &rows, SQL_DOMAIN_TWO_PERSONS,
	    r->domain_text, sort == NULL ? "" : sort);

	if (err != TAM_OK)
		return err;
	*two = sql_int(rows, 0, 0) != 0;
	sql_result_free(rows);
	return TAM_OK;
}

static const char *
path_params(struct api_request *r)
{
	struct slice texts[API_PARAMS_MAX];
	size_t n = 0;

	while (n < API_PARAMS_MAX && r->params[n] != NULL) {
		texts[n] = slice_str(r->params[n]);
		n++;
	}
	return api_bytea_array(r, texts, n);
}

static enum tam_err
keep(struct api_request *r, const char *state, const char *reason,
    const char **id)
{
	int64_t now_us = clock_cluster_us();
	struct sql_result *rows;
	struct slice body;
	enum tam_err err = canonical_body(r, &body);

	if (err == TAM_OK)
		err = API_EXEC(r, &rows, SQL_PROPOSAL_ADD, r->domain_text,
		    r->route->name, path_params(r),
		    arena_strdup(r->arena, r->query), sql_bytea(r->arena, body),
		    r->principal, state, reason, api_number(r, now_us),
		    api_number(r, now_us + LIFE_S * CLOCK_SECOND), r->if_match);
	if (err != TAM_OK)
		return err;
	*id = arena_strdup(r->arena, slice_str(sql_text(rows, 0, 0)));
	sql_result_free(rows);
	return api_audit(r, arena_printf(r->arena, "proposal %s", *id), reason,
	    NULL, NULL);
}

static enum tam_err
propose(struct api_request *r)
{
	const char *id;
	enum tam_err err = keep(r, "pending", "", &id);

	if (err != TAM_OK)
		return err;
	r->status = 202;
	return API_ONE(r, SQL_PROPOSAL_GET, id);
}

/* Break the glass: at once, and loudly. */
static enum tam_err
go_alone(struct api_request *r, const char *reason)
{
	const char *id;

	log_error("done_alone", "request=%s actor=%s domain=%s action=%s",
	    r->id, r->principal, r->domain, r->route->name);
	return keep(r, "alone", reason, &id);
}

/* One that only counts changes nothing. */
static bool
is_dry(const struct api_request *r)
{
	return json_is_true(json_object_get(r->json, "dry_run")) ||
	    api_query_true(r, "dry_run");
}

enum tam_err
proposal_stop(struct api_request *r, bool *done)
{
	bool two = false;
	enum tam_err err;

	*done = false;
	if ((r->route->roles & (TWO_PERSONS | TWO_PERSONS_FOR)) == 0 ||
	    r->approved || is_dry(r))
		return TAM_OK;
	err = asks_for_two(r, &two);
	if (err != TAM_OK || !two)
		return err;
	if (r->alone != NULL)
		return go_alone(r, r->alone);
	*done = true;
	return propose(r);
}

/* --- deciding -------------------------------------------------------------------------- */

static bool
is_id(const char *s)
{
	return s[0] != '\0' && strlen(s) <= 18 &&
	    strspn(s, "0123456789") == strlen(s);
}

static enum tam_err
no_such(struct api_request *r)
{
	return api_problem(r, 404, "not_found", NULL,
	    "there is no such proposal");
}

enum tam_err
api_proposal_list(struct api_request *r)
{
	return api_page(r, SQL_PROPOSAL_LIST, "0");
}

enum tam_err
api_proposal_get(struct api_request *r)
{
	return is_id(r->params[0]) ? API_ONE(r, SQL_PROPOSAL_GET, r->params[0])
	                           : no_such(r);
}

/* A proposal as it was kept. */
struct kept {
	const struct api_route *route;
	const char *id, *state, *author, *if_match;
	const char *moved;        /* what it acts on and is not as it was */
	int author_role, my_role; /* now; 0: none */
	size_t n_params;
	const char *params[API_PARAMS_MAX];
	const char *query;
	struct slice body;
	bool expired;
};

static const struct api_route *
route_named(const char *name)
{
	for (size_t i = 0; i < API_ROUTE_COUNT; i++) {
		if (strcmp(api_routes[i].name, name) == 0)
			return &api_routes[i];
	}
	return NULL;
}

static const char *
copied(struct api_request *r, const struct sql_result *rows, int column)
{
	const char *text = sql_text(rows, 0, column);

	return text == NULL ? NULL : arena_strdup(r->arena, slice_str(text));
}

static void
read_row(struct api_request *r, const struct sql_result *rows, struct kept *k)
{
	k->route = route_named(sql_text(rows, 0, 0));
	k->query = copied(r, rows, 1);
	k->body = sql_bytes(rows, 0, 2, r->arena);
	k->author = copied(r, rows, 3);
	k->state = copied(r, rows, 4);
	k->expired = sql_int(rows, 0, 5) != 0;
	for (int i = 0; i < API_PARAMS_MAX; i++) {
		struct slice p = sql_bytes(rows, 0, 6 + i, r->arena);

		if (p.n > 0)
			k->params[i] = arena_strdup(r->arena, p);
	}
	k->if_match = copied(r, rows, 8);
	k->moved = copied(r, rows, 9);
	k->author_role = api_role(sql_text(rows, 0, 10));
	k->my_role = api_role(sql_text(rows, 0, 11));
}

/* Nothing changes any more from here on but by this request. */
static enum tam_err
read_kept(struct api_request *r, struct kept *k)
{
	struct sql_result *rows;
	enum tam_err err;

	k->id = r->params[0];
	if (!is_id(k->id))
		return no_such(r);
	err = API_EXEC(r, NULL, SQL_DOMAIN_LOCK, r->domain_text);
	if (err == TAM_OK)
		err = API_EXEC(r, &rows, SQL_PROPOSAL_TAKE, k->id,
		    api_number(r, clock_cluster_us()), r->principal);
	if (err != TAM_OK)
		return err;
	if (sql_rows(rows) > 0)
		read_row(r, rows, k);
	else
		err = no_such(r);
	sql_result_free(rows);
	return err;
}

/* Another person, who might have done it as well, in time. */
static enum tam_err
may_decide(struct api_request *r, const struct kept *k, const char *state)
{
	if (k->route == NULL || (k->my_role & k->route->roles) == 0)
		return api_problem(r, 403, "forbidden", NULL,
		    "this token's role may not do what was proposed");
	if (strcmp(k->author, r->principal) == 0)
		return api_problem(r, 403, "same_person", NULL,
		    "%s asked for this; another person must decide", k->author);
	if (strcmp(k->state, state) != 0)
		return api_problem(r, 409, "decided", NULL,
		    "this proposal is %s", k->state);
	if (k->expired)
		return api_problem(r, 409, "expired", NULL,
		    "this proposal was not decided in time");
	return TAM_OK;
}

/* It is what was proposed, and its author might do it today. */
static enum tam_err
may_be_done(struct api_request *r, const struct kept *k)
{
	assert(k->route != NULL); /* may_decide() */
	if ((k->author_role & k->route->roles) == 0)
		return api_problem(r, 409, "author_may_not", NULL,
		    "%s, who proposed this, may not do it any more: reject it, "
		    "and let somebody who may propose it",
		    k->author);
	if (k->moved != NULL)
		return api_problem(r, 409, "moved", NULL,
		    "changed since it was proposed: %s; reject it, look at "
		    "what is there now, and propose it again",
		    k->moved);
	return TAM_OK;
}

static enum tam_err
decide(struct api_request *r, const struct kept *k, const char *state,
    const char *reason)
{
	enum tam_err err = API_EXEC(r, NULL, SQL_PROPOSAL_DECIDE, k->id, state,
	    r->principal, api_number(r, clock_cluster_us()), reason);

	return err == TAM_OK
	    ? api_audit(r, arena_printf(r->arena, "proposal %s", k->id), reason,
	          NULL, NULL)
	    : err;
}

/* The request as it was, by who made it; in this transaction. */
static enum tam_err
carry_out(struct api_request *r, const struct kept *k)
{
	enum tam_err err;

	r->route = k->route;
	r->approved = true;
	r->principal = arena_strdup(r->arena, slice_str(k->author));
	r->query = slice_str(k->query);
	r->body = k->body;
	if (k->route->body == BODY_NDJSON)
		r->body = lines_of(r, k->body);
	r->if_match = k->if_match;
	r->if_none_match = NULL;
	for (int i = 0; i < API_PARAMS_MAX; i++)
		r->params[i] = k->params[i];
	json_decref(r->json);
	r->json = NULL;
	err = api_read_query(r);
	if (err == TAM_OK)
		err = api_read_body(r);
	if (err == TAM_OK)
		err = api_read_reasons(r);
	if (err == TAM_OK)
		err = conditions_check(r);
	return err == TAM_OK ? api_handlers[r->route - api_routes](r) : err;
}

enum tam_err
api_proposal_approve(struct api_request *r)
{
	struct kept k = {.state = ""};
	enum tam_err err = read_kept(r, &k);
	bool alone = strcmp(k.state, "alone") == 0;

	if (err == TAM_OK)
		err = may_decide(r, &k, alone ? "alone" : "pending");
	if (err == TAM_OK && !alone)
		err = may_be_done(r, &k);
	if (err == TAM_OK)
		err = decide(r, &k, alone ? "reviewed" : "approved", "");
	if (err != TAM_OK)
		return err;
	return alone ? API_ONE(r, SQL_PROPOSAL_GET, k.id) : carry_out(r, &k);
}

enum tam_err
api_proposal_reject(struct api_request *r)
{
	struct kept k = {.id = NULL};
	enum tam_err err = read_kept(r, &k);

	if (err == TAM_OK)
		err = may_decide(r, &k, "pending");
	if (err == TAM_OK)
		err = decide(r, &k, "rejected", r->reason);
	return err == TAM_OK ? API_ONE(r, SQL_PROPOSAL_GET, k.id) : err;
}
