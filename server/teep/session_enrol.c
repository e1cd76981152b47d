#include "config.h"

#include "server/teep/session_steps.h"

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "server/http/exchange.h"
#include "server/worker.h"

/*
 * First contact of a key nobody knows, where the domain lets a Verifier vouch
 * for it (DESIGN: who a device is):
 *
 *	session_may_enrol   is there a result, or Evidence, to be vouched for by
 *	session_enrol       it is appraised before the TEEP signature, because it
 *	                    brings the key that signature is checked with
 *	vouched             the key is whole, is the kid's, and signed the message
 *	on_enrolled         a row, new or not; from here on it is a known device
 *
 * A result that only confirms a thumbprint introduces nobody.
 *
 * Where a CA vouches for devices, the chain of the message does
 * (session_enrol_certified): it was verified, and so was the signature.
 */

bool
session_may_enrol(const struct session *s)
{
	return s->domain->enrols_attested &&
	    s->message.kind == TEEP_QUERY_RESPONSE && s->handle.n > 0 &&
	    (s->token.items & TEEP_ITEM_ATTESTATION) != 0 &&
	    s->message.payload.n > 0 && s->domain->n_verifiers > 0;
}

static void
refuse(struct session *s, enum tam_err err)
{
	session_strike(s, 1);
	session_refuse(s, err);
}

static void
on_enrolled(enum tam_err err, enum store_enrolled verdict, void *arg)
{
	struct session *s = arg;

	s->pending = NULL;
	if (err != TAM_OK) {
		session_refuse(s, err);
		return;
	}
	switch (verdict) {
	case STORE_ENROL_KNOWN:
	case STORE_ENROL_CREATED:
	case STORE_ENROL_REKEYED:
		COUNT(&s->worker->counters, enrolments);
		session_identify_again(s);
		break;
	case STORE_ENROL_PENDING:
	case STORE_ENROL_REFUSED:
	default:
		COUNT(&s->worker->counters, enrolments_refused);
		session_refuse(s, TAM_DEVICE_REFUSED);
	}
}

/* Asks for what is given; whose domain and when is the session's. */
static void
enrol(struct session *s, struct store_enrol wanted)
{
	struct batch_call *call;

	wanted.domain_id = s->domain->id;
	wanted.now_us = s->now_us;
	call = device_enrol(s->worker->batch, &wanted, session_deadline(s),
	    on_enrolled, s);
	if (call == NULL)
		session_refuse(s, TAM_DATABASE_BUSY);
	else
		session_wait(s, SESSION_IDENTIFYING, call);
}

static void
enrol_attested(struct session *s, const struct eat_claims *c)
{
	enrol(s,
	    (struct store_enrol){.how = "attested",
	        .name = "",
	        .thumbprint = c->cnf_thumbprint,
	        .p256 = c->cnf_key.curve == COSE_P256,
	        .public_key = cose_key_pub(&c->cnf_key),
	        .oemid = c->oemid,
	        .ueid = c->ueid});
}

/* The result holds; is it about who sent this, and does it say who that is? */
static void
vouched(struct session *s, const struct eat_claims *c)
{
	struct slice kid = s->cose.signatures[0].kid;

	if (!c->cnf_whole || !slice_eq(kid, SLICE_OF(c->cnf_thumbprint))) {
		refuse(s, TAM_ATTEST_BINDING);
		return;
	}
	if (c->ueid.n == 0) {
		refuse(s, TAM_ATTEST_CLAIMS);
		return;
	}
	s->key = c->cnf_key;
	if (session_check_signature(s) != TAM_OK)
		refuse(s, TAM_BAD_SIGNATURE);
	else
		enrol_attested(s, c);
}

static void
appraise_first(struct session *s, struct slice result, enum eat_kind kind)
{
	struct eat_claims *c = arena_new(s->arena, struct eat_claims);
	const struct verifier *v;
	enum tam_err err = session_appraise(s, result, kind, NULL, c, &v);

	if (err != TAM_OK)
		refuse(s, err);
	else
		vouched(s, c);
}

static void
on_appraised(enum tam_err err, struct slice result, void *arg)
{
	struct session *s = arg;

	s->appraising = NULL;
	(void)session_epoch_moved(s);
	if (err != TAM_OK)
		session_refuse(s, err);
	else
		appraise_first(s, result, EAT_EAR_JWT);
}

void
session_enrol(struct session *s)
{
	struct verifier_call *call;
	enum eat_kind kind;
	enum tam_err err = session_open_payload(s);

	if (err != TAM_OK) {
		session_refuse(s, err);
		return;
	}
	kind = eat_kind_of(s->message.payload_format, s->domain->teep_profile);
	if (kind != EAT_EVIDENCE) {
		appraise_first(s, s->message.payload, kind);
		return;
	}
	call = session_ask_verifier(s, on_appraised);
	if (call == NULL)
		session_refuse(s, TAM_VERIFIER_DOWN);
	else
		session_wait_for_verifier(s, call);
}

void
session_enrol_certified(struct session *s, const struct x509_leaf *leaf)
{
	s->key = leaf->key;
	if (session_check_signature(s) != TAM_OK) {
		refuse(s, TAM_BAD_SIGNATURE);
		return;
	}
	enrol(s,
	    (struct store_enrol){.how = "ca",
	        .name = leaf->name,
	        .thumbprint = leaf->key.thumbprint,
	        .p256 = leaf->key.curve == COSE_P256,
	        .public_key = cose_key_pub(&leaf->key),
	        .oemid = SLICE_OF(leaf->issuer),
	        .ueid = {leaf->serial, leaf->serial_n}});
}
