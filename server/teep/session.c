#include "config.h"

#include "server/teep/session_steps.h"

#include <assert.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "server/http/exchange.h"
#include "server/http/server.h"
#include "server/teep/challenges.h"
#include "server/teep/transport.h"
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
 *	enrol               or a Verifier vouches for a key nobody knows
 *	verify              the signature; from here on the peer is a device
 *	QueryResponse:
 *	  attest            what was presented is appraised, if it was asked for
 *	  observe           nothing new, as far as the cache knows: 204 at once
 *	  reload            else the rows are read, on_loaded
 *	  decide            policy: nothing, not yet, or an Update
 *	  promise           what was learnt or is promised is committed,
 *	  on_promised       then it is answered, if the epoch is still the same
 *	Success, Error:
 *	  conclude          the outcome is committed, on_concluded answers
 * What is signed by a key in an HSM waits for it in session_answer_signed.
 *
 * The steps up to the signature are in session_identify.c, appraisal is
 * session_attest.c's, an Error to a QueryRequest session_error.c's, a
 * QueryResponse session_query.c's, a Success or Error session_outcome.c's.
 *
 * A session waits for one thing at a time, s->pending, and lives in the arena
 * of its exchange: answering ends both.
 */

static void receive(struct session *);

/* The only writer of s->state; the table is the state machine. */
static void
set_state(struct session *s, enum session_state next)
{
	static const unsigned allowed_from[] = {
	    [SESSION_RECEIVED] = 0,
	    [SESSION_IDENTIFYING] = 1u << SESSION_RECEIVED |
	        1u << SESSION_IDENTIFYING | 1u << SESSION_ATTESTING,
	    [SESSION_ATTESTING] =
	        1u << SESSION_RECEIVED | 1u << SESSION_IDENTIFYING,
	    [SESSION_LOADING] = 1u << SESSION_RECEIVED |
	        1u << SESSION_IDENTIFYING | 1u << SESSION_ATTESTING |
	        1u << SESSION_PROMISING | 1u << SESSION_SIGNING,
	    [SESSION_PROMISING] = 1u << SESSION_IDENTIFYING |
	        1u << SESSION_ATTESTING | 1u << SESSION_LOADING,
	    [SESSION_CONCLUDING] =
	        1u << SESSION_RECEIVED | 1u << SESSION_IDENTIFYING,
	    [SESSION_SIGNING] = 1u << SESSION_RECEIVED |
	        1u << SESSION_IDENTIFYING | 1u << SESSION_ATTESTING |
	        1u << SESSION_LOADING | 1u << SESSION_PROMISING |
	        1u << SESSION_CONCLUDING,
	    [SESSION_ANSWERED] = 1u << SESSION_RECEIVED |
	        1u << SESSION_IDENTIFYING | 1u << SESSION_ATTESTING |
	        1u << SESSION_LOADING | 1u << SESSION_PROMISING |
	        1u << SESSION_CONCLUDING | 1u << SESSION_SIGNING,
	};

	assert(allowed_from[next] & 1u << s->state);
	s->state = next;
}

void
session_wait(struct session *s, enum session_state next,
    struct batch_call *call)
{
	set_state(s, next);
	s->pending = call;
}

void
session_wait_for_verifier(struct session *s, struct verifier_call *call)
{
	set_state(s, SESSION_ATTESTING);
	s->appraising = call;
}

/*
 * Whether what was decided when the session began, or before it waited, may
 * still leave: the lease goes on, and no other epoch is served.  A node that
 * was stopped meanwhile must not say what a revocation forbids by now.
 */
static bool
may_leave(const struct session *s)
{
	const struct worker *w = s->worker;
	const struct tam_domain *now;

	if (!teep_has_lease(w))
		return false;
	if (w->snapshot == s->snapshot)
		return true;
	now = snapshot_find(w->snapshot, slice_str(s->domain->name));
	return now != NULL && now->incarnation == s->domain->incarnation &&
	    now->epoch == s->domain->epoch;
}

/* Ends the session: callers return without touching it again. */
static void
finish(struct session *s, const struct http_response *response)
{
	static const struct http_response too_late = {.status = 503,
	    .retry_after_s = HTTP_RETRY_AFTER_S};

	assert(
	    s->pending == NULL && s->appraising == NULL && s->signing == NULL);
	if (response->status < 300 && !may_leave(s)) {
		COUNT(&s->worker->counters, answers_late);
		response = &too_late;
	}
	set_state(s, SESSION_ANSWERED);
	snapshot_unref(s->snapshot);
	GAUGE(&s->worker->counters, sessions, -1);
	http_answer(s->exchange, response);
}

void
session_answer_nothing(struct session *s)
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
 * The draft drops what a TAM cannot accept (section 4.1.2).  What an agent is
 * to conclude from the answer stands beside each reason in err.h.
 */
void
session_refuse(struct session *s, enum tam_err err)
{
	char path[64];

	counter_bump(&s->worker->counters.drops[err]);
	log_peer(LOG_LEVEL_INFO, "dropped", "reason=%s request=%llu path=%s",
	    tam_err_name(err), (unsigned long long)s->exchange->id,
	    log_escape(s->exchange->path, path, sizeof(path)));
	switch (tam_err_answer(err)) {
	case TAM_ANSWER_DROP:
		session_answer_nothing(s);
		break;
	case TAM_ANSWER_REFUSE:
		finish(s, &(struct http_response){.status = 413});
		break;
	case TAM_ANSWER_LATER:
	case TAM_ANSWER_NONE:
	default:
		finish(s,
		    &(struct http_response){.status = 503,
		        .retry_after_s = HTTP_RETRY_AFTER_S});
	}
}

/* The peer hung up.  What was sent to the database goes on being written. */
static void
on_abandon(struct http_exchange *x, void *arg)
{
	struct session *s = arg;

	(void)x;
	if (s->pending != NULL)
		batch_forget(s->pending);
	if (s->appraising != NULL)
		verifier_cancel(s->appraising);
	if (s->signing != NULL)
		hsm_forget(s->signing);
	s->pending = NULL;
	s->appraising = NULL;
	s->signing = NULL;
	snapshot_unref(s->snapshot);
	GAUGE(&s->worker->counters, sessions, -1);
}

struct token_scope
session_scope(const struct session *s)
{
	return (struct token_scope){s->domain->incarnation, s->domain->id};
}

int64_t
session_deadline(const struct session *s)
{
	return clock_mono_us() + s->worker->limits->deadline_us;
}

struct stamp
session_stamp(const struct session *s)
{
	return (struct stamp){s->token.epoch, s->token.issued_us};
}

int64_t
session_new_id(void)
{
	uint64_t id;

	crypto_random(&id, sizeof(id));
	return (int64_t)(id >> 1 | 1);
}

/* --- signatures by an HSM --------------------------------------------------------- */

static void
on_signed(enum tam_err err, uint8_t (*signatures)[COSE_SIGNATURE_SIZE],
    void *arg)
{
	struct session *s = arg;

	s->signing = NULL;
	if (err != TAM_OK) {
		COUNT(&s->worker->counters, hsm_failures);
		session_refuse(s, err);
		return;
	}
	if (s->promised && session_epoch_moved(s)) {
		session_withdraw(s);
		return;
	}
	answer_message(s, reply_complete(&s->reply, s->arena, signatures));
}

/* Openers, which anybody can ask for, are the first to be shed. */
void
session_answer_signed(struct session *s, const struct reply *reply)
{
	struct hsm_ask asks[HSM_SIGNATURES_MAX];

	if (reply->n == 0) {
		answer_message(s, reply->message);
		return;
	}
	s->reply = *reply;
	for (size_t i = 0; i < reply->n; i++)
		asks[i] = (struct hsm_ask){reply->uris[i], reply->blanks[i].key,
		    reply->blanks[i].message};
	s->signing = hsm_sign(s->worker->hsm, asks, reply->n,
	    s->state == SESSION_RECEIVED,
	    clock_mono_us() + s->worker->limits->hsm_us, on_signed, s);
	if (s->signing == NULL) {
		session_refuse(s, TAM_HSM_DOWN);
		return;
	}
	COUNT(&s->worker->counters, hsm_calls);
	set_state(s, SESSION_SIGNING);
}

/* Another epoch since we decided: nothing leaves that was decided under the
 * old one (DESIGN: snapshots are swapped whole). */
bool
session_epoch_moved(struct session *s)
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
	s->form.kid = (struct slice){s->profile->kid, s->profile->kid_n};
	s->domain = domain;
	snapshot_unref(s->snapshot);
	s->snapshot = now;
	return true;
}

/* --- an empty POST -------------------------------------------------------------- */

static void
open_session(struct session *s)
{
	struct reply reply;
	enum tam_err err;

	if (!budget_take(&s->worker->openers, clock_mono_us())) {
		COUNT(&s->worker->counters, openers_shed);
		session_refuse(s, TAM_OVERLOADED);
		return;
	}
	err = opener_make(s->worker, s->exchange, s->domain, s->profile,
	    &(struct opener_ask){.attest = s->profile->ask_attest}, s->now_us,
	    &reply);
	if (err != TAM_OK) {
		session_refuse(s, err);
		return;
	}
	COUNT(&s->worker->counters, openers);
	session_answer_signed(s, &reply);
}

/* One QueryRequest more in the same HTTP session; at the last hop it ends. */
void
session_ask(struct session *s, bool attest, struct slice own_result)
{
	struct reply reply;
	enum tam_err err;

	if (s->token.hop + 1 >= TOKEN_HOPS_MAX) {
		session_answer_nothing(s);
		return;
	}
	err = opener_make(s->worker, s->exchange, s->domain, s->profile,
	    &(struct opener_ask){.hop = (uint8_t)(s->token.hop + 1),
	        .attest = attest,
	        .own_result = own_result,
	        .known = &s->form},
	    clock_cluster_us(), &reply);
	if (err != TAM_OK)
		session_refuse(s, err);
	else
		session_answer_signed(s, &reply);
}

/* An Update that promises nothing, so it is no row; an answer to it matches
 * none. */
static void
answer_without_promise(struct session *s, struct teep_message *m)
{
	struct token t = {.hop = s->token.hop,
	    .wire_id = s->profile->wire_id,
	    .epoch = s->domain->epoch};
	uint8_t *token = arena_alloc(s->arena, TOKEN_SIZE);
	struct reply reply;
	enum tam_err err = token_mint_update(&s->snapshot->tokens,
	    session_scope(s), &t, session_new_id(), clock_cluster_us(), token);

	m->kind = TEEP_UPDATE;
	m->numbering = s->form.numbering;
	m->present |= 1u << TEEP_OPT_TOKEN;
	m->token = (struct slice){token, TOKEN_SIZE};
	if (err == TAM_OK)
		err = reply_sign(s->worker, s->arena, s->domain, &s->form, m,
		    &reply);
	if (err != TAM_OK)
		session_refuse(s, err);
	else
		session_answer_signed(s, &reply);
}

/* Section 7.1.1: what is wrong with a QueryResponse, told in an Update. */
void
session_answer_error(struct session *s, uint64_t code, const char *text)
{
	struct teep_message m = {.present = 1u << TEEP_OPT_ERR_CODE |
	        1u << TEEP_OPT_ERR_MSG | 1u << TEEP_OPT_ERR_LANG,
	    .err_code = code,
	    .err_msg = slice_str(text),
	    .err_lang = SLICE_LIT("en")};

	COUNT(&s->worker->counters, error_updates);
	answer_without_promise(s, &m);
}

/* T40: what the Verifier made of the Evidence, for the agent to show again;
 * or nothing, and when to come again if a policy says so (RFC 9110, 10.2.3). */
void
session_answer_quiet(struct session *s)
{
	struct teep_message m = {.present = 1u << TEEP_OPT_PAYLOAD,
	    .payload = s->passport};

	if (s->passport.n == 0) {
		finish(s,
		    &(struct http_response){.status = 204,
		        .retry_after_s = s->poll_s});
		return;
	}
	if (s->passport_format.n > 0) {
		m.present |= 1u << TEEP_OPT_PAYLOAD_FORMAT;
		m.payload_format = s->passport_format;
	}
	COUNT(&s->worker->counters, passports);
	answer_without_promise(s, &m);
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
	s->now_us = clock_cluster_us();
	s->source = http_share_of(x);
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

/*
 * T27: without a token the challenge is the handle: the nonce of what was
 * presented, read here only to find which question it answers; or, of what
 * carries no nonce we can read, the newest of the connection.
 */
static enum tam_err
find_handle(struct session *s)
{
	struct slice nonce = slice_none();
	enum tam_err err;

	s->handle = s->message.token;
	if (s->handle.n > 0 || s->message.kind == TEEP_SUCCESS)
		return TAM_OK;
	if (s->message.kind == TEEP_QUERY_RESPONSE) {
		if (s->message.payload.n == 0)
			return TAM_OK;
		err = session_open_payload(s);
		if (err != TAM_OK)
			return err;
		nonce = eat_peek_nonce(s->message.payload, s->arena);
	}
	s->handle =
	    nonce.n == TOKEN_SIZE ? nonce : challenges_newest(s->exchange);
	return TAM_OK;
}

static enum tam_err
check_token(struct session *s)
{
	enum tam_err err = find_handle(s);

	if (err != TAM_OK)
		return err;
	if (s->handle.n == 0)
		return s->message.kind == TEEP_QUERY_RESPONSE &&
		        s->message.payload.n == 0
		    ? TAM_OK /* unsolicited: no question of ours */
		    : TAM_TOKEN_MISSING;
	err = token_check(&s->snapshot->tokens, session_scope(s), s->handle,
	    s->now_us, &s->token);
	if (err != TAM_OK)
		return err;
	if (failures_is_struck(s->worker->failures, s->source, s->handle,
	        clock_mono_us()))
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
		session_refuse(s, err);
		return;
	}
	if (s->handle.n > 0)
		s->profile = domain_profile_by_id(s->domain, s->token.wire_id);
	session_identify(s);
}
