#include "config.h"

#include <stdlib.h>

#include "admin/learn.h"
#include "storage/admin_statements.h"

/* Whose word about a device counts, and the TAM's own public keys. */

enum tam_err
api_verifier_list(struct api_request *r)
{
	return api_page(r, SQL_VERIFIER_LIST, "");
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

	if (err == TAM_OK)
		err = learn_check_room(r, SQL_VERIFIER_OTHERS,
		    LEARN_VERIFIERS_MAX, "Verifiers");
	if (err == TAM_OK)
		err = api_public_key(r, &key);
	if (err == TAM_OK)
		err = put(r, &key);
	return err == TAM_OK ? API_ONE(r, SQL_VERIFIER_GET, r->params[0]) : err;
}

enum tam_err
api_verifier_delete(struct api_request *r)
{
	enum tam_err err = api_delete(r, SQL_VERIFIER_DELETE, r->params[0],
	    "there is no such Verifier");

	return err == TAM_OK ? api_changed(r) : err;
}

enum tam_err
api_tam_key_list(struct api_request *r)
{
	return api_page(r, SQL_TAM_KEY_LIST, "");
}
