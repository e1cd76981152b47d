#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <check.h>

#include "lib/base/arena.h"
#include "lib/base/clock.h"
#include "storage/admin_statements.h"
#include "storage/owner_statements.h"
#include "storage/sql.h"
#include "storage/statements.h"
#include "tests/support/suite.h"

/*
 * Sealing of device events beside transactions that commit late, on a real
 * PostgreSQL.  The order of ids, numbers and commits is forced by sessions.
 * Each test has a domain of its own.
 */

static struct sql *owner, *node, *early, *late;
static struct arena *arena;
static char *domain;

static void
run(struct sql *s, const char *script)
{
	ck_assert_msg(sql_script(s, script) == TAM_OK, "%s: %s", script,
	    sql_error(s));
}

static int64_t
number(struct sql *s, const char *statement)
{
	struct sql_result *rows;
	int64_t n = 0;

	ck_assert_msg(sql_exec(s, statement, 0, NULL, &rows) == TAM_OK,
	    "%s: %s", statement, sql_error(s));
	if (sql_rows(rows) > 0)
		n = sql_int(rows, 0, 0);
	sql_result_free(rows);
	return n;
}

/* Writes a device event; its number. */
static int64_t
write_event(struct sql *s)
{
	return number(s,
	    arena_printf(arena,
	        "INSERT INTO device_event (domain_id, device_id, at_us, kind) "
	        "VALUES (%s, 1, (extract(epoch FROM clock_timestamp()) * "
	        "1e6)::int8, 'x') RETURNING event_id",
	        domain));
}

static void
begin_with_id(struct sql *s)
{
	run(s, "BEGIN");
	(void)number(s, "SELECT pg_current_xact_id()");
}

static bool
step(void)
{
	struct sql_result *rows;
	bool more;

	ck_assert_msg(SQL_EXEC(node, &rows, SQL_SEAL_EVENTS, domain) == TAM_OK,
	    "step: %s", sql_error(node));
	more = sql_int(rows, 0, 0) != 0;
	sql_result_free(rows);
	return more;
}

static void
steps(int n)
{
	for (int i = 0; i < n; i++)
		(void)step();
}

static int64_t
sealed(void)
{
	return number(owner,
	    arena_printf(arena,
	        "SELECT coalesce(max(last_event), 0) FROM device_event_seal "
	        "WHERE domain_id = %s",
	        domain));
}

static int64_t
settled(void)
{
	return number(owner,
	    arena_printf(arena,
	        "SELECT settled FROM device_event_horizon WHERE domain_id = %s",
	        domain));
}

static void
assert_untampered(void)
{
	struct sql_result *rows;

	ck_assert_int_eq(SQL_EXEC(owner, &rows, SQL_AUDIT_VERIFY, domain, "0",
	                     ""),
	    TAM_OK);
	ck_assert_msg(sql_rows(rows) == 0, "audit verify: %s",
	    sql_rows(rows) == 0 ? "" : sql_text(rows, 0, 1));
	sql_result_free(rows);
}

/* Other databases of the cluster, and autovacuum, have transactions as well. */
static void
seal_all(void)
{
	int64_t newest =
	    number(owner, "SELECT last_value FROM device_event_event_id_seq");
	int64_t until = clock_mono_us() + 30 * CLOCK_SECOND;

	while (settled() < newest && clock_mono_us() < until) {
		(void)step();
		(void)usleep(10000);
	}
	ck_assert_int_ge(settled(), newest);
}

static void
setup(void)
{
	const char *conninfo = getenv("TAM_TEST_DATABASE");

	ck_assert_msg(conninfo != NULL, "run tests/integration/run.sh");
	arena = arena_new_in(NULL);
	owner = sql_new(conninfo, NULL, 10000, -1);
	node = sql_new(conninfo, "tam_wire", 10000, -1);
	early = sql_new(conninfo, NULL, 10000, -1);
	late = sql_new(conninfo, NULL, 10000, -1);
	domain = arena_printf(arena, "%lld",
	    (long long)number(owner,
	        arena_printf(arena,
	            "INSERT INTO domain (name, incarnation) VALUES "
	            "('seal-%d', 1) RETURNING domain_id",
	            (int)getpid())));
}

static void
teardown(void)
{
	sql_free(late);
	sql_free(early);
	sql_free(node);
	sql_free(owner);
	arena_free(arena);
}

/*
 * The early transaction has the smaller id and commits the greater number; the
 * late one has the smaller number and is not in any snapshot yet.
 */
static int64_t
cross(void)
{
	int64_t held, seen;

	begin_with_id(early);
	run(late, "BEGIN");
	held = write_event(late);
	seen = write_event(early);
	run(early, "COMMIT");
	ck_assert_int_lt(held, seen);
	return seen;
}

START_TEST(a_writer_that_commits_late_is_waited_for)
{
	int64_t seen = cross();

	steps(5);
	ck_assert_int_lt(sealed(), seen);
	run(late, "COMMIT");
	seal_all();
	ck_assert_int_ge(sealed(), seen);
	assert_untampered();
}
END_TEST

START_TEST(a_prepared_writer_is_waited_for)
{
	char *name = arena_printf(arena, "'seal-%s'", domain);
	int64_t seen = cross();

	run(late, arena_printf(arena, "PREPARE TRANSACTION %s", name));
	steps(5);
	ck_assert_int_lt(sealed(), seen);
	ck_assert_int_gt(number(node, SQL_SEAL_LAG), 0);
	run(late, arena_printf(arena, "COMMIT PREPARED %s", name));
	seal_all();
	ck_assert_int_ge(sealed(), seen);
	assert_untampered();
}
END_TEST

START_TEST(a_writer_that_gives_up_leaves_a_gap)
{
	int64_t seen = cross();

	steps(2);
	run(late, "ROLLBACK");
	seal_all();
	ck_assert_int_ge(sealed(), seen);
	assert_untampered();
}
END_TEST

/* The number is handed out between the two halves of a step. */
START_TEST(a_writer_between_two_steps_is_waited_for)
{
	int64_t first = write_event(owner), held;

	(void)step();
	run(late, "BEGIN");
	held = write_event(late);
	(void)write_event(early);
	steps(4);
	ck_assert_int_ge(sealed(), first);
	ck_assert_int_lt(sealed(), held);
	run(late, "COMMIT");
	seal_all();
	assert_untampered();
}
END_TEST

START_TEST(an_event_gets_its_number_after_its_transaction_has_an_id)
{
	run(late, "BEGIN");
	ck_assert_int_eq(number(late,
	                     "SELECT (pg_get_expr(d.adbin, d.adrelid) LIKE "
	                     "'%pg_current_xact_id() IS NOT NULL%')::int FROM "
	                     "pg_attrdef d JOIN pg_attribute a ON a.attrelid = "
	                     "d.adrelid AND a.attnum = d.adnum WHERE "
	                     "d.adrelid = 'device_event'::regclass AND "
	                     "a.attname = 'event_id'"),
	    1);
	run(late, "ROLLBACK");
}
END_TEST

/* The error says what is not sound. */
static const struct unsound {
	const char *change, *error;
} unsounds[] = {
    {"ALTER SEQUENCE device_event_event_id_seq CACHE 2", "CACHE 1"},
    {"ALTER TABLE device_event ALTER event_id SET DEFAULT "
     "nextval('device_event_event_id_seq')",
        "after the id"},
};

START_TEST(a_step_that_could_not_be_sound_is_refused)
{
	const char *call =
	    arena_printf(arena, "SELECT device_event_seal_step(%s)", domain);

	run(owner, unsounds[_i].change);
	ck_assert_int_eq(sql_script(node, call), TAM_DATABASE_ERROR);
	ck_assert_msg(strstr(sql_error(node), unsounds[_i].error) != NULL, "%s",
	    sql_error(node));
	run(owner,
	    "ALTER SEQUENCE device_event_event_id_seq CACHE 1; "
	    "ALTER TABLE device_event ALTER event_id SET DEFAULT "
	    "nextval(CASE WHEN pg_current_xact_id() IS NOT NULL THEN "
	    "'device_event_event_id_seq'::regclass END)");
	(void)step();
}
END_TEST

static const char *const transactions[] =
    {"BEGIN ISOLATION LEVEL REPEATABLE READ",
        "BEGIN; SELECT pg_current_xact_id()"};

START_TEST(a_step_wants_a_transaction_of_its_own)
{
	run(node, transactions[_i]);
	ck_assert_int_eq(sql_script(node,
	                     arena_printf(arena,
	                         "SELECT device_event_seal_step(%s)", domain)),
	    TAM_DATABASE_ERROR);
	ck_assert(strstr(sql_error(node), "READ COMMITTED") != NULL);
	run(node, "ROLLBACK");
}
END_TEST

START_TEST(an_id_of_another_cluster_proves_nothing)
{
	int64_t seen = write_event(owner);

	run(owner,
	    arena_printf(arena,
	        "INSERT INTO device_event_horizon (domain_id, event_id, "
	        "before) VALUES (%s, %lld, '9000000000')",
	        domain, (long long)seen));
	(void)step();
	ck_assert_int_eq(sealed(), 0);
	seal_all();
	ck_assert_int_ge(sealed(), seen);
}
END_TEST

START_TEST(a_step_with_nothing_to_do_spends_no_id)
{
	(void)write_event(owner);
	seal_all();
	run(node, "BEGIN");
	(void)step();
	ck_assert_int_eq(number(node,
	                     "SELECT count(pg_current_xact_id_if_assigned())"),
	    0);
	run(node, "COMMIT");
}
END_TEST

static size_t
shown_after(int64_t event)
{
	struct sql_result *rows;
	size_t n;

	ck_assert_int_eq(SQL_EXEC(owner, &rows, SQL_DEVICE_EVENTS,
	                     arena_printf(arena, "seal-%s", domain),
	                     arena_printf(arena, "%lld", (long long)event),
	                     "100"),
	    TAM_OK);
	n = sql_rows(rows);
	sql_result_free(rows);
	return n;
}

/* A reader who goes on behind the newest event that was shown misses none. */
START_TEST(a_reader_is_shown_no_event_before_those_with_smaller_numbers)
{
	int64_t before = number(owner,
	    "SELECT last_value FROM "
	    "device_event_event_id_seq");

	run(owner,
	    arena_printf(arena,
	        "BEGIN; SET LOCAL tam.domain = '%s'; DELETE FROM device WHERE "
	        "device_id = 1 AND domain_id = %s; INSERT INTO device "
	        "(domain_id, device_id, name) VALUES (%s, 1, 'seal-%s'); "
	        "COMMIT; SET tam.domain = '%s'; SET ROLE tam_admin",
	        domain, domain, domain, domain, domain));
	(void)cross();
	steps(3);
	ck_assert_uint_eq(shown_after(before), 0);
	run(late, "COMMIT");
	run(owner, "RESET ROLE");
	seal_all();
	run(owner, "SET ROLE tam_admin");
	ck_assert_uint_eq(shown_after(before), 2);
	run(owner, "RESET ROLE");
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("seal");

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_writer_that_commits_late_is_waited_for);
	tcase_add_test(tc, a_prepared_writer_is_waited_for);
	tcase_add_test(tc, a_writer_that_gives_up_leaves_a_gap);
	tcase_add_test(tc, a_writer_between_two_steps_is_waited_for);
	tcase_add_test(tc,
	    an_event_gets_its_number_after_its_transaction_has_an_id);
	LOOP(tc, a_step_that_could_not_be_sound_is_refused, unsounds);
	LOOP(tc, a_step_wants_a_transaction_of_its_own, transactions);
	tcase_add_test(tc, an_id_of_another_cluster_proves_nothing);
	tcase_add_test(tc, a_step_with_nothing_to_do_spends_no_id);
	tcase_add_test(tc,
	    a_reader_is_shown_no_event_before_those_with_smaller_numbers);
	return suite_main(tc);
}
