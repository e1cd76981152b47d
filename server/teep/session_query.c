#include "config.h"

#include "server/teep/session_steps.h"

#include "lib/base/clock.h"
#include "server/http/exchange.h"
#include "server/teep/device_cache.h"
#include "server/teep/fault.h"
#include "server/teep/reapply.h"
#include "server/worker.h"
#include "storage/batch.h"
#include "storage/device_facts.h"

/*
 * A QueryResponse: nothing new (observe), or the rows are read (reload),
 * policy is asked (decide), and what was learnt or is promised is committed
 * (promise) before anything is answered (on_promised).
 */

enum {
	DECISIONS_MAX = 4 /* of one answer, when its rows keep changing */
};

static void reload(struct session *);
static void decide(struct session *);
static void promise(struct session *);

/* --- a QueryResponse: the quiet case ------------------------------------------------- */

/* The cache says that nothing is to do for what this answer shows. */
static bool
is_quiet(const struct session *s, const struct cached_device *d)
{
	return d != NULL && s->message.n_requested == 0 &&
	    (d->quiet_until_us == 0 || s->now_us < d->quiet_until_us) &&
	    s->message.n_unneeded == 0 && d->quiet_epoch == s->domain->epoch &&
	    d->wire_id == s->profile->wire_id &&
	    d->attestation == s->attestation &&
	    memcmp(d->attest_hash, s->attest_hash, sizeof(s->attest_hash)) ==
	    0 &&
	    memcmp(d->inventory_hash, s->inventory.hash,
	        sizeof(s->inventory.hash)) == 0;
}

static void
observe(struct session *s, int64_t version)
{
	reapply_observe(s->worker, s->domain, s->device_id, s->key.thumbprint,
	    &(struct store_observation){.domain_id = s->domain->id,
	        .device_id = s->device_id,
	        .stamp = session_stamp(s),
	        .now_us = s->now_us,
	        .version = version,
	        .hash = s->inventory.hash},
	    &(struct reapply_shown){.wire_id = s->profile->wire_id,
	        .numbering = (int)s->form.numbering,
	        .attestation = s->attestation,
	        .appraisal =
	            s->attestation == POLICY_UNATTESTED ? NULL : &s->appraisal,
	        .inventory = &s->inventory,
	        .requests = s->message.n_requested > 0});
}

void
session_query_response(struct session *s)
{
	struct cached_device *known;
	enum tam_err err;

	if (s->message.selected_version != 0) { /* T31: we offer 0 */
		session_answer_error(s, TEEP_ERR_UNSUPPORTED_VERSION,
		    "the version selected was not offered");
		return;
	}
	err = inventory_make(s->worker->crypto, s->arena, &s->message,
	    &s->inventory);
	if (err != TAM_OK) {
		session_refuse(s, err);
		return;
	}
	COUNT(&s->worker->counters, query_responses);
	known = device_cache_find(s->worker->devices, s->domain->id,
	    s->key.thumbprint);
	if (!is_quiet(s, known)) {
		reload(s);
		return;
	}
	if (stamp_cmp(session_stamp(s), known->stamp) <= 0) {
		session_refuse(s,
		    stamp_cmp(session_stamp(s), known->stamp) == 0
		        ? TAM_REPLAYED
		        : TAM_STALE_ANSWER);
		return;
	}
	known->stamp = session_stamp(s);
	COUNT(&s->worker->counters, polls_cached);
	observe(s, known->version);
	s->poll_s = known->poll_s;
	session_answer_quiet(s);
}

/* --- reading the rows ---------------------------------------------------------------- */

static void
on_loaded(enum tam_err err, const struct store_device *device, void *arg)
{
	struct session *s = arg;

	s->pending = NULL;
	if (err == TAM_OK && device == NULL)
		err = TAM_UNKNOWN_KEY;
	if (err == TAM_OK && (!device->active || device->id != s->device_id))
		err = TAM_DEVICE_REFUSED;
	if (err != TAM_OK) {
		device_cache_drop(s->worker->devices, s->domain->id,
		    s->device_id);
		session_refuse(s, err);
		return;
	}
	s->device = device;
	decide(s);
}

/* Rows that were read to identify the device serve once. */
static void
reload(struct session *s)
{
	struct batch_call *call;

	if (s->device != NULL && s->decisions == 0) {
		decide(s);
		return;
	}
	if (s->decisions == DECISIONS_MAX) {
		session_refuse(s, TAM_OVERLOADED);
		return;
	}
	call = device_load(s->worker->batch, s->arena, s->domain->id,
	    s->key.thumbprint, session_deadline(s), on_loaded, s);
	if (call == NULL) {
		session_refuse(s, TAM_DATABASE_BUSY);
		return;
	}
	session_wait(s, SESSION_LOADING, call);
}

/* --- deciding ------------------------------------------------------------------------- */

static void
hash_content(struct session *s)
{
	struct slice *parts;
	size_t n = policy_content(&s->decision, s->arena, &parts);

	cose_digest(s->worker->crypto, parts, n, s->content);
}

static void
remember_quiet(struct session *s, int64_t version)
{
	/* What is remembered asks for nothing: see is_quiet(). */
	struct cached_device d = {.domain_id = s->domain->id,
	    .id = s->device_id,
	    .version = version,
	    .key = s->key,
	    .certified = s->certified,
	    .quiet_epoch = s->domain->epoch,
	    .quiet_until_us = s->decision.good_until_us,
	    .wire_id = s->profile->wire_id,
	    .poll_s = (int)s->decision.poll_s,
	    .attestation = s->attestation,
	    .stamp = session_stamp(s)};

	if (s->message.n_requested > 0)
		return;
	memcpy(d.attest_hash, s->attest_hash, sizeof(d.attest_hash));
	memcpy(d.inventory_hash, s->inventory.hash, sizeof(d.inventory_hash));
	device_cache_put(s->worker->devices, &d);
}

/* What failed attestation says counts for nothing. */
static bool
believed(const struct session *s)
{
	return s->attestation != POLICY_ATTEST_FAILED;
}

/* Something is to be written down of a rollout. */
static bool
is_marked(const struct session *s)
{
	struct store_mark marks[STORE_MARKS_MAX];

	return device_marks(&s->facts, &s->decision, false, marks) > 0;
}

/* What is to be read of the device says why it gets nothing; what it is told
 * until it was asked for proof does not last. */
static bool
is_known_reason(const struct session *s)
{
	return s->decision.needs_attestation ||
	    slice_is(s->device->reason, s->decision.reason);
}

static bool
is_requested(const struct session *s, struct slice id)
{
	for (size_t i = 0; i < s->message.n_requested; i++) {
		if (slice_eq(s->message.requested[i].component_id, id))
			return true;
	}
	return false;
}

static bool
was_requested(const struct session *s, struct slice id)
{
	for (size_t i = 0; i < s->device->n_requested; i++) {
		if (slice_eq(s->device->requested[i], id))
			return true;
	}
	return false;
}

/* The rows say already what it asks for. */
static bool
asks_as_before(const struct session *s)
{
	for (size_t i = 0; i < s->device->n_requested; i++) {
		if (!is_requested(s, s->device->requested[i]))
			return false;
	}
	for (size_t i = 0; i < s->message.n_requested; i++) {
		if (!was_requested(s, s->message.requested[i].component_id))
			return false;
	}
	return true;
}

/* The rows say already what the answer shows, and nothing is to do. */
static bool
changes_nothing(const struct session *s)
{
	const struct store_device *d = s->device;

	return believed(s) && !policy_has_work(&s->decision) &&
	    s->decision.n_shown == 0 && !d->open_work && d->has_hash &&
	    s->withdraw == 0 && !is_marked(s) && is_known_reason(s) &&
	    asks_as_before(s) &&
	    memcmp(d->inventory_hash, s->inventory.hash,
	        sizeof(s->inventory.hash)) == 0;
}

static struct policy_request *
requests_of(struct session *s)
{
	struct policy_request *requests = arena_new_n(s->arena,
	    s->message.n_requested, struct policy_request);

	for (size_t i = 0; i < s->message.n_requested; i++)
		requests[i] = (struct policy_request){s->message.requested[i]
		                                          .component_id,
		    s->message.requested[i].sequence,
		    s->message.requested[i].have_binary};
	return requests;
}

static struct policy_facts
facts_of(struct session *s)
{
	struct device_profile profile = domain_limits(s->profile);
	struct device_shown shown = {.attestation = s->attestation,
	    .appraisal =
	        s->attestation == POLICY_UNATTESTED ? NULL : &s->appraisal,
	    .n_components = s->inventory.n,
	    .components = device_components(s->arena, s->inventory.components,
	        s->inventory.n),
	    .n_requested = s->message.n_requested,
	    .requested = requests_of(s),
	    .n_unneeded = s->message.n_unneeded,
	    .unneeded = s->message.unneeded};

	return device_facts(s->arena, slice_str(s->domain->name), s->device,
	    &profile, &shown, s->now_us);
}

/* Explain and dry run go by the limits of the profile it came by last. */
static bool
note_profile(struct session *s)
{
	return s->device->wire_id == s->profile->wire_id ||
	    device_came_by(s->worker->batch, s->domain->id, s->device_id,
	        s->profile->wire_id);
}

static void
decide(struct session *s)
{
	struct policy_facts *facts = &s->facts;

	*facts = facts_of(s);
	s->decisions++;
	if (s->withdraw == 0 &&
	    stamp_cmp(session_stamp(s), s->device->stamp) <= 0) {
		session_refuse(s,
		    stamp_cmp(session_stamp(s), s->device->stamp) == 0
		        ? TAM_REPLAYED
		        : TAM_STALE_ANSWER);
		return;
	}
	if (s->decisions == 1 && !note_profile(s)) {
		session_refuse(s, TAM_DATABASE_BUSY);
		return;
	}
	policy_decide(s->domain->policy, facts, s->arena, &s->decision);
	hash_content(s);
	s->poll_s = (int)s->decision.poll_s;
	s->pace = (struct policy_pace){0};
	if (policy_has_work(&s->decision)) {
		struct policy_last last =
		    device_last(&s->device->update, s->content);

		s->pace =
		    policy_pace(&last, s->decision.n_shown > 0, s->now_us);
	}
	/* At the last hop the session ends, whatever is left to do. */
	if (s->token.hop >= TOKEN_HOPS_MAX)
		s->pace.offer = false;
	if (!believed(s) && !s->pace.offer && s->withdraw == 0) {
		/* T38: nothing would mend it. */
		session_answer_error(s, TEEP_ERR_ATTESTATION_REQUIRED,
		    "attestation failed");
		return;
	}
	if (changes_nothing(s) && s->decision.needs_attestation &&
	    session_may_attest(s)) {
		session_ask(s, true, slice_none());
		return;
	}
	if (changes_nothing(s)) {
		if (!s->decision.needs_attestation)
			remember_quiet(s, s->device->version);
		observe(s, s->device->version);
		session_answer_quiet(s);
		return;
	}
	promise(s);
}

/* --- promising ------------------------------------------------------------------------ */

static const char *
reason_of(const struct session *s)
{
	if (policy_has_work(&s->decision) && !s->pace.offer &&
	    s->pace.reason != NULL)
		return s->pace.reason;
	return s->decision.reason;
}

static struct store_component *
adds_of(struct session *s)
{
	struct store_component *adds =
	    arena_new_n(s->arena, s->decision.n_adds, struct store_component);

	for (size_t i = 0; i < s->decision.n_adds; i++)
		adds[i] = (struct store_component){s->decision.adds[i].id,
		    s->decision.adds[i].digest};
	return adds;
}

static struct slice *
digests_of(struct session *s)
{
	struct slice *digests =
	    arena_new_n(s->arena, s->decision.n_manifests, struct slice);

	for (size_t i = 0; i < s->decision.n_manifests; i++)
		digests[i] = s->decision.manifests[i]->digest;
	return digests;
}

/* What is not believed asks for nothing. */
static const struct slice *
requested_of(struct session *s, size_t *n)
{
	struct slice *ids =
	    arena_new_n(s->arena, s->message.n_requested + 1, struct slice);

	*n = believed(s) ? s->message.n_requested : 0;
	for (size_t i = 0; i < *n; i++)
		ids[i] = s->message.requested[i].component_id;
	return believed(s) ? ids : NULL;
}

static enum tam_err send_update(struct session *);

void
session_withdraw(struct session *s)
{
	if (s->update_id != 0)
		COUNT(&s->worker->counters, updates_withdrawn);
	s->withdraw = s->update_id != 0 ? s->update_id : -1;
	s->promised = false;
	s->device = NULL;
	reload(s);
}

static void
on_applied(struct session *s, int64_t version)
{
	enum tam_err err;

	if (session_epoch_moved(s)) {
		session_withdraw(s);
		return;
	}
	if (s->update_id == 0 && !believed(s)) {
		session_answer_error(s, TEEP_ERR_ATTESTATION_REQUIRED,
		    "attestation failed");
		return;
	}
	if (s->update_id == 0) {
		if (!policy_has_work(&s->decision) && !is_marked(s) &&
		    !s->decision.needs_attestation &&
		    s->decision.n_shown == 0 && !s->device->update.open)
			remember_quiet(s, version);
		if (s->decision.needs_attestation && session_may_attest(s))
			session_ask(s, true, slice_none());
		else
			session_answer_quiet(s);
		return;
	}
	fault_point(FAULT_AFTER_COMMIT);
	COUNT(&s->worker->counters, updates_committed);
	err = send_update(s);
	if (err != TAM_OK)
		session_refuse(s, err);
}

static void
on_promised(enum tam_err err, enum store_verdict verdict, int64_t version,
    void *arg)
{
	struct session *s = arg;

	s->pending = NULL;
	if (err != TAM_OK) {
		session_refuse(s, err);
		return;
	}
	switch (verdict) {
	case STORE_APPLIED:
		on_applied(s, version);
		break;
	case STORE_CHANGED:
		COUNT(&s->worker->counters, decided_again);
		s->device = NULL;
		reload(s);
		break;
	case STORE_STALE:
		session_refuse(s, TAM_STALE_ANSWER);
		break;
	case STORE_REPLAYED:
		session_refuse(s, TAM_REPLAYED);
		break;
	case STORE_GONE:
	case STORE_UNKNOWN:
	case STORE_CLOSED:
	default:
		session_refuse(s, TAM_UNKNOWN_KEY);
	}
}

static void
fill_update(struct session *s, struct store_answer *a)
{
	a->update_id = s->update_id;
	a->opener = arena_dup(s->arena, s->handle);
	a->content = s->content;
	a->n_manifests = s->decision.n_manifests;
	a->manifests = digests_of(s);
	a->n_adds = s->decision.n_adds;
	a->adds = adds_of(s);
	a->n_removes = s->decision.n_removes;
	a->removes = s->decision.removes;
	a->expires_us = s->now_us + s->worker->limits->update_life_us;
	a->verify = s->decision.verify;
}

/* Nothing is promised that nobody would sign. */
static bool
can_sign(const struct session *s)
{
	const char *uri = s->domain->hsm_uri[s->form.curve];

	return uri == NULL || hsm_accepts(s->worker->hsm, uri);
}

static void
promise(struct session *s)
{
	struct store_answer a = {.domain_id = s->domain->id,
	    .device_id = s->device_id,
	    .exchange = session_new_id(),
	    .stamp = session_stamp(s),
	    .now_us = s->now_us,
	    .version = s->device->version,
	    .epoch = s->domain->epoch,
	    .numbering = (int)s->form.numbering,
	    .hash = believed(s) ? s->inventory.hash : NULL,
	    .n_components = believed(s) ? s->inventory.n : 0,
	    .components = s->inventory.components,
	    .n_shown = s->decision.n_shown,
	    .shown = s->decision.shown,
	    .reason = reason_of(s),
	    .attested = s->attestation == POLICY_ATTESTED,
	    .withdraw = s->withdraw,
	    .opener = SLICE_LIT(""),
	    .content = s->content};
	struct batch_call *call;

	a.requested = requested_of(s, &a.n_requested);
	s->update_id = 0;
	if (policy_has_work(&s->decision) && s->pace.offer) {
		if (!can_sign(s)) {
			session_refuse(s, TAM_HSM_DOWN);
			return;
		}
		s->update_id =
		    s->pace.again ? s->device->update.id : session_new_id();
		fill_update(s, &a);
	}
	a.n_marks =
	    device_marks(&s->facts, &s->decision, s->update_id != 0, a.marks);
	fault_point(FAULT_BEFORE_COMMIT);
	device_cache_drop(s->worker->devices, s->domain->id, s->device_id);
	call = device_answer_query(s->worker->batch, &a, session_deadline(s),
	    on_promised, s);
	if (call == NULL) {
		session_refuse(s, TAM_DATABASE_BUSY);
		return;
	}
	session_wait(s, SESSION_PROMISING, call);
}

/* --- the Update (section 4.4) ----------------------------------------------------------- */

static enum tam_err
send_update(struct session *s)
{
	struct token t = {.hop = s->token.hop,
	    .wire_id = s->profile->wire_id,
	    .epoch = s->domain->epoch};
	struct teep_message m = {.kind = TEEP_UPDATE,
	    .numbering = s->form.numbering,
	    .present = 1u << TEEP_OPT_TOKEN};
	uint8_t *token = arena_alloc(s->arena, TOKEN_SIZE);
	struct reply reply;
	enum tam_err err;

	err = token_mint_update(&s->snapshot->tokens, session_scope(s), &t,
	    s->update_id, clock_cluster_us(), token);
	if (err != TAM_OK)
		return err;
	m.token = (struct slice){token, TOKEN_SIZE};
	if (s->decision.n_manifests > 0)
		m.present |= 1u << TEEP_OPT_MANIFEST_LIST;
	if (s->decision.n_unlinks > 0)
		m.present |= 1u << TEEP_OPT_UNNEEDED;
	m.n_manifests = s->decision.n_manifests;
	m.manifests = s->decision.envelopes;
	m.n_unneeded = s->decision.n_unlinks;
	m.unneeded = s->decision.unlinks;
	err = reply_sign(s->worker, s->arena, s->domain, &s->form, &m, &reply);
	if (err != TAM_OK)
		return err;
	s->promised = true;
	session_answer_signed(s, &reply);
	return TAM_OK;
}
