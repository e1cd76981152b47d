#include "config.h"

#include "server/teep/facts.h"

#include "server/teep/domain.h"
#include "storage/device_store.h"

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

static struct policy_request *
requests_of(struct arena *arena, const struct store_device *d)
{
	struct policy_request *requests =
	    arena_new_n(arena, d->n_requested, struct policy_request);

	for (size_t i = 0; i < d->n_requested; i++)
		requests[i].component = d->requested[i];
	return requests;
}

struct policy_facts
policy_facts_of(struct arena *arena, const struct tam_domain *domain,
    const struct store_device *d, const struct inventory *inv,
    enum policy_attestation attestation, size_t update_max, int64_t now_us)
{
	struct selector_label *labels =
	    arena_new_n(arena, d->n_labels, struct selector_label);
	struct policy_component *components =
	    arena_new_n(arena, inv->n, struct policy_component);

	for (size_t i = 0; i < d->n_labels; i++)
		labels[i] = (struct selector_label){d->labels[i].key,
		    d->labels[i].value};
	for (size_t i = 0; i < inv->n; i++)
		components[i] = (struct policy_component){inv->components[i].id,
		    inv->components[i].digest};
	return (
	    struct policy_facts){.subject = {.domain = slice_str(domain->name),
	                             .name = d->name,
	                             .status = d->status,
	                             .class_name = d->class_name,
	                             .n_labels = d->n_labels,
	                             .labels = labels,
	                             .n_keys = d->n_keys,
	                             .keys = d->keys,
	                             .appraisal = appraisal_of(&d->appraisal),
	                             .first_seen_us = d->enrolled_us,
	                             .last_seen_us = d->seen_us,
	                             .now_us = now_us},
	    .bucket = d->bucket,
	    .n_parts = d->n_parts,
	    .parts = parts_of(arena, d),
	    .attestation = attestation,
	    .n_requested = d->n_requested,
	    .requested = requests_of(arena, d),
	    .n_components = inv->n,
	    .components = components,
	    .update_max = d->update_max > 0 && d->update_max < update_max
	        ? d->update_max
	        : update_max};
}

size_t
facts_marks(const struct policy_facts *facts,
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
