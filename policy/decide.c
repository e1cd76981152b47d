#include "config.h"

#include <assert.h>
#include <stdlib.h>

#include "policy/rules.h"
#include "policy/standing.h"

/*
 * The decision, in the order its parts outrank each other:
 *
 *	show_revocations   what the device holds that is revoked: unlink it, or
 *	                   keep the device as it is
 *	apply_rules        the rules that match, best first; the first that
 *	                   speaks about something decides it
 *	want / unwant      compare with what the device holds
 *	grant_unneeded     what the device can do without and no rule keeps
 *
 * Pointers into a set's manifests stay valid: the set is immutable.
 */

enum {
	WANTED_MAX = 128 /* things one decision can speak about */
};

struct deciding {
	const struct policy_set *set;
	const struct policy_facts *facts;
	struct selector_subject subject; /* with what the device holds */
	struct policy_decision *out;
	/* Ids that are decided already, and by whom. */
	struct slice spoken[WANTED_MAX];
	const char *speakers[WANTED_MAX];
	size_t n_spoken;
	const char *speaker;
	bool too_large, downgrades, insufficient;
	const char *hold;  /* why what a rule wants is not sent now */
	const char *waits; /* the same, of any rule */
	int64_t until_us;
	struct policy_trace *trace; /* NULL: nobody asks why */
};

static const struct policy_component *
held(const struct policy_facts *f, struct slice id)
{
	for (size_t i = 0; i < f->n_components; i++) {
		if (slice_eq(f->components[i].id, id))
			return &f->components[i];
	}
	return NULL;
}

static bool
speak(struct deciding *d, struct slice id)
{
	for (size_t i = 0; i < d->n_spoken; i++) {
		if (slice_eq(d->spoken[i], id))
			return false;
	}
	if (d->n_spoken < WANTED_MAX) {
		d->speakers[d->n_spoken] = d->speaker;
		d->spoken[d->n_spoken++] = id;
	}
	return true;
}

static void
add_unlink(struct policy_decision *out, struct slice manifest_id)
{
	for (size_t i = 0; i < out->n_unlinks; i++) {
		if (slice_eq(out->unlinks[i], manifest_id))
			return;
	}
	if (out->n_unlinks < WANTED_MAX)
		out->unlinks[out->n_unlinks++] = manifest_id;
}

static void
add_remove(struct policy_decision *out, struct slice component)
{
	for (size_t i = 0; i < out->n_removes; i++) {
		if (slice_eq(out->removes[i], component))
			return;
	}
	if (out->n_removes < WANTED_MAX)
		out->removes[out->n_removes++] = component;
}

static bool
installs(const struct policy_manifest *m, struct slice component)
{
	for (size_t i = 0; i < m->n_components; i++) {
		if (slice_eq(m->components[i].id, component))
			return true;
	}
	return false;
}

static bool
sends(const struct policy_decision *out, struct slice manifest_id)
{
	for (size_t i = 0; i < out->n_manifests; i++) {
		if (slice_eq(out->manifests[i]->id, manifest_id))
			return true;
	}
	return false;
}

static bool
depends_on(const struct policy_manifest *m, struct slice digest)
{
	for (size_t i = 0; i < m->n_dependencies; i++) {
		if (slice_eq(m->dependencies[i], digest))
			return true;
	}
	return false;
}

/* By itself, or by what it depends on. */
static bool
brings(const struct policy_set *set, const struct policy_manifest *m,
    struct slice component, unsigned depth)
{
	if (installs(m, component))
		return true;
	for (size_t i = 0; depth > 0 && i < m->n_dependencies; i++) {
		const struct policy_manifest *d =
		    policy_find_manifest(set, m->dependencies[i]);

		if (d != NULL && brings(set, d, component, depth - 1))
			return true;
	}
	return false;
}

/* Every manifest that could have put the component there is unlinked, but
 * for one that is being replaced by a newer of the same id. */
static void
unlink_component(struct deciding *d, struct slice component)
{
	for (size_t i = 0; i < d->set->n_manifests; i++) {
		const struct policy_manifest *m = &d->set->manifests[i];

		if (brings(d->set, m, component, DEPENDENCY_DEPTH) &&
		    !sends(d->out, m->id))
			add_unlink(d->out, m->id);
	}
	add_remove(d->out, component);
}

/* --- revocations -------------------------------------------------------------- */

static void
show(struct policy_decision *out, int64_t id)
{
	for (size_t i = 0; i < out->n_shown; i++) {
		if (out->shown[i] == id)
			return;
	}
	if (out->n_shown < WANTED_MAX)
		out->shown[out->n_shown++] = id;
}

static const char *want(struct deciding *, const struct policy_manifest *);

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
		show(d->out, set->revoked[i].id);
		if (set->revoked[i].quarantine) {
			d->out->quarantined = true;
			continue;
		}
		/* Before the unlinks: what is replaced is not unlinked. */
		if (set->revoked[i].replacement != NULL)
			(void)want(d, set->revoked[i].replacement);
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
		show(d->out, set->revoked_classes[i].id);
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
			unlink_component(d, c->id);
	}
}

/* --- rules --------------------------------------------------------------------- */

static bool
satisfied(const struct policy_facts *f, const struct policy_manifest *m)
{
	for (size_t i = 0; i < m->n_components; i++) {
		const struct policy_component *have =
		    held(f, m->components[i].id);

		if (have == NULL)
			return false;
		if (have->digest.n > 0 && m->components[i].digest.n > 0 &&
		    !slice_eq(have->digest, m->components[i].digest))
			return false;
	}
	return true;
}

/* CONFORMANCE T42: a device that has the binary gets the manifest only; one
 * that takes no Update as large as the whole fetches the binary. */
static struct slice
sent_form(const struct policy_facts *f, const struct policy_manifest *m)
{
	if (m->fetchable && m->bare.n > 0 && m->envelope.n > f->update_max)
		return m->bare;
	for (size_t i = 0; m->bare.n > 0 && i < f->n_requested; i++) {
		const struct policy_request *r = &f->requested[i];

		if (r->have_binary && r->sequence == m->sequence &&
		    policy_manifest_brings(m, r->component))
			return m->bare;
	}
	return m->envelope;
}

/* Whether every manifest that brings this image is newer. */
static bool
is_newer(const struct policy_set *set, const struct policy_component *have,
    uint64_t sequence)
{
	size_t lo = 0, hi = set->n_images;
	const struct policy_image *image;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int c = slice_cmp(set->images[mid].component, have->id);

		if (c == 0)
			c = slice_cmp(set->images[mid].digest, have->digest);
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	image = &set->images[lo]; /* the least sequence number is first */
	return lo < set->n_images && slice_eq(image->component, have->id) &&
	    slice_eq(image->digest, have->digest) && image->sequence > sequence;
}

/* CONFORMANCE P: a device takes no manifest older than what it has. */
static bool
would_go_back(const struct deciding *d, const struct policy_manifest *m)
{
	for (size_t i = 0; i < m->n_components; i++) {
		const struct policy_component *have =
		    held(d->facts, m->components[i].id);

		if (have != NULL && have->digest.n > 0 &&
		    is_newer(d->set, have, m->sequence))
			return true;
	}
	return false;
}

static size_t
sent_bytes(const struct deciding *d)
{
	size_t n = 0;

	for (size_t i = 0; i < d->out->n_manifests; i++)
		n += sent_form(d->facts, d->out->manifests[i]).n;
	return n;
}

static void
drop_unlink(struct policy_decision *out, struct slice manifest_id)
{
	for (size_t i = 0; i < out->n_unlinks; i++) {
		if (slice_eq(out->unlinks[i], manifest_id))
			out->unlinks[i--] = out->unlinks[--out->n_unlinks];
	}
}

static void
add_wanted(struct policy_decision *out, const struct policy_manifest *m)
{
	drop_unlink(out, m->id);
	out->manifests[out->n_manifests++] = m;
	for (size_t i = 0; i < m->n_components; i++) {
		if (out->n_adds < WANTED_MAX)
			out->adds[out->n_adds++] = m->components[i];
	}
}

/* What became of it. */
static const char *
want(struct deciding *d, const struct policy_manifest *m)
{
	struct policy_decision *out = d->out;

	if (!speak(d, m->id))
		return "outranked";
	if (policy_is_revoked(d->set, m))
		return "revoked";
	if (satisfied(d->facts, m))
		return "held";
	if (would_go_back(d, m)) {
		d->downgrades = true;
		return "newer_held";
	}
	if (d->hold != NULL)
		return d->hold;
	if (sent_bytes(d) + sent_form(d->facts, m).n > d->facts->update_max) {
		d->too_large = out->n_manifests == 0 || d->too_large;
		/* The next Update takes it, if it fits at all. */
		return out->n_manifests == 0 ? "too_large" : "next_update";
	}
	if (out->n_manifests == WANTED_MAX)
		return "next_update";
	add_wanted(out, m);
	return "sent";
}

static bool
is_absent(const struct deciding *d, struct slice id)
{
	if (held(d->facts, id) != NULL)
		return false;
	for (size_t i = 0; i < d->set->n_manifests; i++) {
		const struct policy_manifest *m = &d->set->manifests[i];

		for (size_t j = 0; slice_eq(m->id, id) && j < m->n_components;
		     j++) {
			if (held(d->facts, m->components[j].id) != NULL)
				return false;
		}
	}
	return true;
}

/* The id may be a component's or a manifest's. */
static const char *
unwant(struct deciding *d, struct slice id)
{
	size_t before = d->out->n_removes;

	if (!speak(d, id))
		return "outranked";
	if (d->hold != NULL)
		return is_absent(d, id) ? "absent" : d->hold;
	if (held(d->facts, id) != NULL)
		unlink_component(d, id);
	for (size_t i = 0; i < d->set->n_manifests; i++) {
		const struct policy_manifest *m = &d->set->manifests[i];

		for (size_t j = 0; slice_eq(m->id, id) && j < m->n_components;
		     j++) {
			if (held(d->facts, m->components[j].id) != NULL)
				unlink_component(d, m->components[j].id);
		}
	}
	return d->out->n_removes > before ? "unlinked" : "absent";
}

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

/* Who spoke about it first. */
static const char *
speaker_of(const struct deciding *d, struct slice id)
{
	for (size_t i = 0; i < d->n_spoken; i++) {
		if (slice_eq(d->spoken[i], id))
			return d->speakers[i];
	}
	return NULL;
}

static void
note(struct deciding *d, const struct rule *r, const struct rule_target *t,
    const char *verdict)
{
	struct policy_trace *trace = d->trace;

	if (trace == NULL || trace->n == POLICY_STEPS_MAX)
		return;
	trace->steps[trace->n++] = (struct policy_step){.policy = r->name,
	    .verdict = verdict,
	    .rollout = r->rollout == NULL ? NULL : r->rollout->name,
	    .priority = r->priority,
	    .about = about(t),
	    .manifest = t->manifest,
	    .winner = strcmp(verdict, "outranked") == 0
	        ? speaker_of(d, about(t))
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
		    speak(d, about(&r->targets[i])) ? verdict : "outranked");
}

static const char *
apply_target(struct deciding *d, const struct rule_target *t)
{
	if (t->manifest == NULL)
		return unwant(d, t->absent);
	if (t->on_request && !requested(d->facts, t->manifest))
		return "not_requested";
	return want(d, t->manifest);
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
	if (p->hold != NULL && standing != NULL && !standing->held)
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
		return is_absent(d, t->absent);
	return t->on_request || policy_is_revoked(d->set, t->manifest) ||
	    satisfied(d->facts, t->manifest);
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
	for (size_t i = 0; standing != NULL && i < r->n; i++)
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
		unwant(d, d->facts->unneeded[i]);
}

/* CONFORMANCE T45: what others depend on comes first; else the order stays. */
static void
order_manifests(struct policy_decision *out)
{
	for (size_t done = 0; done < out->n_manifests; done++) {
		size_t pick = done;

		for (size_t i = done; i < out->n_manifests; i++) {
			bool waits = false;

			for (size_t k = done; k < out->n_manifests; k++)
				waits |= k != i &&
				    depends_on(out->manifests[i],
				        out->manifests[k]->digest);
			if (!waits) {
				pick = i;
				break;
			}
		}
		const struct policy_manifest *next = out->manifests[pick];

		for (; pick > done; pick--)
			out->manifests[pick] = out->manifests[pick - 1];
		out->manifests[done] = next;
	}
}

static void
choose_forms(struct deciding *d)
{
	for (size_t i = 0; i < d->out->n_manifests; i++)
		d->out->envelopes[i] =
		    sent_form(d->facts, d->out->manifests[i]);
}

/* A component that a manifest brings again is not lost. */
static void
settle_removes(struct policy_decision *out)
{
	for (size_t i = 0; i < out->n_removes; i++) {
		for (size_t j = 0; j < out->n_adds; j++) {
			if (!slice_eq(out->removes[i], out->adds[j].id))
				continue;
			out->removes[i--] = out->removes[--out->n_removes];
			break;
		}
	}
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

static void
make_lists(struct policy_decision *out, struct arena *arena)
{
	*out = (struct policy_decision){.reason = "up_to_date"};
	out->manifests = (const struct policy_manifest **)arena_alloc(arena,
	    WANTED_MAX * sizeof(struct policy_manifest *));
	out->envelopes =
	    arena_alloc(arena, WANTED_MAX * sizeof(*out->envelopes));
	out->unlinks = arena_alloc(arena, WANTED_MAX * sizeof(*out->unlinks));
	out->shown = arena_alloc(arena, WANTED_MAX * sizeof(*out->shown));
	out->adds = arena_alloc(arena, WANTED_MAX * sizeof(*out->adds));
	out->removes = arena_alloc(arena, WANTED_MAX * sizeof(*out->removes));
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
	    .speaker = "revocation",
	    .trace = trace};

	fill_subject(&d, arena);
	make_lists(out, arena);
	show_revocations(&d);
	if (!out->quarantined) {
		apply_rules(&d, arena);
		grant_unneeded(&d);
	}
	settle_removes(out);
	order_manifests(out);
	choose_forms(&d);
	out->reason = reason_of(&d);
	out->until_us = out->reason == d.waits ? d.until_us : 0;
}
