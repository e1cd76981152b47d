#include "config.h"

#include "server/teep/reapply.h"

#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "lib/codec/crypto.h"
#include "server/http/server.h"
#include "server/teep/device_cache.h"
#include "server/teep/domain.h"
#include "server/teep/session.h"
#include "server/worker.h"
#include "storage/batch.h"
#include "storage/device_facts.h"

/*
 *	reapply_observe   batched; nearly always the end of it
 *	on_differs        the database knows better: read the rows
 *	on_loaded         decide what the answer shows under today's policy
 *	on_applied        written, unless a newer answer was faster
 */

struct observed {
	struct worker *worker;
	int32_t domain_id;
	char domain_name[DOMAIN_NAME_MAX];
	int64_t device_id;
	uint8_t thumbprint[COSE_THUMBPRINT_SIZE];
	struct stamp stamp;
	int64_t now_us;
	struct reapply_shown shown;
	struct arena *arena;
	struct inventory inventory; /* in the arena, as what follows */
	struct selector_appraisal appraisal;
	unsigned tries;
};

enum {
	TRIES_MAX = 3
};

static const struct slice nothing;

static void load(struct observed *);

static void
observed_free(struct observed *o)
{
	arena_free(o->arena);
	free(o);
}

static void
lost(struct observed *o)
{
	COUNT(&o->worker->counters, observations_lost);
	observed_free(o);
}

static void
on_applied(enum tam_err err, enum store_verdict verdict, int64_t version,
    void *arg)
{
	struct observed *o = arg;

	(void)version;
	if (err == TAM_OK && verdict == STORE_CHANGED &&
	    ++o->tries < TRIES_MAX) {
		load(o);
		return;
	}
	if (err != TAM_OK || verdict == STORE_CHANGED)
		lost(o);
	else
		observed_free(o);
}

static struct policy_facts
facts_of(struct observed *o, const struct tam_domain *domain,
    const struct store_device *d)
{
	struct device_profile profile = domain_limits(
	    domain_profile_by_id(domain, (uint8_t)o->shown.wire_id));
	struct policy_request *requests =
	    arena_new_n(o->arena, d->n_requested, struct policy_request);
	struct device_shown shown = {.attestation = o->shown.attestation,
	    .appraisal = o->shown.appraisal,
	    .n_components = o->inventory.n,
	    .components = device_components(o->arena, o->inventory.components,
	        o->inventory.n),
	    .n_requested = o->shown.requests ? d->n_requested : 0,
	    .requested = requests};

	for (size_t i = 0; i < d->n_requested; i++)
		requests[i].component = d->requested[i];
	return device_facts(o->arena, slice_str(domain->name), d, &profile,
	    &shown, o->now_us);
}

static void
on_loaded(enum tam_err err, const struct store_device *d, void *arg)
{
	struct observed *o = arg;
	const struct tam_domain *domain =
	    snapshot_find(o->worker->snapshot, slice_str(o->domain_name));
	struct policy_decision decision;
	struct policy_facts facts;
	struct store_answer a;
	uint64_t exchange;

	if (err != TAM_OK) {
		lost(o);
		return;
	}
	if (d == NULL || domain == NULL || !d->active ||
	    d->id != o->device_id || stamp_cmp(o->stamp, d->stamp) <= 0) {
		observed_free(o);
		return;
	}
	facts = facts_of(o, domain, d);
	policy_decide(domain->policy, &facts, o->arena, &decision);
	crypto_random(&exchange, sizeof(exchange));
	a = (struct store_answer){.domain_id = o->domain_id,
	    .device_id = d->id,
	    .exchange = (int64_t)(exchange >> 1 | 1),
	    .stamp = o->stamp,
	    .now_us = o->now_us,
	    .version = d->version,
	    .epoch = domain->epoch,
	    .numbering = o->shown.numbering,
	    .hash = o->inventory.hash,
	    .n_components = o->inventory.n,
	    .components = o->inventory.components,
	    .n_shown = decision.n_shown,
	    .shown = decision.shown,
	    .reason = decision.reason,
	    .attested = o->shown.attestation == POLICY_ATTESTED,
	    .opener = SLICE_LIT(""),
	    .content = o->inventory.hash};
	if (!o->shown.requests)
		a.requested = &nothing; /* none of it */
	a.n_marks = device_marks(&facts, &decision, false, a.marks);
	if (device_answer_query(o->worker->batch, &a,
	        clock_mono_us() + o->worker->limits->deadline_us, on_applied,
	        o) == NULL)
		lost(o);
}

static void
load(struct observed *o)
{
	if (device_load(o->worker->batch, o->arena, o->domain_id, o->thumbprint,
	        clock_mono_us() + o->worker->limits->deadline_us, on_loaded,
	        o) == NULL)
		lost(o);
}

/* Called when the rows differ, or when nobody could tell in time. */
static void
on_differs(void *arg)
{
	struct observed *o = arg;

	COUNT(&o->worker->counters, observations_differ);
	device_cache_drop(o->worker->devices, o->domain_id, o->device_id);
	load(o);
}

static void
on_written(void *arg)
{
	observed_free(arg);
}

static void
copy_appraisal(struct observed *o, const struct selector_appraisal *from)
{
	struct selector_appraisal *a = &o->appraisal;

	*a = *from;
	a->result = arena_dup(o->arena, from->result);
	a->verifier = arena_dup(o->arena, from->verifier);
	a->oemid = arena_dup(o->arena, from->oemid);
	a->ueid = arena_dup(o->arena, from->ueid);
	a->hwmodel = arena_dup(o->arena, from->hwmodel);
	a->hwversion = arena_dup(o->arena, from->hwversion);
	o->shown.appraisal = a;
}

static void
copy_inventory(struct observed *o, const struct inventory *from)
{
	o->inventory.n = from->n;
	memcpy(o->inventory.hash, from->hash, sizeof(from->hash));
	o->inventory.components =
	    arena_new_n(o->arena, from->n, struct store_component);
	for (size_t i = 0; i < from->n; i++) {
		o->inventory.components[i].id =
		    arena_dup(o->arena, from->components[i].id);
		o->inventory.components[i].digest =
		    arena_dup(o->arena, from->components[i].digest);
	}
}

void
reapply_observe(struct worker *w, const struct tam_domain *domain,
    int64_t device_id, const uint8_t thumbprint[COSE_THUMBPRINT_SIZE],
    const struct store_observation *ob, const struct reapply_shown *shown)
{
	struct observed *o = mem_new(struct observed);

	o->worker = w;
	o->domain_id = domain->id;
	memcpy(o->domain_name, domain->name, sizeof(o->domain_name));
	o->device_id = device_id;
	memcpy(o->thumbprint, thumbprint, sizeof(o->thumbprint));
	o->stamp = ob->stamp;
	o->now_us = ob->now_us;
	o->shown = *shown;
	o->arena = arena_new_in(&w->http->arenas);
	copy_inventory(o, shown->inventory);
	o->shown.inventory = &o->inventory;
	if (shown->appraisal != NULL)
		copy_appraisal(o, shown->appraisal);
	/* While the database is away observations wait; see batch.h. */
	if (!device_observe(w->batch, ob, INT64_MAX, on_differs, on_written, o))
		lost(o);
}
