#include "config.h"

#include "server/chores.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "server/keys.h"
#include "server/publish.h"
#include "server/rollouts.h"
#include "server/settings.h"
#include "server/teep/published.h"
#include "storage/sql.h"
#include "storage/statements.h"

enum {
	TICK_MS = 200,
	STATEMENT_TIMEOUT_MS = 2000,
	BACK_OFF_MIN_MS = 1000,
	BACK_OFF_MAX_MS = 60000
};

/* When a chore is to be done; the thread's. */
struct chore {
	int64_t due_us; /* monotonic */
	int back_off_ms;
};

struct chores {
	pthread_t thread;
	struct chores_options options;
	int stop_fd;
	struct sql *sql;
	struct tam_snapshot *snapshot; /* the thread's reference */
	bool published;                /* of this snapshot */
	int64_t published_us;
	_Atomic(struct tam_snapshot *) next; /* not taken yet; a reference */
	struct chore chores[CHORE_COUNT];
};

/* --- under a lock ------------------------------------------------------------- */

static enum tam_err
run_locked(struct chores *c, const char *lock, const char *statement,
    const char *param, int64_t *result)
{
	struct sql_result *rows, *done = NULL;
	enum tam_err err = SQL_EXEC(c->sql, &rows, SQL_CHORE_LOCK, lock);
	bool mine;

	if (err != TAM_OK)
		return err;
	mine = sql_int(rows, 0, 0) == 1;
	sql_result_free(rows);
	if (mine)
		err = sql_exec(c->sql, statement, param != NULL, &param, &done);
	if (err != TAM_OK || done == NULL)
		return err;
	if (result != NULL && sql_rows(done) > 0)
		*result = sql_int(done, 0, 0);
	sql_result_free(done);
	return TAM_OK;
}

/* One node at a time: another one that holds the lock does the work.  `param`
 * NULL: the statement has none.  *result, if not NULL: the statement's first
 * value; 0 when another node works. */
static enum tam_err
in_transaction(struct chores *c, const char *lock, const char *statement,
    const char *param, int64_t *result)
{
	enum tam_err err =
	    sql_script(c->sql, "BEGIN ISOLATION LEVEL READ COMMITTED");

	if (result != NULL)
		*result = 0;
	if (err == TAM_OK)
		err = run_locked(c, lock, statement, param, result);
	if (err == TAM_OK)
		err = sql_script(c->sql, "COMMIT");
	return err;
}

static const char *
now_text(char text[32])
{
	(void)snprintf(text, 32, "%lld", (long long)clock_cluster_us());
	return text;
}

/* --- the chores ----------------------------------------------------------------- */

static enum tam_err
tend_token_keys(struct chores *c, bool *more)
{
	(void)more;
	return token_keys_tend(c->sql, c->options.config,
	    c->options.master_key);
}

static enum tam_err
expire_updates(struct chores *c, bool *more)
{
	char now[32];

	(void)more;
	return in_transaction(c, "0", SQL_EXPIRE_UPDATES, now_text(now), NULL);
}

static enum tam_err
tend_events(struct chores *c, bool *more)
{
	(void)more;
	return in_transaction(c, "5", SQL_TEND_EVENTS, NULL, NULL);
}

/* A part of the fleet per turn. */
static enum tam_err
spread_revocations(struct chores *c, bool *more)
{
	char now[32];
	int64_t some = 0;
	enum tam_err err =
	    in_transaction(c, "2", SQL_SPREAD_REVOCATION, now_text(now), &some);

	*more = some != 0;
	return err;
}

static enum tam_err
measure_seal_lag(struct chores *c)
{
	struct sql_result *rows;
	enum tam_err err = sql_exec(c->sql, SQL_SEAL_LAG, 0, NULL, &rows);

	if (err != TAM_OK)
		return err;
	atomic_store(c->options.seal_lag_us, sql_int(rows, 0, 0));
	sql_result_free(rows);
	return TAM_OK;
}

/* So many events per turn.  A domain is a transaction of its own
 * (device_event_seal_step()). */
static enum tam_err
seal_events(struct chores *c, bool *more)
{
	enum tam_err err = TAM_OK;

	for (size_t i = 0; err == TAM_OK && i < c->snapshot->n; i++) {
		char domain[32];
		int64_t some = 0;

		(void)snprintf(domain, sizeof(domain), "%d",
		    c->snapshot->domains[i].id);
		err = in_transaction(c, "1", SQL_SEAL_EVENTS, domain, &some);
		*more |= some != 0;
	}
	return err == TAM_OK ? measure_seal_lag(c) : err;
}

static enum tam_err
step_of_rollouts(struct chores *c, bool *more)
{
	(void)more;
	return rollouts_step(c->sql, c->snapshot, clock_cluster_us());
}

static enum tam_err
tally_revocations(struct chores *c, bool *more)
{
	(void)more;
	return in_transaction(c, "4", SQL_TALLY_REVOCATIONS, NULL, NULL);
}

/* Each node for itself: of a new snapshot, and now and then. */
static enum tam_err
publish_notices(struct chores *c, bool *more)
{
	int64_t now = clock_mono_us();
	int64_t every_s = c->options.config->publish_every_s;
	struct published *p;
	enum tam_err err;

	(void)more;
	if (every_s == 0 ||
	    (c->published && now - c->published_us < every_s * CLOCK_SECOND))
		return TAM_OK;
	err = publish_make(c->sql, c->snapshot,
	    clock_cluster_us() / CLOCK_SECOND, every_s, &p);
	if (err != TAM_OK)
		return err;
	for (size_t i = 0; i < c->options.n_workers; i++)
		mailbox_send(c->options.workers[i].mail,
		    &(struct mail){.kind = MAIL_PUBLISH,
		        .published = published_ref(p)});
	published_unref(p);
	c->published = true;
	c->published_us = now;
	return TAM_OK;
}

/* A step sets *more when it should go on at the next turn. */
static const struct chore_kind {
	const char *name;
	int interval_ms;
	enum tam_err (*step)(struct chores *, bool *more);
} kinds[CHORE_COUNT] = {
    [CHORE_TOKEN_KEYS] = {"token_keys", 10000, tend_token_keys},
    [CHORE_EXPIRE] = {"expire", 10000, expire_updates},
    [CHORE_EVENTS] = {"events", 10000, tend_events},
    [CHORE_SPREAD] = {"spread", 10000, spread_revocations},
    [CHORE_SEAL] = {"seal", 1000, seal_events},
    [CHORE_ROLLOUTS] = {"rollouts", 1000, step_of_rollouts},
    [CHORE_TALLY] = {"tally", 1000, tally_revocations},
    [CHORE_PUBLISH] = {"publish", 0, publish_notices},
};

const char *
chore_name(enum chore_id id)
{
	return kinds[id].name;
}

/* --- the thread -------------------------------------------------------------------- */

static void
succeed(struct chores *c, enum chore_id id, bool more)
{
	struct chore_status *status = &c->options.status[id];
	int64_t now = clock_mono_us();

	c->chores[id].back_off_ms = 0;
	c->chores[id].due_us =
	    more ? now : now + kinds[id].interval_ms * INT64_C(1000);
	atomic_store(&status->succeeded_us, now);
	(void)atomic_fetch_add(&status->successes, 1);
}

static int
longer(int back_off_ms)
{
	if (back_off_ms == 0)
		return BACK_OFF_MIN_MS;
	return back_off_ms < BACK_OFF_MAX_MS / 2 ? 2 * back_off_ms
	                                         : BACK_OFF_MAX_MS;
}

/* The connection is dropped: what the chore left in it ends with it. */
static void
fail(struct chores *c, enum chore_id id, enum tam_err err)
{
	struct chore *chore = &c->chores[id];

	chore->back_off_ms = longer(chore->back_off_ms);
	chore->due_us = clock_mono_us() + chore->back_off_ms * INT64_C(1000);
	(void)atomic_fetch_add(&c->options.status[id].failures, 1);
	log_warn("chore_failed", "chore=%s error=%s again_ms=%d detail=\"%s\"",
	    kinds[id].name, tam_err_name(err), chore->back_off_ms,
	    sql_error(c->sql));
	sql_drop(c->sql);
}

static bool
may_tend(const struct chores *c)
{
	return c->snapshot != NULL &&
	    clock_mono_us() < atomic_load(c->options.lease_until_us);
}

static void
take_snapshot(struct chores *c)
{
	struct tam_snapshot *next = atomic_exchange(&c->next, NULL);

	if (next == NULL)
		return;
	snapshot_unref(c->snapshot);
	c->snapshot = next;
	c->published = false;
	c->chores[CHORE_SPREAD].due_us = 0; /* there may be a revocation */
}

static void
turn(struct chores *c)
{
	take_snapshot(c);
	for (int i = 0; i < CHORE_COUNT && may_tend(c); i++) {
		bool more = false;
		enum tam_err err;

		if (clock_mono_us() < c->chores[i].due_us)
			continue;
		err = kinds[i].step(c, &more);
		if (err == TAM_STOPPING)
			return;
		if (err == TAM_OK)
			succeed(c, (enum chore_id)i, more);
		else
			fail(c, (enum chore_id)i, err);
	}
}

static void *
run(void *arg)
{
	struct chores *c = arg;
	struct pollfd stop = {.fd = c->stop_fd, .events = POLLIN};

	log_set_thread("chores");
	do {
		turn(c);
	} while (poll(&stop, 1, TICK_MS) == 0);
	return NULL;
}

struct chores *
chores_start(const struct chores_options *options)
{
	struct chores *c = mem_new(struct chores);

	c->options = *options;
	c->stop_fd = eventfd(0, EFD_CLOEXEC);
	c->sql = sql_new(options->config->database, "tam_wire",
	    STATEMENT_TIMEOUT_MS, c->stop_fd);
	sql_end_left(c->sql);
	if (pthread_create(&c->thread, NULL, run, c) != 0)
		abort();
	return c;
}

void
chores_stop(struct chores *c)
{
	uint64_t one = 1;

	if (c == NULL)
		return;
	if (write(c->stop_fd, &one, sizeof(one)) != sizeof(one))
		abort();
	(void)pthread_join(c->thread, NULL);
	(void)close(c->stop_fd);
	sql_free(c->sql);
	snapshot_unref(c->snapshot);
	snapshot_unref(atomic_exchange(&c->next, NULL));
	free(c);
}

void
chores_serve(struct chores *c, struct tam_snapshot *snapshot)
{
	snapshot_unref(atomic_exchange(&c->next, snapshot_ref(snapshot)));
}

/* --- metrics ---------------------------------------------------------------------- */

static void
add_counts(const struct chore_status *status, struct buf *out)
{
	buf_add_str(out,
	    "# HELP tam_chore_successes_total Steps of each chore that "
	    "succeeded on this node\n# TYPE tam_chore_successes_total counter\n");
	for (int i = 0; i < CHORE_COUNT; i++)
		buf_printf(out,
		    "tam_chore_successes_total{chore=\"%s\"} %llu\n",
		    kinds[i].name,
		    (unsigned long long)atomic_load(&status[i].successes));
	buf_add_str(out,
	    "# HELP tam_chore_failures_total Steps of each chore that failed "
	    "on this node\n# TYPE tam_chore_failures_total counter\n");
	for (int i = 0; i < CHORE_COUNT; i++)
		buf_printf(out, "tam_chore_failures_total{chore=\"%s\"} %llu\n",
		    kinds[i].name,
		    (unsigned long long)atomic_load(&status[i].failures));
}

void
chores_metrics(const struct chore_status status[CHORE_COUNT], struct buf *out)
{
	int64_t now = clock_mono_us();

	add_counts(status, out);
	buf_add_str(out,
	    "# HELP tam_chore_age_seconds Time since a step of each chore "
	    "succeeded on this node\n# TYPE tam_chore_age_seconds gauge\n");
	for (int i = 0; i < CHORE_COUNT; i++) {
		int64_t at = atomic_load(&status[i].succeeded_us);

		if (at > 0)
			buf_printf(out,
			    "tam_chore_age_seconds{chore=\"%s\"} %lld\n",
			    kinds[i].name,
			    (long long)((now - at) / CLOCK_SECOND));
	}
}
