#include "config.h"

#include <stdlib.h>

#include "admin/dry_run.h"
#include "admin/learn.h"
#include "admin/policy_cache.h"
#include "admin/policy_rows.h"
#include "lib/base/clock.h"
#include "policy/rollout.h"
#include "storage/rollout_statements.h"

/*
 * Rollouts: drafted, tried, started, and steered by hand.  What they do by
 * themselves is the controller's (server/rollouts.h).
 */

static enum tam_err
no_such(struct api_request *r)
{
	return api_problem(r, 404, "not_found", NULL,
	    "there is no such rollout");
}

/* --- looking ------------------------------------------------------------------------ */

enum tam_err
api_rollout_list(struct api_request *r)
{
	return api_page(r, SQL_ROLLOUT_LIST, "");
}

enum tam_err
api_rollout_get(struct api_request *r)
{
	struct sql_result *rows;
	enum tam_err err = API_EXEC(r, &rows, SQL_ROLLOUT_GET, r->params[0],
	    api_number(r, clock_cluster_us()));

	if (err != TAM_OK)
		return err;
	if (sql_rows(rows) == 0) {
		err = no_such(r);
	} else {
		buf_clear(&r->response);
		buf_add_str(&r->response, sql_text(rows, 0, 0));
	}
	sql_result_free(rows);
	return err;
}

enum tam_err
api_rollout_devices(struct api_request *r)
{
	struct api_paging page;
	const char *there, *state = api_query(r, "state");
	enum tam_err err = api_paging_read(r, "", &page);

	if (err == TAM_OK)
		err = API_TEXT(r, &there, SQL_ROLLOUT_EXISTS, r->params[0]);
	if (err != TAM_OK)
		return err;
	if (there == NULL)
		return no_such(r);
	return API_LIST(r, page.limit, SQL_ROLLOUT_DEVICES, page.after,
	    page.limit_text, r->params[0], state == NULL ? "" : state);
}

/* --- what there is ---------------------------------------------------------------------- */

struct old {
	const char *id, *state, *document; /* id NULL: there is none */
	int64_t opened, stages, version;
	bool can_go_back;
};

/* Locks the row; o->id NULL: there is none. */
static enum tam_err
read_old(struct api_request *r, struct old *o)
{
	struct sql_result *rows;
	enum tam_err err = API_EXEC(r, &rows, SQL_ROLLOUT_OLD, r->params[0]);

	*o = (struct old){.state = ""};
	if (err != TAM_OK)
		return err;
	if (sql_rows(rows) > 0) {
		o->id = arena_strdup(r->arena, slice_str(sql_text(rows, 0, 0)));
		o->state =
		    arena_strdup(r->arena, slice_str(sql_text(rows, 0, 1)));
		o->opened = sql_int(rows, 0, 2);
		o->version = sql_int(rows, 0, 3);
		o->document =
		    arena_strdup(r->arena, slice_str(sql_text(rows, 0, 4)));
		o->stages = sql_int(rows, 0, 5);
		o->can_go_back = sql_int(rows, 0, 6) != 0;
	}
	sql_result_free(rows);
	return TAM_OK;
}

/* --- what it would be ---------------------------------------------------------------------- */

static enum tam_err
check_zones(struct api_request *r, const char *document)
{
	const char *bad;
	enum tam_err err = API_TEXT(r, &bad, SQL_NO_ZONE, document);

	if (err != TAM_OK || bad == NULL)
		return err;
	return api_problem(r, 422, "invalid_rollout",
	    arena_printf(r->arena, "/windows/%s/zone", bad),
	    "no such time zone");
}

static enum tam_err
check_set(struct api_request *r, const struct policy_set *set)
{
	char error[POLICY_ERROR_MAX];

	if (policy_rollout_revoked(set, r->params[0]))
		return api_problem(r, 409, "suit_revoked", NULL,
		    "what this rollout would bring is revoked");
	if (policy_rollout_conflicts(set, r->params[0], error))
		return api_policy_problem(r, 409, "rollout_conflict", error);
	return TAM_OK;
}

/* Everything as it is, and this rollout with all its stages open; judged by
 * the loader of the device path. */
static enum tam_err
load_with(struct api_request *r, const char *document, struct policy_set **out)
{
	struct rollout_row row = {.name = r->params[0],
	    .document = document,
	    .at = {.phase = ROLLOUT_PHASE_running,
	        .opened = ROLLOUT_STAGES_MAX,
	        .window_open = true}};
	struct policy_builder *b = NULL;
	char error[POLICY_ERROR_MAX];
	enum tam_err err = policy_rows_begin(r->sql, r->domain_text, NULL, &b);

	if (err != TAM_OK)
		return api_sql_problem(r, err);
	if (!policy_add_rollout(b, &row, suit_component_parse, error)) {
		policy_builder_free(b);
		return api_policy_problem(r, 422, "invalid_rollout", error);
	}
	*out = policy_build(b);
	err = check_set(r, *out);
	if (err == TAM_OK)
		err = check_zones(r, document);
	if (err != TAM_OK)
		policy_set_unref(*out);
	return err;
}

/* How many devices its stages have, and what is wrong with that. */
struct sized {
	const char *sizes;    /* the text of an SQL array */
	const char *warnings; /* JSON */
	const char *never;    /* why it never completes by itself; or NULL */
};

static void
keep_sizes(struct api_request *r, const struct rollout_plan *plan,
    const int64_t *sizes, struct sized *out)
{
	json_t *list = dry_run_warnings(r, plan, sizes, &out->never);
	char *text = json_dumps(list, JSON_COMPACT);

	out->warnings = arena_strdup(r->arena, slice_str(text));
	out->sizes = "{";
	for (size_t i = 0; i < plan->n_stages; i++)
		out->sizes = arena_printf(r->arena, "%s%s%lld", out->sizes,
		    i == 0 ? "" : ",", (long long)sizes[i]);
	out->sizes = arena_printf(r->arena, "%s}", out->sizes);
	free(text);
	json_decref(list);
}

/* Whether the document is valid beside all that is there, and its sizes. */
static enum tam_err
size_up(struct api_request *r, const char *document, struct sized *out)
{
	struct device_query *q = arena_new(r->arena, struct device_query);
	int64_t sizes[ROLLOUT_STAGES_MAX];
	const struct rollout_plan *plan;
	struct policy_set *then = NULL;
	enum tam_err err = load_with(r, document, &then);

	if (err != TAM_OK)
		return err;
	plan = policy_rollout_plan(then, r->params[0]);
	err = device_query_make(r, "", "/selector", 0, q);
	if (err == TAM_OK)
		err = dry_run_sizes(r, then, plan, q, sizes);
	if (err == TAM_OK)
		keep_sizes(r, plan, sizes, out);
	policy_set_unref(then);
	return err;
}

static enum tam_err
write_sizes(struct api_request *r, const struct sized *s)
{
	return API_EXEC(r, NULL, SQL_ROLLOUT_SIZE, r->params[0], s->sizes,
	    s->warnings);
}

/* --- drafting ------------------------------------------------------------------------------ */

enum tam_err
api_rollout_put(struct api_request *r)
{
	const char *document = arena_strdup(r->arena, r->body);
	struct sized sized;
	struct old old;
	enum tam_err err = read_old(r, &old);

	if (err == TAM_OK && old.id != NULL && strcmp(old.state, "draft") != 0)
		return api_problem(r, 409, "wrong_state", NULL,
		    "this rollout is %s; make another", old.state);
	if (err == TAM_OK)
		err = size_up(r, document, &sized);
	if (err == TAM_OK)
		err = API_EXEC(r, NULL, SQL_ROLLOUT_PUT, r->domain_text,
		    r->params[0], document, r->principal,
		    api_number(r, clock_cluster_us()));
	if (err == TAM_OK)
		err = write_sizes(r, &sized);
	if (err == TAM_OK)
		err = api_audit(r, r->params[0], r->reason, old.document,
		    document);
	return err == TAM_OK ? api_rollout_get(r) : err;
}

enum tam_err
api_rollout_delete(struct api_request *r)
{
	struct old old;
	enum tam_err err = read_old(r, &old);

	if (err != TAM_OK)
		return err;
	if (old.id == NULL)
		return no_such(r);
	if (strcmp(old.state, "draft") != 0)
		return api_problem(r, 409, "wrong_state", NULL,
		    "this rollout is %s: what was done stays on record",
		    old.state);
	err = API_EXEC(r, NULL, SQL_ROLLOUT_DELETE, r->params[0]);
	if (err == TAM_OK)
		err = api_audit(r, r->params[0], r->reason, old.document, NULL);
	buf_add_str(&r->response, "{}");
	return err;
}

/* --- trying ------------------------------------------------------------------------------------ */

enum tam_err
api_rollout_dry_run(struct api_request *r)
{
	const char *document = arena_strdup(r->arena, r->body);
	struct device_query *q = arena_new(r->arena, struct device_query);
	struct policy_set *then = NULL;
	enum tam_err err = load_with(r, document, &then);

	if (err != TAM_OK)
		return err;
	err = device_query_make(r, "", "/selector", 0, q);
	if (err == TAM_OK)
		err = dry_run(r, then, policy_rollout_plan(then, r->params[0]),
		    q);
	policy_set_unref(then);
	return err;
}

/* --- steering ------------------------------------------------------------------------------------ */

/* One thing a person can do with a rollout that is in one of `from`. */
struct act {
	const char *from[4], *to;
	bool opens; /* one stage more */
};

static bool
may(const struct act *act, const struct old *old)
{
	for (size_t i = 0; i < 4 && act->from[i] != NULL; i++) {
		if (strcmp(act->from[i], old->state) == 0)
			return true;
	}
	return false;
}

static enum tam_err
check_act(struct api_request *r, const struct act *act, const struct old *old)
{
	if (old->id == NULL)
		return no_such(r);
	if (!may(act, old))
		return api_problem(r, 409, "wrong_state", NULL,
		    "this rollout is %s", old->state);
	if (act->opens && old->opened == old->stages)
		return api_problem(r, 409, "wrong_state", NULL,
		    "its last stage is open");
	if (strcmp(act->to, "rolling_back") == 0 && !old->can_go_back)
		return api_problem(r, 409, "no_rollback", NULL,
		    "its document does not say what a rollback brings");
	return TAM_OK;
}

static enum tam_err
finish(struct api_request *r, const char *before, const char *after)
{
	enum tam_err err = api_raise_epoch(r, NULL);

	if (err == TAM_OK)
		err = api_audit(r, r->params[0], r->reason,
		    arena_printf(r->arena, "\"%s\"", before),
		    arena_printf(r->arena, "\"%s\"", after));
	return err == TAM_OK ? api_rollout_get(r) : err;
}

/* A rollout that never completes by itself is started if that is meant. */
static enum tam_err
check_start(struct api_request *r, const char *document)
{
	struct sized sized;
	enum tam_err err = size_up(r, document, &sized);

	if (err == TAM_OK && sized.never != NULL &&
	    !json_is_true(json_object_get(r->json, "anyway")))
		return api_problem(r, 409, "never_completes", NULL,
		    "%s; change the draft, or give \"anyway\": true",
		    sized.never);
	return err == TAM_OK ? write_sizes(r, &sized) : err;
}

static enum tam_err
do_act(struct api_request *r, const struct act *act)
{
	struct old old;
	enum tam_err err = read_old(r, &old);

	if (err == TAM_OK)
		err = check_act(r, act, &old);
	if (err == TAM_OK && strcmp(old.state, "draft") == 0)
		err = check_start(r, old.document);
	if (err == TAM_OK)
		err = API_EXEC(r, NULL, SQL_ROLLOUT_SET, r->params[0], act->to,
		    r->reason, api_number(r, old.opened + (act->opens ? 1 : 0)),
		    api_number(r, clock_cluster_us()));
	return err == TAM_OK ? finish(r, old.state, act->to) : err;
}

enum tam_err
api_rollout_start(struct api_request *r)
{
	return do_act(r,
	    &(struct act){.from = {"draft"}, .to = "running", .opens = true});
}

enum tam_err
api_rollout_pause(struct api_request *r)
{
	return do_act(r, &(struct act){.from = {"running"}, .to = "paused"});
}

enum tam_err
api_rollout_resume(struct api_request *r)
{
	return do_act(r, &(struct act){.from = {"paused"}, .to = "running"});
}

enum tam_err
api_rollout_advance(struct api_request *r)
{
	return do_act(r,
	    &(struct act){.from = {"running"}, .to = "running", .opens = true});
}

enum tam_err
api_rollout_rollback(struct api_request *r)
{
	return do_act(r,
	    &(struct act){.from = {"running", "paused"}, .to = "rolling_back"});
}

enum tam_err
api_rollout_abort(struct api_request *r)
{
	return do_act(r,
	    &(struct act){.from = {"running", "paused", "rolling_back"},
	        .to = "aborted"});
}

enum tam_err
api_rollout_retry(struct api_request *r)
{
	static const struct act act = {.from = {"running", "paused"},
	    .to = "retry"};
	struct old old;
	enum tam_err err = read_old(r, &old);

	if (err == TAM_OK)
		err = check_act(r, &act, &old);
	if (err == TAM_OK)
		err = API_EXEC(r, NULL, SQL_ROLLOUT_RETRY, r->domain_text,
		    old.id, api_number(r, clock_cluster_us()));
	return err == TAM_OK ? finish(r, old.state, "retry") : err;
}
