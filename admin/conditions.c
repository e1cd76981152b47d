#include "config.h"

#include "admin/conditions.h"

#include "admin/learn.h"
#include "server/http/etag.h"
#include "storage/admin_statements.h"

/* An object that has an ETag, by its path in the API. */
static const struct tagged {
	const char *path, *statement;
} tagged[] = {
    {"/v1/policies/{name}", SQL_TAG_POLICY},
    {"/v1/channels/{name}", SQL_TAG_CHANNEL},
    {"/v1/rollouts/{name}", SQL_TAG_ROLLOUT},
    {"/v1/trust-anchors/{name}", SQL_TAG_ROW("trust_anchor")},
    {"/v1/wire-profiles/{name}", SQL_TAG_ROW("wire_profile")},
    {"/v1/verifiers/{name}", SQL_TAG_ROW("verifier")},
    {"/v1/endorsements/{name}", SQL_TAG_ROW("endorsement")},
    {"/v1/reference-values/{name}", SQL_TAG_ROW("reference_value")},
    {"/v1/device-cas/{name}", SQL_TAG_ROW("device_ca")},
    {"/v1/devices/{name}", SQL_TAG_DEVICE},
    {"/v1/domain", SQL_TAG_DOMAIN},
};

static bool
is_change(const struct api_request *r)
{
	return strcmp(r->route->method, "GET") != 0;
}

/* What is changed below an object's path (.../rollback) is the object. */
static const struct tagged *
tagged_of(const struct api_request *r)
{
	const char *path = r->route->path;

	for (size_t i = 0; i < sizeof(tagged) / sizeof(tagged[0]); i++) {
		size_t n = strlen(tagged[i].path);

		if (strncmp(path, tagged[i].path, n) == 0 &&
		    (path[n] == '\0' || (path[n] == '/' && is_change(r))))
			return &tagged[i];
	}
	return NULL;
}

/* NULL: there is no such object. */
static enum tam_err
find_tag(struct api_request *r, const struct tagged *t, const char *lock,
    const char **tag)
{
	const char *text;
	enum tam_err err = API_TEXT(r, &text,
	    arena_printf(r->arena, "%s%s", t->statement, lock),
	    r->params[0] == NULL ? r->domain_text : r->params[0]);

	if (err == TAM_OK)
		*tag = text == NULL ? NULL
		                    : arena_printf(r->arena, "\"%s\"", text);
	return err;
}

/* --- changes ------------------------------------------------------------------------ */

static enum tam_err
lock(struct api_request *r, const struct tagged *t)
{
	return API_EXEC(r, NULL, SQL_TAG_LOCK, r->domain_text, t->path,
	    r->params[0] == NULL ? "" : r->params[0]);
}

/* Of what replaces, patches or deletes an object; not again when it was
 * approved, which binds to the state there was. */
static enum tam_err
require_any(struct api_request *r)
{
	const char *asked;
	bool whole = strcmp(r->route->method, "POST") != 0;
	enum tam_err err =
	    API_TEXT(r, &asked, SQL_DOMAIN_PRECONDITIONS, r->domain_text);

	if (err != TAM_OK || asked == NULL || !whole || r->approved)
		return err;
	return api_problem(r, 428, "precondition_required", NULL,
	    "this domain wants If-Match with the ETag of what is changed, or "
	    "If-None-Match: * to create");
}

static enum tam_err
malformed(struct api_request *r, const char *field)
{
	return api_problem(r, 400, "malformed_precondition", NULL,
	    "%s must be * or a list of ETags in quotes", field);
}

static enum tam_err
compare(struct api_request *r, const char *tag)
{
	struct slice have = slice_str(tag);
	enum etag_verdict verdict;

	if (r->if_match != NULL) {
		verdict = etag_match(slice_str(r->if_match), have, false);
		if (verdict == ETAG_MALFORMED)
			return malformed(r, "If-Match");
		if (verdict == ETAG_DIFFERS)
			return tag == NULL
			    ? api_problem(r, 412, "not_there", NULL,
			          "there is no such object to change")
			    : api_problem(r, 412, "changed_meanwhile", NULL,
			          "it was changed: its ETag is %s now", tag);
	}
	if (r->if_none_match == NULL)
		return TAM_OK;
	verdict = etag_match(slice_str(r->if_none_match), have, true);
	if (verdict == ETAG_MALFORMED)
		return malformed(r, "If-None-Match");
	return verdict == ETAG_DIFFERS
	    ? TAM_OK
	    : api_problem(r, 412, "exists", NULL,
	          "it exists already; its ETag is %s", tag);
}

enum tam_err
conditions_check(struct api_request *r)
{
	const struct tagged *t = tagged_of(r);
	const char *tag;
	enum tam_err err;

	if (!is_change(r))
		return TAM_OK;
	if (t == NULL)
		return r->if_match == NULL && r->if_none_match == NULL
		    ? TAM_OK
		    : api_problem(r, 412, "no_etag", NULL,
		          "what this changes has no ETag");
	err = lock(r, t);
	if (err != TAM_OK)
		return err;
	if (r->if_match == NULL && r->if_none_match == NULL)
		return require_any(r);
	err = find_tag(r, t, " FOR UPDATE", &tag);
	return err == TAM_OK ? compare(r, tag) : err;
}

/* --- what is shown ------------------------------------------------------------------ */

enum tam_err
conditions_tag(struct api_request *r)
{
	const struct tagged *t = tagged_of(r);
	const char *tag = NULL;
	enum tam_err err;

	if (t == NULL || strcmp(r->route->method, "DELETE") == 0 ||
	    r->status / 100 != 2 || r->status == 202)
		return TAM_OK;
	err = find_tag(r, t, "", &tag);
	if (err != TAM_OK || tag == NULL)
		return err;
	r->etag = tag;
	if (is_change(r) || r->if_none_match == NULL ||
	    etag_match(slice_str(r->if_none_match), slice_str(tag), true) !=
	        ETAG_MATCHES)
		return TAM_OK;
	r->status = 304;
	r->content_type = NULL;
	buf_clear(&r->response);
	return TAM_OK;
}
