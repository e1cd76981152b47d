#include "config.h"

#include <stdarg.h>
#include <stdio.h>

#include "policy/rollout.h"

/*
 * The controller's judgement, in the order in which one thing outranks
 * another:
 *
 *	cancel       what it would send is revoked
 *	turn         a maintenance window opened or closed
 *	go_back      all devices it reached are back
 *	stop         more failed than may
 *	judge        the newest stage is good, has been long enough, is not
 *	go_on        the next stage, or the end
 *	settle       behind the end: everybody it reached has answered
 */

enum {
	SAMPLE = 10
};

struct judging {
	const struct rollout_plan *plan;
	const struct rollout_position *at;
	const struct rollout_counts *counts;
	int64_t now_us;
	struct rollout_step *step;
};

static bool __attribute__((format(printf, 2, 3)))
tell(struct judging *j, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(j->step->reason, sizeof(j->step->reason), format, args);
	va_end(args);
	j->step->told = j->step->seen = true;
	return true;
}

static int64_t
failed_of(const struct rollout_tally *t)
{
	int64_t n = 0;

	for (int k = 0; k < ROLLOUT_FAILURE_COUNT; k++)
		n += t->failed[k];
	return n;
}

/* Exact, without overflow: no fleet has 10^14 devices. */
static bool
is_more_than(int64_t part, int64_t whole, int limit)
{
	return part * ROLLOUT_WHOLE > whole * limit;
}

/* --- a stage -------------------------------------------------------------------------- */

/* Devices that the stage waits for. */
static int64_t
minimum_of(const struct judging *j, size_t stage)
{
	const struct rollout_tally *t = &j->counts->stages[stage];
	int64_t of = t->of > t->away ? t->of - t->away : 0;

	return rollout_minimum(&j->plan->stages[stage], of);
}

/* Devices from which on failures are judged: a share of a large stage would be
 * too late. */
static int64_t
sample_of(const struct judging *j, size_t stage)
{
	int64_t minimum = minimum_of(j, stage);

	return j->plan->stages[stage].minimum < 0 && minimum > SAMPLE ? SAMPLE
	                                                              : minimum;
}

/* Failures of one kind, or of all (name "any"), in a stage. */
static bool
exceeds(struct judging *j, size_t stage, const char *name, int64_t failed,
    int limit)
{
	const struct rollout_tally *t = &j->counts->stages[stage];
	int64_t settled = t->verified + failed_of(t);

	if (limit < 0 || settled == 0 || settled < sample_of(j, stage) ||
	    !is_more_than(failed, settled, limit))
		return false;
	return tell(j,
	    "stage %zu: %s on %lld of %lld devices, more than %d.%02d %%",
	    stage + 1, name, (long long)failed, (long long)settled, limit / 100,
	    limit % 100);
}

static bool
is_failing(struct judging *j)
{
	for (size_t i = 0; i < j->at->opened; i++) {
		const struct rollout_tally *t = &j->counts->stages[i];

		for (int k = 0; k < ROLLOUT_FAILURE_COUNT; k++) {
			if (exceeds(j, i, rollout_failure_names[k],
			        t->failed[k], j->plan->limits[k]))
				return true;
		}
		if (exceeds(j, i, "failures", failed_of(t), j->plan->any_limit))
			return true;
	}
	return false;
}

static bool
stop(struct judging *j)
{
	if (!is_failing(j))
		return false;
	j->step->to.phase = j->plan->goes_back ? ROLLOUT_PHASE_rolling_back
	                                       : ROLLOUT_PHASE_paused;
	j->step->to.met_us = 0;
	if (j->plan->goes_back)
		j->step->to.stage_us = j->now_us;
	return true;
}

static bool
is_good(const struct judging *j)
{
	size_t last = j->at->opened - 1;
	const struct rollout_stage *stage = &j->plan->stages[last];
	const struct rollout_tally *t = &j->counts->stages[last];
	int64_t settled = t->verified + failed_of(t);

	return settled >= minimum_of(j, last) &&
	    t->verified * ROLLOUT_WHOLE >= settled * stage->success;
}

/* --- going on ----------------------------------------------------------------------------- */

static bool
go_on(struct judging *j)
{
	struct rollout_position *to = &j->step->to;

	to->met_us = 0;
	if (j->at->opened == j->plan->n_stages) {
		to->phase = ROLLOUT_PHASE_completed;
		return tell(j, "the last stage was good");
	}
	to->opened++;
	to->stage_us = j->now_us;
	return tell(j, "stage %zu was good: stage %zu opens", j->at->opened,
	    to->opened);
}

/* Since when the stage is good, and whether that is long enough. */
static bool
judge(struct judging *j)
{
	const struct rollout_stage *stage = &j->plan->stages[j->at->opened - 1];
	bool good = is_good(j);

	if (good != (j->at->met_us != 0)) {
		j->step->to.met_us = good ? j->now_us : 0;
		return true;
	}
	if (!good || j->now_us - j->at->met_us < stage->soak_us)
		return false;
	if (stage->manual && j->at->opened < j->plan->n_stages)
		return false; /* a person says so */
	return go_on(j);
}

/* --- what comes before ------------------------------------------------------------------------ */

static bool
cancel(struct judging *j)
{
	j->step->to.phase = ROLLOUT_PHASE_cancelled;
	return tell(j, "what it brings is revoked");
}

static bool
turn(struct judging *j, bool open, int64_t until_us)
{
	struct rollout_position *to = &j->step->to;

	if (j->at->window_open == open && j->at->window_us == until_us)
		return false;
	to->window_open = open;
	to->window_us = until_us;
	j->step->seen = true;
	return true;
}

/* Who is out of use or silent is not waited for, and said. */
static bool
go_back(struct judging *j)
{
	const struct rollout_counts *c = j->counts;

	if (c->returned + c->away < c->reached)
		return false;
	j->step->to.phase = ROLLOUT_PHASE_rolled_back;
	if (c->away == 0)
		return tell(j, "all %lld devices are back",
		    (long long)c->reached);
	return tell(j,
	    "%lld of %lld devices are back; %lld are out of use or silent and "
	    "were not waited for",
	    (long long)c->returned, (long long)c->reached, (long long)c->away);
}

/* What was on its way at its end is still counted. */
static bool
settle(struct judging *j)
{
	j->step->to.settling = false;
	return j->at->settling && j->counts->waiting == 0;
}

bool
rollout_next(const struct rollout_plan *plan, const struct rollout_position *at,
    const struct rollout_counts *counts, bool revoked, bool window_open,
    int64_t window_us, int64_t now_us, struct rollout_step *step)
{
	struct judging j = {plan, at, counts, now_us, step};

	*step = (struct rollout_step){.to = *at};
	switch (at->phase) {
	case ROLLOUT_PHASE_running:
		return revoked
		    ? cancel(&j)
		    : turn(&j, window_open, window_us) || stop(&j) || judge(&j);
	case ROLLOUT_PHASE_paused:
		return revoked ? cancel(&j) : turn(&j, window_open, window_us);
	case ROLLOUT_PHASE_rolling_back:
		return go_back(&j);
	case ROLLOUT_PHASE_completed:
	case ROLLOUT_PHASE_aborted:
		return settle(&j);
	case ROLLOUT_PHASE_draft:
	case ROLLOUT_PHASE_rolled_back:
	case ROLLOUT_PHASE_cancelled:
	case ROLLOUT_PHASE_COUNT:
	default:
		return false;
	}
}
