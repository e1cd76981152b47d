#include "config.h"

#include "admin/revocation_hint.h"

#include <stdlib.h>

#include "admin/learn.h"
#include "lib/base/nearest.h"
#include "storage/revocation_statements.h"

/* Known names of that sort: as text, or as the bytes of a component id. */
static enum tam_err
find_nearest(struct api_request *r, const char *target, struct nearest *near)
{
	struct sql_result *rows;
	enum tam_err err = API_EXEC(r, &rows, SQL_REVOCATION_NAMES, target);

	for (size_t i = 0; err == TAM_OK && i < sql_rows(rows); i++)
		nearest_offer(near,
		    sql_text(rows, i, 0) != NULL
		        ? arena_strdup(r->arena,
		              slice_str(sql_text(rows, i, 0)))
		        : suit_component_text(r->arena,
		              sql_bytes(rows, i, 1, r->arena)));
	if (err == TAM_OK)
		sql_result_free(rows);
	return err;
}

/* Adds the member to the object that is the answer. */
static void
add_hint(struct api_request *r, const char *hint)
{
	json_t *text = json_string(hint);
	char *quoted = json_dumps(text, JSON_ENCODE_ANY);
	struct slice answer = arena_dup(r->arena, buf_slice(&r->response));

	buf_clear(&r->response);
	buf_add(&r->response, answer.p, answer.n - 1);
	buf_printf(&r->response, ", \"hint\": %s}", quoted);
	free(quoted);
	json_decref(text);
}

enum tam_err
revocation_hint(struct api_request *r, const char *target, const char *label,
    const char *components)
{
	struct nearest near = {.name = label};
	struct sql_result *rows;
	bool known;
	enum tam_err err = API_EXEC(r, &rows, SQL_REVOCATION_IS_KNOWN, target,
	    label, components);

	if (err != TAM_OK)
		return err;
	known = sql_int(rows, 0, 0) != 0;
	sql_result_free(rows);
	if (known)
		return TAM_OK;
	err = find_nearest(r, target, &near);
	if (err != TAM_OK)
		return err;
	add_hint(r,
	    arena_printf(r->arena, "no manifest and no device has %s%s%s%s",
	        label, near.found == NULL ? "" : "; the nearest name is ",
	        near.found == NULL ? "" : near.found,
	        ": the revocation is for what may come"));
	return TAM_OK;
}
