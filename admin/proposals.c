#include "config.h"

#include "admin/proposals.h"

#include "admin/learn.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "storage/admin_statements.h"

enum {
	LIFE_S = 7 * 86400
};

/* --- stopping ----------------------------------------------------------------------- */

static enum tam_err
asks_for_two(struct api_request *r, bool *two)
{
	struct sql_result *rows;
	enum tam_err err =
	    API_EXEC(r, &rows, SQL_DOMAIN_TWO_PERSONS, r->domain_text);

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
	int64_t now_us = clock_wall_us();
	struct sql_result *rows;
	enum tam_err err = API_EXEC(r, &rows, SQL_PROPOSAL_ADD, r->domain_text,
	    r->route->name, path_params(r), arena_strdup(r->arena, r->query),
	    sql_bytea(r->arena, r->body), r->principal, state, reason,
	    api_number(r, now_us),
	    api_number(r, now_us + LIFE_S * CLOCK_SECOND));

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

enum tam_err
proposal_stop(struct api_request *r, bool *done)
{
	bool two = false;
	enum tam_err err;

	*done = false;
	if ((r->route->roles & TWO_PERSONS) == 0 || r->approved ||
	    json_is_true(json_object_get(r->json, "dry_run")))
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

enum tam_err
api_proposal_list(struct api_request *r)
{
	return api_page(r, SQL_PROPOSAL_LIST, "0");
}

/* A proposal as it was kept. */
struct kept {
	const struct api_route *route;
	const char *id, *state, *author;
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

static enum tam_err
read_kept(struct api_request *r, struct kept *k)
{
	struct sql_result *rows;
	const char *id = r->params[0];
	enum tam_err err;

	if (strlen(id) > 18 || strspn(id, "0123456789") != strlen(id))
		return api_problem(r, 404, "not_found", NULL,
		    "there is no such proposal");
	err = API_EXEC(r, &rows, SQL_PROPOSAL_TAKE, id,
	    api_number(r, clock_wall_us()));
	if (err != TAM_OK)
		return err;
	if (sql_rows(rows) == 0) {
		sql_result_free(rows);
		return api_problem(r, 404, "not_found", NULL,
		    "there is no such proposal");
	}
	k->id = id;
	k->route = route_named(sql_text(rows, 0, 0));
	k->query = arena_strdup(r->arena, slice_str(sql_text(rows, 0, 1)));
	k->body = sql_bytes(rows, 0, 2, r->arena);
	k->author = arena_strdup(r->arena, slice_str(sql_text(rows, 0, 3)));
	k->state = arena_strdup(r->arena, slice_str(sql_text(rows, 0, 4)));
	k->expired = sql_int(rows, 0, 5) != 0;
	for (int i = 0; i < API_PARAMS_MAX; i++) {
		struct slice p = sql_bytes(rows, 0, 6 + i, r->arena);

		if (p.n > 0)
			k->params[i] = arena_strdup(r->arena, p);
	}
	sql_result_free(rows);
	return TAM_OK;
}

/* Another person, who might have done it as well, in time. */
static enum tam_err
may_decide(struct api_request *r, const struct kept *k, const char *state)
{
	if (k->route == NULL || (r->role & k->route->roles) == 0)
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

static enum tam_err
decide(struct api_request *r, const struct kept *k, const char *state,
    const char *reason)
{
	enum tam_err err = API_EXEC(r, NULL, SQL_PROPOSAL_DECIDE, k->id, state,
	    r->principal, api_number(r, clock_wall_us()), reason);

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
	r->if_match = NULL;
	for (int i = 0; i < API_PARAMS_MAX; i++)
		r->params[i] = k->params[i];
	json_decref(r->json);
	r->json = NULL;
	err = api_read_query(r);
	if (err == TAM_OK)
		err = api_read_body(r);
	if (err == TAM_OK)
		err = api_read_reasons(r);
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
