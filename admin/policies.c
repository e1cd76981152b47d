#include "config.h"

#include <stdlib.h>

#include "admin/learn.h"
#include "storage/admin_statements.h"

/* Policies, trust anchors and wire profiles: what decides, by name. */

/* --- policies ------------------------------------------------------------------- */

enum tam_err
api_policy_list(struct api_request *r)
{
	return api_page(r, SQL_POLICY_LIST, "");
}

static void
set_etag(struct api_request *r, int64_t revision)
{
	r->etag = arena_printf(r->arena, "\"%lld\"", (long long)revision);
}

enum tam_err
api_policy_get(struct api_request *r)
{
	struct sql_result *rows;
	enum tam_err err = API_EXEC(r, &rows, SQL_POLICY_GET, r->params[0]);

	if (err != TAM_OK)
		return err;
	if (sql_rows(rows) == 0) {
		err = api_problem(r, 404, "not_found", NULL,
		    "there is no such policy");
	} else {
		buf_add_str(&r->response, sql_text(rows, 0, 0));
		set_etag(r, sql_int(rows, 0, 1));
	}
	sql_result_free(rows);
	return err;
}

/* The loader of the device path judges the document: what it takes here it
 * will take there. */
static enum tam_err
check_document(struct api_request *r, const char *document)
{
	struct policy_builder *b = NULL;
	char error[POLICY_ERROR_MAX];
	const char *colon;
	enum tam_err err = learn_manifests(r, &b);

	if (err != TAM_OK)
		return err;
	if (!policy_add_policy(b, r->params[0], document, suit_component_parse,
	        error)) {
		colon = strchr(error, ':');
		err = api_problem(r, 422, "invalid_policy",
		    error[0] == '/' && colon != NULL
		        ? arena_strdup(r->arena,
		              (struct slice){(const uint8_t *)error,
		                  (size_t)(colon - error)})
		        : NULL,
		    "%s", error);
	}
	policy_builder_free(b);
	return err;
}

/* RFC 9110, 13.1.1: If-Match names the revision that is to be changed. */
static enum tam_err
old_policy(struct api_request *r, const char **document)
{
	struct sql_result *rows;
	const char *etag = "none";
	enum tam_err err = API_EXEC(r, &rows, SQL_POLICY_OLD, r->params[0]);

	*document = NULL;
	if (err != TAM_OK)
		return err;
	if (sql_rows(rows) > 0) {
		*document =
		    arena_strdup(r->arena, slice_str(sql_text(rows, 0, 0)));
		etag = arena_printf(r->arena, "\"%lld\"",
		    (long long)sql_int(rows, 0, 1));
	}
	sql_result_free(rows);
	if (r->if_match != NULL && strcmp(r->if_match, "*") != 0 &&
	    strcmp(r->if_match, etag) != 0)
		return api_problem(r, 412, "changed_meanwhile", NULL,
		    "the policy is at revision %s now", etag);
	return TAM_OK;
}

enum tam_err
api_policy_put(struct api_request *r)
{
	const char *document = arena_strdup(r->arena, r->body), *before;
	const char *reason = api_query(r, "reason");
	struct sql_result *rows;
	enum tam_err err = check_document(r, document);

	if (reason == NULL)
		reason = "";
	if (err == TAM_OK)
		err = old_policy(r, &before);
	if (err != TAM_OK)
		return err;
	err = API_EXEC(r, &rows, SQL_POLICY_PUT, r->domain_text, r->params[0],
	    document, r->principal, reason);
	if (err != TAM_OK)
		return err;
	buf_add_str(&r->response, sql_text(rows, 0, 0));
	set_etag(r, sql_int(rows, 0, 1));
	sql_result_free(rows);
	err = api_raise_epoch(r, NULL);
	if (err == TAM_OK)
		err = api_audit(r, r->params[0], reason, before, document);
	return err;
}

enum tam_err
api_policy_delete(struct api_request *r)
{
	const char *before, *reason = api_query(r, "reason");
	enum tam_err err = old_policy(r, &before);

	if (err != TAM_OK)
		return err;
	if (before == NULL)
		return api_problem(r, 404, "not_found", NULL,
		    "there is no such policy");
	err = API_EXEC(r, NULL, SQL_POLICY_DELETE, r->domain_text, r->params[0],
	    r->principal, reason == NULL ? "" : reason);
	if (err == TAM_OK)
		err = api_raise_epoch(r, NULL);
	if (err == TAM_OK)
		err = api_audit(r, r->params[0], reason, before, NULL);
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
	enum tam_err err = TAM_OK;

	if (json_is_true(json_object_get(r->json, "is_default")))
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
