#include "config.h"

#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/hex.h"
#include "lib/base/mem.h"
#include "lib/codec/cbor_out.h"
#include "lib/codec/cose_encrypt.h"
#include "lib/codec/crypto.h"
#include "loadtest/holdings.h"

/*
 * An agent's messages: what it answers a QueryRequest, an Update and what is
 * neither.  What an Update does to it is device.c's.
 */

enum {
	MESSAGE_MAX = 1 << 20
};

/* --- messages out ---------------------------------------------------------------------- */

static void
sign(struct fleet_world *w, const struct agent *a, const struct teep_message *m,
    struct arena *arena, struct agent_reply *reply)
{
	struct cose_private priv;
	struct cose_signer *signer;
	struct buf payload, out;
	int alg = a->curve == COSE_P256
	    ? (w->deprecated_algs ? COSE_ALG_ES256 : COSE_ALG_ESP256)
	    : (w->deprecated_algs ? COSE_ALG_EDDSA : COSE_ALG_ED25519);

	(void)cose_private_from_secret(&priv, a->curve, a->secret);
	signer = cose_signer_new(&priv);
	cose_private_wipe(&priv);
	buf_init(&payload, MESSAGE_MAX);
	buf_init(&out, MESSAGE_MAX);
	teep_encode(m, &payload);
	if (w->ca != NULL) {
		struct slice cert = agent_certificate(w->ca, a, arena);

		cose_sign1_certified(w->crypto, signer, alg, &cert, 1,
		    buf_slice(&payload), &out);
	} else
		cose_sign1(w->crypto, signer, alg,
		    w->play.no_kid ? slice_none() : SLICE_OF(a->thumbprint),
		    buf_slice(&payload), &out);
	reply->bytes = arena_dup(arena, buf_slice(&out));
	buf_fini(&payload);
	buf_fini(&out);
	cose_signer_free(signer);
}

/* Present if and only if the message it answers had one. */
static void
echo_token(const struct teep_message *of, struct teep_message *m)
{
	if (!teep_has(of, TEEP_OPT_TOKEN))
		return;
	m->present |= 1u << TEEP_OPT_TOKEN;
	m->token = of->token;
}

/* What it holds, and what it says it holds besides. */
static void
fill_tc_list(const struct fleet_world *w, const struct agent *a,
    struct arena *arena, struct teep_message *m)
{
	size_t n = (size_t)a->n_components + w->play.extra;
	struct teep_tc *tc = arena_new_n(arena, n, struct teep_tc);

	for (size_t i = 0; i < a->n_components; i++) {
		tc[i].component_id = agent_component_id(&a->components[i]);
		tc[i].digest = SLICE_OF(a->components[i].digest);
	}
	for (size_t i = a->n_components; i < n; i++) {
		const char *name =
		    arena_printf(arena, "extra/%zu", i - a->n_components);

		if (!suit_component_parse(arena, name, &tc[i].component_id))
			abort();
		tc[i].digest = SLICE_OF(a->thumbprint);
	}
	m->present |= 1u << TEEP_OPT_TC_LIST;
	m->n_tc = n;
	m->tc = tc;
}

/* Section 4.6, with what each code must bring. */
static void
answer_with_error(struct fleet_world *w, const struct agent *a,
    const struct teep_message *request, struct arena *arena,
    struct agent_reply *reply)
{
	struct teep_message m = {.kind = TEEP_ERROR,
	    .numbering = request->numbering,
	    .present = 1u << TEEP_OPT_ERR_MSG,
	    .err_msg = SLICE_LIT("played"),
	    .err_code = w->play.query_error};

	echo_token(request, &m);
	if (m.err_code == TEEP_ERR_UNSUPPORTED_FRESHNESS ||
	    m.err_code == TEEP_ERR_ATTESTATION_REQUIRED) {
		m.present |= 1u << TEEP_OPT_FRESHNESS;
		m.n_freshness = 1;
	}
	if (m.err_code == TEEP_ERR_ATTESTATION_REQUIRED) {
		m.present |= 1u << TEEP_OPT_CHALLENGE;
		m.challenge = SLICE_OF(a->thumbprint);
	}
	if (m.err_code == TEEP_ERR_UNSUPPORTED_VERSION) {
		m.present |= 1u << TEEP_OPT_VERSIONS;
		m.n_versions = 1;
	}
	if (m.err_code == TEEP_ERR_UNSUPPORTED_SUITES) {
		m.present |= 1u << TEEP_OPT_SUITES;
		m.n_suites = 1;
		m.suites[0].n = 1;
		m.suites[0].type[0] = COSE_TAG_SIGN1;
		m.suites[0].alg[0] =
		    a->curve == COSE_P256 ? COSE_ALG_ESP256 : COSE_ALG_ED25519;
	}
	if (m.err_code == TEEP_ERR_UNSUPPORTED_REPORT)
		teep_mandatory_profiles(&m);
	reply->did = AGENT_ANSWERED_QUERY;
	sign(w, a, &m, arena, reply);
}

struct slice
agent_unsolicited(struct fleet_world *w, const struct agent *a,
    enum teep_numbering numbering, struct arena *arena)
{
	struct teep_message m = {.kind = TEEP_QUERY_RESPONSE,
	    .numbering = numbering};
	struct agent_reply reply;

	fill_tc_list(w, a, arena, &m);
	sign(w, a, &m, arena, &reply);
	return reply.bytes;
}

/* CONFORMANCE A1: RequestTA, what is needed and not there. */
static void
fill_requested(const struct fleet_world *w, const struct agent *a,
    struct arena *arena, struct teep_message *m)
{
	if (agent_holds(a, w->wanted))
		return;
	m->present |= 1u << TEEP_OPT_REQUESTED;
	m->n_requested = 1;
	m->requested = arena_new(arena, struct teep_requested);
	*m->requested = (struct teep_requested){.component_id = w->wanted,
	    .has_sequence = w->have_binary,
	    .sequence = w->have_sequence,
	    .have_binary = w->have_binary};
}

/* CONFORMANCE A2: UnrequestTA, the manifests that brought what is not needed
 * any more. */
static void
fill_unneeded(const struct fleet_world *w, struct agent *a, struct arena *arena,
    struct teep_message *m)
{
	const struct agent_component *c = agent_component(a, w->wanted);

	if (c == NULL)
		return;
	m->present |= 1u << TEEP_OPT_UNNEEDED;
	m->n_unneeded = c->n_users;
	m->unneeded = arena_new_n(arena, c->n_users, struct slice);
	for (size_t i = 0; i < c->n_users; i++)
		m->unneeded[i] = c->users[i]->manifest.component_id;
}

/* Section 4.3. */
static void
answer_query(struct fleet_world *w, struct agent *a,
    const struct teep_message *request, struct arena *arena,
    struct agent_reply *reply)
{
	struct teep_message m = {.kind = TEEP_QUERY_RESPONSE,
	    .numbering = request->numbering};

	echo_token(request, &m);
	fill_tc_list(w, a, arena, &m);
	if (w->wanted.n > 0 && a->sessions == 0)
		fill_requested(w, a, arena, &m);
	else if (w->wanted.n > 0)
		fill_unneeded(w, a, arena, &m);
	if ((request->data_items & TEEP_ITEM_ATTESTATION) != 0)
		attest_fill(w, a, request, arena, &m);
	reply->did = AGENT_ANSWERED_QUERY;
	sign(w, a, &m, arena, reply);
}

/* An agent without an attester says so (CONFORMANCE P10). */
static void
refuse_to_attest(struct fleet_world *w, const struct agent *a,
    const struct teep_message *request, struct arena *arena,
    struct agent_reply *reply)
{
	struct teep_message m = {.kind = TEEP_ERROR,
	    .numbering = request->numbering,
	    .present = 1u << TEEP_OPT_ERR_MSG,
	    .err_msg = SLICE_LIT("attestation is not supported"),
	    .err_code = TEEP_ERR_PERMANENT};

	echo_token(request, &m);
	reply->did = AGENT_ANSWERED_QUERY;
	sign(w, a, &m, arena, reply);
}

static bool
cannot_attest(const struct fleet_world *w, const struct teep_message *request)
{
	return (request->data_items & TEEP_ITEM_ATTESTATION) != 0 &&
	    w->attest.form == ATTEST_NONE;
}

/* Encrypted, then signed (E17); what is encrypted is a bstr around it. */
static struct slice
protected_report(struct fleet_world *w, struct slice plain, struct arena *arena)
{
	struct buf wrapped, sealed, out;
	struct slice bytes = plain;

	buf_init(&wrapped, 4096);
	buf_init(&sealed, 8192);
	buf_init(&out, 16384);
	if (w->encrypts_reports) {
		cbor_out_bytes(&wrapped, plain);
		cose_encrypt(COSE_ALG_A128GCM, COSE_USE_SUIT_REPORT,
		    &w->report_to, SLICE_OF(w->report_to.thumbprint),
		    buf_slice(&wrapped), &sealed);
		bytes = buf_slice(&sealed);
	}
	if (w->report_signer != NULL) {
		const struct cose_key *key = cose_signer_key(w->report_signer);

		cose_sign1(w->crypto, w->report_signer,
		    key->curve == COSE_P256 ? COSE_ALG_ESP256
		                            : COSE_ALG_ED25519,
		    SLICE_OF(key->thumbprint), bytes, &out);
		bytes = buf_slice(&out);
	}
	bytes = arena_dup(arena, bytes);
	buf_fini(&wrapped);
	buf_fini(&sealed);
	buf_fini(&out);
	return bytes;
}

static struct slice
report(struct fleet_world *w, struct arena *arena,
    const struct teep_message *update, const uint8_t digest[32],
    const struct suit_outcome *o)
{
	struct suit_report r = {.nonce = update->token,
	    .manifest_digest = {digest, 32},
	    .success = o->ok,
	    .code = -1,
	    .section = (uint64_t)o->section,
	    .offset = o->offset,
	    .component = o->component,
	    .reason = o->reason};
	struct buf b;
	struct slice out;

	buf_init(&b, 1024);
	suit_report_encode(&r, (struct slice){0}, &b);
	out = protected_report(w, buf_slice(&b), arena);
	buf_fini(&b);
	return out;
}

/* Sections 4.5 and 4.6. */
static void
answer_update(struct fleet_world *w, struct agent *a,
    const struct teep_message *update, bool ok, struct slice *reports,
    size_t n_reports, struct arena *arena, struct agent_reply *reply)
{
	struct teep_message m = {.kind = ok ? TEEP_SUCCESS : TEEP_ERROR,
	    .numbering = update->numbering,
	    .err_code = TEEP_ERR_MANIFEST_FAILED,
	    .reports = reports,
	    .n_reports = n_reports};

	echo_token(update, &m);
	if (n_reports > 0)
		m.present |= 1u << TEEP_OPT_REPORTS;
	if (!ok) {
		m.present |= 1u << TEEP_OPT_ERR_MSG;
		m.err_msg = SLICE_LIT("manifest processing failed");
	}
	reply->did = ok ? AGENT_UPDATED : AGENT_FAILED_UPDATE;
	sign(w, a, &m, arena, reply);
}

/* --- an Update (section 7.2.2) ------------------------------------------------------------ */

/* CONFORMANCE E25; a message without a token cannot be told from another. */
static bool
is_replay(struct agent *a, const struct teep_message *m)
{
	if (m->token.n == 0)
		return false;
	if (slice_eq(m->token,
	        (struct slice){a->update_token, a->update_token_n}))
		return true;
	memcpy(a->update_token, m->token.p, m->token.n);
	a->update_token_n = (uint8_t)m->token.n;
	return false;
}

static const char *
why_failed(const struct suit_outcome *o, struct arena *arena)
{
	if (o->mismatch != NULL && o->reason == SUIT_REASON_CONDITION)
		return arena_printf(arena,
		    "%s: the manifest is for %s, the device is %s", o->mismatch,
		    hex_dup(arena, o->wanted), hex_dup(arena, o->has));
	return arena_printf(arena, "section %d, component %llu, reason %u",
	    (int)o->section, (unsigned long long)o->component, o->reason);
}

static void
process_update(struct fleet_world *w, struct agent *a,
    const struct teep_message *m, struct arena *arena,
    struct agent_reply *reply)
{
	struct slice *reports =
	    arena_new_n(arena, m->n_manifests + 1, struct slice);
	bool ok = true;
	size_t n = 0;

	if (w->journal != NULL)
		journal_add(w->journal, 'U', SLICE_OF(a->thumbprint), m->token);
	reply->token = arena_dup(arena, m->token);
	for (size_t i = 0; ok && i < m->n_unneeded; i++)
		ok = agent_unlink(w, a, m->unneeded[i], arena);
	for (size_t i = 0; ok && i < m->n_manifests; i++) {
		struct suit_outcome o;
		uint8_t digest[32] = {0};

		ok = agent_install(w, a, m->manifests[i], arena, &o, digest);
		if (!ok)
			reply->why = why_failed(&o, arena);
		reports[n++] = report(w, arena, m, digest, &o);
	}
	answer_update(w, a, m, ok, reports, n, arena, reply);
}

/* --- messages in ------------------------------------------------------------------------------ */

/* CONFORMANCE A6: one signature that verifies under a trusted key suffices. */
static const struct cose_key *
tam_of(struct fleet_world *w, const struct cose_message *m)
{
	for (size_t i = 0; i < m->n; i++) {
		for (size_t k = 0; k < w->n_tam_keys; k++) {
			if (cose_verify(w->crypto, m, i, &w->tam_keys[k],
			        (struct slice){0}) == TAM_OK)
				return &w->tam_keys[k];
		}
	}
	return NULL;
}

/* CONFORMANCE A10: a result about the TAM is of its key, fresh for our
 * challenge, and by a Verifier we believe. */
static bool
believes_tam(struct fleet_world *w, const struct agent *a,
    const struct cose_key *tam, const struct teep_message *m,
    struct arena *arena)
{
	struct eat_token *t = arena_new(arena, struct eat_token);

	if (!w->has_tam_verifier)
		return true;
	return teep_has(m, TEEP_OPT_PAYLOAD) &&
	    eat_open(m->payload, EAT_RESULT, arena, t) == TAM_OK &&
	    eat_verify(w->crypto, t, &w->tam_verifier, 1) == TAM_OK &&
	    eat_judge(&t->claims,
	        &(struct eat_expect){.teep_profile = EAT_TEEP_PROFILE,
	            .presenter = tam->thumbprint,
	            .n_nonces = 1,
	            .nonces = {SLICE_OF(a->thumbprint)},
	            .now_s = clock_wall_us() / CLOCK_SECOND,
	            .skew_s = 60}) == TAM_OK;
}

static void
keep_passport(struct agent *a, const struct teep_message *m)
{
	struct slice passport = m->payload;

	free(a->passport);
	a->passport = mem_calloc(1, passport.n + 1);
	memcpy(a->passport, passport.p, passport.n);
	a->passport_n = (uint32_t)passport.n;
	a->passport_is_ear = slice_is(m->payload_format, EAT_EAR_JWT_FORMAT);
}

static void
answer_request(struct fleet_world *w, struct agent *a,
    const struct cose_key *tam, const struct teep_message *m, bool first,
    struct arena *arena, struct agent_reply *reply)
{
	if (first && w->play.query_error != 0)
		answer_with_error(w, a, m, arena, reply);
	else if (w->play.query_error == TEEP_ERR_ATTESTATION_REQUIRED &&
	    !believes_tam(w, a, tam, m, arena))
		reply->did = AGENT_REFUSED;
	else if (cannot_attest(w, m))
		refuse_to_attest(w, a, m, arena, reply);
	else
		answer_query(w, a, m, arena, reply);
}

static void
take_update(struct fleet_world *w, struct agent *a,
    const struct teep_message *m, struct arena *arena,
    struct agent_reply *reply)
{
	if (is_replay(a, m))
		return;
	if (m->n_manifests + m->n_unneeded > 0) {
		process_update(w, a, m, arena, reply);
	} else if (teep_has(m, TEEP_OPT_ERR_CODE)) {
		reply->did = AGENT_WAS_TOLD;
		reply->told = m->err_code;
	} else if (teep_has(m, TEEP_OPT_PAYLOAD)) {
		reply->did = AGENT_GOT_PASSPORT;
		keep_passport(a, m);
	} else {
		reply->did = AGENT_HAS_NO_ANSWER;
	}
}

/* CONFORMANCE A5: a TAM learns that it was not understood. */
static void
refuse_message(struct fleet_world *w, const struct agent *a,
    enum teep_numbering numbering, struct arena *arena,
    struct agent_reply *reply)
{
	struct teep_message m = {.kind = TEEP_ERROR,
	    .numbering = numbering,
	    .present = 1u << TEEP_OPT_ERR_MSG,
	    .err_msg = SLICE_LIT("not a message of this protocol"),
	    .err_code = TEEP_ERR_PERMANENT};

	sign(w, a, &m, arena, reply);
}

void
agent_handle(struct fleet_world *w, struct agent *a,
    enum teep_numbering numbering, struct slice bytes, bool first,
    struct arena *arena, struct agent_reply *reply)
{
	const struct cose_key *tam = NULL;
	struct cose_message cose;
	struct teep_message m;

	*reply = (struct agent_reply){.did = AGENT_REFUSED};
	if (cose_decode(bytes, arena, &cose) == TAM_OK)
		tam = tam_of(w, &cose);
	if (tam == NULL)
		return;
	/* Old agents speak one numbering only: a TAM URI of theirs that
	 * answers in the other one is a fault of the TAM. */
	if (teep_decode(cose.payload, arena, numbering, &m) != TAM_OK ||
	    (m.numbering_shown && m.numbering != numbering)) {
		refuse_message(w, a, numbering, arena, reply);
		return;
	}
	m.numbering = numbering;
	if (m.kind == TEEP_QUERY_REQUEST)
		answer_request(w, a, tam, &m, first, arena, reply);
	else if (m.kind == TEEP_UPDATE)
		take_update(w, a, &m, arena, reply);
	else
		refuse_message(w, a, numbering, arena, reply);
}
