#include "config.h"

#include <stdlib.h>

#include "admin/learn.h"
#include "storage/admin_statements.h"

/* How a domain takes devices in, and new keys of devices it knows. */

enum tam_err
api_domain_get(struct api_request *r)
{
	return API_ONE(r, SQL_DOMAIN_GET, r->domain_text);
}

enum {
	PROFILE_MAX = 255 /* bytes; as server/teep/domain.h has room for */
};

static enum tam_err
check_profile(struct api_request *r)
{
	const char *profile = api_string(r, "teep_profile");

	if (profile == NULL || strlen(profile) <= PROFILE_MAX)
		return TAM_OK;
	return api_problem(r, 422, "invalid_value", "/teep_profile",
	    "must have at most %d bytes", PROFILE_MAX);
}

enum tam_err
api_domain_patch(struct api_request *r)
{
	char *fields = json_dumps(r->json, JSON_COMPACT);
	enum tam_err err = check_profile(r);

	if (err == TAM_OK)
		err = API_EXEC(r, NULL, SQL_DOMAIN_SET, r->domain_text, fields);
	if (err == TAM_OK)
		err = api_raise_epoch(r, NULL);
	if (err == TAM_OK)
		err = api_audit(r, r->domain, "", NULL, fields);
	free(fields);
	return err == TAM_OK ? api_domain_get(r) : err;
}

enum tam_err
api_device_rekey(struct api_request *r)
{
	const char *thumbprint = api_string(r, "thumbprint");
	bool take = json_is_true(json_object_get(r->json, "take"));
	struct sql_result *rows;
	const char *before;
	bool found;
	enum tam_err err = api_check_there(r, SQL_DEVICE_THERE, r->params[0],
	    "there is no such device");

	if (err == TAM_OK)
		err = API_TEXT(r, &before, SQL_DEVICE_KEYS, r->params[0]);

	if (err != TAM_OK)
		return err;
	err = take
	    ? API_EXEC(r, &rows, SQL_DEVICE_REKEY, r->params[0], thumbprint)
	    : API_EXEC(r, &rows, SQL_DEVICE_REKEY_REFUSE, r->params[0],
	          thumbprint);

	if (err != TAM_OK)
		return err;
	found = take ? sql_rows(rows) > 0 : sql_changed(rows) > 0;
	sql_result_free(rows);
	if (!found)
		return api_problem(r, 404, "not_found", "/thumbprint",
		    "no such key of this device waits for a decision");
	err = api_audit(r, r->params[0], r->reason, before,
	    arena_printf(r->arena, "{\"key\":\"%s\",\"taken\":%s}", thumbprint,
	        take ? "true" : "false"));
	return err == TAM_OK ? api_device_get(r) : err;
}
