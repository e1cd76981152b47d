#include "config.h"

#include "admin/device_query.h"

#include "admin/learn.h"
#include "lib/base/clock.h"
#include "storage/admin_statements.h"

/*
 * Devices by selector: listed, counted before something is done to them, and
 * changed alike.
 */

enum {
	CONDITION_MAX = 1 << 20,
	CHANGED_MAX = 100000, /* devices of one request */
	SAMPLE = 10
};

enum tam_err
device_query_make(struct api_request *r, const char *text, const char *pointer,
    size_t n, struct device_query *q)
{
	char error[SELECTOR_ERROR_MAX];
	struct selector *s;
	struct buf b;

	q->n = n;
	q->condition = "true";
	if (text == NULL)
		return TAM_OK;
	s = selector_compile(r->arena, text, suit_component_parse, error);
	if (s == NULL)
		return api_problem(r, 422, "bad_selector", pointer, "%s",
		    error);
	buf_init(&b, CONDITION_MAX);
	q->n += selector_sql(s, clock_cluster_us(), n + 1, r->arena, &b,
	    q->params + n);
	q->condition = arena_strdup(r->arena, buf_slice(&b));
	buf_fini(&b);
	return TAM_OK;
}

enum tam_err
device_query_either(struct api_request *r, const char *a, const char *b,
    size_t n, struct device_query *q)
{
	const char *condition;
	enum tam_err err = device_query_make(r, a, "/selector", n, q);

	if (err != TAM_OK)
		return err;
	condition = q->condition;
	err = device_query_make(r, b, "/selector", q->n, q);
	q->condition =
	    arena_printf(r->arena, "(%s OR %s)", condition, q->condition);
	return err;
}

/* --- listing ------------------------------------------------------------------------ */

static const char *
or_empty(const char *s)
{
	return s == NULL ? "" : s;
}

enum tam_err
api_device_list(struct api_request *r)
{
	struct device_query *q = arena_new(r->arena, struct device_query);
	struct api_paging page;
	enum tam_err err = api_paging_read(r, "", &page);

	if (err != TAM_OK)
		return err;
	q->params[0] = page.after;
	q->params[1] = page.limit_text;
	q->params[2] = or_empty(api_query(r, "class"));
	q->params[3] = or_empty(api_query(r, "status"));
	err = device_query_make(r, api_query(r, "selector"), "/selector", 4, q);
	if (err != TAM_OK)
		return err;
	return api_list(r, page.limit,
	    arena_printf(r->arena, SQL_DEVICE_LIST "%s" SQL_DEVICE_LIST_END,
	        SQL_SELECTED, q->condition),
	    q->n, q->params);
}

/* For files: what an import takes. */
enum tam_err
api_device_export(struct api_request *r)
{
	struct device_query *q = arena_new(r->arena, struct device_query);
	struct api_paging page;
	enum tam_err err = api_paging_read(r, "", &page);

	if (err != TAM_OK)
		return err;
	q->params[0] = page.after;
	q->params[1] = page.limit_text;
	err = device_query_make(r, api_query(r, "selector"), "/selector", 2, q);
	if (err != TAM_OK)
		return err;
	return api_list(r, page.limit,
	    arena_printf(r->arena, SQL_DEVICE_EXPORT, SQL_SELECTED,
	        q->condition),
	    q->n, q->params);
}

/* --- counting ------------------------------------------------------------------------- */

/* How many there are, of which sort, how old what is known of them is, and
 * some of them. */
static enum tam_err
preview(struct api_request *r, const char *selector, const char *pointer)
{
	struct device_query *q = arena_new(r->arena, struct device_query);
	enum tam_err err;

	q->params[0] = api_number(r, clock_cluster_us());
	q->params[1] = api_number(r, SAMPLE);
	err = device_query_make(r, selector, pointer, 2, q);
	return err != TAM_OK ? err
	                     : api_one(r,
	                           arena_printf(r->arena, SQL_DEVICE_PREVIEW,
	                               SQL_SELECTED, q->condition),
	                           q->n, q->params);
}

enum tam_err
api_device_count(struct api_request *r)
{
	return preview(r, api_query(r, "selector"), "/selector");
}

/* --- changing ---------------------------------------------------------------------------- */

/* One part of those a selector matches. */
struct selected {
	const char *ids; /* the text of an SQL array */
	int64_t n;
	int64_t last; /* where the next part begins; 0: there is none */
};

static enum tam_err
select_ids(struct api_request *r, struct selected *out)
{
	struct device_query *q = arena_new(r->arena, struct device_query);
	json_t *after = json_object_get(r->json, "after");
	struct sql_result *rows;
	enum tam_err err;

	q->params[0] = api_number(r, CHANGED_MAX);
	q->params[1] = api_number(r, json_integer_value(after));
	q->params[2] = api_string(r, "status");
	err =
	    device_query_make(r, api_string(r, "selector"), "/selector", 3, q);
	if (err == TAM_OK)
		err = api_exec(r, &rows,
		    arena_printf(r->arena, SQL_DEVICE_IDS, SQL_SELECTED,
		        q->condition),
		    q->n, q->params);
	if (err != TAM_OK)
		return err;
	out->ids = arena_strdup(r->arena, slice_str(sql_text(rows, 0, 0)));
	out->n = sql_int(rows, 0, 1);
	out->last = out->n > CHANGED_MAX ? sql_int(rows, 0, 2) : 0;
	sql_result_free(rows);
	if (out->last != 0 && after == NULL)
		return api_problem(r, 422, "too_many", "/selector",
		    "more than %d devices: use a narrower selector, or give "
		    "\"after\" (0 first) to change so many at a time",
		    CHANGED_MAX);
	if (out->last != 0)
		out->n = CHANGED_MAX;
	return TAM_OK;
}

static void
answer_changed(struct api_request *r, const struct selected *done)
{
	buf_printf(&r->response, "{\"devices\": %lld", (long long)done->n);
	if (done->last != 0)
		buf_printf(&r->response, ", \"after\": %lld",
		    (long long)done->last);
	buf_add_str(&r->response, "}");
}

static enum tam_err
change(struct api_request *r)
{
	const char *limit = NULL;
	json_t *labels = json_object_get(r->json, "labels");
	char *patch = labels == NULL ? NULL : json_dumps(labels, JSON_COMPACT);
	char *after = json_dumps(r->json, JSON_COMPACT);
	const char *before = NULL;
	struct selected part;
	enum tam_err err = select_ids(r, &part);

	if (err == TAM_OK)
		err = api_update_bytes(r, &limit);
	if (err == TAM_OK)
		err = API_TEXT(r, &before, SQL_DEVICES_NAMED, part.ids);
	if (err == TAM_OK)
		err = API_EXEC(r, NULL, SQL_DEVICES_CHANGE, r->domain_text,
		    part.ids, api_string(r, "class"), api_string(r, "status"),
		    limit, patch);
	if (err == TAM_OK)
		err = api_audit(r,
		    arena_printf(r->arena, "%lld devices", (long long)part.n),
		    r->reason, before, after);
	if (err == TAM_OK)
		answer_changed(r, &part);
	free(patch);
	free(after);
	return err;
}

enum tam_err
api_device_change(struct api_request *r)
{
	if (json_is_true(json_object_get(r->json, "dry_run")))
		return preview(r, api_string(r, "selector"), "/selector");
	return change(r);
}
