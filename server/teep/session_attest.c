#include "config.h"

#include "server/teep/session_steps.h"

#include <string.h>
#include <strings.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/codec/cose_encrypt.h"
#include "server/http/exchange.h"
#include "server/teep/device_cache.h"
#include "server/teep/result_cache.h"
#include "server/worker.h"

/*
 * What a device presents as proof (section 7.1.1; CONFORMANCE T32 to T38):
 *
 *	session_attest        was it asked for, is it there
 *	session_open_payload  decrypted, once
 *	session_appraise      a result: who signed it, and what it says
 *	affirm, fail          the outcome; policy decides what follows from it
 */

enum {
	CLOCK_SKEW_S = 60 /* between us, the Verifiers and the devices */
};

bool
session_may_attest(const struct session *s)
{
	return s->token.hop == 0 &&
	    (s->token.items & TEEP_ITEM_ATTESTATION) == 0 &&
	    (s->domain->n_verifiers > 0 || s->domain->n_endorsements > 0);
}

/* --- the outcome ------------------------------------------------------------------- */

/* False when the queue is full: the cache must not say that the row is there,
 * so the session goes no further. */
static bool
remember(struct session *s, const struct store_attestation *a)
{
	const struct cached_device *known =
	    device_cache_find(s->worker->devices, s->domain->id,
	        s->key.thumbprint);

	if (known != NULL && known->attestation == s->attestation &&
	    memcmp(known->attest_hash, s->attest_hash,
	        sizeof(s->attest_hash)) == 0)
		return true; /* the row says so already */
	return device_attested(s->worker->batch, a);
}

static struct store_attestation
row_of(const struct session *s)
{
	return (struct store_attestation){.domain_id = s->domain->id,
	    .device_id = s->device_id,
	    .stamp = session_stamp(s),
	    .at_us = s->now_us,
	    .reason = "",
	    .verifier = ""};
}

static void
affirm(struct session *s, const struct verifier *v, const struct eat_claims *c)
{
	struct store_attestation a = row_of(s);
	uint8_t tier = (uint8_t)c->tier;
	const struct slice parts[] = {slice_str(v->name), {&tier, 1}, c->oemid,
	    SLICE_LIT("/"), c->ueid, SLICE_LIT("/"), c->hwmodel, SLICE_LIT("/"),
	    c->hwversion};

	a.affirmed = true;
	a.verifier = v->name;
	a.tier = c->is_ear ? (int64_t)c->tier : EAR_AFFIRMING;
	a.oemid = c->oemid;
	a.ueid = c->ueid;
	a.hwmodel = c->hwmodel;
	a.hwversion = c->hwversion;
	cose_digest(s->worker->crypto, parts, sizeof(parts) / sizeof(parts[0]),
	    s->attest_hash);
	s->attestation = POLICY_ATTESTED;
	s->appraisal =
	    (struct selector_appraisal){.result = SLICE_LIT("affirmed"),
	        .verifier = arena_dup(s->arena, slice_str(v->name)),
	        .oemid = c->oemid,
	        .ueid = c->ueid,
	        .hwmodel = c->hwmodel,
	        .hwversion = c->hwversion,
	        .tier = a.tier,
	        .at_us = s->now_us};
	if (!remember(s, &a)) {
		session_refuse(s, TAM_DATABASE_BUSY);
		return;
	}
	COUNT(&s->worker->counters, attestations);
	session_query_response(s);
}

static void
fail(struct session *s, enum tam_err err)
{
	struct store_attestation a = row_of(s);

	counter_bump(&s->worker->counters.drops[err]);
	COUNT(&s->worker->counters, attestations_failed);
	log_peer(LOG_LEVEL_INFO, "attestation_failed",
	    "reason=%s device=%lld request=%llu", tam_err_name(err),
	    (long long)s->device_id, (unsigned long long)s->exchange->id);
	a.reason = tam_err_name(err);
	s->attestation = POLICY_ATTEST_FAILED;
	s->appraisal.result = SLICE_LIT("failed");
	s->appraisal.at_us = s->now_us;
	if (!remember(s, &a)) {
		session_refuse(s, TAM_DATABASE_BUSY);
		return;
	}
	session_query_response(s);
}

/* --- results -------------------------------------------------------------------------- */

/* T34.  A kid that names one of our Verifiers saves trying the others. */
static enum tam_err
find_signer(const struct session *s, const struct eat_token *t, size_t *which)
{
	const struct tam_domain *d = s->domain;
	struct slice kid = slice_none();

	if (t->kind != EAT_EAR_JWT)
		kid = t->cose.signatures[0].kid;
	for (size_t i = 0; i < d->n_verifiers; i++) {
		const struct verifier *v = &d->verifiers[i];

		if (kid.n == COSE_THUMBPRINT_SIZE &&
		    !slice_eq(kid, SLICE_OF(v->key.thumbprint)))
			continue;
		if (eat_verify(s->worker->crypto, t, &v->key, 1) == TAM_OK) {
			*which = i;
			return TAM_OK;
		}
	}
	return TAM_ATTEST_UNTRUSTED;
}

static enum tam_err
check_signer(const struct session *s, struct slice result,
    const struct eat_token *t, size_t *which)
{
	struct result_key key = {.domain_id = s->domain->id,
	    .epoch = s->domain->epoch};
	enum tam_err err;

	cose_digest(s->worker->crypto, &result, 1, key.digest);
	if (result_cache_find(s->worker->results, &key, which) &&
	    *which < s->domain->n_verifiers) {
		COUNT(&s->worker->counters, attestations_cached);
		return TAM_OK;
	}
	err = find_signer(s, t, which);
	if (err == TAM_OK)
		result_cache_put(s->worker->results, &key, *which);
	return err;
}

enum tam_err
session_appraise(struct session *s, struct slice result, enum eat_kind kind,
    const uint8_t *presenter, struct eat_claims *claims,
    const struct verifier **by)
{
	struct eat_token *t = arena_new(s->arena, struct eat_token);
	const struct verifier *v;
	size_t which = 0;
	enum tam_err err = eat_open(result, kind, s->arena, t);

	if (err == TAM_OK)
		err = check_signer(s, result, t, &which);
	if (err != TAM_OK)
		return err;
	v = &s->domain->verifiers[which];
	*by = v;
	*claims = t->claims;
	return eat_judge(claims,
	    &(struct eat_expect){.teep_profile = s->domain->teep_profile,
	        .presenter = presenter,
	        .n_nonces = 1,
	        .nonces = {s->handle},
	        .max_age_s = v->max_age_s,
	        .now_s = s->now_us / CLOCK_SECOND,
	        .skew_s = CLOCK_SKEW_S,
	        .worst = v->worst,
	        .unbound_ear = v->unbound});
}

/* T40: found just now, good for a while, and to be shown again. */
static void
pass_back(struct session *s, const struct verifier *v, struct slice result)
{
	if (!v->pass_back || v->max_age_s == 0)
		return;
	s->passport = result;
	s->passport_format = slice_str(EAT_EAR_JWT_FORMAT);
}

static void
appraise(struct session *s, struct slice result, enum eat_kind kind,
    bool of_evidence)
{
	struct eat_claims *claims = arena_new(s->arena, struct eat_claims);
	const struct verifier *v = NULL;
	enum tam_err err =
	    session_appraise(s, result, kind, s->key.thumbprint, claims, &v);

	if (err != TAM_OK) {
		fail(s, err);
		return;
	}
	if (of_evidence)
		pass_back(s, v, result);
	affirm(s, v, claims);
}

/* --- Evidence (T33): never read here, only passed on ------------------------------------ */

/* No answer is no fault of the device: it is to come again, and whatever it
 * says meanwhile counts for nothing. */
static void
no_verifier(struct session *s)
{
	counter_bump(&s->worker->counters.drops[TAM_VERIFIER_DOWN]);
	log_peer(LOG_LEVEL_WARN, "verifier_down", "device=%lld request=%llu",
	    (long long)s->device_id, (unsigned long long)s->exchange->id);
	session_answer_error(s, TEEP_ERR_TEMPORARY, "no Verifier answered");
}

static void
on_appraised(enum tam_err err, struct slice result, void *arg)
{
	struct session *s = arg;

	s->appraising = NULL;
	(void)session_epoch_moved(s);
	if (tam_err_answer(err) == TAM_ANSWER_LATER)
		no_verifier(s);
	else if (err != TAM_OK)
		fail(s, err);
	else
		appraise(s, result, EAT_EAR_JWT, true);
}

/* As it came, but nothing that could end a header line. */
static const char *
media_type_of(struct session *s)
{
	char *type = arena_strdup(s->arena, s->message.payload_format);

	for (char *p = type; *p != '\0'; p++) {
		if ((unsigned char)*p < ' ' || (unsigned char)*p > '~')
			*p = ' ';
	}
	return type;
}

/* A word of the list, or the list is empty. */
static bool
takes(const struct verifier *v, struct slice type)
{
	const char *p = v->media_types;

	if (*p == '\0')
		return true;
	while (*p != '\0') {
		size_t n = strcspn(p, " ");

		if (n == type.n && strncasecmp(p, (const char *)type.p, n) == 0)
			return true;
		p += n;
		p += strspn(p, " ");
	}
	return false;
}

static struct slice
without_parameters(struct slice type)
{
	const uint8_t *end = type.n == 0 ? NULL : memchr(type.p, ';', type.n);

	if (end != NULL)
		type.n = (size_t)(end - type.p);
	while (type.n > 0 && type.p[type.n - 1] == ' ')
		type.n--;
	return type;
}

/* The first that takes it; one that names the type before one that takes
 * any. */
static const struct verifier *
verifier_for_evidence(const struct tam_domain *d, struct slice format)
{
	struct slice type = without_parameters(format);
	const struct verifier *found = NULL;

	for (size_t i = 0; i < d->n_verifiers; i++) {
		const struct verifier *v = &d->verifiers[i];

		if (v->url[0] == '\0' || !takes(v, type))
			continue;
		if (v->media_types[0] != '\0')
			return v;
		if (found == NULL)
			found = v;
	}
	return found;
}

struct verifier_call *
session_ask_verifier(struct session *s, verifier_cb cb)
{
	const struct verifier *v =
	    verifier_for_evidence(s->domain, s->message.payload_format);

	if (v == NULL)
		return NULL;
	return verifier_appraise(s->worker,
	    &(struct verifier_ask){.verifier = v,
	        .nonce = s->handle,
	        .evidence = s->message.payload,
	        .media_type = media_type_of(s),
	        .arena = s->arena},
	    cb, s);
}

/* The result is ours; the agent gets one too, to show next time. */
static void
appraise_ourselves(struct session *s)
{
	struct cose_signer *verifier = worker_verifier(s->worker, s->domain);
	struct eat_claims *c = arena_new(s->arena, struct eat_claims);
	struct verifier by = {.name = "builtin"};
	struct eat_expect expect = {.presenter = s->key.thumbprint,
	    .n_nonces = 1,
	    .nonces = {s->handle},
	    .now_s = s->now_us / CLOCK_SECOND,
	    .skew_s = CLOCK_SKEW_S};
	enum tam_err err = builtin_appraise(s->worker->crypto, s->domain,
	    s->message.payload, s->arena, &expect, c);

	if (err != TAM_OK) {
		fail(s, err);
		return;
	}
	if (verifier != NULL && s->domain->passport_s > 0)
		s->passport =
		    builtin_result(s->worker->crypto, verifier, s->domain, c,
		        s->handle, s->now_us / CLOCK_SECOND, s->arena);
	affirm(s, &by, c);
}

static void
ask_verifier(struct session *s)
{
	struct verifier_call *call = session_ask_verifier(s, on_appraised);

	if (call == NULL)
		no_verifier(s);
	else
		session_wait_for_verifier(s, call);
}

/* --- payloads ---------------------------------------------------------------------------- */

enum tam_err
session_open_payload(struct session *s)
{
	struct cose_encrypted *m;
	enum tam_err err;

	if (s->payload_opened || !cose_is_encrypted(s->message.payload))
		return TAM_OK;
	if (!session_may_fail(s))
		return TAM_BUDGET_SPENT;
	m = arena_new(s->arena, struct cose_encrypted);
	err = cose_encrypt_decode(s->message.payload, s->arena, m);
	if (err == TAM_OK)
		err = cose_decrypt(m, COSE_USE_EAT, s->domain->agree,
		    s->domain->n_agree, slice_none(), s->arena,
		    &s->message.payload);
	if (err != TAM_OK)
		session_strike(s, 1);
	s->payload_opened = err == TAM_OK;
	return err;
}

/* A budget that is spent says nothing about the device. */
static void
not_opened(struct session *s, enum tam_err err)
{
	if (tam_err_answer(err) == TAM_ANSWER_LATER)
		session_refuse(s, err);
	else
		fail(s, err);
}

void
session_attest(struct session *s)
{
	enum eat_kind kind;
	enum tam_err err;

	if ((s->token.items & TEEP_ITEM_ATTESTATION) == 0) {
		session_query_response(s);
		return;
	}
	if (!teep_has(&s->message, TEEP_OPT_PAYLOAD)) { /* T29 */
		counter_bump(&s->worker->counters.drops[TAM_ATTEST_MISSING]);
		session_answer_error(s, TEEP_ERR_PERMANENT,
		    "the attestation payload is missing");
		return;
	}
	err = session_open_payload(s);
	kind = eat_kind_of(s->message.payload_format, s->domain->teep_profile);
	if (err != TAM_OK)
		not_opened(s, err);
	else if (kind == EAT_EVIDENCE &&
	    builtin_takes(s->domain, s->message.payload_format))
		appraise_ourselves(s);
	else if (kind == EAT_EVIDENCE)
		ask_verifier(s);
	else
		appraise(s, s->message.payload, kind, false);
}
