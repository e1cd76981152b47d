#include "config.h"

#include <stdlib.h>

#include "admin/learn.h"
#include "storage/admin_statements.h"

/* Devices: who they are, what they hold, and the last decision about them. */

static json_t *
components_of(struct api_request *r, const struct sql_result *rows)
{
	json_t *list = json_array();

	for (size_t i = 0; i < sql_rows(rows); i++) {
		json_t *o = json_pack("{s:s, s:s, s:s}", "component",
		    suit_component_text(r->arena,
		        sql_bytes(rows, i, 0, r->arena)),
		    "source", sql_text(rows, i, 2), "since",
		    sql_text(rows, i, 3));

		if (sql_text(rows, i, 1) != NULL)
			(void)json_object_set_new(o, "digest",
			    json_string(sql_text(rows, i, 1)));
		(void)json_array_append_new(list, o);
	}
	return list;
}

enum tam_err
api_device_get(struct api_request *r)
{
	struct sql_result *rows, *parts = NULL;
	json_t *doc;
	char *text;
	enum tam_err err = API_EXEC(r, &rows, SQL_DEVICE_GET, r->params[0]);

	if (err != TAM_OK)
		return err;
	if (sql_rows(rows) == 0) {
		sql_result_free(rows);
		return api_problem(r, 404, "not_found", NULL,
		    "there is no such device");
	}
	err = API_EXEC(r, &parts, SQL_DEVICE_COMPONENTS, sql_text(rows, 0, 1));
	if (err == TAM_OK) {
		doc = json_loads(sql_text(rows, 0, 0), 0, NULL);
		(void)json_object_set_new(doc, "components",
		    components_of(r, parts));
		text = json_dumps(doc, JSON_COMPACT);
		buf_add_str(&r->response, text);
		free(text);
		json_decref(doc);
		sql_result_free(parts);
	}
	sql_result_free(rows);
	return err;
}

enum tam_err
api_device_event_list(struct api_request *r)
{
	struct api_paging page;
	enum tam_err err = api_paging_read(r, "0", &page);

	if (err == TAM_OK)
		err = api_check_there(r, SQL_DEVICE_THERE, r->params[0],
		    "there is no such device");
	return err != TAM_OK ? err
	                     : API_LIST(r, page.limit, SQL_DEVICE_EVENTS,
	                           r->params[0], page.after, page.limit_text);
}

/* --- change ------------------------------------------------------------------------ */

enum tam_err
api_update_bytes(struct api_request *r, const char **limit)
{
	const json_t *given = json_object_get(r->json, "update_bytes");
	json_int_t n = json_integer_value(given);

	*limit = NULL;
	if (given == NULL)
		return TAM_OK;
	if (n != 0 && (n < UPDATE_BYTES_MIN || n > UPDATE_BYTES_MAX))
		return api_problem(r, 422, "bad_input", "/update_bytes",
		    "0, or from %d to %d", UPDATE_BYTES_MIN, UPDATE_BYTES_MAX);
	*limit = api_number(r, n);
	return TAM_OK;
}

static enum tam_err
set(struct api_request *r, const char *id)
{
	json_t *labels = json_object_get(r->json, "labels");
	char *patch = labels == NULL ? NULL : json_dumps(labels, JSON_COMPACT);
	const char *limit;
	enum tam_err err = api_update_bytes(r, &limit);

	if (err == TAM_OK)
		err = API_EXEC(r, NULL, SQL_DEVICES_CHANGE, r->domain_text,
		    arena_printf(r->arena, "{%s}", id), api_string(r, "class"),
		    api_string(r, "status"), limit, patch);
	free(patch);
	return err;
}

enum tam_err
api_device_patch(struct api_request *r)
{
	struct sql_result *rows;
	const char *id, *before;
	char *after;
	enum tam_err err = API_EXEC(r, &rows, SQL_DEVICE_OLD, r->params[0]);

	if (err != TAM_OK)
		return err;
	if (sql_rows(rows) == 0) {
		sql_result_free(rows);
		return api_problem(r, 404, "not_found", NULL,
		    "there is no such device");
	}
	id = arena_strdup(r->arena, slice_str(sql_text(rows, 0, 0)));
	before = arena_strdup(r->arena, slice_str(sql_text(rows, 0, 1)));
	sql_result_free(rows);
	err = set(r, id);
	after = json_dumps(r->json, JSON_COMPACT);
	if (err == TAM_OK)
		err = api_audit(r, r->params[0], r->reason, before, after);
	free(after);
	return err == TAM_OK ? api_device_get(r) : err;
}

enum tam_err
api_fleet_get(struct api_request *r)
{
	return api_one(r, SQL_FLEET, 0, NULL);
}
