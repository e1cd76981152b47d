#include "config.h"

#include <stdlib.h>

#include "admin/learn.h"
#include "admin/policy_cache.h"
#include "lib/base/clock.h"
#include "lib/base/hex.h"
#include "storage/admin_statements.h"
#include "storage/device_facts.h"

/*
 * Why a device is told what it is told: the decision of the device path, made
 * again of stored facts or of facts in the request, with every rule that
 * matched and what became of it.
 *
 *	read_device, read_parts   the rows
 *	read_facts                or a device as the request describes it
 *	decide                    storage/device_facts.h, as the device path does
 *	answer                    the decision and its reasons, as JSON
 */

struct asked {
	struct store_device device;
	struct device_profile profile;
	const struct device_shown
	    *shown;     /* of the request; NULL: of the rows */
	const char *id; /* NULL: no device */
	bool suspended; /* its domain is */
	struct policy_facts facts;
	struct policy_decision decision;
	struct policy_trace trace;
	json_t *rollouts; /* that reached it; NULL: not asked */
};

/* --- a device from rows -------------------------------------------------------------- */

static struct slice
text_at(struct api_request *r, const struct sql_result *rows, int column)
{
	const char *text = sql_text(rows, 0, column);

	return text == NULL
	    ? slice_none()
	    : slice_str(arena_strdup(r->arena, slice_str(text)));
}

enum device_column {
	D_ID,
	D_NAME,
	D_STATUS,
	D_CLASS,
	D_ENROLLED,
	D_SEEN,
	D_UPDATE_BYTES,
	D_PROFILE_BYTES,
	D_ASKS_PROOF,
	D_SUSPENDED,
	D_RESULT,
	D_VERIFIER,
	D_OEMID,
	D_UEID,
	D_HWMODEL,
	D_HWVERSION,
	D_TIER,
	D_ATTESTED,
	D_UPDATE,
	D_CONTENT,
	D_STATE,
	D_SUCCESS,
	D_ERR_CODE,
	D_ATTEMPT,
	D_FAILURES,
	D_OFFERED,
	D_CLOSED,
	D_EXPIRES,
	D_BUCKET
};

static void
read_appraisal(struct api_request *r, const struct sql_result *rows,
    struct store_appraisal *a)
{
	if (sql_text(rows, 0, D_RESULT) == NULL)
		return;
	a->result = text_at(r, rows, D_RESULT);
	a->verifier = text_at(r, rows, D_VERIFIER);
	a->oemid = sql_bytes(rows, 0, D_OEMID, r->arena);
	a->ueid = sql_bytes(rows, 0, D_UEID, r->arena);
	a->hwmodel = sql_bytes(rows, 0, D_HWMODEL, r->arena);
	a->hwversion = text_at(r, rows, D_HWVERSION);
	a->tier = sql_int(rows, 0, D_TIER);
	a->at_us = sql_int(rows, 0, D_ATTESTED);
}

static void
read_update(struct api_request *r, const struct sql_result *rows,
    struct store_update *u)
{
	const char *state = sql_text(rows, 0, D_STATE);
	struct slice content;

	if (state == NULL)
		return;
	u->id = sql_int(rows, 0, D_UPDATE);
	content = sql_bytes(rows, 0, D_CONTENT, r->arena);
	if (content.n == sizeof(u->content))
		memcpy(u->content, content.p, content.n);
	u->open = strcmp(state, "committed") == 0;
	u->answered = strcmp(state, "answered") == 0;
	u->success = sql_int(rows, 0, D_SUCCESS) != 0;
	u->err_code = sql_int(rows, 0, D_ERR_CODE);
	u->attempt = sql_int(rows, 0, D_ATTEMPT);
	u->failures = sql_int(rows, 0, D_FAILURES);
	u->offered_us = sql_int(rows, 0, D_OFFERED);
	u->closed_us = sql_int(rows, 0, D_CLOSED);
	u->expires_us = sql_int(rows, 0, D_EXPIRES);
}

static enum tam_err
read_device(struct api_request *r, struct asked *q)
{
	struct store_device *d = &q->device;
	struct sql_result *rows;
	enum tam_err err = API_EXEC(r, &rows, SQL_EXPLAIN_DEVICE, r->params[0]);

	if (err != TAM_OK)
		return err;
	if (sql_rows(rows) == 0) {
		sql_result_free(rows);
		return api_problem(r, 404, "not_found", NULL,
		    "there is no such device");
	}
	d->name = text_at(r, rows, D_NAME);
	d->status = text_at(r, rows, D_STATUS);
	d->class_name = text_at(r, rows, D_CLASS);
	d->enrolled_us = sql_int(rows, 0, D_ENROLLED);
	d->seen_us = sql_int(rows, 0, D_SEEN);
	d->update_max = (size_t)sql_int(rows, 0, D_UPDATE_BYTES);
	d->bucket = (int)sql_int(rows, 0, D_BUCKET);
	read_appraisal(r, rows, &d->appraisal);
	read_update(r, rows, &d->update);
	q->profile =
	    (struct device_profile){(size_t)sql_int(rows, 0, D_PROFILE_BYTES),
	        sql_int(rows, 0, D_ASKS_PROOF) != 0};
	q->suspended = sql_int(rows, 0, D_SUSPENDED) != 0;
	q->id = arena_strdup(r->arena, slice_str(sql_text(rows, 0, D_ID)));
	sql_result_free(rows);
	return TAM_OK;
}

/* Labels, keys, components and what it asked for, each as kind, bytes, bytes. */
static enum tam_err
read_parts(struct api_request *r, struct asked *q)
{
	struct store_device *d = &q->device;
	struct sql_result *rows;
	enum tam_err err = API_EXEC(r, &rows, SQL_EXPLAIN_PARTS, q->id);

	if (err != TAM_OK)
		return err;
	d->labels = arena_new_n(r->arena, sql_rows(rows), struct store_label);
	d->components =
	    arena_new_n(r->arena, sql_rows(rows), struct store_component);
	d->keys = arena_new_n(r->arena, sql_rows(rows), struct slice);
	d->requested = arena_new_n(r->arena, sql_rows(rows), struct slice);
	for (size_t i = 0; i < sql_rows(rows); i++) {
		struct slice a = sql_bytes(rows, i, 1, r->arena);
		struct slice b = sql_bytes(rows, i, 2, r->arena);

		switch (*sql_text(rows, i, 0)) {
		case 'l':
			d->labels[d->n_labels++] = (struct store_label){a, b};
			break;
		case 'k':
			d->keys[d->n_keys++] = a;
			break;
		case 'r':
			d->requested[d->n_requested++] = a;
			break;
		default:
			d->components[d->n_components++] =
			    (struct store_component){a, b};
		}
	}
	sql_result_free(rows);
	return TAM_OK;
}

/* The rollouts that reached it. */
static enum tam_err
read_rollouts(struct api_request *r, struct asked *q)
{
	struct store_device *d = &q->device;
	struct sql_result *rows;
	enum tam_err err = API_EXEC(r, &rows, SQL_EXPLAIN_ROLLOUTS, q->id);

	if (err != TAM_OK)
		return err;
	d->n_parts = sql_rows(rows);
	d->parts = arena_new_n(r->arena, sql_rows(rows), struct store_part);
	q->rollouts = json_array();
	for (size_t i = 0; i < sql_rows(rows); i++) {
		d->parts[i] = (struct store_part){sql_int(rows, i, 0),
		    sql_int(rows, i, 1), sql_int(rows, i, 2),
		    sql_int(rows, i, 3)};
		(void)json_array_append_new(q->rollouts,
		    json_pack("{s:s, s:I, s:b, s:s}", "rollout",
		        sql_text(rows, i, 4), "stage",
		        (json_int_t)d->parts[i].stage + 1, "back",
		        d->parts[i].back != 0, "state", sql_text(rows, i, 5)));
	}
	sql_result_free(rows);
	return TAM_OK;
}

/* --- facts from the request ------------------------------------------------------------ */

static struct slice
string_of(struct api_request *r, const char *name)
{
	const char *text = api_string(r, name);

	return text == NULL ? slice_none() : slice_str(text);
}

static struct slice
bytes_of_hex(struct api_request *r, const char *hex)
{
	uint8_t *p = arena_alloc(r->arena, strlen(hex) / 2 + 1);
	size_t n = 0;

	return hex_decode(hex, strlen(hex), p, strlen(hex) / 2 + 1, &n)
	    ? (struct slice){p, n}
	    : slice_none();
}

static void
read_labels(struct api_request *r, struct store_device *d)
{
	json_t *given = json_object_get(r->json, "labels"), *value;
	const char *key;

	d->labels =
	    arena_new_n(r->arena, json_object_size(given), struct store_label);
	json_object_foreach(given, key, value) d->labels[d->n_labels++] =
	    (struct store_label){slice_str(key),
	        slice_str(json_string_value(value))};
}

/* Component ids and the digests of their images, "" for not known. */
static enum tam_err
read_components(struct api_request *r, struct device_shown *shown)
{
	json_t *given = json_object_get(r->json, "components"), *value;
	struct policy_component *components = arena_new_n(r->arena,
	    json_object_size(given), struct policy_component);
	const char *id;

	shown->components = components;
	json_object_foreach(given, id, value)
	{
		const char *hex = json_string_value(value);
		struct policy_component *c = &components[shown->n_components++];

		c->digest = bytes_of_hex(r, hex);
		if (!suit_component_parse(r->arena, id, &c->id) ||
		    (hex[0] != '\0' && c->digest.n != 32))
			return api_problem(r, 422, "invalid_value",
			    arena_printf(r->arena, "/components/%.64s", id),
			    "must be a component id and the digest of its "
			    "image, 64 digits or \"\"");
	}
	return TAM_OK;
}

static enum tam_err
read_requests(struct api_request *r, struct device_shown *shown)
{
	json_t *given = json_object_get(r->json, "requested"), *value;
	struct policy_request *requests = arena_new_n(r->arena,
	    json_array_size(given), struct policy_request);
	size_t i;

	shown->requested = requests;
	json_array_foreach(given, i, value)
	{
		if (!suit_component_parse(r->arena, json_string_value(value),
		        &requests[shown->n_requested++].component))
			return api_problem(r, 422, "invalid_value",
			    arena_printf(r->arena, "/requested/%zu", i),
			    "must be a component id");
	}
	return TAM_OK;
}

/* As the database has it: of the name, for good. */
static int
bucket_of(struct api_request *r, struct slice name)
{
	uint8_t hash[32];

	cose_digest(r->crypto, &name, 1, hash);
	return (hash[0] << 16 | hash[1] << 8 | hash[2]) % POLICY_BUCKETS;
}

/* The device that is described comes by the default wire profile. */
static enum tam_err
read_profile(struct api_request *r, struct asked *q)
{
	struct sql_result *rows;
	enum tam_err err = api_exec(r, &rows, SQL_EXPLAIN_PROFILE, 0, NULL);

	if (err != TAM_OK)
		return err;
	q->profile.update_max = (size_t)sql_int(rows, 0, 0);
	q->suspended = sql_int(rows, 0, 1) != 0;
	sql_result_free(rows);
	return TAM_OK;
}

/* The result of an appraisal that the device's answer comes with. */
static enum tam_err
read_attestation(struct api_request *r, struct asked *q,
    struct device_shown *shown)
{
	struct slice result = string_of(r, "attestation");
	struct store_appraisal *a = &q->device.appraisal;

	a->hwversion = string_of(r, "hwversion");
	if (result.n == 0 || slice_is(result, "none"))
		return TAM_OK;
	if (!slice_is(result, "affirmed") && !slice_is(result, "failed"))
		return api_problem(r, 422, "invalid_value", "/attestation",
		    "must be none, affirmed or failed");
	shown->attestation = slice_is(result, "affirmed")
	    ? POLICY_ATTESTED
	    : POLICY_ATTEST_FAILED;
	a->result = result;
	return TAM_OK;
}

static enum tam_err
read_facts(struct api_request *r, struct asked *q)
{
	struct device_shown *shown = arena_new(r->arena, struct device_shown);
	struct store_device *d = &q->device;
	enum tam_err err = read_profile(r, q);

	q->shown = shown;
	d->name = string_of(r, "name");
	d->class_name = string_of(r, "class");
	d->status = SLICE_LIT("active");
	d->enrolled_us = d->seen_us = clock_cluster_us();
	d->bucket = bucket_of(r, d->name);
	d->update_max = (size_t)json_integer_value(
	    json_object_get(r->json, "update_bytes"));
	read_labels(r, d);
	if (err == TAM_OK)
		err = read_attestation(r, q, shown);
	if (err == TAM_OK)
		err = read_requests(r, shown);
	return err == TAM_OK ? read_components(r, shown) : err;
}

/* --- the answer --------------------------------------------------------------------------- */

static json_t *
component_json(struct api_request *r, struct slice id)
{
	return json_string(suit_component_text(r->arena, id));
}

static json_t *
manifests_json(struct api_request *r, const struct policy_decision *d)
{
	json_t *list = json_array();

	for (size_t i = 0; i < d->n_manifests; i++)
		(void)json_array_append_new(list,
		    json_pack("{s:s, s:o, s:I, s:I}", "digest",
		        hex_dup(r->arena, d->manifests[i]->digest), "component",
		        component_json(r, d->manifests[i]->id), "sequence",
		        (json_int_t)d->manifests[i]->sequence, "bytes",
		        (json_int_t)d->envelopes[i].n));
	return list;
}

static json_t *
unlinks_json(struct api_request *r, const struct policy_decision *d)
{
	json_t *list = json_array();

	for (size_t i = 0; i < d->n_unlinks; i++)
		(void)json_array_append_new(list,
		    component_json(r, d->unlinks[i]));
	return list;
}

static json_t *
revocations_json(const struct policy_decision *d)
{
	json_t *list = json_array();

	for (size_t i = 0; i < d->n_shown; i++)
		(void)json_array_append_new(list, json_integer(d->shown[i]));
	return list;
}

static json_t *
rules_json(struct api_request *r, const struct policy_trace *trace)
{
	json_t *list = json_array();

	for (size_t i = 0; i < trace->n; i++) {
		const struct policy_step *s = &trace->steps[i];
		json_t *o = json_pack("{s:s, s:I, s:o, s:s}", "policy",
		    s->policy, "priority", (json_int_t)s->priority, "component",
		    component_json(r, s->about), "verdict", s->verdict);

		if (s->manifest != NULL)
			(void)json_object_set_new(o, "manifest",
			    json_string(
			        hex_dup(r->arena, s->manifest->digest)));
		if (s->rollout != NULL)
			(void)json_object_set_new(o, "rollout",
			    json_string(s->rollout));
		if (s->winner != NULL)
			(void)json_object_set_new(o, "winner",
			    json_string(s->winner));
		(void)json_array_append_new(list, o);
	}
	return list;
}

/* Whether it would be offered something now, and why not. */
static json_t *
offer_json(struct api_request *r, const struct asked *q)
{
	const struct policy_decision *d = &q->decision;
	int64_t now_us = q->facts.subject.now_us;
	struct policy_last last;
	struct policy_pace pace;
	struct slice *parts;
	uint8_t content[32];
	size_t n;

	if (!policy_has_work(d) && d->until_us > 0)
		return json_pack("{s:b, s:s, s:I}", "offer", 0, "reason",
		    d->reason, "until_us", (json_int_t)d->until_us);
	if (!policy_has_work(d))
		return json_pack("{s:b, s:s}", "offer", 0, "reason", d->reason);
	n = policy_content(d, r->arena, &parts);
	cose_digest(r->crypto, parts, n, content);
	last = device_last(&q->device.update, content);
	pace = policy_pace(&last, d->n_shown > 0, now_us);
	if (pace.offer || pace.until_us <= now_us)
		return json_pack("{s:b, s:s}", "offer", (int)pace.offer,
		    "reason", d->reason);
	return json_pack("{s:b, s:s, s:I}", "offer", 0, "reason",
	    pace.reason == NULL ? d->reason : pace.reason, "until_us",
	    (json_int_t)pace.until_us);
}

/* What the device would be told if it came now. */
static json_t *
now_json(struct api_request *r, const struct asked *q)
{
	json_t *doc;

	if (q->suspended)
		return json_pack("{s:b, s:s}", "offer", 0, "reason",
		    "domain_suspended");
	if (!slice_is(q->device.status, "active"))
		return json_pack("{s:b, s:s#}", "offer", 0, "reason",
		    (const char *)q->device.status.p, (int)q->device.status.n);
	doc = offer_json(r, q);
	if (q->decision.poll_s > 0)
		(void)json_object_set_new(doc, "poll_interval_s",
		    json_integer((json_int_t)q->decision.poll_s));
	return doc;
}

static json_t *
facts_json(struct api_request *r, const struct asked *q)
{
	const struct policy_facts *f = &q->facts;
	json_t *labels = json_object(), *components = json_object();
	json_t *requested = json_array();

	for (size_t i = 0; i < f->n_requested; i++)
		(void)json_array_append_new(requested,
		    component_json(r, f->requested[i].component));
	for (size_t i = 0; i < f->subject.n_labels; i++)
		(void)json_object_set_new(labels,
		    arena_strdup(r->arena, f->subject.labels[i].key),
		    json_stringn((const char *)f->subject.labels[i].value.p,
		        f->subject.labels[i].value.n));
	for (size_t i = 0; i < f->n_components; i++)
		(void)json_object_set_new(components,
		    suit_component_text(r->arena, f->components[i].id),
		    json_string(hex_dup(r->arena, f->components[i].digest)));
	return json_pack("{s:s, s:o, s:o, s:o, s:s, s:I, s:I}", "class",
	    arena_strdup(r->arena, f->subject.class_name), "labels", labels,
	    "components", components, "requested", requested, "attestation",
	    f->subject.appraisal.result.n == 0
	        ? "none"
	        : arena_strdup(r->arena, f->subject.appraisal.result),
	    "update_bytes", (json_int_t)f->update_max, "last_seen_us",
	    (json_int_t)f->subject.last_seen_us);
}

static void
decide(struct api_request *r, const struct policy_set *set, struct asked *q)
{
	struct slice domain = slice_str(r->domain);
	int64_t now_us = clock_cluster_us();

	if (q->shown == NULL) {
		device_decide(set, r->arena, domain, &q->device, &q->profile,
		    now_us, &q->facts, &q->decision, &q->trace);
		return;
	}
	q->facts = device_facts(r->arena, domain, &q->device, &q->profile,
	    q->shown, now_us);
	policy_explain(set, &q->facts, r->arena, &q->decision, &q->trace);
}

static const char *
text_of(struct api_request *r, const struct asked *q, struct slice text)
{
	return q->id == NULL ? NULL : arena_strdup(r->arena, text);
}

static enum tam_err
answer(struct api_request *r, struct asked *q)
{
	const struct policy_decision *d = &q->decision;
	struct policy_set *set;
	json_t *doc;
	char *text;
	enum tam_err err = policy_cache_get(r, &set);

	if (err != TAM_OK) {
		json_decref(q->rollouts);
		return err;
	}
	decide(r, set, q);
	doc = json_pack("{s:s*, s:s*, s:{s:s, s:b, s:o, s:o, s:o}, s:o, s:I, "
	                "s:o, s:o}",
	    "device", text_of(r, q, q->device.name), "status",
	    text_of(r, q, q->device.status), "decision", "reason", d->reason,
	    "needs_attestation", (int)d->needs_attestation, "manifests",
	    manifests_json(r, d), "unlinks", unlinks_json(r, d), "revocations",
	    revocations_json(d), "now", now_json(r, q), "considered",
	    (json_int_t)q->trace.considered, "rules", rules_json(r, &q->trace),
	    "facts", facts_json(r, q));
	policy_set_unref(set);
	if (q->rollouts != NULL)
		(void)json_object_set_new(doc, "rollouts", q->rollouts);
	text = json_dumps(doc, JSON_COMPACT);
	buf_add_str(&r->response, text);
	free(text);
	json_decref(doc);
	return TAM_OK;
}

enum tam_err
api_device_explain(struct api_request *r)
{
	struct asked *q = arena_new(r->arena, struct asked);
	enum tam_err err = read_device(r, q);

	if (err == TAM_OK)
		err = read_parts(r, q);
	if (err == TAM_OK)
		err = read_rollouts(r, q);
	return err == TAM_OK ? answer(r, q) : err;
}

enum tam_err
api_policy_explain(struct api_request *r)
{
	struct asked *q = arena_new(r->arena, struct asked);
	enum tam_err err = read_facts(r, q);

	return err == TAM_OK ? answer(r, q) : err;
}
