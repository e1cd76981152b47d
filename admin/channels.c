#include "config.h"

#include "admin/dry_run.h"
#include "admin/learn.h"
#include "admin/policy_cache.h"
#include "admin/policy_rows.h"
#include "storage/admin_statements.h"

/* Channels: names that policies use for manifests, and where they pointed. */

enum tam_err
api_channel_list(struct api_request *r)
{
	return api_page(r, SQL_CHANNEL_LIST, "");
}

enum tam_err
api_channel_get(struct api_request *r)
{
	return API_ONE(r, SQL_CHANNEL_GET, r->params[0]);
}

enum tam_err
api_channel_history(struct api_request *r)
{
	struct api_paging page;
	enum tam_err err = api_paging_read(r, "9223372036854775807", &page);

	if (err == TAM_OK)
		err = api_check_there(r, SQL_CHANNEL_WAS, r->params[0],
		    "there was no such channel");
	return err != TAM_OK ? err
	                     : API_LIST(r, page.limit, SQL_CHANNEL_HISTORY,
	                           r->params[0], page.after, page.limit_text);
}

/* It is there, and not revoked. */
static enum tam_err
check_manifest(struct api_request *r, struct slice digest)
{
	const struct policy_manifest *m;
	struct policy_set *set;
	enum tam_err err = policy_cache_get(r, &set);

	if (err != TAM_OK)
		return err;
	m = policy_find_manifest(set, digest);
	if (m == NULL)
		err = api_problem(r, 422, "unknown_manifest", "/manifest",
		    "no manifest with this digest was uploaded");
	else if (policy_is_revoked(set, m))
		err = api_problem(r, 409, "suit_revoked", "/manifest",
		    "this manifest, or a component it installs, is revoked");
	policy_set_unref(set);
	return err;
}

/* Whoever has a policy that names the channel. */
static enum tam_err
try_channel(struct api_request *r, struct slice digest)
{
	struct policy_change change = {.channel = r->params[0],
	    .manifest = digest};
	struct device_query *q = arena_new(r->arena, struct device_query);
	enum tam_err err = device_query_make(r, "", "/selector", 0, q);

	return err == TAM_OK ? dry_run_change(r, &change, q) : err;
}

enum tam_err
api_channel_put(struct api_request *r)
{
	const char *sql;
	struct slice digest;
	enum tam_err err;

	if (!api_digest(r, api_string(r, "manifest"), &sql, &digest))
		return api_problem(r, 422, "invalid_value", "/manifest",
		    "must be 64 hexadecimal digits");
	err = check_manifest(r, digest);
	if (err == TAM_OK && json_is_true(json_object_get(r->json, "dry_run")))
		return try_channel(r, digest);
	if (err == TAM_OK)
		err = learn_check_rollout(r, "channel", r->params[0]);
	if (err == TAM_OK)
		err = API_EXEC(r, NULL, SQL_CHANNEL_PUT, r->domain_text,
		    r->params[0], sql, r->principal, r->reason);
	if (err == TAM_OK)
		err = api_changed(r);
	if (err != TAM_OK)
		return err;
	buf_clear(&r->response);
	return API_ONE(r, SQL_CHANNEL_GET, r->params[0]);
}

enum tam_err
api_channel_delete(struct api_request *r)
{
	const char *user;
	enum tam_err err = API_TEXT(r, &user, SQL_CHANNEL_USERS, r->params[0]);

	if (err != TAM_OK)
		return err;
	if (user != NULL)
		return api_problem(r, 409, "in_use", NULL,
		    "policy %s uses this channel", user);
	err = API_EXEC(r, NULL, SQL_CHANNEL_FORGET, r->params[0], r->principal);
	if (err == TAM_OK)
		err = api_delete(r, SQL_CHANNEL_DELETE, r->params[0],
		    "there is no such channel");
	return err == TAM_OK ? api_changed(r) : err;
}
