#include "config.h"

#include "server/rollouts.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/base/number.h"
#include "policy/rollout.h"
#include "server/teep/domain.h"
#include "server/teep/fault.h"
#include "storage/rollout_statements.h"
#include "storage/sql.h"
#include "storage/statements.h"

enum {
	NUMBER_MAX = 24,
	ROLLOUT_NAME_MAX = 64
};

struct step {
	struct sql *sql;
	const struct policy_set *policy;
	int64_t now_us;
	char domain[NUMBER_MAX], id[NUMBER_MAX], version[NUMBER_MAX];
	char name[ROLLOUT_NAME_MAX];
	const struct rollout_plan *plan;
	struct rollout_position at;
	struct rollout_counts counts;
	bool window_open;
	int64_t window_us;
	bool moved;
};

static const char *
number(char text[NUMBER_MAX], int64_t v)
{
	(void)snprintf(text, NUMBER_MAX, "%lld", (long long)v);
	return text;
}

/* --- where it is ----------------------------------------------------------------- */

/* "3,40,1000": the devices of each stage. */
static void
read_sizes(struct step *s, const char *text)
{
	struct slice rest = slice_str(text);

	for (size_t i = 0; i < ROLLOUT_STAGES_MAX &&
	     number_take(&rest, 0, INT64_MAX, &s->counts.stages[i].of);
	     i++) {
		if (rest.n > 0)
			rest = (struct slice){rest.p + 1, rest.n - 1};
	}
}

static void
read_position(struct step *s, const struct sql_result *rows)
{
	(void)snprintf(s->name, sizeof(s->name), "%s", sql_text(rows, 0, 0));
	s->at.phase = rollout_phase_of(sql_text(rows, 0, 1));
	s->at.opened = (size_t)sql_int(rows, 0, 2);
	s->at.stage_us = sql_int(rows, 0, 3);
	s->at.met_us = sql_int(rows, 0, 4);
	s->at.window_open = sql_int(rows, 0, 5) != 0;
	s->at.window_us = sql_int(rows, 0, 6);
	(void)number(s->version, sql_int(rows, 0, 7));
	s->window_open = sql_int(rows, 0, 8) != 0;
	s->window_us = sql_int(rows, 0, 9);
	s->at.settling = sql_int(rows, 0, 10) != 0;
	read_sizes(s, sql_text(rows, 0, 11));
	/* NULL: it was started after the snapshot was read. */
	s->plan = policy_rollout_plan(s->policy, s->name);
}

static enum tam_err
read_where(struct step *s, bool *there)
{
	struct sql_result *rows;
	char now[NUMBER_MAX];
	enum tam_err err = SQL_EXEC(s->sql, &rows, SQL_ROLLOUT_AT, s->domain,
	    s->id, number(now, s->now_us));

	if (err != TAM_OK)
		return err;
	if (sql_rows(rows) == 1)
		read_position(s, rows);
	*there = sql_rows(rows) == 1 && s->plan != NULL;
	sql_result_free(rows);
	return TAM_OK;
}

static void
count(struct rollout_counts *c, const struct sql_result *rows, size_t r)
{
	size_t stage = (size_t)sql_int(rows, r, 0);
	bool back = sql_int(rows, r, 1) != 0;
	const char *state = sql_text(rows, r, 2);
	int64_t n = sql_int(rows, r, 3);
	struct rollout_tally *t;

	if (stage >= ROLLOUT_STAGES_MAX)
		return;
	t = &c->stages[stage];
	c->reached += n;
	if (strcmp(state, "away") == 0) {
		c->away += n;
		t->away += n;
		return;
	}
	if (strcmp(state, "offered") == 0 ||
	    strcmp(state, "acknowledged") == 0 || strcmp(state, "retry") == 0)
		c->waiting += n;
	if (back) {
		c->returned += strcmp(state, "verified") == 0 ? n : 0;
		return;
	}
	if (strcmp(state, "offered") == 0)
		t->offered = n;
	else if (strcmp(state, "acknowledged") == 0)
		t->acknowledged = n;
	else if (strcmp(state, "verified") == 0)
		t->verified = n;
	for (int k = 0; k < ROLLOUT_FAILURE_COUNT; k++) {
		if (strcmp(state, rollout_failure_names[k]) == 0)
			t->failed[k] = n;
	}
}

static enum tam_err
read_counts(struct step *s)
{
	struct sql_result *rows;
	enum tam_err err =
	    SQL_EXEC(s->sql, &rows, SQL_ROLLOUT_COUNTS, s->domain, s->id);

	if (err != TAM_OK)
		return err;
	for (size_t r = 0; r < sql_rows(rows); r++)
		count(&s->counts, rows, r);
	sql_result_free(rows);
	return TAM_OK;
}

/* What was found out since the last step, and who is too late. */
static enum tam_err
add_up(struct step *s)
{
	char late[NUMBER_MAX], now[NUMBER_MAX];
	enum tam_err err = TAM_OK;

	if (s->at.phase == ROLLOUT_PHASE_running || s->at.settling)
		err = SQL_EXEC(s->sql, NULL, SQL_ROLLOUT_NO_ANSWER, s->domain,
		    s->id, number(late, s->now_us - s->plan->answer_within_us),
		    number(now, s->now_us), s->at.settling ? "1" : "0");
	if (err == TAM_OK && s->at.phase == ROLLOUT_PHASE_rolling_back)
		err = SQL_EXEC(s->sql, NULL, SQL_ROLLOUT_LOOK, s->domain, s->id,
		    number(late, s->now_us - s->plan->answer_within_us),
		    number(now, s->now_us));
	if (err == TAM_OK)
		err = SQL_EXEC(s->sql, NULL, SQL_ROLLOUT_ADD_UP, s->domain,
		    s->id);
	return err == TAM_OK ? read_counts(s) : err;
}

/* --- where it is to be --------------------------------------------------------------- */

static enum tam_err
complete(struct step *s, const struct rollout_step *step)
{
	struct sql_result *rows;
	char now[NUMBER_MAX];
	enum tam_err err = SQL_EXEC(s->sql, &rows, SQL_ROLLOUT_COMPLETE,
	    s->domain, s->id, s->version, number(now, s->now_us), step->reason);

	if (err != TAM_OK)
		return err;
	s->moved = sql_int(rows, 0, 0) != 0;
	sql_result_free(rows);
	return TAM_OK;
}

/* Unless somebody else was faster. */
static enum tam_err
move(struct step *s, const struct rollout_step *step)
{
	const struct rollout_position *to = &step->to;
	char opened[NUMBER_MAX], stage[NUMBER_MAX], met[NUMBER_MAX],
	    window[NUMBER_MAX], now[NUMBER_MAX];
	struct sql_result *rows;
	enum tam_err err;

	if (to->phase == ROLLOUT_PHASE_completed && to->phase != s->at.phase)
		return complete(s, step);
	err = SQL_EXEC(s->sql, &rows, SQL_ROLLOUT_MOVE, s->domain, s->id,
	    s->version, rollout_phase_names[to->phase], step->reason,
	    number(opened, (int64_t)to->opened), number(stage, to->stage_us),
	    number(met, to->met_us), to->window_open ? "1" : "0",
	    number(window, to->window_us), number(now, s->now_us),
	    to->settling ? "1" : "0");
	if (err != TAM_OK)
		return err;
	s->moved = sql_changed(rows) == 1;
	sql_result_free(rows);
	return TAM_OK;
}

/* What a person would have to say why. */
static const char *
action_of(const struct step *s, const struct rollout_step *step)
{
	if (step->to.phase != s->at.phase) {
		switch (step->to.phase) {
		case ROLLOUT_PHASE_paused:
			return "rollout_pause";
		case ROLLOUT_PHASE_rolling_back:
			return "rollout_rollback";
		case ROLLOUT_PHASE_completed:
			return "rollout_complete";
		case ROLLOUT_PHASE_rolled_back:
			return "rollout_rolled_back";
		case ROLLOUT_PHASE_cancelled:
			return "rollout_cancel";
		case ROLLOUT_PHASE_draft:
		case ROLLOUT_PHASE_running:
		case ROLLOUT_PHASE_aborted:
		case ROLLOUT_PHASE_COUNT:
		default:
			break;
		}
	}
	return "rollout_advance";
}

static enum tam_err
write_step(struct step *s, const struct rollout_step *step)
{
	enum tam_err err = move(s, step);

	if (err != TAM_OK || !s->moved)
		return err;
	if (step->told) {
		log_info("rollout", "name=%s state=%s opened=%zu reason=\"%s\"",
		    s->name, rollout_phase_names[step->to.phase],
		    step->to.opened, step->reason);
		return SQL_EXEC(s->sql, NULL, SQL_ROLLOUT_AUDIT, s->domain,
		    action_of(s, step), s->name, step->reason);
	}
	return step->seen ? SQL_EXEC(s->sql, NULL, SQL_ROLLOUT_RAISE, s->domain)
	                  : TAM_OK;
}

/* --- a step ----------------------------------------------------------------------------- */

static enum tam_err
take_step(struct step *s)
{
	struct rollout_step step = {.seen = false};
	bool there = false;
	enum tam_err err = read_where(s, &there);

	if (err != TAM_OK || !there)
		return err;
	err = add_up(s);
	if (err != TAM_OK ||
	    !rollout_next(s->plan, &s->at, &s->counts,
	        policy_rollout_revoked(s->policy, s->name), s->window_open,
	        s->window_us, s->now_us, &step))
		return err;
	return write_step(s, &step);
}

static enum tam_err
in_transaction(struct step *s)
{
	struct sql_result *rows;
	bool mine = false;
	enum tam_err err = sql_script(s->sql, "BEGIN");

	if (err == TAM_OK)
		err = SQL_EXEC(s->sql, &rows, SQL_CHORE_LOCK, "3");
	if (err == TAM_OK) {
		mine = sql_int(rows, 0, 0) == 1;
		sql_result_free(rows);
	}
	if (err == TAM_OK && mine)
		err = take_step(s);
	if (err == TAM_OK && s->moved)
		fault_point(FAULT_BEFORE_STEP);
	if (err == TAM_OK)
		err = sql_script(s->sql, "COMMIT");
	if (err == TAM_OK && s->moved)
		fault_point(FAULT_AFTER_STEP);
	if (err == TAM_OK)
		return TAM_OK;
	log_warn("rollout_step_failed", "rollout=%s error=\"%s\"", s->id,
	    sql_error(s->sql));
	sql_drop(s->sql);
	return err;
}

static enum tam_err
step_domain(struct sql *sql, const struct tam_domain *d, int64_t now_us)
{
	int64_t ids[ROLLOUT_LIVE_MAX];
	size_t n = policy_rollout_ids(d->policy, ids);
	enum tam_err err = TAM_OK, refused = TAM_OK;

	for (size_t i = 0; err == TAM_OK && i < n; i++) {
		struct step s = {.sql = sql,
		    .policy = d->policy,
		    .now_us = now_us};

		(void)number(s.domain, d->id);
		(void)number(s.id, ids[i]);
		err = in_transaction(&s);
		if (err == TAM_DATABASE_ERROR) {
			refused = err; /* was logged; the others go on */
			err = TAM_OK;
		}
	}
	return err == TAM_OK ? refused : err;
}

enum tam_err
rollouts_step(struct sql *sql, const struct tam_snapshot *snapshot,
    int64_t now_us)
{
	enum tam_err err = TAM_OK, refused = TAM_OK;

	for (size_t i = 0; err == TAM_OK && i < snapshot->n; i++) {
		err = step_domain(sql, &snapshot->domains[i], now_us);
		if (err == TAM_DATABASE_ERROR) {
			refused = err;
			err = TAM_OK;
		}
	}
	return err == TAM_OK ? refused : err;
}
