#include "config.h"

#include "storage/device_store.h"

#include <assert.h>
#include <stdlib.h>

#include "lib/base/buf.h"
#include "lib/base/hex.h"
#include "lib/base/mem.h"
#include "storage/batch.h"

enum {
	COLUMNS_MAX = 32,
	ARRAY_TEXT_MAX = 4 << 20
};

/* A row's values while they are gathered: int8s get room, slices borrow. */
struct row {
	uint8_t ints[COLUMNS_MAX][8];
	struct slice values[COLUMNS_MAX];
	size_t n;
};

static void
add_int(struct row *r, int64_t v)
{
	batch_int(r->ints[r->n], v);
	r->values[r->n] = (struct slice){r->ints[r->n], 8};
	r->n++;
}

static void
add_slice(struct row *r, struct slice s)
{
	r->values[r->n++] = s;
}

/* NULL stays NULL. */
static void
add_digest(struct row *r, const uint8_t *digest)
{
	add_slice(r, (struct slice){digest, digest == NULL ? 0 : 32});
}

/* Lists within a row travel as array literals: {"\\x01","\\x02"}. */
static void
add_element(struct buf *b, struct slice bytes, bool first)
{
	char hex[2 * 256 + 1];

	assert(bytes.n <= 256);
	hex_encode(bytes, hex);
	buf_printf(b, "%s\"\\\\x%s\"", first ? "" : ",", hex);
}

static void
add_slices(struct row *r, struct buf *b, const struct slice *v, size_t n)
{
	buf_add_str(b, "{");
	for (size_t i = 0; i < n; i++)
		add_element(b, v[i], i == 0);
	buf_add_str(b, "}");
	add_slice(r, buf_slice(b));
}

static void
add_component_ids(struct row *r, struct buf *b, const struct store_component *v,
    size_t n)
{
	buf_add_str(b, "{");
	for (size_t i = 0; i < n; i++)
		add_element(b, v[i].id, i == 0);
	buf_add_str(b, "}");
	add_slice(r, buf_slice(b));
}

static void
add_component_digests(struct row *r, struct buf *b,
    const struct store_component *v, size_t n)
{
	buf_add_str(b, "{");
	for (size_t i = 0; i < n; i++)
		add_element(b, v[i].digest, i == 0);
	buf_add_str(b, "}");
	add_slice(r, buf_slice(b));
}

static void
add_int_list(struct row *r, struct buf *b, const int64_t *v, size_t n)
{
	buf_add_str(b, "{");
	for (size_t i = 0; i < n; i++)
		buf_printf(b, "%s%lld", i == 0 ? "" : ",", (long long)v[i]);
	buf_add_str(b, "}");
	add_slice(r, buf_slice(b));
}

/* --- load ------------------------------------------------------------------------ */

enum load_column {
	L_N,
	L_DEVICE,
	L_STATUS,
	L_CLASS,
	L_CURVE,
	L_PUBLIC_KEY,
	L_STAMP_EPOCH,
	L_STAMP_US,
	L_VERSION,
	L_HASH,
	L_OPEN_WORK,
	L_NUMBERING,
	L_LABELS,
	L_COMPONENTS,
	L_DIGESTS,
	L_UPDATE,
	L_CONTENT,
	L_STATE,
	L_SUCCESS,
	L_ERR_CODE,
	L_ATTEMPT,
	L_FAILURES,
	L_OFFERED,
	L_CLOSED,
	L_EXPIRES,
	L_UPDATE_BYTES,
	L_CERTIFIED,
	L_NAME,
	L_KEYS,
	L_ENROLLED,
	L_SEEN,
	L_RESULT,
	L_VERIFIER,
	L_OEMID,
	L_UEID,
	L_HWMODEL,
	L_HWVERSION,
	L_TIER,
	L_ATTESTED,
	L_BUCKET,
	L_PARTS,
	L_REASON,
	L_REQUESTED,
	L_WIRE_ID
};

static void
load_labels(const struct db_rows *rows, size_t row, struct arena *arena,
    struct store_device *d)
{
	struct db_array a = db_array(rows, row, L_LABELS);
	struct slice key, value;

	d->labels = arena_new_n(arena, a.left / 2, struct store_label);
	while (db_array_next(&a, &key) && db_array_next(&a, &value)) {
		struct store_label *l = &d->labels[d->n_labels++];

		l->key = arena_dup(arena, key);
		l->value = arena_dup(arena, value);
	}
}

static void
load_components(const struct db_rows *rows, size_t row, struct arena *arena,
    struct store_device *d)
{
	struct db_array ids = db_array(rows, row, L_COMPONENTS);
	struct db_array digests = db_array(rows, row, L_DIGESTS);
	struct slice id, digest;

	d->components = arena_new_n(arena, ids.left, struct store_component);
	while (db_array_next(&ids, &id) && db_array_next(&digests, &digest)) {
		struct store_component *c = &d->components[d->n_components++];

		c->id = arena_dup(arena, id);
		c->digest = arena_dup(arena, digest);
	}
}

static struct slice *
load_slices(const struct db_rows *rows, size_t row, int column,
    struct arena *arena, size_t *n)
{
	struct db_array a = db_array(rows, row, column);
	struct slice *list = arena_new_n(arena, a.left, struct slice);
	struct slice one;

	for (*n = 0; db_array_next(&a, &one); ++*n)
		list[*n] = arena_dup(arena, one);
	return list;
}

static int64_t
next_int(struct db_array *a)
{
	struct slice bytes;
	uint64_t v = 0;

	if (!db_array_next(a, &bytes))
		return 0;
	for (size_t i = 0; i < bytes.n; i++)
		v = v << 8 | bytes.p[i];
	return (int64_t)v;
}

static void
load_parts(const struct db_rows *rows, size_t row, struct arena *arena,
    struct store_device *d)
{
	struct db_array a = db_array(rows, row, L_PARTS);

	d->n_parts = a.left / 4;
	d->parts = arena_new_n(arena, d->n_parts, struct store_part);
	for (size_t i = 0; i < d->n_parts; i++) {
		struct store_part *p = &d->parts[i];

		p->rollout = next_int(&a);
		p->stage = next_int(&a);
		p->back = next_int(&a);
		p->state = next_int(&a);
	}
}

static void
load_appraisal(const struct db_rows *rows, size_t row, struct arena *arena,
    struct store_appraisal *a)
{
	if (db_is_null(rows, row, L_RESULT))
		return;
	a->result = arena_dup(arena, db_bytes(rows, row, L_RESULT));
	a->verifier = arena_dup(arena, db_bytes(rows, row, L_VERIFIER));
	a->oemid = arena_dup(arena, db_bytes(rows, row, L_OEMID));
	a->ueid = arena_dup(arena, db_bytes(rows, row, L_UEID));
	a->hwmodel = arena_dup(arena, db_bytes(rows, row, L_HWMODEL));
	a->hwversion = arena_dup(arena, db_bytes(rows, row, L_HWVERSION));
	a->tier = db_int(rows, row, L_TIER);
	a->at_us = db_int(rows, row, L_ATTESTED);
}

static void
load_update(const struct db_rows *rows, size_t row, struct store_update *u)
{
	struct slice state;

	if (db_is_null(rows, row, L_UPDATE))
		return;
	u->id = db_int(rows, row, L_UPDATE);
	if (db_bytes(rows, row, L_CONTENT).n == sizeof(u->content))
		memcpy(u->content, db_bytes(rows, row, L_CONTENT).p,
		    sizeof(u->content));
	state = db_bytes(rows, row, L_STATE);
	u->open = slice_is(state, "committed");
	u->answered = slice_is(state, "answered");
	u->success = db_int(rows, row, L_SUCCESS) != 0;
	u->err_code = db_int(rows, row, L_ERR_CODE);
	u->attempt = db_int(rows, row, L_ATTEMPT);
	u->failures = db_int(rows, row, L_FAILURES);
	u->offered_us = db_int(rows, row, L_OFFERED);
	u->closed_us = db_int(rows, row, L_CLOSED);
	u->expires_us = db_int(rows, row, L_EXPIRES);
}

static void
load_device(const struct db_rows *rows, size_t row, struct arena *arena,
    struct store_device *d)
{
	struct slice hash = db_bytes(rows, row, L_HASH);

	d->id = db_int(rows, row, L_DEVICE);
	d->active = slice_is(db_bytes(rows, row, L_STATUS), "active");
	d->class_name = arena_dup(arena, db_bytes(rows, row, L_CLASS));
	d->p256 = slice_is(db_bytes(rows, row, L_CURVE), "p256");
	d->public_key = arena_dup(arena, db_bytes(rows, row, L_PUBLIC_KEY));
	d->stamp.epoch = db_int(rows, row, L_STAMP_EPOCH);
	d->stamp.us = db_int(rows, row, L_STAMP_US);
	d->version = db_int(rows, row, L_VERSION);
	d->open_work = db_int(rows, row, L_OPEN_WORK) != 0;
	d->numbering = (int)db_int(rows, row, L_NUMBERING);
	d->wire_id = (int)db_int(rows, row, L_WIRE_ID);
	d->certified = db_int(rows, row, L_CERTIFIED) != 0;
	d->update_max = (size_t)db_int(rows, row, L_UPDATE_BYTES);
	d->has_hash = hash.n == sizeof(d->inventory_hash);
	if (d->has_hash)
		memcpy(d->inventory_hash, hash.p, hash.n);
	d->name = arena_dup(arena, db_bytes(rows, row, L_NAME));
	d->status = arena_dup(arena, db_bytes(rows, row, L_STATUS));
	d->enrolled_us = db_int(rows, row, L_ENROLLED);
	d->seen_us = db_int(rows, row, L_SEEN);
	d->keys = load_slices(rows, row, L_KEYS, arena, &d->n_keys);
	load_appraisal(rows, row, arena, &d->appraisal);
	load_labels(rows, row, arena, d);
	load_components(rows, row, arena, d);
	load_update(rows, row, &d->update);
	d->bucket = (int)db_int(rows, row, L_BUCKET);
	load_parts(rows, row, arena, d);
	d->reason = arena_dup(arena, db_bytes(rows, row, L_REASON));
	d->requested =
	    load_slices(rows, row, L_REQUESTED, arena, &d->n_requested);
}

static void
on_loaded(enum tam_err err, const struct db_rows *rows, size_t row,
    const struct batch_caller *w)
{
	device_load_cb cb = (device_load_cb)w->cb;
	struct store_device *d = NULL;

	if (err == TAM_OK && rows != NULL) {
		d = arena_new(w->arena, struct store_device);
		d->domain_id = w->domain_id;
		load_device(rows, row, w->arena, d);
	}
	cb(err, d, w->arg);
}

struct batch_call *
device_load(struct batch *batch, struct arena *arena, int32_t domain_id,
    const uint8_t thumbprint[STORE_THUMBPRINT_SIZE], int64_t deadline_us,
    device_load_cb cb, void *arg)
{
	struct row r = {.n = 0};
	int64_t key;

	/* Any number of calls may ask for one key; this only orders them. */
	memcpy(&key, thumbprint, sizeof(key));
	add_int(&r, domain_id);
	add_slice(&r, (struct slice){thumbprint, STORE_THUMBPRINT_SIZE});
	return batch_add(batch, DB_LOAD, key, r.values, deadline_us, on_loaded,
	    (struct batch_caller){.cb = (void (*)(void))cb,
	        .arg = arg,
	        .arena = arena,
	        .domain_id = domain_id});
}

/* --- candidates ------------------------------------------------------------ */

static void
on_candidates(enum tam_err err, const struct db_rows *rows, size_t row,
    const struct batch_caller *w)
{
	device_candidates_cb cb = (device_candidates_cb)w->cb;
	struct slice *keys =
	    arena_new_n(w->arena, STORE_CANDIDATES_MAX + 1, struct slice);
	struct db_array a = {0};
	struct slice key;
	size_t n = 0;

	if (err == TAM_OK && rows != NULL)
		a = db_array(rows, row, 1);
	while (n <= STORE_CANDIDATES_MAX && db_array_next(&a, &key)) {
		if (key.n == STORE_THUMBPRINT_SIZE)
			keys[n++] = arena_dup(w->arena, key);
	}
	cb(err, keys, n, w->arg);
}

struct batch_call *
device_candidates(struct batch *batch, struct arena *arena, int32_t domain_id,
    int64_t deadline_us, device_candidates_cb cb, void *arg)
{
	struct row r = {.n = 0};

	add_int(&r, domain_id);
	return batch_add(batch, DB_CANDIDATES, domain_id, r.values, deadline_us,
	    on_candidates,
	    (struct batch_caller){.cb = (void (*)(void))cb,
	        .arg = arg,
	        .arena = arena});
}

/* --- observe --------------------------------------------------------------------- */

static void
on_observed(enum tam_err err, const struct db_rows *rows, size_t row,
    const struct batch_caller *w)
{
	device_observe_cb differs = (device_observe_cb)w->cb;
	device_observe_cb written = (device_observe_cb)w->other_cb;

	(void)row;
	if (err == TAM_OK && rows == NULL)
		written(w->arg);
	else
		differs(w->arg);
}

bool
device_observe(struct batch *batch, const struct store_observation *o,
    int64_t deadline_us, device_observe_cb differs, device_observe_cb written,
    void *arg)
{
	struct row r = {.n = 0};

	add_int(&r, o->domain_id);
	add_int(&r, o->device_id);
	add_int(&r, o->stamp.epoch);
	add_int(&r, o->stamp.us);
	add_int(&r, o->now_us);
	add_int(&r, o->version);
	add_digest(&r, o->hash);
	return batch_add(batch, DB_OBSERVE, o->device_id, r.values, deadline_us,
	           on_observed,
	           (struct batch_caller){.cb = (void (*)(void))differs,
	               .other_cb = (void (*)(void))written,
	               .arg = arg,
	               .domain_id = o->domain_id}) != NULL;
}

/* --- effects ----------------------------------------------------------------------- */

static enum store_verdict
verdict_of(struct slice name)
{
	static const struct {
		const char *name;
		enum store_verdict verdict;
	} verdicts[] = {
	    {"applied", STORE_APPLIED},
	    {"stale", STORE_STALE},
	    {"replayed", STORE_REPLAYED},
	    {"changed", STORE_CHANGED},
	    {"unknown", STORE_UNKNOWN},
	    {"closed", STORE_CLOSED},
	};

	for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
		if (slice_is(name, verdicts[i].name))
			return verdicts[i].verdict;
	}
	return STORE_GONE;
}

/* Four arrays beside each other; `field` is one of a mark's. */
static void
add_marks(struct row *r, struct buf *b, const struct store_answer *a,
    size_t field)
{
	buf_add_str(b, "{");
	for (size_t i = 0; i < a->n_marks; i++) {
		const struct store_mark *m = &a->marks[i];
		const int64_t fields[] = {m->rollout, m->stage, m->back,
		    m->mark};

		buf_printf(b, "%s%lld", i == 0 ? "" : ",",
		    (long long)fields[field]);
	}
	buf_add_str(b, "}");
	add_slice(r, buf_slice(b));
}

static void
on_query_answered(enum tam_err err, const struct db_rows *rows, size_t row,
    const struct batch_caller *w)
{
	device_answer_cb cb = (device_answer_cb)w->cb;

	if (err != TAM_OK || rows == NULL) {
		cb(err == TAM_OK ? TAM_DATABASE_ERROR : err, STORE_GONE, 0,
		    w->arg);
		return;
	}
	cb(TAM_OK, verdict_of(db_bytes(rows, row, 1)), db_int(rows, row, 2),
	    w->arg);
}

struct batch_call *
device_answer_query(struct batch *batch, const struct store_answer *a,
    int64_t deadline_us, device_answer_cb cb, void *arg)
{
	struct row r = {.n = 0};
	struct buf lists[12];
	struct batch_call *call;

	for (size_t i = 0; i < 12; i++)
		buf_init(&lists[i], ARRAY_TEXT_MAX);
	add_int(&r, a->domain_id);
	add_int(&r, a->device_id);
	add_int(&r, a->exchange);
	add_int(&r, a->stamp.epoch);
	add_int(&r, a->stamp.us);
	add_int(&r, a->now_us);
	add_int(&r, a->version);
	add_int(&r, a->epoch);
	add_int(&r, a->numbering);
	if (a->hash == NULL)
		add_slice(&r, SLICE_LIT(""));
	else
		add_digest(&r, a->hash);
	add_component_ids(&r, &lists[0], a->components, a->n_components);
	add_component_digests(&r, &lists[1], a->components, a->n_components);
	add_int_list(&r, &lists[2], a->shown, a->n_shown);
	add_slice(&r, slice_str(a->reason));
	add_int(&r, a->withdraw);
	add_int(&r, a->update_id);
	add_slice(&r, a->opener);
	add_digest(&r, a->content);
	add_slices(&r, &lists[3], a->manifests, a->n_manifests);
	add_component_ids(&r, &lists[4], a->adds, a->n_adds);
	add_component_digests(&r, &lists[5], a->adds, a->n_adds);
	add_slices(&r, &lists[6], a->removes, a->n_removes);
	add_int(&r, a->expires_us);
	add_int(&r, a->attested);
	for (size_t i = 0; i < 4; i++)
		add_marks(&r, &lists[7 + i], a, i);
	add_int(&r, a->verify);
	if (a->requested == NULL)
		add_slice(&r, SLICE_LIT(""));
	else
		add_slices(&r, &lists[11], a->requested, a->n_requested);
	call = batch_add(batch, DB_ANSWER_QUERY, a->device_id, r.values,
	    deadline_us, on_query_answered,
	    (struct batch_caller){.cb = (void (*)(void))cb, .arg = arg});
	for (size_t i = 0; i < 12; i++)
		buf_fini(&lists[i]);
	return call;
}

/* Of what is written behind. */
static void
on_written(enum tam_err err, const struct db_rows *rows, size_t row,
    const struct batch_caller *w)
{
	(void)err;
	(void)rows;
	(void)row;
	(void)w;
}

static struct slice
not_null(struct slice s)
{
	return s.p == NULL ? SLICE_LIT("") : s;
}

bool
device_attested(struct batch *batch, const struct store_attestation *a)
{
	struct row r = {.n = 0};

	add_int(&r, a->domain_id);
	add_int(&r, a->device_id);
	add_int(&r, a->stamp.epoch);
	add_int(&r, a->stamp.us);
	add_int(&r, a->at_us);
	add_slice(&r,
	    a->affirmed ? SLICE_LIT("affirmed") : SLICE_LIT("failed"));
	add_slice(&r, slice_str(a->reason));
	add_slice(&r, slice_str(a->verifier));
	add_int(&r, a->tier);
	add_slice(&r, not_null(a->oemid));
	add_slice(&r, not_null(a->ueid));
	add_slice(&r, not_null(a->hwmodel));
	add_slice(&r, not_null(a->hwversion));
	return batch_add(batch, DB_ATTESTED, a->device_id, r.values, INT64_MAX,
	           on_written, (struct batch_caller){.arg = NULL}) != NULL;
}

bool
device_came_by(struct batch *batch, int32_t domain_id, int64_t device_id,
    int wire_id)
{
	struct row r = {.n = 0};

	add_int(&r, domain_id);
	add_int(&r, device_id);
	add_int(&r, wire_id);
	return batch_add(batch, DB_CAME_BY, device_id, r.values, INT64_MAX,
	           on_written, (struct batch_caller){.arg = NULL}) != NULL;
}

static enum store_enrolled
enrolled_of(struct slice name)
{
	static const char *const names[] = {[STORE_ENROL_KNOWN] = "known",
	    [STORE_ENROL_CREATED] = "created",
	    [STORE_ENROL_REKEYED] = "rekeyed",
	    [STORE_ENROL_PENDING] = "pending"};

	for (int i = STORE_ENROL_KNOWN; i <= STORE_ENROL_PENDING; i++) {
		if (slice_is(name, names[i]))
			return (enum store_enrolled)i;
	}
	return STORE_ENROL_REFUSED;
}

static void
on_enrolled(enum tam_err err, const struct db_rows *rows, size_t row,
    const struct batch_caller *w)
{
	device_enrol_cb cb = (device_enrol_cb)w->cb;

	if (err == TAM_OK && rows == NULL)
		err = TAM_DATABASE_ERROR;
	cb(err,
	    err == TAM_OK ? enrolled_of(db_bytes(rows, row, 1))
	                  : STORE_ENROL_REFUSED,
	    w->arg);
}

struct batch_call *
device_enrol(struct batch *batch, const struct store_enrol *e,
    int64_t deadline_us, device_enrol_cb cb, void *arg)
{
	struct row r = {.n = 0};
	int64_t key;

	memcpy(&key, e->thumbprint, sizeof(key));
	add_int(&r, e->domain_id);
	add_slice(&r, slice_str(e->how));
	add_slice(&r, slice_str(e->name));
	add_slice(&r, (struct slice){e->thumbprint, STORE_THUMBPRINT_SIZE});
	add_slice(&r, e->p256 ? SLICE_LIT("p256") : SLICE_LIT("ed25519"));
	add_slice(&r, e->public_key);
	add_slice(&r, not_null(e->oemid));
	add_slice(&r, not_null(e->ueid));
	add_int(&r, e->now_us);
	return batch_add(batch, DB_ENROL, key, r.values, deadline_us,
	    on_enrolled,
	    (struct batch_caller){.cb = (void (*)(void))cb, .arg = arg});
}

static void
on_update_answered(enum tam_err err, const struct db_rows *rows, size_t row,
    const struct batch_caller *w)
{
	device_outcome_cb cb = (device_outcome_cb)w->cb;

	if (err != TAM_OK || rows == NULL) {
		cb(err == TAM_OK ? TAM_DATABASE_ERROR : err, STORE_GONE, false,
		    w->arg);
		return;
	}
	cb(TAM_OK, verdict_of(db_bytes(rows, row, 1)),
	    db_int(rows, row, 3) != 0, w->arg);
}

struct batch_call *
device_answer_update(struct batch *batch, const struct store_outcome *o,
    int64_t deadline_us, device_outcome_cb cb, void *arg)
{
	struct row r = {.n = 0};

	add_int(&r, o->domain_id);
	add_int(&r, o->device_id);
	add_int(&r, o->exchange);
	add_int(&r, o->update_id);
	add_int(&r, o->stamp.epoch);
	add_int(&r, o->stamp.us);
	add_int(&r, o->now_us);
	add_int(&r, o->success ? 1 : 0);
	add_int(&r, o->err_code);
	add_slice(&r, slice_str(o->detail));
	return batch_add(batch, DB_ANSWER_UPDATE, o->device_id, r.values,
	    deadline_us, on_update_answered,
	    (struct batch_caller){.cb = (void (*)(void))cb, .arg = arg});
}
