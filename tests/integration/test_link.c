#include "config.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <check.h>
#include <event2/event.h>

#include "lib/base/clock.h"
#include "lib/base/readiness.h"
#include "storage/batch.h"
#include "storage/db.h"
#include "storage/sql.h"
#include "tests/support/suite.h"

/*
 * A worker's link to a real PostgreSQL, under the faults of a connection: what
 * one connection met must not be known to the next one, and each state ends.
 */

static struct event_base *base;
static struct readiness readiness;
static struct readiness_part part;
static struct db *db;
static struct batch *batch;
static struct sql *sql;
static struct arena *arena;
static int64_t device;

static struct {
	unsigned calls;
	enum tam_err err;
} got;

/* --- the test's own statements -------------------------------------------------- */

static int64_t
number(const char *statement)
{
	struct sql_result *rows;
	int64_t n = 0;

	ck_assert_msg(sql_exec(sql, statement, 0, NULL, &rows) == TAM_OK,
	    "%s: %s", statement, sql_error(sql));
	if (sql_rows(rows) > 0)
		n = sql_int(rows, 0, 0);
	sql_result_free(rows);
	return n;
}

static void
run(const char *script)
{
	ck_assert_msg(sql_script(sql, script) == TAM_OK, "%s: %s", script,
	    sql_error(sql));
}

static int64_t
wire_id(void)
{
	return number(arena_printf(arena,
	    "SELECT wire_id FROM device_seen WHERE domain_id = 1 AND "
	    "device_id = %lld",
	    (long long)device));
}

/* The backend of the link, and 0 when there is none. */
static pid_t
backend(void)
{
	return (pid_t)number("SELECT pid FROM pg_stat_activity WHERE "
	                     "application_name = 'link' ORDER BY "
	                     "backend_start DESC LIMIT 1");
}

static int64_t
backends(void)
{
	return number("SELECT count(*) FROM pg_stat_activity WHERE "
	              "application_name = 'link'");
}

/* --- the link --------------------------------------------------------------------- */

static bool
within(int seconds, bool (*is_so)(void))
{
	int64_t until = clock_mono_us() + seconds * CLOCK_SECOND;

	while (clock_mono_us() < until) {
		(void)event_base_loop(base, EVLOOP_NONBLOCK);
		if (is_so())
			return true;
		(void)usleep(2000);
	}
	return false;
}

static bool
ready(void)
{
	return db_ready(db) &&
	    !readiness_held(&readiness, NOT_READY_worker_link);
}

static bool
not_ready(void)
{
	return !db_ready(db) &&
	    readiness_held(&readiness, NOT_READY_worker_link);
}

static bool
answered(void)
{
	return got.calls > 0;
}

static void
on_row(enum tam_err err, const struct db_rows *rows, size_t row,
    const struct batch_caller *caller)
{
	(void)rows;
	(void)row;
	(void)caller;
	got.calls++;
	got.err = err;
}

/* Queues a write: the device came by this profile. */
static void
queue(int64_t key, int64_t to)
{
	uint8_t values[3][8];
	struct slice slices[3] = {SLICE_OF(values[0]), SLICE_OF(values[1]),
	    SLICE_OF(values[2])};

	batch_int(values[0], 1);
	batch_int(values[1], device);
	batch_int(values[2], to);
	ck_assert_ptr_nonnull(batch_add(batch, DB_CAME_BY, key, slices,
	    clock_mono_us() + 60 * CLOCK_SECOND, on_row,
	    (struct batch_caller){0}));
}

static enum tam_err
write_id(int64_t to)
{
	got.calls = 0;
	queue(device, to);
	ck_assert_msg(within(60, answered), "no answer");
	return got.err;
}

static void
setup(void)
{
	const char *conninfo = getenv("TAM_TEST_DATABASE");

	ck_assert_msg(conninfo != NULL, "run tests/integration/run.sh");
	arena = arena_new_in(NULL);
	sql = sql_new(conninfo, NULL, 10000, -1);
	device = number(arena_printf(arena,
	    "WITH d AS (INSERT INTO device (domain_id, name, class) VALUES "
	    "(1, 'link-%d', 'cam') RETURNING device_id) INSERT INTO "
	    "device_seen (domain_id, device_id) SELECT 1, device_id FROM d "
	    "RETURNING device_id",
	    (int)getpid()));
	base = event_base_new();
	part.shared = &readiness;
	db = db_open(base,
	    arena_printf(arena, "%s application_name=link", conninfo), &part);
	batch = batch_open(base, db);
	ck_assert(!ready());
	ck_assert_msg(within(30, ready), "not ready at the start");
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

/* --- what one connection met ends with it ---------------------------------------- */

static void
kill_another_backend(void)
{
	const char *conninfo = getenv("TAM_TEST_DATABASE");
	struct sql *victim = sql_new(conninfo, NULL, 10000, -1);
	struct sql_result *rows;

	ck_assert_int_eq(sql_exec(victim, "SELECT pg_backend_pid()", 0, NULL,
	                     &rows),
	    TAM_OK);
	/* Every session gets a WARNING and is ended by the server. */
	ck_assert_int_eq(kill((pid_t)sql_int(rows, 0, 0), SIGKILL), 0);
	sql_result_free(rows);
	sql_free(victim);
}

START_TEST(a_link_comes_back_after_a_backend_was_killed)
{
	kill_another_backend();
	ck_assert_msg(within(30, not_ready), "the crash was not noticed");
	ck_assert_msg(within(60, ready), "never ready again");
	sql_drop(sql);
	ck_assert_int_eq(write_id(3), TAM_OK);
	ck_assert_int_eq(wire_id(), 3);
}
END_TEST

/* The next update of the device is committed with a warning, the one after it
 * without: what a lost standby does to a commit. */
static void
warn_once(void)
{
	run("CREATE TABLE IF NOT EXISTS warn_once (n int);"
	    "DELETE FROM warn_once; INSERT INTO warn_once VALUES (1);"
	    "CREATE OR REPLACE FUNCTION warn_once() RETURNS trigger LANGUAGE "
	    "plpgsql SECURITY DEFINER AS $$ BEGIN DELETE FROM warn_once; "
	    "IF FOUND THEN RAISE WARNING 'a doubtful commit'; END IF; "
	    "RETURN NEW; END $$;"
	    "DROP TRIGGER IF EXISTS warn_once ON device_seen;"
	    "CREATE TRIGGER warn_once BEFORE UPDATE ON device_seen "
	    "FOR EACH ROW EXECUTE FUNCTION warn_once();");
}

static void
warn_no_more(void)
{
	run("DROP TRIGGER IF EXISTS warn_once ON device_seen;"
	    "DROP FUNCTION IF EXISTS warn_once(); "
	    "DROP TABLE IF EXISTS warn_once");
}

START_TEST(a_warning_after_refused_data_is_tried_again_and_not_refused)
{
	ck_assert_int_eq(write_id(99999999), TAM_DATABASE_ERROR);
	ck_assert_uint_eq(batch_stats(batch)->refused, 1);
	warn_once();
	ck_assert_int_eq(write_id(4), TAM_OK);
	warn_no_more();
	ck_assert_uint_eq(batch_stats(batch)->refused, 1);
	ck_assert_uint_eq(batch_stats(batch)->retries, 1);
	ck_assert_int_eq(wire_id(), 4);
}
END_TEST

/* --- statements that are refused while a link is prepared ------------------------ */

static const struct refused {
	const char *what, *make, *mend;
} refusals[] = {
    {"a table is not there: migrated later, restored meanwhile",
        "ALTER TABLE payload RENAME TO payload_away",
        "ALTER TABLE payload_away RENAME TO payload"},
    {"a function is not there",
        "ALTER FUNCTION wire_enrol_as RENAME TO wire_enrol_away",
        "ALTER FUNCTION wire_enrol_away RENAME TO wire_enrol_as"},
    {"the role may not be taken", "ALTER ROLE tam_wire RENAME TO tam_away",
        "ALTER ROLE tam_away RENAME TO tam_wire"},
};

START_TEST(a_link_that_could_not_be_prepared_is_tried_again)
{
	const struct refused *r = &refusals[_i];

	run(r->make);
	(void)number(
	    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
	    "WHERE application_name = 'link'");
	ck_assert_msg(within(30, not_ready), "%s: not noticed", r->what);
	ck_assert_msg(!within(1, ready), "%s: ready", r->what);
	run(r->mend);
	ck_assert_msg(within(30, ready), "%s: never ready again", r->what);
	ck_assert_int_eq(write_id(5 + _i), TAM_OK);
	ck_assert_int_eq(wire_id(), 5 + _i);
}
END_TEST

/* --- other errors: again, and not all at once ------------------------------------- */

START_TEST(an_error_of_the_server_is_tried_again_with_a_pause)
{
	int64_t began = clock_mono_us(), statements;

	run("ALTER TABLE device_seen ADD CONSTRAINT away CHECK (true);"
	    "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ "
	    "BEGIN RAISE SQLSTATE '53100' USING MESSAGE = 'disk full'; END $$;"
	    "CREATE TRIGGER no_room BEFORE UPDATE ON device_seen "
	    "FOR EACH ROW EXECUTE FUNCTION no_room();");
	got.calls = 0;
	queue(device, 6);
	ck_assert_msg(!within(2, answered), "not tried again");
	statements = (int64_t)batch_stats(batch)->statements;
	run("DROP TRIGGER no_room ON device_seen; DROP FUNCTION no_room();"
	    "ALTER TABLE device_seen DROP CONSTRAINT away");
	ck_assert_msg(within(60, answered), "no answer");
	ck_assert_int_eq(got.err, TAM_OK);
	ck_assert_int_eq(wire_id(), 6);
	/* Each pause is at least half of the one that doubles: 10, 20, 40 ...
	 * milliseconds; 20 attempts at once were the fault. */
	ck_assert_int_le(statements, 9 + (clock_mono_us() - began) / 1000000);
	ck_assert_int_ge(statements, 3);
}
END_TEST

/* --- a link that does not answer ---------------------------------------------------- */

START_TEST(
    a_link_that_does_not_answer_is_dropped_and_what_was_sent_is_done_once)
{
	pid_t frozen = backend();

	ck_assert_int_eq(kill(frozen, SIGSTOP), 0);
	got.calls = 0;
	queue(device, 7);
	ck_assert_msg(within(30, not_ready), "a frozen backend is not noticed");
	/* The next session waits for the end of the frozen one. */
	ck_assert(!within(3, ready));
	ck_assert_int_eq(backends(), 2);
	ck_assert_uint_eq(got.calls, 0);
	ck_assert_int_eq(kill(frozen, SIGCONT), 0);
	ck_assert_msg(within(30, ready), "never ready again");
	ck_assert_msg(within(30, answered), "no answer");
	ck_assert_int_eq(got.err, TAM_OK);
	ck_assert_int_eq(wire_id(), 7);
	ck_assert_int_eq(backends(), 1);
}
END_TEST

START_TEST(an_idle_link_that_does_not_answer_is_noticed)
{
	pid_t frozen = backend();

	ck_assert_int_eq(kill(frozen, SIGSTOP), 0);
	ck_assert_msg(within(30, not_ready), "nobody asked");
	ck_assert_int_eq(kill(frozen, SIGCONT), 0);
	ck_assert(within(30, ready));
}
END_TEST

/* --- settings that we rely on --------------------------------------------------------- */

START_TEST(a_session_has_our_settings_whatever_those_of_the_role_are)
{
	const char *conninfo = getenv("TAM_TEST_DATABASE");
	struct sql *other;
	struct sql_result *rows;
	struct slice bytes;

	run("CREATE ROLE odd SUPERUSER LOGIN;"
	    "ALTER ROLE odd SET bytea_output = 'escape';"
	    "ALTER ROLE odd SET search_path = pg_catalog;"
	    "ALTER ROLE odd SET standard_conforming_strings = off;"
	    "ALTER ROLE odd SET datestyle = 'SQL, DMY';"
	    "ALTER ROLE odd SET synchronous_commit = off;"
	    "ALTER ROLE odd SET default_transaction_read_only = on;"
	    "ALTER ROLE odd SET client_min_messages = 'error'");
	other = sql_new(arena_printf(arena, "%s user=odd", conninfo),
	    "tam_wire", 10000, -1);
	ck_assert_int_eq(
	    sql_exec(other,
	        "SELECT '\\x00ff5c'::bytea, (SELECT count(*) FROM domain), "
	        "'2026-11-27'::date, current_setting('synchronous_commit'), "
	        "current_setting('transaction_read_only'), "
	        "current_setting('client_min_messages'), "
	        "current_setting('jit')",
	        0, NULL, &rows),
	    TAM_OK);
	bytes = sql_bytes(rows, 0, 0, arena);
	ck_assert(slice_eq(bytes, SLICE_LIT("\x00\xff\x5c")));
	ck_assert_str_eq(sql_text(rows, 0, 2), "2026-11-27");
	ck_assert_str_eq(sql_text(rows, 0, 3), "on");
	ck_assert_str_eq(sql_text(rows, 0, 4), "off");
	ck_assert_str_eq(sql_text(rows, 0, 5), "notice");
	ck_assert_str_eq(sql_text(rows, 0, 6), "off");
	sql_result_free(rows);
	sql_free(other);
	run("DROP ROLE odd");
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("link");

	tcase_set_timeout(tc, 180);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_link_comes_back_after_a_backend_was_killed);
	tcase_add_test(tc,
	    a_warning_after_refused_data_is_tried_again_and_not_refused);
	LOOP(tc, a_link_that_could_not_be_prepared_is_tried_again, refusals);
	tcase_add_test(tc, an_error_of_the_server_is_tried_again_with_a_pause);
	tcase_add_test(tc,
	    a_link_that_does_not_answer_is_dropped_and_what_was_sent_is_done_once);
	tcase_add_test(tc, an_idle_link_that_does_not_answer_is_noticed);
	tcase_add_test(tc,
	    a_session_has_our_settings_whatever_those_of_the_role_are);
	return suite_main(tc);
}
