#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <check.h>
#include <event2/event.h>

#include "lib/base/clock.h"
#include "lib/codec/cose.h"
#include "lib/codec/crypto.h"
#include "storage/batch.h"
#include "storage/device_store.h"
#include "storage/sql.h"
#include "tests/support/suite.h"

/*
 * The batched statements on a real PostgreSQL.  Check runs each test in a
 * process of its own; each enrols devices of its own.
 */

enum {
	DEVICES = 12
};

static struct event_base *base;
static struct db *db;
static struct batch *batch;
static struct sql *sql;
static struct arena *arena;
static uint8_t keys[DEVICES][32];
static int64_t ids[DEVICES];
static const uint8_t hash_a[32] = {1}, hash_b[32] = {2};

/* What callbacks left behind. */
static struct {
	unsigned calls;
	enum tam_err err;
	enum store_verdict verdict;
	int64_t version;
	const struct store_device *device;
	unsigned failed, differs, written;
} got;

static void
enrol(int i)
{
	struct sql_result *rows;
	struct cose_private priv;
	char *name = arena_printf(arena, "d%d-%d", (int)getpid(), i);

	cose_private_generate(&priv, COSE_P256);
	memcpy(keys[i], priv.key.thumbprint, 32);
	ck_assert_int_eq(SQL_EXEC(sql, &rows,
	                     "WITH d AS (INSERT INTO device (domain_id, name, "
	                     "class) VALUES (1, $1, 'cam') RETURNING "
	                     "device_id), s AS (INSERT INTO device_seen "
	                     "(domain_id, device_id) SELECT 1, device_id FROM "
	                     "d), l AS (INSERT INTO device_label SELECT 1, "
	                     "'region', 'eu', device_id FROM d) "
	                     "INSERT INTO device_key SELECT 1, $2::bytea, "
	                     "device_id, 'p256', $3::bytea FROM d "
	                     "RETURNING device_id",
	                     name, sql_bytea(arena, SLICE_OF(keys[i])),
	                     sql_bytea(arena, SLICE_OF(priv.key.pub))),
	    TAM_OK);
	ids[i] = sql_int(rows, 0, 0);
	sql_result_free(rows);
}

static void
turn_until(unsigned calls)
{
	int64_t deadline = clock_mono_us() + 20 * CLOCK_SECOND;

	while (got.calls < calls && clock_mono_us() < deadline)
		(void)event_base_loop(base, EVLOOP_ONCE);
	ck_assert_uint_eq(got.calls, calls);
}

static void
setup(void)
{
	const char *conninfo = getenv("TAM_TEST_DATABASE");

	ck_assert_msg(conninfo != NULL, "run tests/integration/run.sh");
	memset(&got, 0, sizeof(got));
	arena = arena_new_in(NULL);
	sql = sql_new(conninfo, NULL, 10000, -1);
	for (int i = 0; i < DEVICES; i++)
		enrol(i);
	base = event_base_new();
	db = db_open(base, conninfo, NULL);
	batch = batch_open(base, db);
	while (!db_ready(db))
		(void)event_base_loop(base, EVLOOP_ONCE);
}

static void
teardown(void)
{
	batch_close(batch);
	db_close(db);
	event_base_free(base);
	sql_free(sql);
	arena_free(arena);
}

static int64_t
soon(void)
{
	return clock_mono_us() + 10 * CLOCK_SECOND;
}

static void
on_loaded(enum tam_err err, const struct store_device *d, void *arg)
{
	(void)arg;
	got.calls++;
	got.err = err;
	got.device = d;
}

static const struct store_device *
load(int i)
{
	unsigned before = got.calls;

	ck_assert(device_load(batch, arena, 1, keys[i], soon(), on_loaded,
	              NULL) != NULL);
	turn_until(before + 1);
	ck_assert_int_eq(got.err, TAM_OK);
	return got.device;
}

static void
on_answered(enum tam_err err, enum store_verdict verdict, int64_t version,
    void *arg)
{
	(void)arg;
	got.calls++;
	got.failed += err != TAM_OK;
	got.err = err;
	got.verdict = verdict;
	got.version = version;
}

static struct store_answer
answer(int i, int64_t us, int64_t version, const struct store_component *c)
{
	static int64_t exchange = 1000;

	return (struct store_answer){.domain_id = 1,
	    .device_id = ids[i],
	    .exchange = ++exchange,
	    .stamp = {1, us},
	    .now_us = us + 5,
	    .version = version,
	    .epoch = 1,
	    .numbering = 1,
	    .hash = c == NULL ? hash_a : hash_b,
	    .n_components = c == NULL ? 0 : 1,
	    .components = c,
	    .reason = "test",
	    .opener = SLICE_LIT(""),
	    .content = hash_a};
}

static enum store_verdict
apply(const struct store_answer *a)
{
	unsigned before = got.calls;

	ck_assert(
	    device_answer_query(batch, a, soon(), on_answered, NULL) != NULL);
	turn_until(before + 1);
	ck_assert_int_eq(got.err, TAM_OK);
	return got.verdict;
}

START_TEST(loads_what_the_rows_say_and_nothing_for_a_stranger)
{
	const struct store_device *d = load(0);

	ck_assert_ptr_nonnull(d);
	ck_assert_int_eq(d->id, ids[0]);
	ck_assert(d->active && d->p256 && !d->has_hash);
	ck_assert(slice_is(d->class_name, "cam"));
	ck_assert_uint_eq(d->n_labels, 1);
	ck_assert(slice_is(d->labels[0].value, "eu"));
	ck_assert_uint_eq(d->public_key.n, 64);
	memset(keys[1], 0, 32);
	ck_assert_ptr_null(load(1));
}
END_TEST

START_TEST(applies_by_stamp_not_by_arrival)
{
	struct store_component c = {SLICE_LIT("\x81\x41\x61"),
	    SLICE_OF(hash_a)};
	struct store_answer first = answer(0, 100, 1, NULL);
	struct store_answer second = answer(0, 200, 0, &c);
	struct store_answer late = answer(0, 150, 0, NULL);

	ck_assert_int_eq(apply(&first), STORE_APPLIED);
	second.version = 1;
	ck_assert_int_eq(apply(&second), STORE_CHANGED);
	second.version = load(0)->version;
	ck_assert_int_eq(apply(&second), STORE_APPLIED);
	late.version = got.version;
	ck_assert_int_eq(apply(&late), STORE_STALE);
	first.exchange += 100; /* another exchange, the same question */
	first.stamp.us = 200;
	ck_assert_int_eq(apply(&first), STORE_REPLAYED);
	ck_assert_uint_eq(load(0)->n_components, 1);
}
END_TEST

/* After a lost connection a batch is sent again. */
START_TEST(the_same_exchange_twice_is_done_once)
{
	struct store_answer a = answer(0, 100, 1, NULL);
	int64_t version;

	ck_assert_int_eq(apply(&a), STORE_APPLIED);
	version = got.version;
	ck_assert_int_eq(apply(&a), STORE_APPLIED);
	ck_assert_int_eq(got.version, version);
}
END_TEST

/* One row whose data PostgreSQL refuses must not fail its neighbours. */
START_TEST(one_bad_row_fails_alone)
{
	for (int i = 0; i < DEVICES; i++) {
		struct store_answer a = answer(i, 100, 1, NULL);

		if (i == 7)
			a.numbering = 99999; /* beyond smallint */
		ck_assert(device_answer_query(batch, &a, soon(), on_answered,
		              NULL) != NULL);
	}
	turn_until(DEVICES);
	ck_assert_uint_eq(got.failed, 1);
	for (int i = 0; i < DEVICES; i++)
		ck_assert_int_eq(load(i)->stamp.us, i == 7 ? 0 : 100);
}
END_TEST

static void
on_differs(void *arg)
{
	(void)arg;
	got.calls++;
	got.differs++;
}

static void
on_written(void *arg)
{
	(void)arg;
	got.calls++;
	got.written++;
}

START_TEST(an_observation_is_written_unless_the_rows_differ)
{
	struct store_answer a = answer(0, 100, 1, NULL);
	struct store_observation o = {.domain_id = 1,
	    .device_id = ids[0],
	    .stamp = {1, 300},
	    .now_us = 301,
	    .hash = hash_a};

	ck_assert_int_eq(apply(&a), STORE_APPLIED);
	o.version = got.version;
	ck_assert(
	    device_observe(batch, &o, soon(), on_differs, on_written, NULL));
	turn_until(2);
	ck_assert_uint_eq(got.written, 1);
	ck_assert_int_eq(load(0)->stamp.us, 300);
	o.hash = hash_b;
	o.stamp.us = 400;
	ck_assert(
	    device_observe(batch, &o, soon(), on_differs, on_written, NULL));
	turn_until(4);
	ck_assert_uint_eq(got.differs, 1);
	ck_assert_int_eq(load(0)->stamp.us, 300);
}
END_TEST

static void
on_concluded(enum tam_err err, enum store_verdict verdict, bool revocations,
    void *arg)
{
	(void)arg;
	(void)revocations;
	got.calls++;
	got.err = err;
	got.verdict = verdict;
}

static enum store_verdict
conclude(int i, int64_t update_id, int64_t exchange)
{
	struct store_outcome o = {.domain_id = 1,
	    .device_id = ids[i],
	    .exchange = exchange,
	    .update_id = update_id,
	    .stamp = {1, 500},
	    .now_us = 501,
	    .success = true,
	    .detail = ""};
	unsigned before = got.calls;

	ck_assert(device_answer_update(batch, &o, soon(), on_concluded, NULL) !=
	    NULL);
	turn_until(before + 1);
	ck_assert_int_eq(got.err, TAM_OK);
	return got.verdict;
}

START_TEST(an_outcome_closes_its_own_update_once)
{
	struct store_component c = {SLICE_LIT("\x81\x41\x61"),
	    SLICE_OF(hash_a)};
	struct slice digest = SLICE_OF(hash_a);
	struct store_answer a = answer(0, 100, 1, NULL);

	a.update_id = 42 + ids[0] * 1000;
	a.opener = slice_str(arena_printf(arena, "opener %d", (int)ids[0]));
	a.n_manifests = a.n_adds = 1;
	a.manifests = &digest;
	a.adds = &c;
	a.expires_us = INT64_MAX / 2;
	ck_assert_int_eq(apply(&a), STORE_APPLIED);
	ck_assert(load(0)->update.open);
	ck_assert_int_eq(conclude(1, a.update_id, 77), STORE_UNKNOWN);
	ck_assert_int_eq(conclude(0, a.update_id + 1, 77), STORE_UNKNOWN);
	ck_assert_int_eq(conclude(0, a.update_id, 77), STORE_APPLIED);
	ck_assert_int_eq(conclude(0, a.update_id, 77), STORE_APPLIED);
	ck_assert_int_eq(conclude(0, a.update_id, 78), STORE_CLOSED);
	ck_assert(!load(0)->update.open);
	ck_assert_uint_eq(load(0)->n_components, 1);
}
END_TEST

START_TEST(a_full_queue_refuses)
{
	struct store_answer a = answer(0, 100, 1, NULL);
	unsigned taken = 0;

	while (
	    device_answer_query(batch, &a, soon(), on_answered, NULL) != NULL)
		taken++;
	ck_assert_uint_eq(taken, BATCH_QUEUE_MAX);
}
END_TEST

static void
on_call(enum tam_err err, const struct db_rows *rows, size_t row,
    const struct batch_caller *caller)
{
	(void)row;
	(void)caller;
	got.calls++;
	ck_assert_int_eq(err, TAM_OK);
	ck_assert_ptr_null(rows);
}

/* 256 calls are not too many, but their bytes are: the rest is refused, and
 * what was taken is sent in parts. */
START_TEST(a_queue_is_full_by_its_bytes_too)
{
	enum {
		LARGE = 512 << 10
	};
	struct slice key = {arena_calloc(arena, 1, LARGE), LARGE};
	uint8_t domain[8];
	struct slice values[2] = {SLICE_OF(domain), key};
	unsigned taken = 0;

	batch_int(domain, 1);
	while (taken < BATCH_MAX &&
	    batch_add(batch, DB_LOAD, taken, values, soon(), on_call,
	        (struct batch_caller){0}) != NULL)
		taken++;
	ck_assert_uint_lt(taken, BATCH_MAX);
	ck_assert_uint_gt(taken, 100);
	turn_until(taken);
	ck_assert_uint_gt(batch_stats(batch)->statements, 2);
	got.calls = 0;
	ck_assert_ptr_nonnull(batch_add(batch, DB_LOAD, 1, values, soon(),
	    on_call, (struct batch_caller){0}));
	turn_until(1);
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("device_store");

	crypto_init();
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, loads_what_the_rows_say_and_nothing_for_a_stranger);
	tcase_add_test(tc, applies_by_stamp_not_by_arrival);
	tcase_add_test(tc, the_same_exchange_twice_is_done_once);
	tcase_add_test(tc, one_bad_row_fails_alone);
	tcase_add_test(tc, an_observation_is_written_unless_the_rows_differ);
	tcase_add_test(tc, an_outcome_closes_its_own_update_once);
	tcase_add_test(tc, a_full_queue_refuses);
	tcase_add_test(tc, a_queue_is_full_by_its_bytes_too);
	return suite_main(tc);
}
