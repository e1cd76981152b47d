#include "config.h"

#include "policy/standing.h"

#include <assert.h>

_Static_assert((int)POLICY_STANDINGS_MAX >= (int)ROLLOUT_LIVE_MAX,
    "a device has room for every rollout of its domain");

/* --- where a device is in a rollout ------------------------------------------------- */

static const struct policy_part *
part_in(const struct policy_facts *f, const struct live_rollout *r)
{
	for (size_t i = 0; i < f->n_parts; i++) {
		if (f->parts[i].rollout == r->id)
			return &f->parts[i];
	}
	return NULL;
}

bool
part_is_waiting(const struct policy_facts *f, const struct live_rollout *r)
{
	const struct policy_part *part = part_in(f, r);

	return part != NULL && !part->back && part->state != PART_VERIFIED;
}

/* The first stage a device is in; n_stages: none. */
static size_t
stage_of(const struct policy_facts *f, const struct selector_subject *subject,
    const struct live_rollout *r)
{
	int bucket = (f->bucket + r->offset) % ROLLOUT_WHOLE;
	size_t i = 0;

	for (; i < r->plan.n_stages; i++) {
		const struct rollout_stage *s = &r->plan.stages[i];

		if (bucket < s->part &&
		    (s->selector == NULL ||
		        selector_matches(s->selector, subject)))
			break;
	}
	return i;
}

static const char *
window_holds(const struct live_rollout *r, int64_t now_us)
{
	bool open = r->at.window_open;

	/* Whoever turns it may be late: at its end it is shut by itself. */
	if (open && r->at.window_us > 0 && now_us >= r->at.window_us)
		open = false;
	return open ? NULL : "awaiting_window";
}

struct place
place_in(const struct policy_facts *f, const struct selector_subject *subject,
    const struct live_rollout *r)
{
	const struct policy_part *part = part_in(f, r);
	struct place p = {.side = RULE_NOW, .reached = part != NULL};

	p.stage = part != NULL ? (size_t)part->stage : stage_of(f, subject, r);
	if (r->at.phase == ROLLOUT_PHASE_rolling_back) {
		p.side = part != NULL ? RULE_BACK : RULE_NOW;
		return p; /* whatever the time of day */
	}
	if (part == NULL && p.stage == r->plan.n_stages)
		return p; /* never to be reached */
	p.hold = r->at.phase == ROLLOUT_PHASE_paused
	    ? "rollout_paused"
	    : window_holds(r, subject->now_us);
	if (part == NULL && p.stage >= r->at.opened)
		p.hold = "awaiting_rollout_stage";
	if (part != NULL || p.hold == NULL)
		p.side = RULE_NEXT;
	return p;
}

struct policy_standing *
standing_in(struct policy_decision *out, const struct live_rollout *r,
    const struct place *p)
{
	size_t i = 0;

	while (i < out->n_standings && out->standings[i].rollout != r->id)
		i++;
	assert(i < POLICY_STANDINGS_MAX); /* a set has no more rollouts */
	if (i == out->n_standings)
		out->standings[out->n_standings++] =
		    (struct policy_standing){.rollout = r->id,
		        .stage = (int)p->stage,
		        .back = p->side == RULE_BACK,
		        .held = true};
	return &out->standings[i];
}

/* --- what it is there, and what is written down of it ----------------------------------- */

void
standing_note(struct policy_standing *s, const char *verdict)
{
	/* Nothing the rollout could still do about it. */
	static const char *const settled[] = {"held", "absent", "not_requested",
	    "outranked", "revoked", "newer_held"};
	bool is_settled = false;

	for (size_t i = 0; i < sizeof(settled) / sizeof(settled[0]); i++)
		is_settled |= strcmp(verdict, settled[i]) == 0;
	s->held &= is_settled;
	s->work |=
	    strcmp(verdict, "sent") == 0 || strcmp(verdict, "unlinked") == 0;
}

/* An attestation that failed is seen, whatever rule would have matched. */
static enum policy_mark
mark_of(const struct policy_standing *s, enum policy_part_state was,
    bool offered, bool *any)
{
	*any = true;
	if (s->failed && (was == PART_OFFERED || was == PART_ACKNOWLEDGED))
		return MARK_FAILED;
	if (s->held && was != PART_VERIFIED)
		return MARK_HELD;
	if (s->work && offered)
		return MARK_OFFERED;
	*any = s->work && was == PART_ACKNOWLEDGED;
	return MARK_MISSING;
}

size_t
policy_marks(const struct policy_facts *f, const struct policy_decision *d,
    bool offered, struct policy_part_mark *out)
{
	size_t n = 0;

	for (size_t i = 0; i < d->n_standings; i++) {
		const struct policy_standing *s = &d->standings[i];
		enum policy_part_state was = PART_NONE;
		enum policy_mark mark;
		bool any;

		for (size_t k = 0; k < f->n_parts; k++) {
			if (f->parts[k].rollout == s->rollout &&
			    f->parts[k].back == s->back)
				was = f->parts[k].state;
		}
		mark = mark_of(s, was, offered, &any);
		if (any)
			out[n++] = (struct policy_part_mark){s->rollout,
			    s->stage, s->back, mark};
	}
	return n;
}
