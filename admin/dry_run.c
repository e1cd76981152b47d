#include "config.h"

#include "admin/dry_run.h"

#include <stdlib.h>

#include "admin/holdings.h"
#include "admin/policy_cache.h"
#include "admin/policy_rows.h"
#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "policy/rollout.h"
#include "storage/admin_statements.h"
#include "storage/device_facts.h"

/*
 * The fleet goes by in parts, each some lists in the order of device ids
 * (devices, labels, keys, parts) that are walked side by side, and what they
 * hold:
 *
 *	begin       a cursor over the devices
 *	next_part   reads the next of them
 *	take_part   what else is to be known of those
 *	take_rows   what of a list is this device's
 *	compare     two decisions about it
 *	count       what differs
 */

enum {
	SAMPLE = 10,
	ARENAS_KEPT = 4
};

#define WEEK_US (INT64_C(7) * 86400 * CLOCK_SECOND)

enum change {
	CHANGE_SEND,   /* it gets manifests it would not have got */
	CHANGE_UNLINK, /* it loses what it would have kept */
	CHANGE_STOP,   /* it does not get what it would have got */
	CHANGE_KEEP,   /* it does not lose what it would have lost */
	CHANGE_ATTEST, /* it is asked for proof */
	CHANGES
};

static const char *const change_names[CHANGES] = {"send", "unlink", "stop",
    "keep", "attest"};

/* The rows of one list, walked with the devices. */
struct walked {
	struct sql_result *rows;
	size_t at;
};

struct run {
	struct api_request *r;
	const struct policy_set *before, *after;
	struct device_query *who;
	struct slice domain;
	int64_t now_us;
	struct arena_pool pool;

	struct walked labels, keys, parts, requests;
	struct holdings *holdings;
	int64_t stages[ROLLOUT_STAGES_MAX]; /* of the rollout tried */
	const struct rollout_plan *plan;
	int64_t devices, changed, kinds[CHANGES], bytes;
	int64_t never_seen, old, oldest_us;
	json_t *classes, *sample;
};

/* --- reading --------------------------------------------------------------------- */

enum dry_column {
	C_ID,
	C_NAME,
	C_CLASS,
	C_STATUS,
	C_ENROLLED,
	C_SEEN,
	C_UPDATE_BYTES,
	C_PROFILE_BYTES,
	C_ASKS_PROOF,
	C_RESULT,
	C_VERIFIER,
	C_OEMID,
	C_UEID,
	C_HWMODEL,
	C_HWVERSION,
	C_TIER,
	C_ATTESTED,
	C_BUCKET,
	C_INVENTORY
};

static enum tam_err
read_list(struct run *run, const char *statement, const char *first,
    const char *last, struct walked *out)
{
	out->at = 0;
	return API_EXEC(run->r, &out->rows, statement, first, last);
}

static void
end_list(struct walked *w)
{
	sql_result_free(w->rows);
	w->rows = NULL;
}

static bool
asks(const struct run *run, enum selector_asked what)
{
	return policy_asks(run->before, what) || policy_asks(run->after, what);
}

static enum tam_err
read_lists(struct run *run, const char *first, const char *last)
{
	int64_t live[ROLLOUT_LIVE_MAX];
	enum tam_err err = TAM_OK;

	if (asks(run, SELECTOR_ASKS_LABELS))
		err = read_list(run, SQL_DRY_LABELS, first, last, &run->labels);
	if (err == TAM_OK && asks(run, SELECTOR_ASKS_KEYS))
		err = read_list(run, SQL_DRY_KEYS, first, last, &run->keys);
	if (err == TAM_OK && policy_rollout_ids(run->before, live) > 0)
		err = read_list(run, SQL_DRY_PARTS, first, last, &run->parts);
	if (err == TAM_OK && asks(run, SELECTOR_ASKS_REQUESTS))
		err = read_list(run, SQL_DRY_REQUESTS, first, last,
		    &run->requests);
	return err;
}

/* How many rows are this device's, and where they begin. */
static size_t
take_rows(struct walked *w, int64_t id, size_t *first)
{
	size_t n = w->rows == NULL ? 0 : sql_rows(w->rows);

	while (w->at < n && sql_int(w->rows, w->at, 0) < id)
		w->at++;
	*first = w->at;
	while (w->at < n && sql_int(w->rows, w->at, 0) == id)
		w->at++;
	return w->at - *first;
}

static struct slice
text_at(const struct sql_result *rows, size_t row, int column)
{
	const char *text = sql_text(rows, row, column);

	return text == NULL ? slice_none() : slice_str(text);
}

static void
take_labels(struct run *run, int64_t id, struct arena *arena,
    struct store_device *d)
{
	size_t first, n = take_rows(&run->labels, id, &first);

	d->n_labels = n;
	d->labels = arena_new_n(arena, n, struct store_label);
	for (size_t i = 0; i < n; i++)
		d->labels[i] = (struct store_label){text_at(run->labels.rows,
		                                        first + i, 1),
		    text_at(run->labels.rows, first + i, 2)};
}

static struct slice *
take_bytes(struct walked *w, int64_t id, struct arena *arena, size_t *n)
{
	size_t first;
	struct slice *list;

	*n = take_rows(w, id, &first);
	list = arena_new_n(arena, *n, struct slice);
	for (size_t i = 0; i < *n; i++)
		list[i] = sql_bytes(w->rows, first + i, 1, arena);
	return list;
}

/* Rollouts under way that reached it. */
static void
take_parts(struct run *run, int64_t id, struct arena *arena,
    struct store_device *d)
{
	size_t first, n = take_rows(&run->parts, id, &first);

	d->n_parts = n;
	d->parts = arena_new_n(arena, n, struct store_part);
	for (size_t i = 0; i < n; i++)
		d->parts[i] =
		    (struct store_part){sql_int(run->parts.rows, first + i, 1),
		        sql_int(run->parts.rows, first + i, 2),
		        sql_int(run->parts.rows, first + i, 3),
		        sql_int(run->parts.rows, first + i, 4)};
}

static void
take_appraisal(const struct sql_result *rows, size_t row, struct arena *arena,
    struct store_appraisal *a)
{
	a->result = text_at(rows, row, C_RESULT);
	if (a->result.n == 0)
		return;
	a->verifier = text_at(rows, row, C_VERIFIER);
	a->oemid = sql_bytes(rows, row, C_OEMID, arena);
	a->ueid = sql_bytes(rows, row, C_UEID, arena);
	a->hwmodel = sql_bytes(rows, row, C_HWMODEL, arena);
	a->hwversion = text_at(rows, row, C_HWVERSION);
	a->tier = sql_int(rows, row, C_TIER);
	a->at_us = sql_int(rows, row, C_ATTESTED);
}

static void
take_components(struct run *run, size_t row, struct arena *arena,
    struct store_device *d)
{
	const struct policy_component *held;
	size_t n = holdings_of(run->holdings, row, &held);

	d->n_components = n;
	d->components = arena_new_n(arena, n, struct store_component);
	for (size_t i = 0; i < n; i++)
		d->components[i] =
		    (struct store_component){held[i].id, held[i].digest};
}

static void
take_device(struct run *run, const struct sql_result *rows, size_t row,
    struct arena *arena, struct store_device *d)
{
	int64_t id = sql_int(rows, row, C_ID);

	d->name = text_at(rows, row, C_NAME);
	d->class_name = text_at(rows, row, C_CLASS);
	d->status = text_at(rows, row, C_STATUS);
	d->enrolled_us = sql_int(rows, row, C_ENROLLED);
	d->seen_us = sql_int(rows, row, C_SEEN);
	d->update_max = (size_t)sql_int(rows, row, C_UPDATE_BYTES);
	d->bucket = (int)sql_int(rows, row, C_BUCKET);
	take_appraisal(rows, row, arena, &d->appraisal);
	take_labels(run, id, arena, d);
	d->keys = take_bytes(&run->keys, id, arena, &d->n_keys);
	take_components(run, row, arena, d);
	take_parts(run, id, arena, d);
	d->requested = take_bytes(&run->requests, id, arena, &d->n_requested);
}

/* --- comparing -------------------------------------------------------------------- */

/* Whether `a` sends a manifest that `b` does not; the bytes of those. */
static bool
sends_more(const struct policy_decision *a, const struct policy_decision *b,
    int64_t *bytes)
{
	bool more = false;

	for (size_t i = 0; i < a->n_manifests; i++) {
		bool same = false;

		for (size_t k = 0; k < b->n_manifests && !same; k++)
			same = slice_eq(a->manifests[i]->digest,
			    b->manifests[k]->digest);
		if (same)
			continue;
		more = true;
		*bytes += (int64_t)a->envelopes[i].n;
	}
	return more;
}

static bool
unlinks_more(const struct policy_decision *a, const struct policy_decision *b)
{
	for (size_t i = 0; i < a->n_unlinks; i++) {
		bool same = false;

		for (size_t k = 0; k < b->n_unlinks && !same; k++)
			same = slice_eq(a->unlinks[i], b->unlinks[k]);
		if (!same)
			return true;
	}
	return false;
}

static void
note_class(struct run *run, struct slice class_name)
{
	const char *name = (const char *)class_name.p; /* ends in a NUL */
	json_t *n = json_object_get(run->classes, name);

	if (n != NULL)
		(void)json_integer_set(n, json_integer_value(n) + 1);
	else
		(void)json_object_set_new(run->classes, name, json_integer(1));
}

static void
note_sample(struct run *run, const struct selector_subject *d,
    const bool changes[CHANGES])
{
	json_t *kinds = json_array();

	for (int i = 0; i < CHANGES; i++) {
		if (changes[i])
			(void)json_array_append_new(kinds,
			    json_string(change_names[i]));
	}
	(void)json_array_append_new(run->sample,
	    json_pack("{s:s#, s:o}", "device", (const char *)d->name.p,
	        (int)d->name.n, "changes", kinds));
}

static void
count(struct run *run, const struct selector_subject *d,
    const bool changes[CHANGES])
{
	run->changed++;
	for (int i = 0; i < CHANGES; i++)
		run->kinds[i] += changes[i];
	note_class(run, d->class_name);
	if (json_array_size(run->sample) < SAMPLE)
		note_sample(run, d, changes);
	if (d->last_seen_us == 0) {
		run->never_seen++;
		return;
	}
	run->old += d->last_seen_us < run->now_us - WEEK_US;
	if (run->oldest_us == 0 || d->last_seen_us < run->oldest_us)
		run->oldest_us = d->last_seen_us;
}

/* A rollout that is only tried has no number yet. */
static void
note_stage(struct run *run, const struct policy_decision *d)
{
	for (size_t i = 0; i < d->n_standings; i++) {
		if (d->standings[i].rollout == 0)
			run->stages[d->standings[i].stage]++;
	}
}

static void
compare(struct run *run, const struct store_device *d,
    const struct device_profile *profile, struct arena *arena)
{
	struct policy_decision a, b;
	struct policy_facts f;
	bool changes[CHANGES] = {false};
	int64_t ignored = 0;

	run->devices++;
	device_decide(run->before, arena, run->domain, d, profile, run->now_us,
	    &f, &a, NULL);
	device_decide(run->after, arena, run->domain, d, profile, run->now_us,
	    &f, &b, NULL);
	changes[CHANGE_SEND] = sends_more(&b, &a, &run->bytes);
	changes[CHANGE_UNLINK] = unlinks_more(&b, &a);
	changes[CHANGE_STOP] = sends_more(&a, &b, &ignored);
	changes[CHANGE_KEEP] = unlinks_more(&a, &b);
	note_stage(run, &b);
	changes[CHANGE_ATTEST] = b.needs_attestation && !a.needs_attestation;
	for (int i = 0; i < CHANGES; i++) {
		if (!changes[i])
			continue;
		count(run, &f.subject, changes);
		return;
	}
}

/* --- the fleet ------------------------------------------------------------------------ */

static void
walk(struct run *run, const struct sql_result *rows)
{
	for (size_t i = 0; i < sql_rows(rows); i++) {
		struct arena *arena = arena_new_in(&run->pool);
		struct store_device *d = arena_new(arena, struct store_device);
		struct device_profile profile = {(size_t)sql_int(rows, i,
		                                     C_PROFILE_BYTES),
		    sql_int(rows, i, C_ASKS_PROOF) != 0};

		take_device(run, rows, i, arena, d);
		compare(run, d, &profile, arena);
		arena_free(arena);
	}
}

static enum tam_err
take_part(struct run *run, const struct sql_result *rows)
{
	enum tam_err err = read_lists(run, sql_text(rows, 0, C_ID),
	    sql_text(rows, sql_rows(rows) - 1, C_ID));

	if (err == TAM_OK)
		err = holdings_read(run->holdings, rows, C_ID, C_INVENTORY);
	if (err == TAM_OK)
		walk(run, rows);
	end_list(&run->labels);
	end_list(&run->keys);
	end_list(&run->parts);
	end_list(&run->requests);
	return err;
}

/* *more: there may be another. */
static enum tam_err
next_part(struct run *run, bool *more)
{
	struct sql_result *rows;
	enum tam_err err = api_exec(run->r, &rows, SQL_DRY_FETCH, 0, NULL);

	*more = false;
	if (err != TAM_OK)
		return err;
	*more = sql_rows(rows) > 0;
	if (*more)
		err = take_part(run, rows);
	sql_result_free(rows);
	return err;
}

/* The devices that can be concerned, in the order of their ids. */
static enum tam_err
begin(struct run *run)
{
	const char *statement = arena_printf(run->r->arena, SQL_DRY_DEVICES,
	    asks(run, SELECTOR_ASKS_ENROLMENT) ? SQL_DRY_ENROLMENT : "0",
	    asks(run, SELECTOR_ASKS_APPRAISAL) ? SQL_DRY_APPRAISAL
	                                       : SQL_DRY_NO_APPRAISAL,
	    SQL_SELECTED, run->who->condition);
	enum tam_err err = api_exec(run->r, NULL, SQL_MERGE_LISTS, 0, NULL);

	return err == TAM_OK
	    ? api_exec(run->r, NULL, statement, run->who->n, run->who->params)
	    : err;
}

json_t *
dry_run_warnings(struct api_request *r, const struct rollout_plan *plan,
    const int64_t sizes[ROLLOUT_STAGES_MAX], const char **never)
{
	struct rollout_warning *all =
	    arena_new_n(r->arena, ROLLOUT_WARNINGS_MAX, struct rollout_warning);
	size_t n = rollout_warnings(plan, sizes, all);
	json_t *list = json_array();

	*never = NULL;
	for (size_t i = 0; i < n; i++) {
		if (all[i].never && *never == NULL)
			*never = all[i].text;
		(void)json_array_append_new(list,
		    json_pack("{s:s, s:I, s:b, s:s}", "code", all[i].code,
		        "stage", (json_int_t)all[i].stage + 1, "never_passes",
		        all[i].never, "detail", all[i].text));
	}
	return list;
}

static void
add_stages(struct run *run, json_t *doc)
{
	json_t *stages;
	const char *never;

	if (run->plan == NULL)
		return;
	stages = json_array();
	for (size_t i = 0; i < run->plan->n_stages; i++)
		(void)json_array_append_new(stages,
		    json_integer(run->stages[i]));
	(void)json_object_set_new(doc, "by_stage", stages);
	(void)json_object_set_new(doc, "warnings",
	    dry_run_warnings(run->r, run->plan, run->stages, &never));
}

static enum tam_err
answer(struct run *run)
{
	json_t *kinds = json_object(), *doc;
	char *text;

	for (int i = 0; i < CHANGES; i++)
		(void)json_object_set_new(kinds, change_names[i],
		    json_integer(run->kinds[i]));
	doc = json_pack("{s:I, s:I, s:o, s:O, s:I, s:I, s:I, s:I, s:O}",
	    "considered", (json_int_t)run->devices, "devices",
	    (json_int_t)run->changed, "changes", kinds, "by_class",
	    run->classes, "bytes", (json_int_t)run->bytes, "never_seen",
	    (json_int_t)run->never_seen, "not_seen_for_7d",
	    (json_int_t)run->old, "oldest_contact_us",
	    (json_int_t)run->oldest_us, "sample", run->sample);
	add_stages(run, doc);
	text = json_dumps(doc, JSON_COMPACT);
	buf_add_str(&run->r->response, text);
	free(text);
	json_decref(doc);
	return TAM_OK;
}

static enum tam_err
run_all(struct run *run)
{
	bool more = true;
	enum tam_err err = begin(run);

	while (err == TAM_OK && more)
		err = next_part(run, &more);
	return err;
}

/* Counts; answers if `sizes` is NULL. */
static enum tam_err
try_all(struct api_request *r, const struct policy_set *after,
    const struct rollout_plan *plan, struct device_query *who, int64_t *sizes)
{
	struct run run = {.r = r,
	    .after = after,
	    .who = who,
	    .plan = plan,
	    .domain = slice_str(r->domain),
	    .now_us = clock_cluster_us()};
	struct policy_set *before;
	enum tam_err err = policy_cache_get(r, &before);

	if (err != TAM_OK)
		return err;
	run.before = before;
	run.holdings = holdings_new(r);
	run.classes = json_object();
	run.sample = json_array();
	arena_pool_init(&run.pool, ARENAS_KEPT);
	err = run_all(&run);
	if (err == TAM_OK && sizes == NULL)
		err = answer(&run);
	if (err == TAM_OK && sizes != NULL)
		memcpy(sizes, run.stages, sizeof(run.stages));
	arena_pool_fini(&run.pool);
	holdings_free(run.holdings);
	json_decref(run.classes);
	json_decref(run.sample);
	policy_set_unref(before);
	return err;
}

enum tam_err
dry_run(struct api_request *r, const struct policy_set *after,
    const struct rollout_plan *plan, struct device_query *who)
{
	return try_all(r, after, plan, who, NULL);
}

enum tam_err
dry_run_sizes(struct api_request *r, const struct policy_set *after,
    const struct rollout_plan *plan, struct device_query *who,
    int64_t sizes[ROLLOUT_STAGES_MAX])
{
	return try_all(r, after, plan, who, sizes);
}

enum tam_err
dry_run_change(struct api_request *r, const struct policy_change *change,
    struct device_query *who)
{
	struct policy_builder *b = NULL;
	struct policy_set *after;
	enum tam_err err =
	    policy_rows_begin(r->sql, r->domain_text, change, &b);

	if (err != TAM_OK)
		return api_sql_problem(r, err);
	after = policy_build(b);
	err = dry_run(r, after, NULL, who);
	policy_set_unref(after);
	return err;
}
