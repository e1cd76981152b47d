#include "config.h"

#include "policy/deciding.h"
#include "policy/standing.h"

/*
 * The decision, in the order its parts outrank each other:
 *
 *	show_revocations   what the device holds that is revoked: unlink it, or
 *	                   keep the device as it is
 *	apply_rules        the rules that match, best first; the first that
 *	                   speaks about something decides it
 *	                   (deciding.h compares with what the device holds)
 *	grant_unneeded     what the device can do without and no rule keeps
 *
 * Pointers into a set's manifests stay valid: the set is immutable.
 */

/* --- revocations -------------------------------------------------------------- */

static void
show(struct deciding *d, int64_t id)
{
	struct policy_decision *out = d->out;

	for (size_t i = 0; i < out->n_shown; i++) {
		if (out->shown[i] == id)
			return;
	}
	out->shown =
	    arena_room(d->arena, out->shown, out->n_shown, sizeof(*out->shown));
	out->shown[out->n_shown++] = id;
}

/* Whether it is to be unlinked. */
static bool
show_one(struct deciding *d, const struct policy_component *c)
{
	const struct policy_set *set = d->set;
	bool any = false;

	for (size_t i = revoked_first(set, c->id);
	     i < set->n_revoked && slice_eq(set->revoked[i].component, c->id);
	     i++) {
		if (!revoked_hits(&set->revoked[i], c->digest))
			continue;
		show(d, set->revoked[i].id);
		if (set->revoked[i].quarantine) {
			d->out->quarantined = true;
			continue;
		}
		/* Before the unlinks: what is replaced is not unlinked. */
		if (set->revoked[i].replacement != NULL)
			(void)deciding_want(d, set->revoked[i].replacement);
		any = true;
	}
	return any;
}

static void
show_class(struct deciding *d)
{
	const struct policy_set *set = d->set;
	struct slice name = d->subject.class_name;

	for (size_t i = revoked_class_first(set, name);
	     i < set->n_revoked_classes &&
	     slice_eq(set->revoked_classes[i].name, name);
	     i++) {
		show(d, set->revoked_classes[i].id);
		d->out->quarantined = true;
	}
}

static void
show_revocations(struct deciding *d)
{
	show_class(d);
	for (size_t i = 0; i < d->facts->n_components; i++) {
		const struct policy_component *c = &d->facts->components[i];

		if (show_one(d, c))
			deciding_unlink(d, c->id);
	}
}

/* --- rules --------------------------------------------------------------------- */

/* CONFORMANCE T42: by a component it installs, or its own id. */
static bool
requested(const struct policy_facts *f, const struct policy_manifest *m)
{
	for (size_t i = 0; i < f->n_requested; i++) {
		const struct policy_request *r = &f->requested[i];

		if (m->sequence >= r->sequence &&
		    policy_manifest_brings(m, r->component))
			return true;
	}
	return false;
}

/* --- why ---------------------------------------------------------------------- */

static struct slice
about(const struct rule_target *t)
{
	return t->manifest == NULL ? t->absent : t->manifest->id;
}

static void
note(struct deciding *d, const struct rule *r, const struct rule_target *t,
    const char *verdict)
{
	struct policy_trace *trace = d->trace;

	if (trace == NULL)
		return;
	trace->steps =
	    arena_room(d->arena, trace->steps, trace->n, sizeof(*trace->steps));
	trace->steps[trace->n++] = (struct policy_step){.policy = r->name,
	    .verdict = verdict,
	    .rollout = r->rollout == NULL ? NULL : r->rollout->name,
	    .priority = r->priority,
	    .about = about(t),
	    .manifest = t->manifest,
	    .winner = strcmp(verdict, "outranked") == 0
	        ? deciding_speaker(d, about(t))
	        : NULL};
}

static void
note_all(struct deciding *d, const struct rule *r, const char *verdict)
{
	for (size_t i = 0; i < r->n; i++)
		note(d, r, &r->targets[i], verdict);
}

/* --- rules -------------------------------------------------------------------- */

/* Nothing else is decided about what a rule would speak of, were the device
 * attested, or did its appraisal say more. */
static void
withhold(struct deciding *d, const struct rule *r, const char *verdict)
{
	for (size_t i = 0; i < r->n; i++)
		note(d, r, &r->targets[i],
		    deciding_speak(d, about(&r->targets[i])) ? verdict
		                                             : "outranked");
}

static const char *
apply_target(struct deciding *d, const struct rule_target *t)
{
	if (t->manifest == NULL)
		return deciding_unwant(d, t->absent);
	if (t->on_request && !requested(d->facts, t->manifest))
		return "not_requested";
	return deciding_want(d, t->manifest);
}

static void
apply_targets(struct deciding *d, const struct rule *r,
    struct policy_standing *standing)
{
	for (size_t i = 0; i < r->n; i++) {
		const char *verdict = apply_target(d, &r->targets[i]);

		note(d, r, &r->targets[i], verdict);
		if (standing != NULL)
			standing_note(standing, verdict);
		if (strcmp(verdict, "sent") == 0 ||
		    strcmp(verdict, "unlinked") == 0)
			d->out->verify |= r->verify;
	}
}

/* It proved itself now, or not too long ago; and what was found will do. */
static bool
meets(struct deciding *d, const struct rule *r)
{
	const struct selector_appraisal *a = &d->subject.appraisal;
	int64_t until_us = a->at_us + r->max_age_us;
	bool now = d->facts->attestation == POLICY_ATTESTED;

	if (!now &&
	    (!slice_is(a->result, "affirmed") ||
	        d->subject.now_us >= until_us)) {
		d->out->needs_attestation = true;
		withhold(d, r, "needs_attestation");
		return false;
	}
	if (!now &&
	    (d->out->good_until_us == 0 || until_us < d->out->good_until_us))
		d->out->good_until_us = until_us;
	if (r->claims == NULL || selector_matches(r->claims, &d->subject))
		return true;
	d->insufficient = true;
	withhold(d, r, "attestation_insufficient");
	return false;
}

/* A rule that matches; what the device is in its rollout, if it is of one. */
static void
apply_matching(struct deciding *d, const struct rule *r,
    struct policy_standing *standing)
{
	bool failed = d->facts->attestation == POLICY_ATTEST_FAILED;

	if (d->out->poll_s == 0)
		d->out->poll_s = r->poll_s;
	if (failed != (r->attestation == RULE_REPAIR)) {
		note_all(d, r,
		    failed ? "attestation_failed" : "only_for_repair");
		if (standing != NULL) {
			standing->held = false;
			standing->failed |= failed;
		}
		return;
	}
	d->speaker = r->name;
	if (r->attestation == RULE_REQUIRED && !meets(d, r)) {
		if (standing != NULL)
			standing->held = false;
		return;
	}
	apply_targets(d, r, standing);
}

/* --- rollouts ------------------------------------------------------------------- */

static void
wait_for(struct deciding *d, const struct live_rollout *r, const char *why)
{
	d->waits = why;
	d->until_us = strcmp(why, "awaiting_window") == 0 && !r->at.window_open
	    ? r->at.window_us
	    : 0;
}

static void
apply_reached(struct deciding *d, const struct rule *r, const struct place *p)
{
	struct policy_standing *standing = standing_in(d->out, r->rollout, p);

	d->hold = p->hold;
	apply_matching(d, r, standing);
	d->hold = NULL;
	if (p->hold != NULL && !standing->held)
		wait_for(d, r->rollout, p->hold);
}

/* A rule that a rollout makes or replaces.  Of a policy that changes the one
 * or the other rule is for a device, never both. */
static void
apply_in_rollout(struct deciding *d, const struct rule *r)
{
	struct place p = place_in(d->facts, &d->subject, r->rollout);
	/* What a selector says of what it holds may change by the change. */
	bool stays = p.reached && r->side != RULE_NOW && r->rollout->n_next < 2;

	if (!stays && !selector_matches(r->selector, &d->subject))
		return;
	if (r->side != p.side && r->side == RULE_NOW) {
		note_all(d, r, "replaced");
	} else if (r->side != p.side) {
		if (r->side != RULE_NEXT || p.hold == NULL)
			return;
		note_all(d, r, p.hold);
		wait_for(d, r->rollout, p.hold);
	} else if (r->side == RULE_NOW) {
		apply_matching(d, r, NULL);
	} else {
		apply_reached(d, r, &p);
	}
}

static bool
is_there(struct deciding *d, const struct rule_target *t)
{
	if (t->manifest == NULL)
		return deciding_is_absent(d, t->absent);
	return t->on_request || policy_is_revoked(d->set, t->manifest) ||
	    deciding_satisfied(d->facts, t->manifest);
}

/* What a rollout brought that has ended: it says nothing, and is looked for. */
static void
account_for(struct deciding *d, const struct rule *r)
{
	struct place p = place_in(d->facts, &d->subject, r->rollout);
	struct policy_standing *standing;

	if (r->side != RULE_NEXT || !part_is_waiting(d->facts, r->rollout) ||
	    d->facts->attestation == POLICY_ATTEST_FAILED)
		return; /* what it shows is not believed */
	standing = standing_in(d->out, r->rollout, &p);
	for (size_t i = 0; i < r->n; i++)
		standing->held &= is_there(d, &r->targets[i]);
}

static void
apply_rule(struct deciding *d, const struct rule *r)
{
	if (r->rollout != NULL && r->rollout->at.settling)
		account_for(d, r);
	else if (r->rollout != NULL)
		apply_in_rollout(d, r);
	else if (selector_matches(r->selector, &d->subject))
		apply_matching(d, r, NULL);
}

/* Best rule first. */
static void
apply_rules(struct deciding *d, struct arena *arena)
{
	uint32_t *places;
	size_t n = rule_index_find(d->set->index, &d->subject, arena, &places);

	for (size_t i = 0; i < n; i++)
		apply_rule(d, &d->set->rules[places[i]]);
	if (d->trace != NULL)
		d->trace->considered = n;
}

/* CONFORMANCE T43: what a device can do without is unlinked, unless a rule
 * speaks about it. */
static void
grant_unneeded(struct deciding *d)
{
	for (size_t i = 0; i < d->facts->n_unneeded; i++)
		deciding_unwant(d, d->facts->unneeded[i]);
}

size_t
policy_content(const struct policy_decision *d, struct arena *arena,
    struct slice **out)
{
	struct slice *parts = arena_new_n(arena,
	    2 * d->n_manifests + 2 * d->n_unlinks + 1, struct slice);
	size_t n = 0;

	for (size_t i = 0; i < d->n_manifests; i++) {
		parts[n++] = d->manifests[i]->digest;
		if (d->envelopes[i].n != d->manifests[i]->envelope.n)
			parts[n++] = SLICE_LIT("bare");
	}
	parts[n++] = SLICE_LIT("unlink");
	for (size_t i = 0; i < d->n_unlinks; i++) {
		parts[n++] = SLICE_LIT("/");
		parts[n++] = d->unlinks[i];
	}
	*out = parts;
	return n;
}

void
policy_decide(const struct policy_set *set, const struct policy_facts *facts,
    struct arena *arena, struct policy_decision *out)
{
	policy_explain(set, facts, arena, out, NULL);
}

/* The subject with what else is known of the device. */
static void
fill_subject(struct deciding *d, struct arena *arena)
{
	const struct policy_facts *f = d->facts;
	struct slice *requested =
	    arena_new_n(arena, f->n_requested, struct slice);

	d->subject = f->subject;
	d->subject.n_components = f->n_components;
	d->subject.components = f->components;
	d->subject.n_images = d->set->n_images;
	d->subject.images = d->set->images;
	for (size_t i = 0; i < f->n_requested; i++)
		requested[i] = f->requested[i].component;
	d->subject.n_requested = f->n_requested;
	d->subject.requested = requested;
}

static const char *
reason_of(const struct deciding *d)
{
	const struct policy_decision *out = d->out;

	if (out->quarantined && !policy_has_work(out))
		return "quarantined";
	if (out->n_shown > 0)
		return policy_has_work(out)
		    ? "revocation"
		    : "revoked_but_no_manifest_to_unlink";
	if (policy_has_work(out))
		return "policy";
	if (out->needs_attestation)
		return "attestation_required";
	if (d->too_large)
		return "manifest_too_large_for_device";
	if (d->insufficient)
		return "attestation_insufficient";
	if (d->waits != NULL)
		return d->waits;
	return d->downgrades ? "newer_held" : "up_to_date";
}

void
policy_explain(const struct policy_set *set, const struct policy_facts *facts,
    struct arena *arena, struct policy_decision *out,
    struct policy_trace *trace)
{
	struct deciding d = {.set = set,
	    .facts = facts,
	    .out = out,
	    .arena = arena,
	    .speaker = "revocation",
	    .trace = trace};

	fill_subject(&d, arena);
	*out = (struct policy_decision){.reason = "up_to_date"};
	show_revocations(&d);
	if (!out->quarantined) {
		apply_rules(&d, arena);
		grant_unneeded(&d);
	}
	deciding_settle(&d);
	out->reason = reason_of(&d);
	out->until_us = out->reason == d.waits ? d.until_us : 0;
}
