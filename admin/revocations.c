#include "config.h"

#include <stdlib.h>

#include "admin/learn.h"
#include "admin/policy_cache.h"
#include "admin/revocation_hint.h"
#include "lib/base/clock.h"
#include "lib/base/hex.h"
#include "storage/admin_statements.h"
#include "storage/revocation_statements.h"

/* Revocations: what must leave every device, and how far that is. */

enum {
	DEADLINE_MAX_S = 31536000
};

/* A target as it was asked for, and what it takes from devices. */
struct asked {
	struct policy_revocation what;
	const char *target, *label; /* its sort; how people write it */
	const char *first, *last;   /* of a range, as SQL; else NULL */
	const char *deadline, *replacement;
	size_t n;
	struct slice *ids, *digests; /* parallel; no digest: any image */
};

/* --- what is asked for --------------------------------------------------------------- */

/* One of four; a range belongs to a component. */
static enum tam_err
read_target(struct api_request *r, struct asked *a)
{
	static const char *const sorts[] = {"component", "manifest", "signer",
	    "class", NULL};
	size_t n = 0;

	for (const char *const *sort = sorts; *sort != NULL; sort++) {
		const char *label = api_string(r, *sort);

		if (label == NULL)
			continue;
		n++;
		a->target = *sort;
		a->label = label;
	}
	if (n != 1)
		return api_problem(r, 422, "missing_field", "/component",
		    "name one of component, manifest, signer and class");
	return TAM_OK;
}

static enum tam_err
read_label(struct api_request *r, struct asked *a)
{
	const char *ignored;

	if (a->label[0] == '\0')
		return api_problem(r, 422, "invalid_value",
		    arena_printf(r->arena, "/%s", a->target), "is empty");
	if (strcmp(a->target, "component") == 0 &&
	    !suit_component_parse(r->arena, a->label, &a->what.component))
		return api_problem(r, 422, "invalid_value", "/component",
		    "not a component id: segments joined by /");
	if (strcmp(a->target, "manifest") == 0 &&
	    !api_digest(r, a->label, &ignored, &a->what.manifest))
		return api_problem(r, 422, "invalid_value", "/manifest",
		    "must be 64 hexadecimal digits");
	if (strcmp(a->target, "signer") == 0)
		a->what.signer = slice_str(a->label);
	if (strcmp(a->target, "class") == 0)
		a->what.class_name = slice_str(a->label);
	return TAM_OK;
}

static enum tam_err
read_range(struct api_request *r, struct asked *a)
{
	json_t *first = json_object_get(r->json, "first_sequence");
	json_t *last = json_object_get(r->json, "last_sequence");
	int64_t from = json_integer_value(first);
	int64_t to = last == NULL ? INT64_MAX : json_integer_value(last);

	if (first == NULL && last == NULL)
		return TAM_OK;
	if (a->what.component.n == 0)
		return api_problem(r, 422, "invalid_value",
		    first != NULL ? "/first_sequence" : "/last_sequence",
		    "only a component has a range of sequence numbers");
	if (from < 0 || to < from)
		return api_problem(r, 422, "invalid_value",
		    last != NULL ? "/last_sequence" : "/first_sequence",
		    "the range must be from 0 up, and not end before it begins");
	a->target = "range";
	a->what.ranged = true;
	a->what.first = (uint64_t)from;
	a->what.last = (uint64_t)to;
	a->first = api_number(r, from);
	a->last = api_number(r, to);
	return TAM_OK;
}

static enum tam_err
read_rest(struct api_request *r, struct asked *a, int64_t now_us)
{
	json_t *s = json_object_get(r->json, "deadline_s");
	int64_t seconds = json_integer_value(s);

	if (s == NULL)
		return TAM_OK;
	if (seconds < 1 || seconds > DEADLINE_MAX_S)
		return api_problem(r, 422, "invalid_value", "/deadline_s",
		    "must be from 1 to %d", DEADLINE_MAX_S);
	now_us += seconds * CLOCK_SECOND;
	a->deadline = api_number(r, now_us);
	return TAM_OK;
}

/* Instead of what is taken; or nothing is. */
static enum tam_err
read_action(struct api_request *r, struct asked *a)
{
	const char *hex = api_string(r, "replacement");
	json_t *quarantine = json_object_get(r->json, "quarantine");
	bool whole = a->what.class_name.n > 0;

	a->what.quarantine = whole || json_is_true(quarantine);
	if (whole && json_is_false(quarantine))
		return api_problem(r, 422, "invalid_value", "/quarantine",
		    "devices of a class can only be put in quarantine");
	if (hex != NULL && a->what.quarantine)
		return api_problem(r, 422, "invalid_value", "/replacement",
		    "nothing is sent to a device in quarantine");
	if (hex != NULL &&
	    !api_digest(r, hex, &a->replacement, &a->what.replacement))
		return api_problem(r, 422, "invalid_value", "/replacement",
		    "must be 64 hexadecimal digits");
	return TAM_OK;
}

/* It is there, and neither revoked nor about to be. */
static enum tam_err
check_replacement(struct api_request *r, const struct asked *a,
    const struct policy_set *set)
{
	const struct policy_manifest *m =
	    policy_find_manifest(set, a->what.replacement);

	if (a->replacement == NULL)
		return TAM_OK;
	if (m == NULL)
		return api_problem(r, 422, "unknown_manifest", "/replacement",
		    "no manifest with this digest was uploaded");
	if (policy_is_revoked(set, m) || policy_would_revoke(&a->what, m))
		return api_problem(r, 409, "suit_revoked", "/replacement",
		    "this manifest, or a component it installs, is revoked");
	return TAM_OK;
}

/* By the code that tells nodes what to take away. */
static enum tam_err
find_targets(struct api_request *r, struct asked *a)
{
	struct policy_component *targets;
	struct policy_set *set;
	size_t named;
	enum tam_err err = policy_cache_get(r, &set);

	if (err != TAM_OK)
		return err;
	a->n = policy_revocation_targets(set, &a->what, r->arena, &targets,
	    &named);
	a->ids = arena_new_n(r->arena, a->n, struct slice);
	a->digests = arena_new_n(r->arena, a->n, struct slice);
	for (size_t i = 0; i < a->n; i++) {
		a->ids[i] = arena_dup(r->arena, targets[i].id);
		a->digests[i] = arena_dup(r->arena, targets[i].digest);
	}
	err = check_replacement(r, a, set);
	policy_set_unref(set);
	if (err != TAM_OK)
		return err;
	if (named == 0 && a->what.manifest.n > 0)
		return api_problem(r, 422, "unknown_manifest", "/manifest",
		    "no manifest with this digest was uploaded");
	return TAM_OK;
}

/* A range or a signer is about what is uploaded later, too. */
static enum tam_err
read_asked(struct api_request *r, struct asked *a, int64_t now_us)
{
	enum tam_err err = read_target(r, a);

	if (err == TAM_OK)
		err = read_label(r, a);
	if (err == TAM_OK)
		err = read_range(r, a);
	if (err == TAM_OK)
		err = read_rest(r, a, now_us);
	if (err == TAM_OK)
		err = read_action(r, a);
	return err == TAM_OK ? find_targets(r, a) : err;
}

/* --- revoking ------------------------------------------------------------------------- */

static const char *
or_empty(const char *s)
{
	return s == NULL ? "" : s;
}

static const char *
bytea_or_null(struct api_request *r, struct slice v)
{
	return v.n > 0 ? sql_bytea(r->arena, v) : NULL;
}

static const char *
bit(bool set)
{
	return set ? "1" : "0";
}

static const char *
is_suspension(struct api_request *r)
{
	return bit(json_is_true(json_object_get(r->json, "suspend")));
}

static enum tam_err
insert(struct api_request *r, const struct asked *a, const char *now,
    const char **id)
{
	struct sql_result *rows;
	int64_t epoch;
	enum tam_err err = api_raise_epoch(r, &epoch);

	if (err == TAM_OK)
		err = API_EXEC(r, &rows, SQL_REVOCATION_ADD, r->domain_text,
		    a->target, bytea_or_null(r, a->what.component),
		    bytea_or_null(r, a->what.manifest),
		    api_bytea_array(r, a->ids, a->n), a->label, r->reason,
		    or_empty(api_string(r, "advisory")), r->principal,
		    api_number(r, epoch), now,
		    api_bytea_array(r, a->digests, a->n), a->first, a->last,
		    api_string(r, "signer"), a->deadline, a->replacement,
		    is_suspension(r), api_string(r, "class"),
		    bit(a->what.quarantine));
	if (err != TAM_OK)
		return err;
	*id = arena_strdup(r->arena, slice_str(sql_text(rows, 0, 0)));
	sql_result_free(rows);
	return TAM_OK;
}

/* An active revocation that says the same; NULL: there is none.  Those who
 * revoke the same at once wait for each other. */
static enum tam_err
find_same(struct api_request *r, const struct asked *a, const char **id)
{
	enum tam_err err = API_EXEC(r, NULL, SQL_TAG_LOCK, r->domain_text,
	    "revocation", a->label);

	return err != TAM_OK
	    ? err
	    : API_TEXT(r, id, SQL_REVOCATION_SAME, a->target,
	          bytea_or_null(r, a->what.component),
	          bytea_or_null(r, a->what.manifest),
	          api_bytea_array(r, a->ids, a->n), a->first, a->last,
	          api_string(r, "signer"), api_string(r, "class"),
	          bit(a->what.quarantine), a->replacement, is_suspension(r));
}

static struct slice
joined(struct arena *arena, struct slice a, struct slice b)
{
	uint8_t *p = arena_alloc(arena, a.n + b.n);

	memcpy(p, a.p, a.n);
	memcpy(p + a.n, b.p, b.n);
	return (struct slice){p, a.n + b.n};
}

static enum tam_err
radius_of_many(struct api_request *r, const struct asked *a, const char *now,
    const char *label)
{
	struct slice *any = arena_new_n(r->arena, a->n, struct slice);
	struct slice *pairs = arena_new_n(r->arena, a->n, struct slice);
	size_t n_any = 0, n_pairs = 0;

	for (size_t i = 0; i < a->n; i++) {
		if (a->digests[i].n == 0)
			any[n_any++] = a->ids[i];
		else
			pairs[n_pairs++] =
			    joined(r->arena, a->ids[i], a->digests[i]);
	}
	return API_ONE(r,
	    arena_printf(r->arena, SQL_REVOCATION_RADIUS, SQL_RADIUS_HOLDS,
	        SQL_RADIUS_BRINGS),
	    now, label, api_bytea_array(r, a->ids, a->n),
	    api_bytea_array(r, any, n_any), api_bytea_array(r, pairs, n_pairs));
}

static enum tam_err
radius_of_one(struct api_request *r, const struct asked *a, const char *now,
    const char *label, bool any)
{
	const char *id = sql_bytea(r->arena, a->ids[0]);

	if (any)
		return API_ONE(r,
		    arena_printf(r->arena, SQL_REVOCATION_RADIUS,
		        SQL_RADIUS_HOLDS_ONE, SQL_RADIUS_BRINGS_ONE),
		    now, label, id);
	return API_ONE(r,
	    arena_printf(r->arena, SQL_REVOCATION_RADIUS,
	        SQL_RADIUS_HOLDS_IMAGES, SQL_RADIUS_BRINGS_ONE),
	    now, label, id, api_bytea_array(r, a->digests, a->n));
}

static enum tam_err
radius_of_class(struct api_request *r, const struct asked *a, const char *now,
    const char *label)
{
	return API_ONE(r,
	    arena_printf(r->arena, SQL_REVOCATION_RADIUS, SQL_RADIUS_IN_CLASS,
	        SQL_RADIUS_BRINGS_CLASS),
	    now, label, a->label);
}

/* How far it would reach, as of what is known; it revokes nothing. */
static enum tam_err
radius(struct api_request *r, const struct asked *a, const char *now)
{
	const char *label = or_empty(api_string(r, "label"));
	bool one = a->n > 0, any = false;
	enum tam_err err = api_exec(r, NULL, SQL_MERGE_LISTS, 0, NULL);

	if (err != TAM_OK)
		return err;
	if (a->what.class_name.n > 0)
		return radius_of_class(r, a, now, label);
	for (size_t i = 0; i < a->n; i++) {
		one &= slice_eq(a->ids[i], a->ids[0]);
		any |= a->digests[i].n == 0;
	}
	return one ? radius_of_one(r, a, now, label, any)
	           : radius_of_many(r, a, now, label);
}

static enum tam_err
show(struct api_request *r, const char *id)
{
	return API_ONE(r, SQL_REVOCATION_GET, id,
	    api_number(r, clock_cluster_us()));
}

static enum tam_err
hint(struct api_request *r, const struct asked *a)
{
	return revocation_hint(r, a->target, a->label,
	    api_bytea_array(r, a->ids, a->n));
}

static enum tam_err
radius_hinted(struct api_request *r, const struct asked *a, const char *now)
{
	enum tam_err err = radius(r, a, now);

	return err == TAM_OK ? hint(r, a) : err;
}

enum tam_err
api_revocation_create(struct api_request *r)
{
	struct asked *a = arena_new(r->arena, struct asked);
	int64_t now_us = clock_cluster_us();
	const char *now = api_number(r, now_us);
	const char *id = NULL;
	char *after;
	enum tam_err err = read_asked(r, a, now_us);

	if (err == TAM_OK && json_is_true(json_object_get(r->json, "dry_run")))
		return radius_hinted(r, a, now);
	if (err == TAM_OK)
		err = find_same(r, a, &id);
	if (err == TAM_OK && id != NULL) /* named, not made again: 200 */
		return show(r, id);
	if (err == TAM_OK)
		err = insert(r, a, now, &id);
	if (err != TAM_OK)
		return err;
	after = json_dumps(r->json, JSON_COMPACT);
	err = api_audit(r, id, r->reason, NULL, after);
	free(after);
	if (err == TAM_OK)
		err = show(r, id);
	if (err == TAM_OK)
		err = hint(r, a);
	if (err == TAM_OK)
		r->status = 201;
	return err;
}

/* --- looking -------------------------------------------------------------------------- */

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
	enum tam_err err;

	if (!is_number(r->params[0]))
		return no_such(r);
	err = api_exec(r, NULL, SQL_MERGE_LISTS, 0, NULL);
	return err == TAM_OK ? show(r, r->params[0]) : err;
}

/* *lifted: when, or NULL. */
static enum tam_err
read_lifted(struct api_request *r, const char **lifted)
{
	struct sql_result *rows;
	enum tam_err err;

	if (!is_number(r->params[0]))
		return no_such(r);
	err = API_EXEC(r, &rows, SQL_REVOCATION_LIFTED, r->params[0]);
	if (err != TAM_OK)
		return err;
	*lifted = NULL;
	if (sql_rows(rows) == 0)
		err = no_such(r);
	else if (sql_text(rows, 0, 0) != NULL)
		*lifted =
		    arena_strdup(r->arena, slice_str(sql_text(rows, 0, 0)));
	sql_result_free(rows);
	return err;
}

static enum tam_err
check_there(struct api_request *r)
{
	const char *ignored;

	return read_lifted(r, &ignored);
}

enum tam_err
api_revocation_devices(struct api_request *r)
{
	struct api_paging page;
	enum tam_err err = api_paging_read(r, "", &page);

	if (err != TAM_OK)
		return err;
	err = check_there(r);
	if (err != TAM_OK)
		return err;
	return API_LIST(r, page.limit, SQL_REVOCATION_OPEN, r->params[0],
	    page.after, page.limit_text);
}

enum tam_err
api_revocation_lift(struct api_request *r)
{
	struct sql_result *rows;
	const char *lifted;
	enum tam_err err = read_lifted(r, &lifted);

	if (err != TAM_OK)
		return err;
	err = API_EXEC(r, &rows, SQL_REVOCATION_LIFT, r->params[0],
	    api_number(r, clock_cluster_us()));
	if (err != TAM_OK)
		return err;
	if (sql_changed(rows) == 0)
		err = api_problem(r, 409, "already_lifted", NULL,
		    "this revocation was lifted already%s%s",
		    lifted == NULL ? "" : ", at ",
		    lifted == NULL ? "" : lifted);
	sql_result_free(rows);
	if (err == TAM_OK)
		err = api_raise_epoch(r, NULL);
	if (err == TAM_OK)
		err = api_audit(r, r->params[0], r->reason, NULL, NULL);
	return err == TAM_OK ? show(r, r->params[0]) : err;
}
