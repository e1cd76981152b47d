#include "config.h"

#include "server/teep/session_steps.h"

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "server/http/exchange.h"
#include "server/worker.h"

/*
 * An Error that answers a QueryRequest (section 7.1.2; CONFORMANCE 1.5, T53
 * to T56): what both sides can do is tried once more in the same session, the
 * hop number in the token ends every loop.
 *
 *	negotiation         freshness, version, suites: in common, or given up
 *	show_ourselves      a result about the TAM, for an agent that asks
 *	attest to plain     an agent that cannot attest may be known without
 *	all others          counted and logged; the agent comes again
 */

static bool
lists(const uint64_t *v, size_t n, uint64_t wanted)
{
	for (size_t i = 0; i < n; i++) {
		if (v[i] == wanted)
			return true;
	}
	return false;
}

/* A COSE_Sign1 by a key this domain has. */
static bool
choose_suite(struct session *s)
{
	for (size_t i = 0; i < s->message.n_suites; i++) {
		const struct teep_suite *suite = &s->message.suites[i];
		enum cose_curve curve;

		if (suite->n != 1 || suite->type[0] != COSE_TAG_SIGN1 ||
		    !cose_alg_curve(suite->alg[0], &curve) ||
		    !s->domain->has_key[curve])
			continue;
		s->form.curve = curve;
		s->form.deprecated = suite->alg[0] == COSE_ALG_ES256 ||
		    suite->alg[0] == COSE_ALG_EDDSA;
		return true;
	}
	return false;
}

static bool
asked_for_attestation(const struct session *s)
{
	return (s->token.items & TEEP_ITEM_ATTESTATION) != 0;
}

/* Whether there is something in common; sets the form it needs. */
static bool
negotiate(struct session *s)
{
	const struct teep_message *m = &s->message;

	switch (m->err_code) {
	case TEEP_ERR_UNSUPPORTED_FRESHNESS: /* a nonce is all we offer */
		return lists(m->freshness, m->n_freshness, 0);
	case TEEP_ERR_UNSUPPORTED_VERSION:
		return lists(m->versions, m->n_versions, 0);
	case TEEP_ERR_UNSUPPORTED_SUITES:
		return choose_suite(s);
	default:
		return false;
	}
}

static bool
is_negotiation(uint64_t code)
{
	return code == TEEP_ERR_UNSUPPORTED_FRESHNESS ||
	    code == TEEP_ERR_UNSUPPORTED_VERSION ||
	    code == TEEP_ERR_UNSUPPORTED_SUITES;
}

/* Operators must hear of these: agents no longer accept our key. */
static bool
is_our_key(uint64_t code)
{
	return code == TEEP_ERR_BAD_CERTIFICATE ||
	    code == TEEP_ERR_CERTIFICATE_EXPIRED;
}

/*
 * T53: the agent wants to know whom it talks to.  A result about this TAM's
 * key, by the Verifier of our own, with the agent's challenge; without one
 * there is nothing to show, and the session ends.
 */
static void
show_ourselves(struct session *s)
{
	const struct cose_key *tam = &s->domain->keys[s->form.curve].key;
	struct cose_signer *verifier = worker_verifier(s->worker, s->domain);
	struct eat_claims *c = arena_new(s->arena, struct eat_claims);
	uint8_t ueid[33] = {0x01};

	if (!s->domain->has_key[s->form.curve] || verifier == NULL) {
		session_answer_nothing(s);
		return;
	}
	memcpy(ueid + 1, tam->thumbprint, 32);
	c->has_cnf = true;
	memcpy(c->cnf_thumbprint, tam->thumbprint, sizeof(c->cnf_thumbprint));
	c->ueid = SLICE_OF(ueid);
	c->oemid = SLICE_LIT("tam");
	c->hwmodel = SLICE_LIT("tamd");
	c->hwversion = SLICE_LIT(PACKAGE_VERSION);
	session_ask(s, asked_for_attestation(s),
	    builtin_result(s->worker->crypto, verifier, s->domain, c,
	        s->message.challenge, s->now_us / CLOCK_SECOND, s->arena));
}

void
session_query_error(struct session *s)
{
	uint64_t code = s->message.err_code;

	COUNT(&s->worker->counters, errors);
	COUNT(&s->worker->counters, query_errors);
	log_peer(is_our_key(code) ? LOG_LEVEL_WARN : LOG_LEVEL_INFO,
	    "device_error", "device=%lld code=%s", (long long)s->device_id,
	    teep_err_code_name(code));
	if (code == TEEP_ERR_ATTESTATION_REQUIRED)
		show_ourselves(s);
	else if (is_negotiation(code) && negotiate(s))
		session_ask(s, asked_for_attestation(s), slice_none());
	else if (asked_for_attestation(s) && s->token.hop == 0 &&
	    !is_negotiation(code) && !is_our_key(code) &&
	    code != TEEP_ERR_TEMPORARY)
		session_ask(s, false, slice_none());
	else
		session_answer_nothing(s);
}
