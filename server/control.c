#include "config.h"

#include "server/control.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/hex.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "server/admission.h"
#include "server/chores.h"
#include "server/epoch_file.h"
#include "server/hsm/hsm.h"
#include "server/keys.h"
#include "server/settings.h"
#include "server/snapshot.h"
#include "storage/migrate.h"
#include "storage/sql.h"
#include "storage/statements.h"

/*
 * One turn every TICK_MS:
 *
 *	clock       cluster time, and how far this node's clock is off
 *	look        the epochs; another one: load, hand out, wait until served
 *	renew       the lease, with the epochs the workers serve
 *	changes     devices an administrator touched: forget them
 *
 * Any failure skips the rest of the turn: without a renewal the lease ends.
 * Chores have a thread of their own (chores.h).
 */

enum {
	TICK_MS = 200,
	LEASE_EVERY_MS = 1000,
	KEYS_AGAIN_MS = 10000,
	STATEMENT_TIMEOUT_MS = 2000,
	SERVE_WAIT_MS = 1000,
	CHANGES_MAX = 10000, /* rows of SQL_DEVICE_CHANGES */
	ROUND_TRIP_MAX_MS = 1000
};

/* The last change of a device that was read. */
struct change_cursor {
	int64_t txid, change_id;
};

struct control {
	pthread_t thread;
	const struct config *config;
	struct worker_thread *workers;
	size_t n_workers;
	struct control_status *status;
	struct readiness_part readiness;
	int stop_fd;
	struct chores *chores;
	struct sql *sql;
	uint8_t master_key[32];
	struct admission admission;

	struct tam_snapshot *snapshot; /* a reference to the newest */
	uint64_t snapshot_no;
	struct epoch_list handed; /* its epochs: on disk, with the workers */
	struct epoch_list served; /* those that every worker serves */
	int64_t token_key_us;     /* the newest key's first minute of minting */
	struct change_cursor seen;
	int64_t looked_us; /* when the epochs were looked at last */
	int64_t renewal;   /* the number of the last one; 0: none of this run */
	int64_t keys_us;   /* when signing keys were last looked for */
	int64_t measured_us, leased_us;
	bool opened; /* the workers were told to listen */
};

/* --- the newest epochs, outside the database --------------------------------- */

/* Notes whether the memory can be kept; the first failure is logged. */
static enum tam_err
memory_works(struct control *c, enum tam_err err)
{
	bool broken = err != TAM_OK;

	if (broken && !atomic_load(&c->status->memory_broken))
		log_error("state_dir", "dir=%s error=\"%s\"",
		    c->config->state_dir, strerror(errno));
	atomic_store(&c->status->memory_broken, broken);
	return err;
}

/* Whether the database may be served; the memory may be what fails. */
static enum tam_err
check_admission(struct control *c, const struct epoch_list *now)
{
	enum tam_err err = admission_check(&c->admission, c->sql, now);

	if (err == TAM_OK || err == TAM_CONFLICT || err == TAM_BAD_FILE)
		(void)memory_works(c, err == TAM_BAD_FILE ? err : TAM_OK);
	return err;
}

/* --- look -------------------------------------------------------------------------- */

static void
read_head(const struct sql_result *rows, size_t r, struct served_epoch *out)
{
	const char *hash = sql_text(rows, r, 10);
	size_t n = 0;

	if (hash != NULL && strlen(hash) == 2 + 2 * EPOCH_HASH_SIZE &&
	    hex_decode(hash + 2, 2 * EPOCH_HASH_SIZE, out->audit_hash,
	        EPOCH_HASH_SIZE, &n))
		out->audit_seq = sql_int(rows, r, 9);
}

/* After the first statement of a turn. */
static void
say_database(struct control *c, enum tam_err err)
{
	enum sql_refusal refusal = sql_refusal(c->sql);

	if (err == TAM_STOPPING)
		return;
	readiness_say(&c->readiness, NOT_READY_pooler, refusal == SQL_POOLER);
	readiness_say(&c->readiness, NOT_READY_standby, refusal == SQL_STANDBY);
	readiness_say(&c->readiness, NOT_READY_database, err != TAM_OK);
}

static enum tam_err
read_epochs(struct control *c, struct epoch_list *out, int64_t *token_key_us)
{
	struct sql_result *rows;
	enum tam_err err = sql_exec(c->sql, SQL_DOMAINS, 0, NULL, &rows);

	if (err != TAM_OK)
		return err;
	out->n = sql_rows(rows);
	out->of = mem_new_n(out->n + 1, struct served_epoch);
	for (size_t r = 0; r < out->n; r++) {
		out->of[r].domain_id = (int32_t)sql_int(rows, r, 0);
		out->of[r].incarnation = sql_int(rows, r, 2);
		out->of[r].epoch = sql_int(rows, r, 3);
		read_head(rows, r, &out->of[r]);
		*token_key_us = sql_int(rows, r, 4);
	}
	sql_result_free(rows);
	return TAM_OK;
}

static void
hand_out(struct control *c, struct tam_snapshot *snapshot)
{
	c->snapshot_no++;
	for (size_t i = 0; i < c->n_workers; i++)
		mailbox_send(c->workers[i].mail,
		    &(struct mail){.kind = MAIL_SNAPSHOT,
		        .snapshot = snapshot_ref(snapshot),
		        .snapshot_no = c->snapshot_no});
}

/* Whether keys in tokens are there is looked for once, and logged. */
static void
try_hsm_keys(struct control *c, const struct tam_snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->n; i++) {
		const struct tam_domain *d = &snapshot->domains[i];

		for (int k = COSE_P256; k <= COSE_ED25519; k++) {
			if (d->hsm_uri[k] != NULL)
				hsm_pool_try(c->workers[0].hsm, d->hsm_uri[k],
				    &d->keys[k].key);
		}
	}
}

static bool
all_serve(const struct control *c)
{
	for (size_t i = 0; i < c->n_workers; i++) {
		if (atomic_load(&c->workers[i].snapshot_no) < c->snapshot_no)
			return false;
	}
	return true;
}

/* Sleeps, but not past the stop; false when it came. */
static bool
pause_ms(struct control *c, int ms)
{
	struct pollfd fd = {.fd = c->stop_fd, .events = POLLIN};

	return poll(&fd, 1, ms) == 0;
}

/* From here on the lease shows what was handed out. */
static enum tam_err
wait_until_served(struct control *c)
{
	for (int waited = 0; !all_serve(c); waited += 2) {
		if (waited >= SERVE_WAIT_MS)
			return TAM_TIMED_OUT; /* the lease waits as well */
		if (!pause_ms(c, 2))
			return TAM_STOPPING;
	}
	epoch_list_copy(&c->served, &c->handed);
	return TAM_OK;
}

/* The snapshot may be newer than the epochs that were looked at: the epochs it
 * was read with count. */
static void
list_epochs(const struct tam_snapshot *snapshot, struct epoch_list *out)
{
	out->n = snapshot->n;
	out->of = mem_new_n(snapshot->n + 1, struct served_epoch);
	for (size_t i = 0; i < snapshot->n; i++) {
		const struct tam_domain *d = &snapshot->domains[i];

		out->of[i].domain_id = d->id;
		out->of[i].incarnation = d->incarnation;
		out->of[i].epoch = d->epoch;
		out->of[i].audit_seq = d->audit_seq;
		memcpy(out->of[i].audit_hash, d->audit_hash, EPOCH_HASH_SIZE);
	}
}

/* Remembers the snapshot's epochs on disk, then hands it to the workers.
 * What cannot be remembered is not served. */
static enum tam_err
take_over(struct control *c, struct tam_snapshot *snapshot)
{
	struct epoch_list epochs;
	enum tam_err err;

	list_epochs(snapshot, &epochs);
	err = memory_works(c, admission_remember(&c->admission, &epochs));
	if (err != TAM_OK) {
		epoch_list_free(&epochs);
		return err;
	}
	hand_out(c, snapshot);
	chores_serve(c->chores, snapshot);
	snapshot_unref(c->snapshot);
	c->snapshot = snapshot_ref(snapshot);
	epoch_list_free(&c->handed);
	c->handed = epochs;
	c->leased_us = 0; /* renew at once, with the new epochs */
	(void)atomic_fetch_add(&c->status->snapshots, 1);
	log_info("snapshot", "no=%llu domains=%zu",
	    (unsigned long long)c->snapshot_no, c->handed.n);
	return TAM_OK;
}

static enum tam_err
serve_new(struct control *c)
{
	struct tam_snapshot *snapshot = NULL;
	enum tam_err err;

	c->keys_us = clock_mono_us();
	err = token_keys_tend(c->sql, c->config, c->master_key);
	if (err == TAM_DATABASE_ERROR) {
		/* The keys that are there may mint; readiness says so. */
		log_warn("token_keys", "detail=\"%s\"", sql_error(c->sql));
		err = TAM_OK;
	}
	if (err == TAM_OK)
		err =
		    snapshot_load(c->sql, c->config, c->master_key, &snapshot);
	if (err != TAM_OK)
		return err;
	err = take_over(c, snapshot);
	if (err == TAM_OK)
		try_hsm_keys(c, snapshot);
	snapshot_unref(snapshot);
	return err;
}

/* A signing key that could not be used is looked for again now and then. */
static bool
keys_are_due(struct control *c)
{
	return readiness_held(&c->status->readiness, NOT_READY_signing_key) &&
	    clock_mono_us() - c->keys_us > KEYS_AGAIN_MS * INT64_C(1000);
}

/* Whether an opener could be signed, by the snapshot that is handed out. */
static void
say_keys(struct control *c)
{
	bool lost = false;

	for (size_t i = 0; i < c->snapshot->n; i++) {
		const struct tam_domain *d = &c->snapshot->domains[i];

		lost |= !d->suspended &&
		    (d->key_lost[COSE_P256] || d->key_lost[COSE_ED25519]);
	}
	readiness_say(&c->readiness, NOT_READY_signing_key, lost);
	readiness_say(&c->readiness, NOT_READY_token_key,
	    !token_can_mint(&c->snapshot->tokens, clock_cluster_us()));
}

static enum tam_err
look(struct control *c)
{
	struct epoch_list now = {0};
	int64_t token_key_us = 0;
	enum tam_err err = read_epochs(c, &now, &token_key_us);

	say_database(c, err);
	if (err == TAM_OK)
		err = check_admission(c, &now);
	if (err == TAM_OK &&
	    (c->snapshot_no == 0 || !epoch_list_same(&now, &c->handed) ||
	        token_key_us != c->token_key_us || keys_are_due(c)))
		err = serve_new(c);
	if (c->snapshot != NULL)
		say_keys(c);
	/* What was looked at before the snapshot was read is in it. */
	if (err == TAM_OK)
		c->token_key_us = token_key_us;
	epoch_list_free(&now);
	return err == TAM_OK ? wait_until_served(c) : err;
}

/* --- the clock ------------------------------------------------------------------------ */

/*
 * How far the wall clock of this machine is off the database's, beyond doubt:
 * the database read its clock at some moment of the round trip.  Sets cluster
 * time as if that moment was the last one: it is not ahead, but for a tenth of
 * the time since the last lease while the database's clock catches up.
 */
static void
take_clock(struct control *c, int64_t database_us, int64_t cluster_us,
    int64_t began_us, int64_t ended_us)
{
	int64_t max_us = c->config->clock_offset_max_ms * 1000;
	int64_t took = ended_us - began_us;
	int64_t off = clock_wall_us() - database_us;
	bool is_off;

	if (off > 0)
		off -= off < took ? off : took;
	is_off = off > max_us || off < -max_us;
	if (is_off && !atomic_load(&c->status->clock_off))
		log_error("clock_off", "microseconds=%lld max=%lld",
		    (long long)off, (long long)max_us);
	atomic_store(&c->status->clock_offset_us, off);
	atomic_store(&c->status->clock_off, is_off);
	clock_cluster_set(cluster_us, ended_us);
}

/* Before each renewal, and before anything is tended.  A round trip that took
 * longer than the bound says nothing. */
static enum tam_err
measure_clock(struct control *c)
{
	int64_t began = clock_mono_us(), ended;
	struct sql_result *rows;
	enum tam_err err;

	if (c->measured_us > 0 &&
	    began - c->measured_us < LEASE_EVERY_MS * INT64_C(1000))
		return atomic_load(&c->status->clock_off) ? TAM_CONFLICT
		                                          : TAM_OK;
	err = sql_exec(c->sql, SQL_CLOCK, 0, NULL, &rows);
	ended = clock_mono_us();
	if (err != TAM_OK)
		return err;
	if (ended - began <= ROUND_TRIP_MAX_MS * INT64_C(1000)) {
		c->measured_us = ended;
		take_clock(c, sql_int(rows, 0, 0), sql_int(rows, 0, 1), began,
		    ended);
	} else {
		err = TAM_TIMED_OUT;
	}
	sql_result_free(rows);
	if (err != TAM_OK)
		return err;
	return atomic_load(&c->status->clock_off) ? TAM_CONFLICT : TAM_OK;
}

/* --- renew --------------------------------------------------------------------------- */

static void
list_served(const struct control *c, struct buf *domains, struct buf *epochs)
{
	buf_add_str(domains, "{");
	buf_add_str(epochs, "{");
	for (size_t i = 0; i < c->served.n; i++) {
		buf_printf(domains, "%s%d", i == 0 ? "" : ",",
		    c->served.of[i].domain_id);
		buf_printf(epochs, "%s%lld", i == 0 ? "" : ",",
		    (long long)c->served.of[i].epoch);
	}
	buf_add_str(domains, "}");
	buf_add_str(epochs, "}");
}

/* The number of the next renewal.  A statement that was given up may arrive
 * late: its number is lower, and it changes nothing. */
static enum tam_err
next_renewal(struct control *c)
{
	struct sql_result *rows;
	enum tam_err err;

	if (c->renewal != 0) {
		c->renewal++;
		return TAM_OK;
	}
	err = SQL_EXEC(c->sql, &rows, SQL_NODE_RUN, c->config->node_id);
	if (err != TAM_OK)
		return err;
	c->renewal = sql_int(rows, 0, 0) << 32 | 1;
	sql_result_free(rows);
	return TAM_OK;
}

static enum tam_err
write_lease(struct control *c)
{
	struct buf domains, epochs;
	char life[32], renewal[32];
	struct sql_result *rows = NULL;
	enum tam_err err;

	buf_init(&domains, 1 << 20);
	buf_init(&epochs, 1 << 20);
	list_served(c, &domains, &epochs);
	(void)snprintf(life, sizeof(life), "%lld",
	    (long long)c->config->staleness_max_ms * 1000);
	(void)snprintf(renewal, sizeof(renewal), "%lld", (long long)c->renewal);
	err = SQL_EXEC(c->sql, &rows, SQL_LEASE, c->config->node_id,
	    buf_cstr(&domains), buf_cstr(&epochs), life, renewal);
	buf_fini(&domains);
	buf_fini(&epochs);
	if (err == TAM_OK && sql_changed(rows) != c->served.n) {
		log_error("lease_taken",
		    "node_id=\"%s\" "
		    "hint=\"does another node have this name?\"",
		    c->config->node_id);
		c->renewal = 0;
		err = TAM_CONFLICT;
	}
	sql_result_free(rows);
	return err;
}

static enum tam_err
renew(struct control *c)
{
	int64_t began = clock_mono_us();
	enum tam_err err;

	if (began - c->leased_us < LEASE_EVERY_MS * INT64_C(1000))
		return TAM_OK;
	err = next_renewal(c);
	if (err != TAM_OK)
		return err;
	began = clock_mono_us();
	err = write_lease(c);
	if (err != TAM_OK)
		return err;
	c->leased_us = began;
	/* From when the epochs were looked at: this thread may have been
	 * stopped since, and the epochs are old then. */
	atomic_store(&c->status->lease_until_us,
	    c->looked_us + c->config->staleness_max_ms * 1000);
	for (size_t i = 0; !c->opened && i < c->n_workers; i++)
		mailbox_send(c->workers[i].mail,
		    &(struct mail){.kind = MAIL_OPEN});
	if (!c->opened)
		err = admission_close(c->sql);
	admission_refresh(&c->admission, began);
	c->opened = true;
	return err == TAM_OK ? sql_exec(c->sql, SQL_IN_FORCE, 0, NULL, NULL)
	                     : err;
}

/* --- changes ---------------------------------------------------------------------------- */

static void
forget_device(struct control *c, int32_t domain_id, int64_t device_id)
{
	for (size_t i = 0; i < c->n_workers; i++)
		mailbox_send(c->workers[i].mail,
		    &(struct mail){.kind = MAIL_DEVICE,
		        .domain_id = domain_id,
		        .device_id = device_id});
}

/* Nothing is cached yet: the log so far does not matter. */
static enum tam_err
start_changes(struct control *c)
{
	struct sql_result *rows;
	enum tam_err err =
	    sql_exec(c->sql, SQL_DEVICE_CHANGES_START, 0, NULL, &rows);

	if (err != TAM_OK)
		return err;
	c->seen = (struct change_cursor){.txid = sql_int(rows, 0, 0)};
	sql_result_free(rows);
	return TAM_OK;
}

/* Forgets what changed; moves the cursor to the last row, or, when there are
 * no more, to xmin: everything below it has ended and was read. */
static void
take_changes(struct control *c, const struct sql_result *rows)
{
	size_t n = sql_text(rows, 0, 1) == NULL ? 0 : sql_rows(rows);

	for (size_t r = 0; r < n; r++) {
		c->seen.txid = sql_int(rows, r, 1);
		c->seen.change_id = sql_int(rows, r, 2);
		forget_device(c, (int32_t)sql_int(rows, r, 3),
		    sql_int(rows, r, 4));
	}
	if (n < CHANGES_MAX)
		c->seen = (struct change_cursor){.txid = sql_int(rows, 0, 0)};
}

static enum tam_err
changes(struct control *c)
{
	struct sql_result *rows;
	char txid[24], change_id[24];
	enum tam_err err;

	(void)snprintf(txid, sizeof(txid), "%lld", (long long)c->seen.txid);
	(void)snprintf(change_id, sizeof(change_id), "%lld",
	    (long long)c->seen.change_id);
	err = SQL_EXEC(c->sql, &rows, SQL_DEVICE_CHANGES, txid, change_id);
	if (err != TAM_OK)
		return err;
	if (sql_int(rows, 0, 0) < c->seen.txid) {
		/* Ids went back: it is another cluster, whose changes this
		 * node has not read. */
		log_warn("changes_lost", "xmin=%lld before=%lld",
		    (long long)sql_int(rows, 0, 0), (long long)c->seen.txid);
		c->seen = (struct change_cursor){.txid = sql_int(rows, 0, 0)};
		forget_device(c, 0, MAIL_EVERY_DEVICE);
	} else {
		take_changes(c, rows);
	}
	sql_result_free(rows);
	return TAM_OK;
}

/* --- the thread ----------------------------------------------------------------------------- */

static enum tam_err
check_schema(struct control *c)
{
	int version = 0;
	bool wrong;
	enum tam_err err = migrate_version(c->sql, &version);

	say_database(c, err);
	if (err != TAM_OK)
		return err;
	/* One ahead: another node of this cluster was upgraded already. */
	wrong = version != SCHEMA_VERSION && version != SCHEMA_VERSION + 1;
	if (wrong && !atomic_load(&c->status->schema_wrong))
		log_error("schema_version",
		    "have=%d want=%d hint=\"tamctl db migrate\"", version,
		    SCHEMA_VERSION);
	atomic_store(&c->status->schema_wrong, wrong);
	return wrong ? TAM_CONFLICT : TAM_OK;
}

static void
turn(struct control *c)
{
	enum tam_err err = TAM_OK;

	if (c->snapshot_no == 0) {
		err = check_schema(c);
		if (err == TAM_OK)
			err = start_changes(c);
	}
	if (err == TAM_OK)
		err = measure_clock(c);
	c->looked_us = clock_mono_us();
	if (err == TAM_OK)
		err = look(c);
	if (err == TAM_OK)
		err = renew(c);
	if (err == TAM_OK)
		err = changes(c);
	if (err == TAM_NO_DATABASE || err == TAM_TIMED_OUT ||
	    err == TAM_DATABASE_ERROR)
		log_peer(LOG_LEVEL_WARN, "control_turn",
		    "error=%s detail=\"%s\"", tam_err_name(err),
		    sql_error(c->sql));
}

static void *
run(void *arg)
{
	struct control *c = arg;

	log_set_thread("control");
	do {
		turn(c);
	} while (pause_ms(c, TICK_MS));
	/* The lease ends now: nobody has to wait for it to expire. */
	sql_ignore_stop(c->sql);
	(void)SQL_EXEC(c->sql, NULL, SQL_LEASE_END, c->config->node_id);
	return NULL;
}

struct control *
control_start(const struct config *config, struct worker_thread *workers,
    size_t n_workers, struct control_status *status)
{
	struct control *c = mem_new(struct control);

	c->config = config;
	c->workers = workers;
	c->n_workers = n_workers;
	c->status = status;
	c->readiness.shared = &status->readiness;
	c->admission = (struct admission){.state_dir = config->state_dir,
	    .node_id = config->node_id,
	    .state = &status->admission};
	if (master_key_read(config->master_key, c->master_key) != TAM_OK) {
		free(c);
		return NULL;
	}
	c->stop_fd = eventfd(0, EFD_CLOEXEC);
	c->sql = sql_new(config->database, "tam_wire", STATEMENT_TIMEOUT_MS,
	    c->stop_fd);
	sql_end_left(c->sql);
	c->chores =
	    chores_start(&(struct chores_options){.status = status->chores,
	        .seal_lag_us = &status->seal_lag_us,
	        .config = config,
	        .master_key = c->master_key,
	        .workers = workers,
	        .n_workers = n_workers,
	        .lease_until_us = &status->lease_until_us});
	if (pthread_create(&c->thread, NULL, run, c) != 0)
		abort();
	return c;
}

void
control_stop(struct control *c)
{
	uint64_t one = 1;

	if (c == NULL)
		return;
	if (write(c->stop_fd, &one, sizeof(one)) != sizeof(one))
		abort();
	(void)pthread_join(c->thread, NULL);
	/* Not before: the control thread hands it every new snapshot. */
	chores_stop(c->chores);
	(void)close(c->stop_fd);
	sql_free(c->sql);
	readiness_leave(&c->readiness);
	snapshot_unref(c->snapshot);
	epoch_list_free(&c->handed);
	epoch_list_free(&c->served);
	admission_fini(&c->admission);
	crypto_zero(c->master_key, sizeof(c->master_key));
	free(c);
}
