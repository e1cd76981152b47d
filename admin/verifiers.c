#include "config.h"

#include <stdlib.h>

#include "admin/learn.h"
#include "storage/admin_statements.h"

/* Whose word about a device counts, and the TAM's own public keys. */

enum tam_err
api_verifier_list(struct api_request *r)
{
	int64_t limit;
	const char *limit_text = api_limit(r, &limit);

	return API_LIST(r, limit, SQL_VERIFIER_LIST, api_cursor(r, ""),
	    limit_text);
}

enum tam_err
api_verifier_get(struct api_request *r)
{
	return API_ONE(r, SQL_VERIFIER_GET, r->params[0]);
}

/* Evidence goes there: never in the clear, never to a host not named. */
static enum tam_err
check_url(struct api_request *r)
{
	const char *url = api_string(r, "url");

	if (url == NULL || url[0] == '\0')
		return TAM_OK;
	if (strncmp(url, "https://", 8) != 0 || url[8] == '\0' ||
	    url[8] == '/' || strpbrk(url, " ?#@\"\\") != NULL)
		return api_problem(r, 422, "invalid_value", "/url",
		    "must be https://host[:port][/path]");
	return TAM_OK;
}

static enum tam_err
put(struct api_request *r, const struct cose_key *key)
{
	char *fields = json_dumps(r->json, JSON_COMPACT);
	enum tam_err err = API_EXEC(r, NULL, SQL_VERIFIER_PUT, r->domain_text,
	    r->params[0], key->curve == COSE_P256 ? "p256" : "ed25519",
	    sql_bytea(r->arena, cose_key_pub(key)),
	    sql_bytea(r->arena, SLICE_OF(key->thumbprint)),
	    fields == NULL ? "{}" : fields);

	if (err == TAM_OK)
		err = api_raise_epoch(r, NULL);
	if (err == TAM_OK)
		err = api_audit(r, r->params[0], "", NULL, fields);
	free(fields);
	return err;
}

enum tam_err
api_verifier_put(struct api_request *r)
{
	struct cose_key key;
	enum tam_err err = check_url(r);

	if (err == TAM_OK &&
	    cose_key_from_pem(slice_str(api_string(r, "public_key")), &key) !=
	        TAM_OK)
		err = api_problem(r, 422, "bad_key", "/public_key",
		    "not a P-256 or Ed25519 public key in PEM");
	if (err == TAM_OK)
		err = put(r, &key);
	return err == TAM_OK ? API_ONE(r, SQL_VERIFIER_GET, r->params[0]) : err;
}

enum tam_err
api_verifier_delete(struct api_request *r)
{
	struct sql_result *rows;
	enum tam_err err =
	    API_EXEC(r, &rows, SQL_VERIFIER_DELETE, r->params[0]);

	if (err != TAM_OK)
		return err;
	if (sql_changed(rows) == 0)
		err = api_problem(r, 404, "not_found", NULL,
		    "there is no such Verifier");
	sql_result_free(rows);
	if (err == TAM_OK)
		err = api_raise_epoch(r, NULL);
	if (err == TAM_OK)
		err = api_audit(r, r->params[0], "", NULL, NULL);
	if (err == TAM_OK)
		buf_add_str(&r->response, "{}");
	return err;
}

enum tam_err
api_tam_key_list(struct api_request *r)
{
	int64_t limit;
	const char *limit_text = api_limit(r, &limit);

	return API_LIST(r, limit, SQL_TAM_KEY_LIST, api_cursor(r, ""),
	    limit_text);
}
