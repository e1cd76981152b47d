#include "config.h"

#include <stdlib.h>

#include "admin/learn.h"
#include "lib/base/clock.h"
#include "lib/base/hex.h"
#include "storage/admin_statements.h"

/* Revocations: what must leave every device, and how far that is. */

enum {
	TARGETS_MAX = 256
};

/* What a revocation takes from devices, as parallel SQL arrays. */
struct targets {
	size_t n;
	struct slice ids[TARGETS_MAX], digests[TARGETS_MAX];
	bool found; /* the digest named is a manifest's here */
};

static void
add_target(struct targets *t, struct slice id, struct slice digest)
{
	if (t->n == TARGETS_MAX)
		return;
	t->ids[t->n] = id;
	t->digests[t->n++] = digest;
}

static void
add_manifest(struct targets *t, const struct suit_info *info, bool by_digest)
{
	for (size_t i = 0; i < info->n; i++)
		add_target(t, info->components[i].id,
		    by_digest && !info->components[i].many_digests
		        ? info->components[i].digest
		        : slice_none());
}

/* The id may be a component's, or a manifest's: then what it installs. */
static enum tam_err
find_targets(struct api_request *r, struct slice component, struct slice digest,
    struct targets *t)
{
	struct sql_result *rows;
	enum tam_err err = api_exec(r, &rows, SQL_ENVELOPES, 0, NULL);

	if (err != TAM_OK)
		return err;
	if (component.n > 0)
		add_target(t, component, (struct slice){0});
	for (size_t i = 0; i < sql_rows(rows); i++) {
		struct suit_info *info = arena_new(r->arena, struct suit_info);

		if (suit_learn(sql_bytes(rows, i, 2, r->arena), r->arena,
		        info) != TAM_OK)
			continue;
		if (component.n > 0 &&
		    slice_eq(info->manifest.component_id, component))
			add_manifest(t, info, false);
		if (digest.n > 0 &&
		    slice_eq(sql_bytes(rows, i, 0, r->arena), digest)) {
			add_manifest(t, info, true);
			t->found = true;
		}
	}
	sql_result_free(rows);
	return TAM_OK;
}

static enum tam_err
read_target(struct api_request *r, struct slice *component,
    struct slice *digest)
{
	const char *text = api_string(r, "component");
	const char *hex = api_string(r, "manifest"), *ignored;

	if ((text == NULL) == (hex == NULL))
		return api_problem(r, 422, "missing_field", "/component",
		    "name one of component and manifest");
	if (text != NULL && !suit_component_parse(r->arena, text, component))
		return api_problem(r, 422, "invalid_value", "/component",
		    "not a component id: segments joined by /");
	if (hex != NULL && !api_digest(r, hex, &ignored, digest))
		return api_problem(r, 422, "invalid_value", "/manifest",
		    "must be 64 hexadecimal digits");
	if (api_string(r, "reason")[0] == '\0')
		return api_problem(r, 422, "invalid_value", "/reason",
		    "a revocation needs a reason");
	return TAM_OK;
}

static const char *
or_empty(const char *s)
{
	return s == NULL ? "" : s;
}

static enum tam_err
insert(struct api_request *r, struct slice component, struct slice digest,
    const struct targets *t, const char *now, const char **id)
{
	struct sql_result *rows;
	const char *label = component.n > 0 ? api_string(r, "component")
	                                    : api_string(r, "manifest");
	int64_t epoch;
	enum tam_err err = api_raise_epoch(r, &epoch);

	if (err == TAM_OK)
		err = API_EXEC(r, &rows, SQL_REVOCATION_ADD, r->domain_text,
		    component.n > 0 ? "component" : "manifest",
		    component.n > 0 ? sql_bytea(r->arena, component) : NULL,
		    digest.n > 0 ? sql_bytea(r->arena, digest) : NULL,
		    api_bytea_array(r, t->ids, t->n), label,
		    api_string(r, "reason"),
		    or_empty(api_string(r, "advisory")), r->principal,
		    arena_printf(r->arena, "%lld", (long long)epoch), now,
		    api_bytea_array(r, t->digests, t->n));
	if (err != TAM_OK)
		return err;
	*id = arena_strdup(r->arena, slice_str(sql_text(rows, 0, 0)));
	sql_result_free(rows);
	return TAM_OK;
}

static enum tam_err
make_targets(struct api_request *r, struct slice *component,
    struct slice *digest, struct targets *t)
{
	enum tam_err err = read_target(r, component, digest);

	if (err == TAM_OK)
		err = find_targets(r, *component, *digest, t);
	if (err == TAM_OK && digest->n > 0 && !t->found)
		err = api_problem(r, 422, "unknown_manifest", "/manifest",
		    "no manifest with this digest was uploaded");
	return err;
}

/* How far it would reach, as of what is known; it revokes nothing. */
static enum tam_err
radius(struct api_request *r, const struct targets *t, const char *now)
{
	return API_ONE(r, SQL_REVOCATION_RADIUS,
	    api_bytea_array(r, t->ids, t->n),
	    api_bytea_array(r, t->digests, t->n), now,
	    or_empty(api_string(r, "label")));
}

enum tam_err
api_revocation_create(struct api_request *r)
{
	struct slice component = {0}, digest = {0};
	struct targets *t = arena_new(r->arena, struct targets);
	const char *now =
	    arena_printf(r->arena, "%lld", (long long)clock_wall_us());
	const char *id = NULL;
	char *after;
	enum tam_err err = make_targets(r, &component, &digest, t);

	if (err == TAM_OK && json_is_true(json_object_get(r->json, "dry_run")))
		return radius(r, t, now);
	if (err == TAM_OK)
		err = insert(r, component, digest, t, now, &id);
	if (err != TAM_OK)
		return err;
	after = json_dumps(r->json, JSON_COMPACT);
	err = api_audit(r, id, api_string(r, "reason"), NULL, after);
	free(after);
	if (err == TAM_OK)
		err = API_ONE(r, SQL_REVOCATION_GET, id);
	if (err == TAM_OK)
		r->status = 201;
	return err;
}

enum tam_err
api_revocation_list(struct api_request *r)
{
	return api_page(r, SQL_REVOCATION_LIST, "0");
}

static bool
is_number(const char *s)
{
	return strlen(s) < 19 && s[0] != '\0' &&
	    strspn(s, "0123456789") == strlen(s);
}

static enum tam_err
no_such(struct api_request *r)
{
	return api_problem(r, 404, "not_found", NULL,
	    "there is no such revocation");
}

enum tam_err
api_revocation_get(struct api_request *r)
{
	if (!is_number(r->params[0]))
		return no_such(r);
	return API_ONE(r, SQL_REVOCATION_GET, r->params[0]);
}

enum tam_err
api_revocation_lift(struct api_request *r)
{
	struct sql_result *rows;
	enum tam_err err;

	if (!is_number(r->params[0]))
		return no_such(r);
	err = API_EXEC(r, &rows, SQL_REVOCATION_LIFT, r->params[0],
	    arena_printf(r->arena, "%lld", (long long)clock_wall_us()));
	if (err != TAM_OK)
		return err;
	if (sql_changed(rows) == 0)
		err = no_such(r);
	sql_result_free(rows);
	if (err == TAM_OK)
		err = api_raise_epoch(r, NULL);
	if (err == TAM_OK)
		err = api_audit(r, r->params[0], api_string(r, "reason"), NULL,
		    NULL);
	return err == TAM_OK ? API_ONE(r, SQL_REVOCATION_GET, r->params[0])
	                     : err;
}

enum tam_err
api_event_list(struct api_request *r)
{
	int64_t after = api_query_int(r, "after", 0, 0, INT64_MAX);

	return api_page(r, SQL_EVENT_LIST,
	    arena_printf(r->arena, "%lld", (long long)after));
}

const api_handler api_handlers[API_ROUTE_COUNT] = {
#define X(id, ...) [API_##id] = api_##id,
    API_ROUTES(X)
#undef X
};
