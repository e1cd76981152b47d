#include "config.h"

#include "server/teep/session.h"

#include <assert.h>

#include "lib/base/clock.h"
#include "lib/base/hex.h"
#include "lib/base/log.h"
#include "lib/codec/suit.h"
#include "server/http/exchange.h"
#include "server/http/server.h"
#include "server/teep/device_cache.h"
#include "server/teep/fault.h"
#include "server/teep/inventory.h"
#include "server/teep/opener.h"
#include "server/teep/reapply.h"
#include "server/worker.h"
#include "storage/batch.h"

/*
 * One POST of a device, from bytes to bytes.  The steps in the order of this
 * file, each starting the next or answering:
 *
 *	teep_session_start  empty: a QueryRequest, and done
 *	receive             COSE and TEEP opened, the token checked
 *	identify            the key: from the cache, or on_identified by rows;
 *	                    without a kid the few keys of the domain in turn
 *	verify              the signature; from here on the peer is a device
 *	QueryResponse:
 *	  observe           nothing new, as far as the cache knows: 204 at once
 *	  reload            else the rows are read, on_loaded
 *	  decide            policy: nothing, not yet, or an Update
 *	  promise           what was learnt or is promised is committed,
 *	  on_promised       then it is answered, if the epoch is still the same
 *	Success, Error:
 *	  conclude          the outcome is committed, on_concluded answers
 *
 * A session waits for one thing at a time, s->pending, and lives in the arena
 * of its exchange: answering ends both.
 */

enum state {
	RECEIVED,
	IDENTIFYING,
	LOADING,
	PROMISING,
	CONCLUDING,
	ANSWERED
};

enum {
	DECISIONS_MAX = 4 /* of one answer, when its rows keep changing */
};

struct session {
	enum state state;
	struct http_exchange *exchange;
	struct worker *worker;
	struct arena *arena;
	struct tam_snapshot *snapshot; /* a reference: what we decide under */
	const struct tam_domain *domain;
	const struct wire_profile *profile; /* of the token, else of the URI */
	int64_t now_us;

	struct cose_message cose;    /* borrows the body */
	struct teep_message message; /* borrows the body */
	struct token token;
	struct reply_form form;
	struct cose_key key;
	int64_t device_id;

	const struct slice *candidates; /* keys left to try, without a kid */
	size_t n_candidates;

	struct inventory inventory;
	const struct store_device *device;
	struct policy_decision decision;
	struct policy_pace pace;
	uint8_t content[STORE_DIGEST_SIZE];
	unsigned decisions;
	int64_t exchange_id, update_id, withdraw;

	struct batch_call *pending; /* NULL when nothing is awaited */
};

static void receive(struct session *);
static void identify(struct session *);
static void verify(struct session *);
static enum tam_err check_signature(struct session *);
static void on_query_response(struct session *);
static void reload(struct session *);
static void decide(struct session *);
static void promise(struct session *);
static void conclude(struct session *);

/* The only writer of s->state; the table is the state machine. */
static void
set_state(struct session *s, enum state next)
{
	static const unsigned allowed_from[] = {
	    [RECEIVED] = 0,
	    [IDENTIFYING] = 1u << RECEIVED | 1u << IDENTIFYING,
	    [LOADING] = 1u << RECEIVED | 1u << IDENTIFYING | 1u << PROMISING,
	    [PROMISING] = 1u << IDENTIFYING | 1u << LOADING,
	    [CONCLUDING] = 1u << RECEIVED | 1u << IDENTIFYING,
	    [ANSWERED] = 1u << RECEIVED | 1u << IDENTIFYING | 1u << LOADING |
	        1u << PROMISING | 1u << CONCLUDING,
	};

	assert(allowed_from[next] & 1u << s->state);
	s->state = next;
}

static void
wait_for(struct session *s, enum state next, struct batch_call *call)
{
	set_state(s, next);
	s->pending = call;
}

/* Ends the session: callers return without touching it again. */
static void
finish(struct session *s, const struct http_response *response)
{
	assert(s->pending == NULL);
	set_state(s, ANSWERED);
	snapshot_unref(s->snapshot);
	GAUGE(&s->worker->counters, sessions, -1);
	http_answer(s->exchange, response);
}

static void
answer_nothing(struct session *s)
{
	finish(s, &(struct http_response){.status = 204});
}

static void
answer_message(struct session *s, struct slice message)
{
	finish(s,
	    &(struct http_response){.status = 200,
	        .content_type = TEEP_MEDIA_TYPE,
	        .body = message});
}

/*
 * The draft drops what a TAM cannot accept (section 4.1.2): the peer's fault
 * is counted and ends in 204, ours is 503, which the agent takes as "later".
 */
static void
refuse(struct session *s, enum tam_err err)
{
	char path[64];

	counter_bump(&s->worker->counters.drops[err]);
	log_peer(LOG_LEVEL_INFO, "dropped", "reason=%s request=%llu path=%s",
	    tam_err_name(err), (unsigned long long)s->exchange->id,
	    log_escape(s->exchange->path, path, sizeof(path)));
	if (tam_err_blame(err) == TAM_BLAME_PEER)
		answer_nothing(s);
	else
		finish(s,
		    &(struct http_response){.status = 503, .retry_after_s = 5});
}

/* The peer hung up.  What was sent to the database goes on being written. */
static void
on_abandon(struct http_exchange *x, void *arg)
{
	struct session *s = arg;

	(void)x;
	if (s->pending != NULL)
		batch_forget(s->pending);
	s->pending = NULL;
	snapshot_unref(s->snapshot);
	GAUGE(&s->worker->counters, sessions, -1);
}

static struct token_scope
scope_of(const struct session *s)
{
	return (struct token_scope){s->domain->incarnation, s->domain->id};
}

static int64_t
deadline(const struct session *s)
{
	return clock_mono_us() + s->worker->limits->deadline_us;
}

/* --- an empty POST -------------------------------------------------------------- */

static void
open_session(struct session *s)
{
	struct slice message;
	enum tam_err err;

	if (!budget_take(&s->worker->openers, clock_mono_us())) {
		COUNT(&s->worker->counters, openers_shed);
		refuse(s, TAM_OVERLOADED);
		return;
	}
	err = opener_make(s->worker, s->arena, s->domain, s->profile, 0, NULL,
	    s->now_us, &message);
	if (err != TAM_OK) {
		refuse(s, err);
		return;
	}
	COUNT(&s->worker->counters, openers);
	answer_message(s, message);
}

void
teep_session_start(struct http_exchange *x, const struct tam_domain *domain,
    const struct wire_profile *profile)
{
	struct worker *w = x->server->owner;
	struct session *s = arena_new(x->arena, struct session);

	s->exchange = x;
	s->worker = w;
	s->arena = x->arena;
	s->snapshot = snapshot_ref(w->snapshot);
	s->domain = domain;
	s->profile = profile;
	s->now_us = clock_wall_us();
	x->on_abandon = on_abandon;
	x->handler_data = s;
	GAUGE(&w->counters, sessions, 1);
	if (x->body.n == 0)
		open_session(s);
	else
		receive(s);
}

/* --- receiving ------------------------------------------------------------------- */

/* CONFORMANCE T25: each message answers one kind of question. */
static bool
token_fits(const struct session *s)
{
	bool query = s->token.kind != TOKEN_UPDATE;

	switch (s->message.kind) {
	case TEEP_QUERY_RESPONSE:
		return query;
	case TEEP_SUCCESS:
		return !query;
	case TEEP_ERROR:
		return true;
	case TEEP_QUERY_REQUEST:
	case TEEP_UPDATE:
	default:
		return false;
	}
}

static enum tam_err
check_token(struct session *s)
{
	enum tam_err err;

	if (s->message.token.n == 0)
		return s->message.kind == TEEP_QUERY_RESPONSE
		    ? TAM_OK /* unsolicited: no question of ours */
		    : TAM_TOKEN_MISSING;
	err = token_check(&s->snapshot->tokens, scope_of(s), s->message.token,
	    s->now_us, &s->token);
	if (err != TAM_OK)
		return err;
	if (token_burns_dead(s->worker->burns, s->message.token))
		return TAM_TOKEN_BURNT;
	return token_fits(s) ? TAM_OK : TAM_TOKEN_FOREIGN;
}

static void
receive(struct session *s)
{
	enum tam_err err;

	err = cose_decode(s->exchange->body, s->arena, &s->cose);
	if (err == TAM_OK && s->cose.detached)
		err = TAM_BAD_COSE;
	if (err == TAM_OK)
		err = teep_decode(s->cose.payload, s->arena,
		    s->profile->numbering, &s->message);
	if (err == TAM_OK &&
	    (s->message.kind == TEEP_QUERY_REQUEST ||
	        s->message.kind == TEEP_UPDATE))
		err = TAM_WRONG_DIRECTION;
	if (err == TAM_OK)
		err = check_token(s);
	if (err != TAM_OK) {
		refuse(s, err);
		return;
	}
	if (s->message.token.n > 0)
		s->profile = domain_profile_by_id(s->domain, s->token.wire_id);
	identify(s);
}

/* --- identifying ------------------------------------------------------------------ */

/* Guessing costs: the budget pays, and the token has three tries. */
static void
strike(struct session *s)
{
	(void)budget_take(&s->worker->failures, clock_mono_us());
	if (s->message.token.n > 0)
		token_burns_add(s->worker->burns, s->message.token);
}

static bool
may_fail(struct session *s)
{
	struct budget *b = &s->worker->failures;

	if (b->tokens >= 1.0)
		return true;
	/* Refills, and gives back what was only asked for. */
	if (!budget_take(b, clock_mono_us()))
		return false;
	b->tokens += 1.0;
	return true;
}

/* A device whose key is known: the hint was right if it verifies. */
static void
on_identified(enum tam_err err, const struct store_device *device, void *arg)
{
	struct session *s = arg;

	s->pending = NULL;
	if (err == TAM_OK && device == NULL) {
		strike(s);
		err = TAM_UNKNOWN_KEY;
	}
	if (err == TAM_OK && !device->active)
		err = TAM_DEVICE_REFUSED;
	if (err == TAM_OK)
		err = cose_key_make(&s->key,
		    device->p256 ? COSE_P256 : COSE_ED25519,
		    device->public_key);
	if (err != TAM_OK) {
		refuse(s, err);
		return;
	}
	s->device = device;
	s->device_id = device->id;
	verify(s);
}

/*
 * Without a kid that says which key (libteep sends none, others four bytes:
 * CONFORMANCE P3) the keys of the domain are tried, if they are few.
 */
static void try_candidate(struct session *);

static void
on_candidate(enum tam_err err, const struct store_device *device, void *arg)
{
	struct session *s = arg;

	s->pending = NULL;
	if (err != TAM_OK) {
		refuse(s, err);
		return;
	}
	if (device == NULL || !device->active ||
	    cose_key_make(&s->key, device->p256 ? COSE_P256 : COSE_ED25519,
	        device->public_key) != TAM_OK ||
	    check_signature(s) != TAM_OK) {
		try_candidate(s);
		return;
	}
	s->device = device;
	s->device_id = device->id;
	verify(s);
}

static void
try_candidate(struct session *s)
{
	struct batch_call *call;

	if (s->n_candidates == 0) {
		strike(s);
		refuse(s, TAM_UNKNOWN_KEY);
		return;
	}
	call = device_load(s->worker->batch, s->arena, s->domain->id,
	    s->candidates->p, deadline(s), on_candidate, s);
	s->candidates++;
	s->n_candidates--;
	if (call == NULL) {
		refuse(s, TAM_DATABASE_BUSY);
		return;
	}
	wait_for(s, IDENTIFYING, call);
}

static void
on_candidates(enum tam_err err, const struct slice *keys, size_t n, void *arg)
{
	struct session *s = arg;

	s->pending = NULL;
	if (err != TAM_OK) {
		refuse(s, err);
		return;
	}
	s->candidates = keys;
	s->n_candidates = n > STORE_CANDIDATES_MAX ? 0 : n;
	try_candidate(s);
}

static void
find_candidates(struct session *s)
{
	struct batch_call *call;

	if (!may_fail(s)) {
		refuse(s, TAM_BUDGET_SPENT);
		return;
	}
	call = device_candidates(s->worker->batch, s->arena, s->domain->id,
	    deadline(s), on_candidates, s);
	if (call == NULL) {
		refuse(s, TAM_DATABASE_BUSY);
		return;
	}
	wait_for(s, IDENTIFYING, call);
}

static void
identify(struct session *s)
{
	struct slice kid = s->cose.signatures[0].kid;
	const struct cached_device *known;
	struct batch_call *call;

	if (kid.n != COSE_THUMBPRINT_SIZE) {
		find_candidates(s);
		return;
	}
	known = device_cache_find(s->worker->devices, s->domain->id, kid.p);
	if (known != NULL) {
		s->key = known->key;
		s->device_id = known->id;
		verify(s);
		return;
	}
	if (!may_fail(s)) { /* a stranger costs the database a look-up */
		refuse(s, TAM_BUDGET_SPENT);
		return;
	}
	call = device_load(s->worker->batch, s->arena, s->domain->id, kid.p,
	    deadline(s), on_identified, s);
	if (call == NULL) {
		refuse(s, TAM_DATABASE_BUSY);
		return;
	}
	wait_for(s, IDENTIFYING, call);
}

/* --- verifying --------------------------------------------------------------------- */

static enum tam_err
check_signature(struct session *s)
{
	enum tam_err err = TAM_BAD_SIGNATURE;

	for (size_t i = 0; i < s->cose.n; i++) {
		err = cose_verify(s->worker->crypto, &s->cose, i, &s->key,
		    (struct slice){0});
		if (err != TAM_OK)
			continue;
		s->form.deprecated =
		    s->cose.signatures[i].alg == COSE_ALG_ES256 ||
		    s->cose.signatures[i].alg == COSE_ALG_EDDSA;
		return TAM_OK;
	}
	return err;
}

/* A forger must not make us verify without end: CONFORMANCE T62. */
static enum tam_err
verify_within_budget(struct session *s)
{
	enum tam_err err;

	if (!may_fail(s))
		return TAM_BUDGET_SPENT;
	err = check_signature(s);
	if (err != TAM_OK)
		strike(s);
	return err;
}

/* T30, T50: reports must answer this very token; an unknown layout is passed
 * over (E13). */
static enum tam_err
check_reports(struct session *s)
{
	for (size_t i = 0; i < s->message.n_reports; i++) {
		struct suit_report r;

		if (suit_report_decode(s->message.reports[i], s->arena, &r) !=
		    TAM_OK)
			continue;
		if (!slice_eq(r.nonce, s->message.token))
			return TAM_REPORT_NONCE;
	}
	return TAM_OK;
}

/* T28: a known device that answers nothing is asked. */
static void
ask_again(struct session *s)
{
	struct slice message;
	enum tam_err err;

	counter_bump(&s->worker->counters.drops[TAM_UNSOLICITED]);
	if (!budget_take(&s->worker->openers, clock_mono_us())) {
		refuse(s, TAM_OVERLOADED);
		return;
	}
	err = opener_make(s->worker, s->arena, s->domain, s->profile, 0,
	    &s->form, s->now_us, &message);
	if (err != TAM_OK)
		refuse(s, err);
	else
		answer_message(s, message);
}

static void
verify(struct session *s)
{
	enum tam_err err = verify_within_budget(s);

	if (err == TAM_OK && s->message.token.n > 0)
		err = check_reports(s);
	if (err != TAM_OK) {
		refuse(s, err);
		return;
	}
	s->form.numbering = s->message.numbering;
	s->form.curve = s->key.curve;
	s->form.send_kid = s->profile->send_kid;
	if (s->message.token.n == 0)
		ask_again(s);
	else if (s->message.kind == TEEP_QUERY_RESPONSE)
		on_query_response(s);
	else
		conclude(s);
}

/* --- a QueryResponse: the quiet case ------------------------------------------------- */

static struct stamp
stamp_of(const struct session *s)
{
	return (struct stamp){s->token.epoch, s->token.issued_us};
}

/* The cache says that nothing is to do for what this answer shows. */
static bool
is_quiet(const struct session *s, const struct cached_device *d)
{
	return d != NULL && d->quiet_epoch == s->domain->epoch &&
	    memcmp(d->inventory_hash, s->inventory.hash,
	        sizeof(s->inventory.hash)) == 0;
}

static void
observe(struct session *s, int64_t version)
{
	reapply_observe(s->worker, s->domain, s->device_id, s->key.thumbprint,
	    &(struct store_observation){.domain_id = s->domain->id,
	        .device_id = s->device_id,
	        .stamp = stamp_of(s),
	        .now_us = s->now_us,
	        .version = version,
	        .hash = s->inventory.hash},
	    (int)s->form.numbering, &s->inventory);
}

static void
on_query_response(struct session *s)
{
	struct cached_device *known;
	enum tam_err err;

	err = s->message.selected_version == 0 ? TAM_OK : TAM_OUT_OF_RANGE;
	if (err == TAM_OK)
		err = inventory_make(s->worker->crypto, s->arena, &s->message,
		    &s->inventory);
	if (err != TAM_OK) {
		refuse(s, err);
		return;
	}
	COUNT(&s->worker->counters, query_responses);
	known = device_cache_find(s->worker->devices, s->domain->id,
	    s->key.thumbprint);
	if (!is_quiet(s, known)) {
		reload(s);
		return;
	}
	if (stamp_cmp(stamp_of(s), known->stamp) <= 0) {
		refuse(s,
		    stamp_cmp(stamp_of(s), known->stamp) == 0
		        ? TAM_REPLAYED
		        : TAM_STALE_ANSWER);
		return;
	}
	known->stamp = stamp_of(s);
	COUNT(&s->worker->counters, polls_cached);
	observe(s, known->version);
	answer_nothing(s);
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
		refuse(s, err);
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
		refuse(s, TAM_OVERLOADED);
		return;
	}
	call = device_load(s->worker->batch, s->arena, s->domain->id,
	    s->key.thumbprint, deadline(s), on_loaded, s);
	if (call == NULL) {
		refuse(s, TAM_DATABASE_BUSY);
		return;
	}
	wait_for(s, LOADING, call);
}

/* --- deciding ------------------------------------------------------------------------- */

/* What makes two Updates the same: their manifests and unlinks, in order. */
static void
hash_content(struct session *s)
{
	const struct policy_decision *d = &s->decision;
	struct slice *parts = arena_new_n(s->arena,
	    d->n_manifests + 2 * d->n_unlinks + 1, struct slice);
	size_t n = 0;

	for (size_t i = 0; i < d->n_manifests; i++)
		parts[n++] = d->manifests[i]->digest;
	parts[n++] = SLICE_LIT("unlink");
	for (size_t i = 0; i < d->n_unlinks; i++) {
		parts[n++] = SLICE_LIT("/");
		parts[n++] = d->unlinks[i];
	}
	cose_digest(s->worker->crypto, parts, n, s->content);
}

static struct policy_last
last_update(const struct session *s)
{
	const struct store_update *u = &s->device->update;

	return (struct policy_last){.same = u->id != 0 &&
	        memcmp(u->content, s->content, sizeof(s->content)) == 0,
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

static void
remember_quiet(struct session *s, int64_t version)
{
	device_cache_put(s->worker->devices,
	    &(struct cached_device){.domain_id = s->domain->id,
	        .id = s->device_id,
	        .version = version,
	        .key = s->key,
	        .active = true,
	        .quiet_epoch = s->domain->epoch,
	        .stamp = stamp_of(s),
	        .n_components = s->inventory.n,
	        .components = s->inventory.components});
	memcpy(device_cache_find(s->worker->devices, s->domain->id,
	           s->key.thumbprint)
	           ->inventory_hash,
	    s->inventory.hash, sizeof(s->inventory.hash));
}

/* The rows say already what the answer shows, and nothing is to do. */
static bool
changes_nothing(const struct session *s)
{
	const struct store_device *d = s->device;

	return !policy_has_work(&s->decision) && s->decision.n_shown == 0 &&
	    !d->open_work && d->has_hash && s->withdraw == 0 &&
	    memcmp(d->inventory_hash, s->inventory.hash,
	        sizeof(s->inventory.hash)) == 0;
}

static void
decide(struct session *s)
{
	struct policy_facts facts = policy_facts_of(s->arena, s->device,
	    &s->inventory, s->profile->update_max);

	s->decisions++;
	if (s->withdraw == 0 && stamp_cmp(stamp_of(s), s->device->stamp) <= 0) {
		refuse(s,
		    stamp_cmp(stamp_of(s), s->device->stamp) == 0
		        ? TAM_REPLAYED
		        : TAM_STALE_ANSWER);
		return;
	}
	policy_decide(s->domain->policy, &facts, s->arena, &s->decision);
	hash_content(s);
	s->pace = (struct policy_pace){0};
	if (policy_has_work(&s->decision)) {
		struct policy_last last = last_update(s);

		s->pace =
		    policy_pace(&last, s->decision.n_shown > 0, s->now_us);
	}
	/* At the last hop the session ends, whatever is left to do. */
	if (s->token.hop >= TOKEN_HOPS_MAX)
		s->pace.offer = false;
	if (changes_nothing(s)) {
		remember_quiet(s, s->device->version);
		observe(s, s->device->version);
		answer_nothing(s);
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

static int64_t
new_id(void)
{
	uint64_t id;

	crypto_random(&id, sizeof(id));
	return (int64_t)(id >> 1 | 1);
}

static enum tam_err send_update(struct session *);

/* Another epoch since we decided: nothing leaves that was decided under the
 * old one (DESIGN: snapshots are swapped whole). */
static bool
epoch_moved(struct session *s)
{
	struct tam_snapshot *now = s->worker->snapshot;
	const struct tam_domain *domain;

	if (now == s->snapshot)
		return false;
	domain = snapshot_find(now, slice_str(s->domain->name));
	if (domain == NULL)
		return false; /* the domain is gone: so is this session's */
	if (domain->epoch == s->domain->epoch)
		return false;
	(void)snapshot_ref(now);
	s->profile = domain_profile_by_id(domain, s->profile->wire_id);
	s->domain = domain;
	snapshot_unref(s->snapshot);
	s->snapshot = now;
	return true;
}

static void
on_applied(struct session *s, int64_t version)
{
	enum tam_err err;

	if (epoch_moved(s)) {
		if (s->update_id != 0)
			COUNT(&s->worker->counters, updates_withdrawn);
		s->withdraw = s->update_id != 0 ? s->update_id : -1;
		s->device = NULL;
		reload(s);
		return;
	}
	if (s->update_id == 0) {
		if (!policy_has_work(&s->decision) &&
		    s->decision.n_shown == 0 && !s->device->update.open)
			remember_quiet(s, version);
		answer_nothing(s);
		return;
	}
	fault_point(FAULT_AFTER_COMMIT);
	COUNT(&s->worker->counters, updates_committed);
	err = send_update(s);
	if (err != TAM_OK)
		refuse(s, err);
}

static void
on_promised(enum tam_err err, enum store_verdict verdict, int64_t version,
    void *arg)
{
	struct session *s = arg;

	s->pending = NULL;
	if (err != TAM_OK) {
		refuse(s, err);
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
		refuse(s, TAM_STALE_ANSWER);
		break;
	case STORE_REPLAYED:
		refuse(s, TAM_REPLAYED);
		break;
	case STORE_GONE:
	case STORE_UNKNOWN:
	case STORE_CLOSED:
	default:
		refuse(s, TAM_UNKNOWN_KEY);
	}
}

static void
fill_update(struct session *s, struct store_answer *a)
{
	a->update_id = s->update_id;
	a->opener = arena_dup(s->arena, s->message.token);
	a->content = s->content;
	a->n_manifests = s->decision.n_manifests;
	a->manifests = digests_of(s);
	a->n_adds = s->decision.n_adds;
	a->adds = adds_of(s);
	a->n_removes = s->decision.n_removes;
	a->removes = s->decision.removes;
	a->expires_us = s->now_us + s->worker->limits->update_life_us;
}

static void
promise(struct session *s)
{
	struct store_answer a = {.domain_id = s->domain->id,
	    .device_id = s->device_id,
	    .exchange = s->exchange_id = new_id(),
	    .stamp = stamp_of(s),
	    .now_us = s->now_us,
	    .version = s->device->version,
	    .epoch = s->domain->epoch,
	    .numbering = (int)s->form.numbering,
	    .hash = s->inventory.hash,
	    .n_components = s->inventory.n,
	    .components = s->inventory.components,
	    .n_shown = s->decision.n_shown,
	    .shown = s->decision.shown,
	    .reason = reason_of(s),
	    .withdraw = s->withdraw,
	    .opener = SLICE_LIT(""),
	    .content = s->content};
	struct batch_call *call;

	s->update_id = 0;
	if (policy_has_work(&s->decision) && s->pace.offer) {
		s->update_id = s->pace.again ? s->device->update.id : new_id();
		fill_update(s, &a);
	}
	fault_point(FAULT_BEFORE_COMMIT);
	device_cache_drop(s->worker->devices, s->domain->id, s->device_id);
	call = device_answer_query(s->worker->batch, &a, deadline(s),
	    on_promised, s);
	if (call == NULL) {
		refuse(s, TAM_DATABASE_BUSY);
		return;
	}
	wait_for(s, PROMISING, call);
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
	struct slice message, *manifests;
	enum tam_err err;

	err = token_mint_update(&s->snapshot->tokens, scope_of(s), &t,
	    s->update_id, clock_wall_us(), token);
	if (err != TAM_OK)
		return err;
	m.token = (struct slice){token, TOKEN_SIZE};
	manifests =
	    arena_new_n(s->arena, s->decision.n_manifests, struct slice);
	for (size_t i = 0; i < s->decision.n_manifests; i++)
		manifests[i] = s->decision.manifests[i]->envelope;
	if (s->decision.n_manifests > 0)
		m.present |= 1u << TEEP_OPT_MANIFEST_LIST;
	if (s->decision.n_unlinks > 0)
		m.present |= 1u << TEEP_OPT_UNNEEDED;
	m.n_manifests = s->decision.n_manifests;
	m.manifests = manifests;
	m.n_unneeded = s->decision.n_unlinks;
	m.unneeded = s->decision.unlinks;
	err =
	    reply_sign(s->worker, s->arena, s->domain, &s->form, &m, &message);
	if (err != TAM_OK)
		return err;
	answer_message(s, message);
	return TAM_OK;
}

/* --- Success and Error -------------------------------------------------------------------- */

static bool
wants_verification(const struct session *s, bool had_revocations)
{
	if (s->message.kind != TEEP_SUCCESS ||
	    s->token.hop + 1 >= TOKEN_HOPS_MAX)
		return false;
	return s->profile->verify == VERIFY_ALWAYS ||
	    (s->profile->verify == VERIFY_REVOCATIONS && had_revocations);
}

static void
ask_for_proof(struct session *s)
{
	struct slice message;

	if (opener_make(s->worker, s->arena, s->domain, s->profile,
	        (uint8_t)(s->token.hop + 1), &s->form, clock_wall_us(),
	        &message) != TAM_OK) {
		answer_nothing(s);
		return;
	}
	COUNT(&s->worker->counters, verify_requests);
	answer_message(s, message);
}

static void
on_concluded(enum tam_err err, enum store_verdict verdict, bool had_revocations,
    void *arg)
{
	struct session *s = arg;

	s->pending = NULL;
	if (err == TAM_OK && verdict == STORE_CLOSED)
		err = TAM_UPDATE_CLOSED;
	else if (err == TAM_OK && verdict != STORE_APPLIED)
		err = TAM_UNKNOWN_UPDATE;
	if (err != TAM_OK) {
		refuse(s, err);
		return;
	}
	fault_point(FAULT_AFTER_COMMIT);
	if (s->message.kind == TEEP_SUCCESS)
		COUNT(&s->worker->counters, successes);
	else
		COUNT(&s->worker->counters, errors);
	(void)epoch_moved(s);
	if (wants_verification(s, had_revocations))
		ask_for_proof(s);
	else
		answer_nothing(s);
}

/* What an operator wants to read about an Error, without the peer's bytes
 * becoming ours. */
static const char *
outcome_detail(struct session *s)
{
	const struct teep_message *m = &s->message;
	struct suit_report r;
	char text[200];

	if (m->kind == TEEP_SUCCESS)
		return "";
	if (m->n_reports > 0 &&
	    suit_report_decode(m->reports[0], s->arena, &r) == TAM_OK)
		return arena_printf(s->arena,
		    "%s section=%llu offset=%llu component=%llu reason=%llu %s",
		    teep_err_code_name(m->err_code),
		    (unsigned long long)r.section, (unsigned long long)r.offset,
		    (unsigned long long)r.component,
		    (unsigned long long)r.reason,
		    log_escape(m->err_msg, text, sizeof(text)));
	return arena_printf(s->arena, "%s %s", teep_err_code_name(m->err_code),
	    log_escape(m->err_msg, text, sizeof(text)));
}

static void
conclude(struct session *s)
{
	struct batch_call *call;

	if (s->token.kind != TOKEN_UPDATE) { /* an Error for a QueryRequest */
		COUNT(&s->worker->counters, errors);
		log_peer(LOG_LEVEL_INFO, "device_error", "device=%lld code=%s",
		    (long long)s->device_id,
		    teep_err_code_name(s->message.err_code));
		answer_nothing(s);
		return;
	}
	device_cache_drop(s->worker->devices, s->domain->id, s->device_id);
	fault_point(FAULT_BEFORE_COMMIT);
	call = device_answer_update(s->worker->batch,
	    &(struct store_outcome){.domain_id = s->domain->id,
	        .device_id = s->device_id,
	        .exchange = new_id(),
	        .update_id = token_update_id(&s->token),
	        .stamp = stamp_of(s),
	        .now_us = s->now_us,
	        .success = s->message.kind == TEEP_SUCCESS,
	        .err_code = s->message.err_code > INT32_MAX
	            ? INT32_MAX
	            : (int64_t)s->message.err_code,
	        .detail = outcome_detail(s)},
	    deadline(s), on_concluded, s);
	if (call == NULL) {
		refuse(s, TAM_DATABASE_BUSY);
		return;
	}
	wait_for(s, CONCLUDING, call);
}
