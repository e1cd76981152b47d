#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "lib/base/arena.h"
#include "lib/base/clock.h"
#include "server/admission.h"
#include "server/control.h"
#include "server/epoch_file.h"
#include "server/settings.h"
#include "server/teep/domain.h"
#include "server/teep/published.h"
#include "storage/sql.h"
#include "storage/statements.h"
#include "tests/support/suite.h"

/*
 * The control thread against a real PostgreSQL.  The test plays the worker: it
 * reads the mail, and acknowledges a snapshot when it likes.  Each test has a
 * state_dir of its own.
 */

static struct config config;
static struct control_status status;
static struct worker_thread worker;
static struct control *control;
static struct sql *sql;
static struct arena *arena;
static char *state, *gone, *clock_file;
static bool acknowledges;
static uint64_t handed_out; /* the number of the last snapshot */
static int64_t forgotten;   /* the devices of MAIL_DEVICE, as bits */

static void
read_mail(void)
{
	struct mail *next;

	for (struct mail *m = mailbox_take(worker.mail); m != NULL; m = next) {
		next = m->next;
		snapshot_unref(m->snapshot);
		published_unref(m->published);
		if (m->kind == MAIL_SNAPSHOT)
			handed_out = m->snapshot_no;
		if (m->kind == MAIL_DEVICE)
			forgotten |= INT64_C(1) << (m->device_id & 63);
		free(m);
	}
	if (acknowledges)
		atomic_store(&worker.snapshot_no, handed_out);
}

/* Does the worker's part meanwhile. */
static bool
within(int seconds, bool (*is_so)(void))
{
	int64_t until = clock_mono_us() + seconds * CLOCK_SECOND;

	while (clock_mono_us() < until) {
		read_mail();
		if (is_so())
			return true;
		(void)usleep(10000);
	}
	return false;
}

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

static int64_t
epoch(void)
{
	return number("SELECT epoch FROM domain WHERE domain_id = 1");
}

static int64_t
leased(void)
{
	return number("SELECT epoch FROM node_lease WHERE domain_id = 1 AND "
	              "node_id = 'control-test'");
}

static int64_t
raise_epoch(void)
{
	return number("SELECT epoch_raise(1)");
}

static bool
has_lease(void)
{
	return clock_mono_us() < atomic_load(&status.lease_until_us);
}

static bool
has_no_lease(void)
{
	return !has_lease();
}

static bool
lease_is_newest(void)
{
	return has_lease() && leased() == epoch();
}

static bool
memory_is_broken(void)
{
	return atomic_load(&status.memory_broken);
}

static int64_t
remembered(void)
{
	struct epoch_list l;
	const struct served_epoch *e;
	int64_t n = 0;

	if (epoch_file_read(state, EPOCH_FILE_SERVED, &l) != TAM_OK)
		return -1;
	e = epoch_list_find(&l, 1);
	if (e != NULL)
		n = e->epoch;
	epoch_list_free(&l);
	return n;
}

static void
start(void)
{
	acknowledges = true;
	handed_out = 0;
	atomic_store(&worker.snapshot_no, 0);
	atomic_store(&status.lease_until_us, 0);
	atomic_store(&status.admission, ADMISSION_UNKNOWN);
	control = control_start(&config, &worker, 1, &status);
	ck_assert_ptr_nonnull(control);
}

/* A node without memory may begin. */
static void
grant(void)
{
	(void)number("INSERT INTO admission (why) VALUES ('test') "
	             "ON CONFLICT DO NOTHING RETURNING 0");
}

static void
stop(void)
{
	control_stop(control);
	control = NULL;
	read_mail();
}

/* The wall clock of this process is the machine's plus what the file says. */
static void
set_clock(int64_t seconds)
{
	int fd = open(clock_file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	char text[21];

	(void)snprintf(text, sizeof(text), "%020lld", (long long)seconds);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, text, 20, 0), 20);
	(void)close(fd);
}

static void
hold_clock(void)
{
	clock_file = arena_printf(arena, "%s.clock", state);
	set_clock(0);
	ck_assert_int_eq(setenv("TAM_CLOCK", clock_file, 1), 0);
}

static void
setup(void)
{
	const char *conninfo = getenv("TAM_TEST_DATABASE");
	const char *key = getenv("TAM_TEST_MASTER_KEY");
	const char *work = getenv("TAM_TEST_WORK");

	ck_assert_msg(conninfo != NULL && key != NULL && work != NULL,
	    "run tests/integration/run.sh");
	arena = arena_new_in(NULL);
	state = arena_printf(arena, "%s/control-%d", work, (int)getpid());
	gone = arena_printf(arena, "%s.gone", state);
	ck_assert_int_eq(mkdir(state, 0700), 0);
	(void)snprintf(config.node_id, sizeof(config.node_id), "control-test");
	(void)snprintf(config.database, sizeof(config.database), "%s",
	    conninfo);
	(void)snprintf(config.master_key, sizeof(config.master_key), "%s", key);
	(void)snprintf(config.state_dir, sizeof(config.state_dir), "%s", state);
	config.staleness_max_ms = 3000;
	config.clock_offset_max_ms = 1000;
	config.query_life_s = config.update_life_s = 3600;
	worker.mail = mailbox_new();
	sql = sql_new(conninfo, NULL, 10000, -1);
	hold_clock();
	grant();
	start();
	ck_assert_msg(within(30, lease_is_newest), "no lease at the start");
}

static void
teardown(void)
{
	stop();
	mailbox_free(worker.mail);
	sql_free(sql);
	arena_free(arena);
}

/* --- each way in which the memory fails ------------------------------------------- */

static char *
in_state(const char *name)
{
	return arena_printf(arena, "%s/%s", state, name);
}

/* Root may write anywhere: a file in the place of the directory stops it. */
static void
break_directory(void)
{
	FILE *f;

	ck_assert_int_eq(rename(state, gone), 0);
	f = fopen(state, "w");
	ck_assert_ptr_nonnull(f);
	(void)fclose(f);
}

static void
mend_directory(void)
{
	ck_assert_int_eq(unlink(state), 0);
	ck_assert_int_eq(rename(gone, state), 0);
}

static void
break_open(void)
{
	ck_assert_int_eq(mkdir(in_state("epochs.new"), 0700), 0);
}

static void
mend_open(void)
{
	ck_assert_int_eq(rmdir(in_state("epochs.new")), 0);
}

/* A full disk: each write says ENOSPC. */
static void
break_write(void)
{
	ck_assert_int_eq(symlink("/dev/full", in_state("epochs.new")), 0);
}

static void
mend_write(void)
{
	ck_assert_int_eq(unlink(in_state("epochs.new")), 0);
}

static void
break_rename(void)
{
	ck_assert_int_eq(rename(in_state("epochs"), gone), 0);
	ck_assert_int_eq(mkdir(in_state("epochs"), 0700), 0);
}

static void
mend_rename(void)
{
	ck_assert_int_eq(rmdir(in_state("epochs")), 0);
	ck_assert_int_eq(rename(gone, in_state("epochs")), 0);
}

static const struct broken {
	const char *what;
	void (*make)(void), (*mend)(void);
} memories[] = {
    {"a file in the place of the directory", break_directory, mend_directory},
    {"the new file cannot be made", break_open, mend_open},
    {"the disk is full", break_write, mend_write},
    {"the new file cannot take the old one's name", break_rename, mend_rename},
};

START_TEST(an_epoch_that_cannot_be_remembered_is_not_served)
{
	const struct broken *b = &memories[_i];
	int64_t before = epoch();
	uint64_t number_before = handed_out;

	b->make();
	(void)raise_epoch();
	ck_assert_msg(within(30, memory_is_broken), "%s: not noticed", b->what);
	ck_assert_msg(within(30, has_no_lease), "%s: still served", b->what);
	ck_assert_msg(leased() == before, "%s: the lease shows it", b->what);
	ck_assert_msg(handed_out == number_before, "%s: handed out", b->what);
	b->mend();
	ck_assert_msg(within(30, lease_is_newest), "%s: never again", b->what);
	ck_assert(!memory_is_broken());
	ck_assert_int_eq(remembered(), epoch());
}
END_TEST

START_TEST(an_epoch_is_on_disk_before_a_worker_has_it)
{
	int64_t until = clock_mono_us() + 30 * CLOCK_SECOND;
	uint64_t before = handed_out;
	int64_t next = raise_epoch();

	while (handed_out == before && clock_mono_us() < until) {
		read_mail();
		if (handed_out != before)
			ck_assert_int_ge(remembered(), next);
	}
	ck_assert_uint_gt(handed_out, before);
}
END_TEST

START_TEST(the_lease_waits_for_a_worker)
{
	int64_t before = epoch();

	acknowledges = false;
	(void)raise_epoch();
	ck_assert_msg(within(30, has_no_lease), "renewed without the worker");
	ck_assert_int_eq(leased(), before);
	acknowledges = true;
	ck_assert(within(30, lease_is_newest));
}
END_TEST

/* --- statements that are given up ---------------------------------------------------- */

enum {
	GIVEN_UP_S =
	    8 /* several deadlines of a statement of the control thread */
};

static int64_t most; /* backends at one time that wait for others */

static void
count_waiting(const char *what)
{
	int64_t n = number(arena_printf(arena,
	    "SELECT count(*) FROM pg_stat_activity WHERE pid <> "
	    "pg_backend_pid() AND %s",
	    what));

	if (n > most)
		most = n;
}

static bool
lock_is_awaited(void)
{
	count_waiting("wait_event_type = 'Lock'");
	return false;
}

static bool
standby_is_awaited(void)
{
	count_waiting("wait_event = 'SyncRep'");
	return false;
}

START_TEST(a_locked_lease_leaves_one_backend_behind_at_most)
{
	struct sql *other = sql_new(config.database, NULL, 10000, -1);

	ck_assert_int_eq(sql_script(other,
	                     "BEGIN; SELECT FROM node_lease FOR UPDATE"),
	    TAM_OK);
	(void)within(GIVEN_UP_S, lock_is_awaited);
	ck_assert(has_no_lease());
	ck_assert_int_eq(sql_script(other, "ROLLBACK"), TAM_OK);
	ck_assert_msg(within(30, lease_is_newest), "no lease afterwards");
	ck_assert_msg(most == 1, "%lld backends waited", (long long)most);
	sql_free(other);
}
END_TEST

/* From now on a commit waits for a standby that there is not. */
static void
lose_standby(void)
{
	ck_assert_int_eq(sql_script(sql,
	                     "ALTER SYSTEM SET synchronous_standby_names = "
	                     "'nobody'"),
	    TAM_OK);
	(void)number("SELECT pg_reload_conf()::int");
}

static void
bring_standby(void)
{
	ck_assert_int_eq(sql_script(sql,
	                     "ALTER SYSTEM RESET synchronous_standby_names"),
	    TAM_OK);
	(void)number("SELECT pg_reload_conf()::int");
}

START_TEST(a_lost_standby_leaves_one_backend_behind_at_most)
{
	lose_standby();
	(void)within(GIVEN_UP_S, standby_is_awaited);
	bring_standby();
	ck_assert(has_no_lease());
	ck_assert_msg(within(30, lease_is_newest), "no lease afterwards");
	ck_assert_msg(most == 1, "%lld backends waited", (long long)most);
}
END_TEST

static bool
has_no_lease_while_waits_are_cancelled(void)
{
	(void)number("SELECT count(pg_cancel_backend(pid)) FROM "
	             "pg_stat_activity WHERE wait_event = 'SyncRep'");
	return has_no_lease();
}

START_TEST(a_lease_whose_commit_is_doubted_is_none)
{
	bool lost;

	lose_standby();
	lost = within(20, has_no_lease_while_waits_are_cancelled);
	bring_standby();
	ck_assert_msg(lost, "renewed by commits that no standby has");
	ck_assert_msg(within(30, lease_is_newest), "no lease afterwards");
}
END_TEST

START_TEST(a_late_renewal_does_not_overwrite_a_newer_one)
{
	struct sql_result *rows;
	int64_t before = number("SELECT renewal FROM node_lease WHERE "
	                        "domain_id = 1 AND node_id = 'control-test'");
	char late[32];

	ck_assert_int_gt(before, 0);
	(void)snprintf(late, sizeof(late), "%lld", (long long)before - 1);
	ck_assert_int_eq(SQL_EXEC(sql, &rows, SQL_LEASE, "control-test", "{1}",
	                     "{0}", "3000000", late),
	    TAM_OK);
	ck_assert_uint_eq(sql_changed(rows), 0);
	sql_result_free(rows);
	ck_assert_int_eq(leased(), epoch());
	/* Another process of the same name takes the lease: said, taken back. */
	ck_assert_int_eq(SQL_EXEC(sql, NULL, SQL_LEASE, "control-test", "{1}",
	                     "{0}", "3000000", "900000000000000"),
	    TAM_OK);
	ck_assert_msg(within(30, lease_is_newest), "never renewed again");
}
END_TEST

/* --- which database is served ---------------------------------------------------------- */

static bool
is_restored(void)
{
	return atomic_load(&status.admission) == ADMISSION_RESTORED;
}

static bool
has_no_memory(void)
{
	return atomic_load(&status.admission) == ADMISSION_NO_MEMORY;
}

static bool
is_out(void)
{
	return is_restored() && has_no_lease();
}

/* Half a second of turns that must change nothing. */
static bool
stays_out(void)
{
	static int64_t since;

	if (since == 0)
		since = clock_mono_us();
	ck_assert(is_restored());
	ck_assert(has_no_lease());
	return clock_mono_us() - since > 2 * CLOCK_SECOND;
}

static void
accept_restore(void)
{
	(void)number("SELECT count(*) FROM restore_accept()");
}

static void
start_again(void)
{
	stop();
	start();
}

static void
forget(void)
{
	stop();
	ck_assert_int_eq(unlink(in_state("epochs")), 0);
}

static void
lose_one_epoch(void)
{
	(void)number("UPDATE domain SET epoch = epoch - 1 WHERE domain_id = 1");
}

/* As many epochs, but the last event is another one. */
static void
change_the_head(void)
{
	(void)number(
	    "UPDATE audit_event e SET hash = sha256(e.hash) FROM domain d "
	    "WHERE d.domain_id = 1 AND e.domain_id = 1 AND "
	    "e.seq = d.audit_seq");
	(void)raise_epoch();
}

/* The same epoch, fewer events: a device may be active again. */
static void
lose_one_event(void)
{
	(void)number("DELETE FROM audit_event e USING domain d WHERE "
	             "d.domain_id = 1 AND e.domain_id = 1 AND "
	             "e.seq = d.audit_seq");
	(void)number("UPDATE domain SET audit_seq = audit_seq - 1, audit_hash "
	             "= (SELECT hash FROM audit_event e WHERE e.domain_id = 1 "
	             "AND e.seq = audit_seq - 1) WHERE domain_id = 1");
}

static void
lose_incarnation(void)
{
	(void)number("UPDATE domain SET incarnation = incarnation + 1 "
	             "WHERE domain_id = 1");
}

static void (*const losses[])(
    void) = {lose_one_epoch, change_the_head, lose_one_event, lose_incarnation};

START_TEST(a_restored_database_is_refused_until_it_is_accepted)
{
	(void)number("SELECT audit_append(1, 'test', 'test', '', '', '', NULL, "
	             "NULL) FROM generate_series(1, 2)");
	(void)raise_epoch();
	ck_assert(within(30, lease_is_newest));
	losses[_i]();
	ck_assert_msg(within(30, is_out), "it is served");
	/* Nothing that is changed in it makes it the one that was served. */
	for (int i = 0; i < 3; i++)
		(void)raise_epoch();
	ck_assert(within(30, stays_out));
	start_again();
	ck_assert_msg(within(30, is_restored), "forgotten by a restart");
	accept_restore();
	ck_assert_msg(within(30, lease_is_newest), "accepted, and not served");
	start_again();
	ck_assert_msg(within(30, lease_is_newest), "accepted for a while only");
}
END_TEST

START_TEST(what_another_node_had_accepted_is_served)
{
	stop();
	lose_one_epoch();
	accept_restore();
	start();
	ck_assert(within(30, lease_is_newest));
}
END_TEST

START_TEST(a_node_without_memory_waits_for_one_that_has_it)
{
	forget();
	(void)number("DELETE FROM node_lease");
	/* Out of a backup: good for long, and never renewed. */
	(void)number("INSERT INTO node_lease (domain_id, node_id, epoch, "
	             "expires_us) VALUES (1, 'other', 1, "
	             "(extract(epoch FROM now()) * 1e6)::int8 + 600000000)");
	start();
	ck_assert(within(30, has_no_memory));
	ck_assert(has_no_lease());
	(void)number("UPDATE node_lease SET expires_us = expires_us + 1000000 "
	             "WHERE node_id = 'other'");
	ck_assert_msg(within(30, has_lease), "not beside the other");
	(void)number("DELETE FROM node_lease WHERE node_id = 'other'");
}
END_TEST

/* The first lease closes it, a statement later. */
static bool
admission_is_closed(void)
{
	return number("SELECT count(*) FROM admission") == 0;
}

START_TEST(a_node_without_memory_begins_once_after_bootstrap)
{
	forget();
	start();
	ck_assert(within(30, has_no_memory));
	grant();
	ck_assert(within(30, lease_is_newest));
	ck_assert_msg(within(30, admission_is_closed), "the grant stays");
	forget();
	start();
	ck_assert_msg(within(30, has_no_memory), "the grant holds on");
	accept_restore();
	ck_assert(within(30, lease_is_newest));
}
END_TEST

START_TEST(a_damaged_memory_is_not_an_empty_one)
{
	FILE *f;

	stop();
	grant();
	f = fopen(in_state("epochs"), "w");
	ck_assert_ptr_nonnull(f);
	(void)fputs("1 12", f);
	(void)fclose(f);
	start();
	ck_assert(within(30, memory_is_broken));
	ck_assert(has_no_lease());
}
END_TEST

/* --- time -------------------------------------------------------------------------------- */

static bool
clock_is_off(void)
{
	return atomic_load(&status.clock_off) && has_no_lease();
}

static int64_t
minting_keys(void)
{
	return number("SELECT count(*) FROM token_key WHERE mint_from_us <= "
	              "cluster_us() AND retire_us > cluster_us()");
}

static int64_t
keys_as_text(void)
{
	return number("SELECT coalesce(sum(hashint8(mint_from_us + retire_us + "
	              "key_id)), 0) FROM token_key");
}

/* Cluster time as this node has it is the database's; it is ahead by no more
 * than what a clock that is behind lags in half a lease. */
static void
assert_cluster_time(void)
{
	int64_t here = clock_cluster_us();
	int64_t there = number("SELECT cluster_us()");

	ck_assert_int_le(here - there, CLOCK_SECOND / 2);
	ck_assert_int_le(there - clock_cluster_us(), 2 * CLOCK_SECOND);
}

#ifdef TAM_FAULT_POINTS
static const int64_t aheads[] = {60, 3600, 86400, 5 * 86400};

START_TEST(a_node_whose_clock_is_off_tends_nothing_and_is_not_ready)
{
	int64_t before = keys_as_text();

	set_clock(aheads[_i]);
	ck_assert_msg(within(30, clock_is_off), "it serves on");
	ck_assert_int_eq(keys_as_text(), before);
	assert_cluster_time();
	start_again();
	ck_assert_msg(within(30, clock_is_off), "it serves after a restart");
	ck_assert_int_eq(keys_as_text(), before);
	ck_assert_int_ge(minting_keys(), 1);
	assert_cluster_time();
	/* Corrected: it is as if the clock had never been wrong. */
	set_clock(0);
	ck_assert_msg(within(30, lease_is_newest), "not after the correction");
	ck_assert(!atomic_load(&status.clock_off));
	assert_cluster_time();
}
END_TEST
#endif

static bool
an_hour_ahead(void)
{
	return clock_cluster_us() - clock_wall_us() > 3500 * CLOCK_SECOND;
}

/* As after a failover to a database whose clock is an hour behind. */
START_TEST(cluster_time_is_never_behind_the_last_lease)
{
	int64_t before, after;

	(void)number("UPDATE cluster_clock SET last_us = last_us + 3600000000");
	ck_assert(within(30, an_hour_ahead));
	ck_assert(within(30, lease_is_newest));
	before = number("SELECT cluster_us()");
	(void)number("SELECT pg_sleep(0.1)");
	after = number("SELECT cluster_us()");
	ck_assert_int_ge(after - before, 80000);
	assert_cluster_time();
	(void)number(
	    "UPDATE cluster_clock SET last_us = database_us(), db_us = "
	    "database_us()");
}
END_TEST

static bool
a_key_mints(void)
{
	return minting_keys() >= 1;
}

static bool
can_mint(void)
{
	return a_key_mints() && lease_is_newest();
}

/* What a wrong clock, or a hand, may have left of the token keys. */
static const char *const spoils[] = {"UPDATE token_key SET retire_us = 1",
    "UPDATE token_key SET mint_from_us = cluster_us() + 5 * 86400000000, "
    "retire_us = cluster_us() + 9 * 86400000000",
    "DELETE FROM token_key"};

START_TEST(there_is_a_key_that_mints_again)
{
	(void)number(spoils[_i]);
	(void)raise_epoch();
	ck_assert_msg(within(40, can_mint), "none mints for good");
}
END_TEST

START_TEST(the_last_key_is_kept_until_another_mints)
{
	int64_t retired;

	stop();
	(void)number("UPDATE token_key SET retire_us = 1");
	retired = number("SELECT count(*) FROM token_key");
	(void)number("INSERT INTO node_lease (domain_id, node_id, epoch, "
	             "expires_us) VALUES (1, 'other', 1, "
	             "cluster_us() + 600000000)");
	start();
	ck_assert(within(30, lease_is_newest));
	/* Others have to learn the new one first. */
	ck_assert_int_eq(number("SELECT count(*) FROM token_key"), retired + 1);
	ck_assert_int_eq(minting_keys(), 0);
	(void)number("DELETE FROM node_lease WHERE node_id = 'other'");
	ck_assert(within(40, can_mint));
}
END_TEST

/* The first stamp of each pair is stored, the second is not. */
START_TEST(a_stamp_from_the_future_is_not_stored)
{
	static const char *const store =
	    "UPDATE device_seen SET stamp_us = cluster_us() + %d WHERE "
	    "domain_id = 1 AND device_id = 424242";
	static const char *const attest =
	    "INSERT INTO device_attestation SELECT 1, 424242, 1, "
	    "cluster_us() + %d, 1, 'affirmed', '', '', 0, '', '', '', '' "
	    "ON CONFLICT (domain_id, device_id) DO UPDATE SET stamp_us = "
	    "EXCLUDED.stamp_us";

	(void)number("INSERT INTO device (domain_id, device_id, name) VALUES "
	             "(1, 424242, 'future')");
	(void)number("INSERT INTO device_seen (domain_id, device_id) VALUES "
	             "(1, 424242)");
	(void)number(arena_printf(arena, store, 1000000));
	(void)number(arena_printf(arena, attest, 1000000));
	ck_assert_int_eq(sql_script(sql, arena_printf(arena, store, 60000000)),
	    TAM_DATABASE_ERROR);
	ck_assert_str_eq(sql_state(sql), "22008");
	ck_assert_int_eq(sql_script(sql, arena_printf(arena, attest, 60000000)),
	    TAM_DATABASE_ERROR);
	(void)number("DELETE FROM device_attestation WHERE device_id = 424242");
	(void)number("DELETE FROM device_seen WHERE device_id = 424242");
	(void)number("DELETE FROM device WHERE device_id = 424242");
}
END_TEST

/* --- chores ------------------------------------------------------------------------------ */

/* What the node's role may not do any more, and which chores that stops. */
static const struct stopped {
	const char *revoke, *grant;
	enum chore_id chore;
} stoppeds[] = {
    {"REVOKE UPDATE ON outstanding_update FROM tam_wire",
        "GRANT UPDATE ON outstanding_update TO tam_wire", CHORE_EXPIRE},
    {"REVOKE EXECUTE ON FUNCTION event_tend() FROM tam_wire",
        "GRANT EXECUTE ON FUNCTION event_tend() TO tam_wire", CHORE_EVENTS},
    {"REVOKE SELECT ON device_event_horizon FROM tam_wire",
        "GRANT SELECT ON device_event_horizon TO tam_wire", CHORE_SEAL},
    {"REVOKE DELETE ON token_key FROM tam_wire",
        "GRANT DELETE ON token_key TO tam_wire", CHORE_TOKEN_KEYS},
};

static enum chore_id stopped_chore;
static uint64_t seen[CHORE_COUNT], failures_seen;

static void
note_chores(void)
{
	for (int i = 0; i < CHORE_COUNT; i++)
		seen[i] = atomic_load(&status.chores[i].successes);
	failures_seen = atomic_load(&status.chores[stopped_chore].failures);
}

static bool
has_failed_twice(void)
{
	return atomic_load(&status.chores[stopped_chore].failures) >=
	    failures_seen + 2;
}

static bool
all_others_went_on(void)
{
	for (int i = 0; i < CHORE_COUNT; i++) {
		if (i != (int)stopped_chore &&
		    atomic_load(&status.chores[i].successes) <= seen[i])
			return false;
	}
	return true;
}

static bool
goes_on_itself(void)
{
	return atomic_load(&status.chores[stopped_chore].successes) >
	    seen[stopped_chore];
}

START_TEST(a_chore_that_fails_delays_no_other)
{
	const struct stopped *s = &stoppeds[_i];

	stopped_chore = s->chore;
	ck_assert_int_eq(sql_script(sql, s->revoke), TAM_OK);
	note_chores();
	ck_assert_msg(within(60, has_failed_twice), "%s never failed",
	    chore_name(s->chore));
	note_chores();
	ck_assert_msg(within(60, all_others_went_on), "the others wait for %s",
	    chore_name(s->chore));
	(void)raise_epoch();
	ck_assert_msg(within(30, lease_is_newest), "epochs wait for %s",
	    chore_name(s->chore));
	ck_assert_int_eq(sql_script(sql, s->grant), TAM_OK);
	ck_assert_msg(within(60, goes_on_itself), "%s never again",
	    chore_name(s->chore));
}
END_TEST

/* --- changes of devices ------------------------------------------------------------------ */

enum {
	FIRST = 11,
	SECOND = 12,
	THIRD = 13
};

static bool
first_forgotten(void)
{
	return (forgotten & INT64_C(1) << FIRST) != 0;
}

static bool
second_forgotten(void)
{
	return (forgotten & INT64_C(1) << SECOND) != 0;
}

static bool
third_forgotten(void)
{
	return (forgotten & INT64_C(1) << THIRD) != 0;
}

static void
run(struct sql *s, const char *script)
{
	ck_assert_msg(sql_script(s, script) == TAM_OK, "%s: %s", script,
	    sql_error(s));
}

/* The first has the greater transaction id, the smaller number, and commits
 * last.  A third one commits while the first still runs. */
START_TEST(a_change_that_commits_late_is_not_missed)
{
	struct sql *first = sql_new(config.database, NULL, 10000, -1);
	struct sql *second = sql_new(config.database, NULL, 10000, -1);

	run(second, "BEGIN; SELECT pg_current_xact_id()");
	run(first, "BEGIN; SELECT device_touch(1, 11)");
	run(second, "SELECT device_touch(1, 12); COMMIT");
	ck_assert(within(30, second_forgotten));
	run(second, "SELECT device_touch(1, 13)");
	ck_assert(!first_forgotten());
	run(first, "COMMIT");
	ck_assert_msg(within(30, first_forgotten), "missed for ever");
	ck_assert_msg(within(30, third_forgotten), "missed for ever");
	sql_free(first);
	sql_free(second);
}
END_TEST

/* Begun before the node was there. */
START_TEST(a_change_that_began_before_the_node_is_not_missed)
{
	struct sql *first = sql_new(config.database, NULL, 10000, -1);

	stop();
	run(first, "BEGIN; SELECT device_touch(1, 11)");
	run(sql, "SELECT device_touch(1, 12)");
	start();
	ck_assert(within(30, lease_is_newest));
	run(first, "COMMIT");
	ck_assert_msg(within(30, first_forgotten), "missed for ever");
	sql_free(first);
}
END_TEST

/* --- the file ------------------------------------------------------------------------ */

START_TEST(what_was_remembered_is_read_again)
{
	struct served_epoch two[] = {{.domain_id = 1,
	                                 .incarnation = INT64_MAX,
	                                 .epoch = 7,
	                                 .audit_seq = 9,
	                                 .audit_hash = {1, 2, 255}},
	    {.domain_id = 2, .incarnation = 5, .epoch = 1}};
	struct epoch_list wrote = {.n = 2, .of = two}, got;

	stop();
	ck_assert_int_eq(epoch_file_write(state, EPOCH_FILE_SERVED, &wrote),
	    TAM_OK);
	ck_assert_int_eq(epoch_file_read(state, EPOCH_FILE_SERVED, &got),
	    TAM_OK);
	ck_assert(epoch_list_same(&wrote, &got));
	ck_assert_int_eq(got.of[0].audit_seq, 9);
	ck_assert_int_eq(got.of[0].audit_hash[2], 255);
	ck_assert_int_eq(got.of[1].audit_seq, 0);
	epoch_list_free(&got);
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("control");

	tcase_set_timeout(tc, 180);
	tcase_add_checked_fixture(tc, setup, teardown);
	LOOP(tc, an_epoch_that_cannot_be_remembered_is_not_served, memories);
	tcase_add_test(tc, an_epoch_is_on_disk_before_a_worker_has_it);
	tcase_add_test(tc, the_lease_waits_for_a_worker);
	tcase_add_test(tc, a_locked_lease_leaves_one_backend_behind_at_most);
	tcase_add_test(tc, a_lost_standby_leaves_one_backend_behind_at_most);
	tcase_add_test(tc, a_lease_whose_commit_is_doubted_is_none);
	tcase_add_test(tc, a_late_renewal_does_not_overwrite_a_newer_one);
	LOOP(tc, a_restored_database_is_refused_until_it_is_accepted, losses);
	tcase_add_test(tc, what_another_node_had_accepted_is_served);
	tcase_add_test(tc, a_node_without_memory_waits_for_one_that_has_it);
	tcase_add_test(tc, a_node_without_memory_begins_once_after_bootstrap);
	tcase_add_test(tc, a_damaged_memory_is_not_an_empty_one);
#ifdef TAM_FAULT_POINTS
	LOOP(tc, a_node_whose_clock_is_off_tends_nothing_and_is_not_ready,
	    aheads);
#endif
	tcase_add_test(tc, cluster_time_is_never_behind_the_last_lease);
	LOOP(tc, there_is_a_key_that_mints_again, spoils);
	tcase_add_test(tc, the_last_key_is_kept_until_another_mints);
	tcase_add_test(tc, a_stamp_from_the_future_is_not_stored);
	LOOP(tc, a_chore_that_fails_delays_no_other, stoppeds);
	tcase_add_test(tc, a_change_that_commits_late_is_not_missed);
	tcase_add_test(tc, a_change_that_began_before_the_node_is_not_missed);
	tcase_add_test(tc, what_was_remembered_is_read_again);
	return suite_main(tc);
}
