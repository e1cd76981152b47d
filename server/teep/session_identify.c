#include "config.h"

#include "server/teep/session_steps.h"

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/codec/suit.h"
#include "server/teep/device_cache.h"
#include "server/worker.h"

enum {
	REPORTS_DECRYPTED_MAX = 8 /* of one message, a millisecond together */
};

/*
 * Who is it?  The kid is a hint: the key it leads to, in the cache or by
 * rows, must verify.  From then on the peer is a device.
 */

static void verify(struct session *);

/* --- identifying ------------------------------------------------------------------ */

static const struct cached_device *
find_cached(const struct session *s, struct slice kid)
{
	return kid.n != COSE_THUMBPRINT_SIZE
	    ? NULL
	    : device_cache_find(s->worker->devices, s->domain->id, kid.p);
}

/* A device was found by its key, or the key that is named is cached. */
static enum failure_by
failure_by(const struct session *s)
{
	return s->device_id != 0 ||
	        find_cached(s, s->cose.signatures[0].kid) != NULL
	    ? FAILURE_BY_KNOWN
	    : FAILURE_BY_STRANGER;
}

void
session_strike(struct session *s, unsigned n)
{
	int64_t now_us = clock_mono_us();

	failures_charge(s->worker->failures, s->source, failure_by(s), n,
	    now_us);
	failures_strike(s->worker->failures, s->source, s->handle, now_us);
}

bool
session_may_fail(struct session *s)
{
	return failures_allow(s->worker->failures, s->source, failure_by(s),
	    clock_mono_us());
}

/* Goes on to the signature, which is the device's to have made. */
static void
verify_as(struct session *s, const struct store_device *device)
{
	s->device = device;
	s->device_id = device->id;
	s->certified = device->certified;
	verify(s);
}

/* A device whose key is known: the hint was right if it verifies. */
static void
on_identified(enum tam_err err, const struct store_device *device, void *arg)
{
	struct session *s = arg;

	s->pending = NULL;
	if (err == TAM_OK && device == NULL && s->leaf != NULL &&
	    s->domain->enrols_certified) {
		session_enrol_certified(s, s->leaf);
		return;
	}
	if (err == TAM_OK && device == NULL && session_may_enrol(s)) {
		session_enrol(s);
		return;
	}
	if (err == TAM_OK && device == NULL) {
		session_strike(s, 1);
		err = TAM_UNKNOWN_KEY;
	}
	if (err == TAM_OK && !device->active)
		err = TAM_DEVICE_REFUSED;
	if (err == TAM_OK)
		err = cose_key_make(&s->key,
		    device->p256 ? COSE_P256 : COSE_ED25519,
		    device->public_key);
	if (err != TAM_OK) {
		session_refuse(s, err);
		return;
	}
	verify_as(s, device);
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
		session_refuse(s, err);
		return;
	}
	if (device == NULL || !device->active ||
	    cose_key_make(&s->key, device->p256 ? COSE_P256 : COSE_ED25519,
	        device->public_key) != TAM_OK ||
	    session_check_signature(s) != TAM_OK) {
		s->n_tried++;
		try_candidate(s);
		return;
	}
	verify_as(s, device);
}

static void
try_candidate(struct session *s)
{
	struct batch_call *call;

	if (s->n_candidates == 0) { /* each key tried was a failure */
		session_strike(s, s->n_tried + 1);
		session_refuse(s, TAM_UNKNOWN_KEY);
		return;
	}
	call = device_load(s->worker->batch, s->arena, s->domain->id,
	    s->candidates->p, session_deadline(s), on_candidate, s);
	s->candidates++;
	s->n_candidates--;
	if (call == NULL) {
		session_refuse(s, TAM_DATABASE_BUSY);
		return;
	}
	session_wait(s, SESSION_IDENTIFYING, call);
}

static void
on_candidates(enum tam_err err, const struct slice *keys, size_t n, void *arg)
{
	struct session *s = arg;

	s->pending = NULL;
	if (err != TAM_OK) {
		session_refuse(s, err);
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

	if (!session_may_fail(s)) {
		session_refuse(s, TAM_BUDGET_SPENT);
		return;
	}
	call = device_candidates(s->worker->batch, s->arena, s->domain->id,
	    session_deadline(s), on_candidates, s);
	if (call == NULL) {
		session_refuse(s, TAM_DATABASE_BUSY);
		return;
	}
	session_wait(s, SESSION_IDENTIFYING, call);
}

static void
load_by_key(struct session *s, const uint8_t *thumbprint, device_load_cb cb)
{
	struct batch_call *call = device_load(s->worker->batch, s->arena,
	    s->domain->id, thumbprint, session_deadline(s), cb, s);

	if (call == NULL)
		session_refuse(s, TAM_DATABASE_BUSY);
	else
		session_wait(s, SESSION_IDENTIFYING, call);
}

/*
 * Key choice (CONFORMANCE 5.1): a chain whose leaf is protected goes before
 * the kid.  Where the domain has CAs it must hold, whether the key is known or
 * not: a certificate that ran out or was revoked is no key of a device.
 */
static enum tam_err
check_chain(struct session *s)
{
	const struct cose_signature *sig = &s->cose.signatures[0];
	struct x509_leaf *leaf;
	const char *why;
	enum tam_err err;

	if (sig->n_certs == 0 || s->domain->cas == NULL)
		return TAM_OK;
	if (!session_may_fail(s))
		return TAM_BUDGET_SPENT;
	leaf = arena_new(s->arena, struct x509_leaf);
	err = x509_verify(s->domain->cas, sig->certs, sig->n_certs,
	    s->now_us / CLOCK_SECOND, leaf, &why);
	if (err == TAM_OK) {
		s->leaf = leaf;
		return TAM_OK;
	}
	log_peer(LOG_LEVEL_WARN, "certificate_refused", "domain=%s why=\"%s\"",
	    s->domain->name, why);
	session_strike(s, 1);
	return err;
}

void
session_identify(struct session *s)
{
	struct slice kid = s->cose.signatures[0].kid;
	const struct cached_device *known;
	enum tam_err err = check_chain(s);

	if (err != TAM_OK) {
		session_refuse(s, err);
		return;
	}
	if (s->leaf != NULL)
		kid = SLICE_OF(s->leaf->key.thumbprint);

	if (kid.n != COSE_THUMBPRINT_SIZE) {
		find_candidates(s);
		return;
	}
	known = find_cached(s, kid);
	if (known != NULL) {
		s->key = known->key;
		s->device_id = known->id;
		s->certified = known->certified;
		verify(s);
		return;
	}
	if (!session_may_fail(
	        s)) { /* a stranger costs the database a look-up */
		session_refuse(s, TAM_BUDGET_SPENT);
		return;
	}
	load_by_key(s, kid.p, on_identified);
}

/* Enrolled a moment ago, or not active after all. */
static void
on_identified_again(enum tam_err err, const struct store_device *device,
    void *arg)
{
	struct session *s = arg;

	if (err == TAM_OK && device == NULL) {
		s->pending = NULL;
		session_refuse(s, TAM_UNKNOWN_KEY);
		return;
	}
	on_identified(err, device, arg);
}

void
session_identify_again(struct session *s)
{
	load_by_key(s, s->key.thumbprint, on_identified_again);
}

/* --- verifying --------------------------------------------------------------------- */

enum tam_err
session_check_signature(struct session *s)
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

	if (!session_may_fail(s))
		return TAM_BUDGET_SPENT;
	err = session_check_signature(s);
	if (err != TAM_OK)
		session_strike(s, 1);
	return err;
}

/*
 * T30, T50: reports must answer this very token; what cannot be read is passed
 * over (E13).  A message with more encrypted reports than are opened is refused
 * whole: each costs a key agreement, and none may go unchecked.
 */
static enum tam_err
check_reports(struct session *s)
{
	size_t left = REPORTS_DECRYPTED_MAX;
	struct suit_opening opening = {s->domain->agree, s->domain->n_agree,
	    &left};

	for (size_t i = 0; s->message.token.n > 0 && i < s->message.n_reports;
	     i++) {
		struct suit_report r;
		enum tam_err err = suit_report_open(s->message.reports[i],
		    &opening, s->arena, &r);

		if (err == TAM_TOO_LARGE)
			return err;
		if (err == TAM_OK && !slice_eq(r.nonce, s->message.token))
			return TAM_REPORT_NONCE;
	}
	return TAM_OK;
}

/* T28: a known device that answers nothing is asked. */
static void
ask_again(struct session *s)
{
	struct reply reply;
	enum tam_err err;

	counter_bump(&s->worker->counters.drops[TAM_UNSOLICITED]);
	if (!budget_take(&s->worker->openers, clock_mono_us())) {
		session_refuse(s, TAM_OVERLOADED);
		return;
	}
	err = opener_make(s->worker, s->exchange, s->domain, s->profile,
	    &(struct opener_ask){.attest = s->profile->ask_attest,
	        .known = &s->form},
	    s->now_us, &reply);
	if (err != TAM_OK)
		session_refuse(s, err);
	else
		session_answer_signed(s, &reply);
}

static void
go_on(struct session *s)
{
	bool query = s->message.kind == TEEP_QUERY_RESPONSE;
	enum tam_err reports = s->handle.n == 0 ? TAM_OK : check_reports(s);

	if (s->handle.n == 0) {
		ask_again(s);
	} else if (reports == TAM_TOO_LARGE) {
		session_refuse(s, reports);
	} else if (reports != TAM_OK) {
		counter_bump(&s->worker->counters.drops[TAM_REPORT_NONCE]);
		if (query)
			session_answer_error(s, TEEP_ERR_PERMANENT,
			    "a SUIT report's nonce is not the token");
		else
			session_answer_nothing(s);
	} else if (query) {
		session_attest(s);
	} else {
		session_conclude(s);
	}
}

static void
verify(struct session *s)
{
	enum tam_err err = verify_within_budget(s);

	if (err == TAM_OK && s->certified && s->leaf == NULL)
		err = TAM_CERT_MISSING;
	if (err != TAM_OK) {
		session_refuse(s, err);
		return;
	}
	s->form.numbering = s->message.numbering;
	s->form.curve = s->key.curve;
	s->form.send_kid = s->profile->send_kid;
	s->form.kid = (struct slice){s->profile->kid, s->profile->kid_n};
	go_on(s);
}
