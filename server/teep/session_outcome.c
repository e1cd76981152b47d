#include "config.h"

#include "server/teep/session_steps.h"

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/codec/suit.h"
#include "server/teep/device_cache.h"
#include "server/teep/fault.h"
#include "server/worker.h"

/* A Success or an Error: it closes its own Update, once. */

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
		session_refuse(s, err);
		return;
	}
	fault_point(FAULT_AFTER_COMMIT);
	if (s->message.kind == TEEP_SUCCESS)
		COUNT(&s->worker->counters, successes);
	else
		COUNT(&s->worker->counters, errors);
	(void)session_epoch_moved(s);
	if (wants_verification(s, had_revocations)) {
		COUNT(&s->worker->counters, verify_requests);
		/* Where devices prove themselves, what is gone is proven too. */
		session_ask(s, s->profile->ask_attest, slice_none());
	} else {
		session_answer_nothing(s);
	}
}

/* What an operator wants to read about an Error, without the peer's bytes
 * becoming ours. */
static const char *
outcome_detail(struct session *s)
{
	const struct teep_message *m = &s->message;
	struct suit_opening opening = {s->domain->agree, s->domain->n_agree,
	    NULL};
	struct suit_report r;
	char text[200];

	if (m->kind == TEEP_SUCCESS)
		return "";
	if (m->n_reports > 0 &&
	    suit_report_open(m->reports[0], &opening, s->arena, &r) == TAM_OK)
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

void
session_conclude(struct session *s)
{
	struct batch_call *call;

	if (s->token.kind != TOKEN_UPDATE) {
		session_query_error(s);
		return;
	}
	device_cache_drop(s->worker->devices, s->domain->id, s->device_id);
	fault_point(FAULT_BEFORE_COMMIT);
	call = device_answer_update(s->worker->batch,
	    &(struct store_outcome){.domain_id = s->domain->id,
	        .device_id = s->device_id,
	        .exchange = session_new_id(),
	        .update_id = token_update_id(&s->token),
	        .stamp = session_stamp(s),
	        .now_us = s->now_us,
	        .success = s->message.kind == TEEP_SUCCESS,
	        .err_code = s->message.err_code > INT32_MAX
	            ? INT32_MAX
	            : (int64_t)s->message.err_code,
	        .detail = outcome_detail(s)},
	    session_deadline(s), on_concluded, s);
	if (call == NULL) {
		session_refuse(s, TAM_DATABASE_BUSY);
		return;
	}
	session_wait(s, SESSION_CONCLUDING, call);
}
