#include "config.h"

#include "storage/device_facts.h"

static struct selector_appraisal
appraisal_of(const struct store_appraisal *a)
{
	return (struct selector_appraisal){.result = a->result,
	    .verifier = a->verifier,
	    .oemid = a->oemid,
	    .ueid = a->ueid,
	    .hwmodel = a->hwmodel,
	    .hwversion = a->hwversion,
	    .tier = a->tier,
	    .at_us = a->at_us};
}

static struct selector_label *
labels_of(struct arena *arena, const struct store_device *d)
{
	struct selector_label *labels =
	    arena_new_n(arena, d->n_labels, struct selector_label);

	for (size_t i = 0; i < d->n_labels; i++)
		labels[i] = (struct selector_label){d->labels[i].key,
		    d->labels[i].value};
	return labels;
}

static struct policy_part *
parts_of(struct arena *arena, const struct store_device *d)
{
	struct policy_part *parts =
	    arena_new_n(arena, d->n_parts, struct policy_part);

	for (size_t i = 0; i < d->n_parts; i++)
		parts[i] = (struct policy_part){d->parts[i].rollout,
		    (int)d->parts[i].stage, d->parts[i].back != 0,
		    (enum policy_part_state)d->parts[i].state};
	return parts;
}

struct policy_component *
device_components(struct arena *arena, const struct store_component *from,
    size_t n)
{
	struct policy_component *components =
	    arena_new_n(arena, n, struct policy_component);

	for (size_t i = 0; i < n; i++)
		components[i] =
		    (struct policy_component){from[i].id, from[i].digest};
	return components;
}

size_t
device_update_max(const struct store_device *d, const struct device_profile *p)
{
	return d->update_max > 0 && d->update_max < p->update_max
	    ? d->update_max
	    : p->update_max;
}

struct policy_last
device_last(const struct store_update *u,
    const uint8_t content[STORE_DIGEST_SIZE])
{
	return (struct policy_last){.same = u->id != 0 &&
	        memcmp(u->content, content, sizeof(u->content)) == 0,
	    .open = u->open,
	    .answered = u->answered,
	    .failed = u->answered && !u->success,
	    .err_code = u->err_code,
	    .attempt = u->attempt,
	    .failures = u->failures,
	    .offered_us = u->offered_us,
	    .closed_us = u->closed_us,
	    .expires_us = u->expires_us};
}

static struct selector_subject
subject_of(struct arena *arena, struct slice domain,
    const struct store_device *d, const struct device_shown *shown,
    int64_t now_us)
{
	return (struct selector_subject){.domain = domain,
	    .name = d->name,
	    .status = d->status,
	    .class_name = d->class_name,
	    .n_labels = d->n_labels,
	    .labels = labels_of(arena, d),
	    .n_keys = d->n_keys,
	    .keys = d->keys,
	    .appraisal = shown->appraisal == NULL ? appraisal_of(&d->appraisal)
	                                          : *shown->appraisal,
	    .first_seen_us = d->enrolled_us,
	    .last_seen_us = d->seen_us,
	    .now_us = now_us};
}

struct policy_facts
device_facts(struct arena *arena, struct slice domain,
    const struct store_device *d, const struct device_profile *profile,
    const struct device_shown *shown, int64_t now_us)
{
	struct policy_facts f = {.subject = subject_of(arena, domain, d, shown,
	                             now_us),
	    .bucket = d->bucket,
	    .n_parts = d->n_parts,
	    .parts = parts_of(arena, d),
	    .attestation = shown->attestation,
	    .update_max = device_update_max(d, profile)};

	if (shown->attestation == POLICY_ATTEST_FAILED)
		return f;
	f.n_components = shown->n_components;
	f.components = shown->components;
	f.n_requested = shown->n_requested;
	f.requested = shown->requested;
	f.n_unneeded = shown->n_unneeded;
	f.unneeded = shown->unneeded;
	return f;
}

/* --- a device that comes now ------------------------------------------------------- */

static enum policy_attestation
last_result(const struct store_device *d)
{
	return slice_is(d->appraisal.result, "affirmed") ? POLICY_ATTESTED
	    : slice_is(d->appraisal.result, "failed")    ? POLICY_ATTEST_FAILED
	                                                 : POLICY_UNATTESTED;
}

static struct policy_request *
requests_of(struct arena *arena, const struct store_device *d)
{
	struct policy_request *requests =
	    arena_new_n(arena, d->n_requested, struct policy_request);

	for (size_t i = 0; i < d->n_requested; i++)
		requests[i].component = d->requested[i];
	return requests;
}

void
device_decide(const struct policy_set *set, struct arena *arena,
    struct slice domain, const struct store_device *d,
    const struct device_profile *profile, int64_t now_us,
    struct policy_facts *facts, struct policy_decision *decision,
    struct policy_trace *trace)
{
	struct device_shown shown = {.attestation = profile->asks_proof
	        ? last_result(d)
	        : POLICY_UNATTESTED,
	    .n_components = d->n_components,
	    .components =
	        device_components(arena, d->components, d->n_components),
	    .n_requested = d->n_requested,
	    .requested = requests_of(arena, d)};

	*facts = device_facts(arena, domain, d, profile, &shown, now_us);
	policy_explain(set, facts, arena, decision, trace);
	if (shown.attestation != POLICY_UNATTESTED ||
	    !decision->needs_attestation || policy_has_work(decision) ||
	    last_result(d) != POLICY_ATTEST_FAILED)
		return;
	shown.attestation = POLICY_ATTEST_FAILED; /* again */
	if (trace != NULL)
		*trace = (struct policy_trace){0};
	*facts = device_facts(arena, domain, d, profile, &shown, now_us);
	policy_explain(set, facts, arena, decision, trace);
}

/* --- what is written down ------------------------------------------------------------ */

size_t
device_marks(const struct policy_facts *facts,
    const struct policy_decision *decision, bool offered,
    struct store_mark marks[STORE_MARKS_MAX])
{
	struct policy_part_mark found[POLICY_STANDINGS_MAX];
	size_t n = policy_marks(facts, decision, offered, found);

	_Static_assert((int)POLICY_STANDINGS_MAX <= (int)STORE_MARKS_MAX,
	    "room");
	for (size_t i = 0; i < n; i++)
		marks[i] = (struct store_mark){found[i].rollout, found[i].stage,
		    found[i].back, found[i].mark};
	return n;
}
