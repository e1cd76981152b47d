#include "config.h"

#include <stdlib.h>

#include "admin/dry_run.h"
#include "admin/learn.h"
#include "admin/policy_cache.h"
#include "admin/policy_rows.h"
#include "lib/base/hex.h"
#include "storage/admin_statements.h"

/* Policies, trust anchors and wire profiles: what decides, by name. */

/* --- policies ------------------------------------------------------------------- */

enum tam_err
api_policy_list(struct api_request *r)
{
	return api_page(r, SQL_POLICY_LIST, "");
}

static enum tam_err
no_policy(struct api_request *r)
{
	return api_problem(r, 404, "not_found", NULL,
	    "there is no such policy");
}

enum tam_err
api_policy_get(struct api_request *r)
{
	struct sql_result *rows;
	enum tam_err err = API_EXEC(r, &rows, SQL_POLICY_GET, r->params[0]);

	if (err != TAM_OK)
		return err;
	if (sql_rows(rows) == 0)
		err = no_policy(r);
	else
		buf_add_str(&r->response, sql_text(rows, 0, 0));
	sql_result_free(rows);
	return err;
}

/* The loader of the device path judges the document, beside the others: what
 * it takes here it will take there.  *out: the set with it. */
static enum tam_err
check_document(struct api_request *r, const char *document,
    struct policy_set **out)
{
	struct policy_change change = {.without = r->params[0]};
	struct policy_builder *b = NULL;
	char error[POLICY_ERROR_MAX];
	enum tam_err err =
	    policy_rows_begin(r->sql, r->domain_text, &change, &b);

	if (err != TAM_OK)
		return api_sql_problem(r, err);
	if (!policy_add_policy(b, r->params[0], document, suit_component_parse,
	        error)) {
		policy_builder_free(b);
		return api_policy_problem(r, 422, "invalid_policy", error);
	}
	*out = policy_build(b);
	if (!policy_conflicts(*out, r->params[0], error))
		return TAM_OK;
	policy_set_unref(*out);
	return api_policy_problem(r, 409, "policy_conflict", error);
}

/* Locks the policy; *document NULL: there is none. */
static enum tam_err
old_policy(struct api_request *r, const char **document)
{
	struct sql_result *rows;
	enum tam_err err = API_EXEC(r, &rows, SQL_POLICY_OLD, r->params[0]);

	*document = NULL;
	if (err != TAM_OK)
		return err;
	if (sql_rows(rows) > 0)
		*document =
		    arena_strdup(r->arena, slice_str(sql_text(rows, 0, 0)));
	sql_result_free(rows);
	return learn_check_rollout(r, "policy", r->params[0]);
}

static enum tam_err
put(struct api_request *r, const char *document, const char *before)
{
	struct sql_result *rows;
	enum tam_err err = API_EXEC(r, &rows, SQL_POLICY_PUT, r->domain_text,
	    r->params[0], document, r->principal, r->reason);

	if (err != TAM_OK)
		return err;
	buf_add_str(&r->response, sql_text(rows, 0, 0));
	sql_result_free(rows);
	err = api_raise_epoch(r, NULL);
	if (err == TAM_OK)
		err = api_audit(r, r->params[0], r->reason, before, document);
	return err;
}

enum tam_err
api_policy_put(struct api_request *r)
{
	const char *document = arena_strdup(r->arena, r->body), *before;
	struct policy_set *set = NULL;
	enum tam_err err = old_policy(r, &before);

	if (err == TAM_OK)
		err = check_document(r, document, &set);
	if (err != TAM_OK)
		return err;
	policy_set_unref(set);
	return put(r, document, before);
}

/* --- trying ------------------------------------------------------------------------- */

static const char *
selector_of(struct api_request *r, const char *document)
{
	json_t *doc = json_loads(document, 0, NULL);
	const char *text = json_string_value(json_object_get(doc, "selector"));

	text = arena_strdup(r->arena, slice_str(text == NULL ? "" : text));
	json_decref(doc);
	return text;
}

/* Those the policy was for, or is to be for; NULL: there was or is none. */
static enum tam_err
concerned(struct api_request *r, const char *before, const char *after,
    struct device_query *q)
{
	const char *old, *selector;

	selector = selector_of(r, after == NULL ? before : after);
	if (before == NULL || after == NULL)
		return device_query_make(r, selector, "/selector", 0, q);
	old = selector_of(r, before);
	if (old[0] == '\0' || selector[0] == '\0') /* everybody */
		return device_query_make(r, "", "/selector", 0, q);
	return strcmp(old, selector) == 0
	    ? device_query_make(r, old, "/selector", 0, q)
	    : device_query_either(r, old, selector, 0, q);
}

/* Without a lock: nobody waits for a dry run. */
static enum tam_err
try_document(struct api_request *r, const char *document)
{
	struct device_query *q = arena_new(r->arena, struct device_query);
	const char *before;
	struct policy_set *set = NULL;
	enum tam_err err = API_TEXT(r, &before, SQL_POLICY_PEEK, r->params[0]);

	if (err == TAM_OK)
		err = check_document(r, document, &set);
	if (err != TAM_OK)
		return err;
	err = concerned(r, before, document, q);
	if (err == TAM_OK)
		err = dry_run(r, set, NULL, q);
	policy_set_unref(set);
	return err;
}

enum tam_err
api_policy_dry_run(struct api_request *r)
{
	return try_document(r, arena_strdup(r->arena, r->body));
}

static enum tam_err
try_without(struct api_request *r)
{
	struct policy_change change = {.without = r->params[0]};
	struct device_query *q = arena_new(r->arena, struct device_query);
	const char *before;
	enum tam_err err = API_TEXT(r, &before, SQL_POLICY_PEEK, r->params[0]);

	if (err != TAM_OK)
		return err;
	if (before == NULL)
		return no_policy(r);
	err = concerned(r, before, NULL, q);
	return err == TAM_OK ? dry_run_change(r, &change, q) : err;
}

/* --- revisions --------------------------------------------------------------------- */

enum tam_err
api_policy_history(struct api_request *r)
{
	struct api_paging page;
	enum tam_err err = api_paging_read(r, "9223372036854775807", &page);

	if (err == TAM_OK)
		err = api_check_there(r, SQL_POLICY_WAS, r->params[0],
		    "there was no such policy");
	return err != TAM_OK ? err
	                     : API_LIST(r, page.limit, SQL_POLICY_HISTORY,
	                           r->params[0], page.after, page.limit_text);
}

/* What the policy said then. */
static enum tam_err
old_revision(struct api_request *r, const char **document)
{
	enum tam_err err =
	    API_TEXT(r, document, SQL_POLICY_REVISION, r->params[0],
	        api_number(r,
	            json_integer_value(json_object_get(r->json, "revision"))));

	if (err != TAM_OK || *document != NULL)
		return err;
	return api_problem(r, 404, "not_found", "/revision",
	    "there is no such revision, or it deleted the policy");
}

/* Back to what was, but never to what is revoked. */
enum tam_err
api_policy_rollback(struct api_request *r)
{
	const char *document, *before;
	const struct policy_manifest *revoked;
	struct policy_set *set = NULL;
	bool dry = json_is_true(json_object_get(r->json, "dry_run"));
	enum tam_err err = dry ? TAM_OK : old_policy(r, &before);

	if (err == TAM_OK)
		err = old_revision(r, &document);
	if (err == TAM_OK && dry)
		return try_document(r, document);
	if (err == TAM_OK)
		err = check_document(r, document, &set);
	if (err != TAM_OK)
		return err;
	revoked = policy_names_revoked(set, r->params[0]);
	if (revoked != NULL)
		err = api_problem(r, 409, "suit_revoked", "/revision",
		    "that revision wants manifest %s, which is revoked",
		    hex_dup(r->arena, revoked->digest));
	policy_set_unref(set);
	return err == TAM_OK ? put(r, document, before) : err;
}

enum tam_err
api_policy_delete(struct api_request *r)
{
	const char *before;
	enum tam_err err;

	if (api_query_true(r, "dry_run"))
		return try_without(r);
	err = old_policy(r, &before);
	if (err != TAM_OK)
		return err;
	if (before == NULL)
		return no_policy(r);
	err = API_EXEC(r, NULL, SQL_POLICY_DELETE, r->domain_text, r->params[0],
	    r->principal, r->reason);
	if (err == TAM_OK)
		err = api_raise_epoch(r, NULL);
	if (err == TAM_OK)
		err = api_audit(r, r->params[0], r->reason, before, NULL);
	buf_add_str(&r->response, "{}");
	return err;
}

/* --- trust anchors ------------------------------------------------------------------ */

enum tam_err
api_anchor_list(struct api_request *r)
{
	return api_page(r, SQL_ANCHOR_LIST, "");
}

enum tam_err
api_anchor_get(struct api_request *r)
{
	return API_ONE(r, SQL_ANCHOR_GET, r->params[0]);
}

static enum tam_err
check_prefixes(struct api_request *r)
{
	size_t i;
	json_t *p;
	struct slice ignored;

	json_array_foreach(json_object_get(r->json, "prefixes"), i, p)
	{
		if (!suit_component_parse(r->arena, json_string_value(p),
		        &ignored))
			return api_problem(r, 422, "invalid_value",
			    arena_printf(r->arena, "/prefixes/%zu", i),
			    "not a component id");
	}
	return TAM_OK;
}

enum tam_err
api_anchor_put(struct api_request *r)
{
	json_t *prefixes = json_object_get(r->json, "prefixes");
	char *list = json_dumps(prefixes, JSON_COMPACT);
	struct cose_key key;
	enum tam_err err = check_prefixes(r);

	if (err == TAM_OK)
		err = learn_check_room(r, SQL_ANCHOR_OTHERS, LEARN_ANCHORS_MAX,
		    "trust anchors");
	if (err == TAM_OK)
		err = api_public_key(r, &key);
	if (err == TAM_OK)
		err = API_EXEC(r, NULL, SQL_ANCHOR_PUT, r->domain_text,
		    r->params[0], key.curve == COSE_P256 ? "p256" : "ed25519",
		    sql_bytea(r->arena, cose_key_pub(&key)),
		    sql_bytea(r->arena, SLICE_OF(key.thumbprint)),
		    list == NULL ? "[]" : list);
	free(list);
	if (err == TAM_OK)
		err = api_audit(r, r->params[0], "", NULL, NULL);
	return err == TAM_OK ? API_ONE(r, SQL_ANCHOR_GET, r->params[0]) : err;
}

enum tam_err
api_anchor_delete(struct api_request *r)
{
	enum tam_err err = api_delete(r, SQL_ANCHOR_DELETE, r->params[0],
	    "there is no such trust anchor");

	if (err == TAM_OK)
		err = api_audit(r, r->params[0], "", NULL, NULL);
	if (err == TAM_OK)
		buf_add_str(&r->response, "{}");
	return err;
}

/* --- wire profiles -------------------------------------------------------------------- */

enum tam_err
api_profile_list(struct api_request *r)
{
	return api_page(r, SQL_PROFILE_LIST, "");
}

enum tam_err
api_profile_get(struct api_request *r)
{
	return API_ONE(r, SQL_PROFILE_GET, r->params[0]);
}

enum tam_err
api_profile_put(struct api_request *r)
{
	char *fields = json_dumps(r->json, JSON_COMPACT);
	enum tam_err err = learn_check_room(r, SQL_PROFILE_OTHERS,
	    LEARN_PROFILES_MAX, "wire profiles");

	if (err == TAM_OK &&
	    json_is_true(json_object_get(r->json, "is_default")))
		err = API_EXEC(r, NULL, SQL_PROFILE_UNDEFAULT, r->params[0]);
	if (err == TAM_OK)
		err = API_EXEC(r, NULL, SQL_PROFILE_ADD, r->domain_text,
		    r->params[0]);
	if (err == TAM_OK)
		err = API_ONE(r, SQL_PROFILE_SET, r->params[0], fields);
	if (err == TAM_OK)
		err = api_raise_epoch(r, NULL);
	if (err == TAM_OK)
		err = api_audit(r, r->params[0], "", NULL, fields);
	free(fields);
	return err;
}
