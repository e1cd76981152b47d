#include "config.h"

#include "admin/learn.h"

#include <stdlib.h>

#include "admin/manifest_facts.h"
#include "admin/policy_rows.h"
#include "lib/base/hex.h"
#include "storage/admin_statements.h"
#include "storage/rollout_statements.h"

enum tam_err
learn_check_revoked(struct api_request *r, struct slice digest,
    const struct suit_info *info, const char *signer)
{
	struct manifest_facts facts;
	struct policy_builder *b = NULL;
	struct policy_set *set;
	enum tam_err err = policy_rows_begin(r->sql, r->domain_text, NULL, &b);

	if (err != TAM_OK)
		return api_sql_problem(r, err);
	manifest_facts_of(info, digest, &facts);
	facts.manifest.signer = slice_str(signer);
	if (policy_builder_manifest(b, digest) == NULL)
		policy_add_manifest(b, &facts.manifest);
	set = policy_build(b);
	if (policy_is_revoked(set, &facts.manifest))
		err = api_problem(r, 409, "suit_revoked", NULL,
		    "this manifest, or a component it installs, is revoked");
	policy_set_unref(set);
	return err;
}

const char *
api_number(struct api_request *r, int64_t v)
{
	return arena_printf(r->arena, "%lld", (long long)v);
}

enum tam_err
api_text(struct api_request *r, const char **out, const char *statement,
    size_t n, const char *const *params)
{
	struct sql_result *rows;
	enum tam_err err = api_exec(r, &rows, statement, n, params);

	*out = NULL;
	if (err != TAM_OK)
		return err;
	if (sql_rows(rows) > 0 && sql_text(rows, 0, 0) != NULL)
		*out = arena_strdup(r->arena, slice_str(sql_text(rows, 0, 0)));
	sql_result_free(rows);
	return TAM_OK;
}

enum tam_err
api_check_there(struct api_request *r, const char *statement, const char *key,
    const char *missing)
{
	struct sql_result *rows;
	bool there;
	enum tam_err err = API_EXEC(r, &rows, statement, key);

	if (err != TAM_OK)
		return err;
	there = sql_rows(rows) > 0;
	sql_result_free(rows);
	return there ? TAM_OK
	             : api_problem(r, 404, "not_found", NULL, "%s", missing);
}

enum tam_err
api_policy_problem(struct api_request *r, int status, const char *code,
    const char *error)
{
	const char *colon = strchr(error, ':');

	return api_problem(r, status, code,
	    error[0] == '/' && colon != NULL
	        ? arena_strdup(r->arena,
	              (struct slice){(const uint8_t *)error,
	                  (size_t)(colon - error)})
	        : NULL,
	    "%s", error);
}

enum tam_err
learn_check_rollout(struct api_request *r, const char *what, const char *name)
{
	const char *rollout;
	enum tam_err err = API_TEXT(r, &rollout, SQL_ROLLOUT_OF, what, name);

	if (err != TAM_OK || rollout == NULL)
		return err;
	return api_problem(r, 409, "rollout_under_way", NULL,
	    "rollout %s is changing this %s: abort it first", rollout, what);
}

const char *
api_bytea_array(struct api_request *r, const struct slice *v, size_t n)
{
	struct buf b;
	const char *text;

	buf_init(&b, 1 << 20);
	buf_add_str(&b, "{");
	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "%s\"\\\\x%s\"", i == 0 ? "" : ",",
		    hex_dup(r->arena, v[i]));
	buf_add_str(&b, "}");
	text = arena_strdup(r->arena, buf_slice(&b));
	buf_fini(&b);
	return text;
}

enum tam_err
api_public_key(struct api_request *r, struct cose_key *key)
{
	if (cose_key_from_pem(slice_str(api_string(r, "public_key")), key) ==
	    TAM_OK)
		return TAM_OK;
	return api_problem(r, 422, "bad_key", "/public_key",
	    "not a P-256 or Ed25519 public key in PEM");
}

enum tam_err
learn_check_room(struct api_request *r, const char *others, int max,
    const char *what)
{
	const char *n;
	enum tam_err err = API_TEXT(r, &n, others, r->params[0]);

	if (err != TAM_OK || strtol(n, NULL, 10) < max)
		return err;
	return api_problem(r, 409, "limit_reached", NULL,
	    "a domain has at most %d %s", max, what);
}

enum tam_err
api_delete(struct api_request *r, const char *statement, const char *key,
    const char *missing)
{
	struct sql_result *rows;
	size_t n;
	enum tam_err err = API_EXEC(r, &rows, statement, key);

	if (err != TAM_OK)
		return err;
	n = sql_changed(rows);
	sql_result_free(rows);
	return n > 0 ? TAM_OK
	             : api_problem(r, 404, "not_found", NULL, "%s", missing);
}

enum tam_err
api_changed(struct api_request *r)
{
	char *fields =
	    r->json == NULL ? NULL : json_dumps(r->json, JSON_COMPACT);
	enum tam_err err = api_raise_epoch(r, NULL);

	if (err == TAM_OK)
		err = api_audit(r, r->params[0], "", NULL, fields);
	if (err == TAM_OK)
		buf_add_str(&r->response, fields == NULL ? "{}" : fields);
	free(fields);
	return err;
}
