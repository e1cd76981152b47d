#include "config.h"

#include "server/teep/opener.h"

#include "lib/codec/cose_encrypt.h"
#include "server/http/exchange.h"
#include "server/teep/challenges.h"
#include "server/worker.h"

enum {
	MESSAGE_MAX = 17 << 20,
	OPENER_MAX = 1024
};

static struct cose_signer *
signer_at(struct worker *w, const struct tam_domain *domain, int which)
{
	/* The caller may hold an older snapshot than the worker. */
	for (size_t i = 0; i < w->snapshot->n; i++) {
		if (w->snapshot->domains[i].id == domain->id)
			return w->signers[i][which];
	}
	return NULL;
}

struct cose_signer *
worker_verifier(struct worker *w, const struct tam_domain *domain)
{
	return signer_at(w, domain, SIGNER_VERIFIER);
}

static int
alg_of(enum cose_curve curve, bool deprecated)
{
	if (curve == COSE_P256)
		return deprecated ? COSE_ALG_ES256 : COSE_ALG_ESP256;
	return deprecated ? COSE_ALG_EDDSA : COSE_ALG_ED25519;
}

/* Signs now what this process can; what it cannot stays a blank. */
static void
fill_blanks(struct worker *w, const struct tam_domain *domain,
    const struct cose_blank *blanks, size_t n, struct buf *message,
    struct reply *out)
{
	out->n = 0;
	for (size_t i = 0; i < n && !message->full; i++) {
		enum cose_curve c = blanks[i].key->curve;
		struct cose_signer *signer = signer_at(w, domain, (int)c);

		if (signer != NULL) {
			cose_sign_parts(w->crypto, signer, &blanks[i].message,
			    1, message->p + blanks[i].at);
			continue;
		}
		out->uris[out->n] = domain->hsm_uri[c];
		out->blanks[out->n++] = blanks[i];
	}
}

static struct slice
kid_of(const struct reply_form *form, const struct cose_key *key)
{
	if (!form->send_kid)
		return slice_none();
	return form->kid.n > 0 ? form->kid : SLICE_OF(key->thumbprint);
}

enum tam_err
reply_sign_payload(struct worker *w, struct arena *arena,
    const struct tam_domain *domain, const struct reply_form *form,
    struct slice payload, struct reply *out)
{
	struct cose_signer *signer = signer_at(w, domain, (int)form->curve);
	const struct cose_key *key = signer != NULL
	    ? cose_signer_key(signer)
	    : &domain->keys[form->curve].key;
	int alg = alg_of(form->curve, form->deprecated);
	struct buf message;

	if (signer == NULL && domain->hsm_uri[form->curve] == NULL)
		return TAM_NO_KEY;
	buf_init(&message, MESSAGE_MAX);
	out->n = 0;
	if (signer != NULL) {
		cose_sign1(w->crypto, signer, alg, kid_of(form, key), payload,
		    &message);
	} else {
		out->n = 1;
		out->uris[0] = domain->hsm_uri[form->curve];
		cose_sign1_blank(key, alg, kid_of(form, key), payload, arena,
		    &message, &out->blanks[0]);
	}
	out->message = arena_dup(arena, buf_slice(&message));
	buf_fini(&message);
	return TAM_OK;
}

enum tam_err
reply_sign(struct worker *w, struct arena *arena,
    const struct tam_domain *domain, const struct reply_form *form,
    const struct teep_message *m, struct reply *out)
{
	struct buf payload;
	enum tam_err err;

	buf_init(&payload, MESSAGE_MAX);
	teep_encode(m, &payload);
	err = reply_sign_payload(w, arena, domain, form, buf_slice(&payload),
	    out);
	buf_fini(&payload);
	return err;
}

struct slice
reply_complete(const struct reply *reply, struct arena *arena,
    uint8_t (*signatures)[COSE_SIGNATURE_SIZE])
{
	uint8_t *message = arena_alloc(arena, reply->message.n);

	memcpy(message, reply->message.p, reply->message.n);
	for (size_t i = 0; i < reply->n; i++)
		memcpy(message + reply->blanks[i].at, signatures[i],
		    COSE_SIGNATURE_SIZE);
	return (struct slice){message, reply->message.n};
}

/* The draft's form for an agent nothing is known of: every suite signs. */
static enum tam_err
sign_all(struct worker *w, struct arena *arena, const struct tam_domain *domain,
    const struct wire_profile *profile, const struct teep_message *m,
    struct reply *out)
{
	const struct cose_key *keys[2];
	struct cose_blank blanks[2];
	int algs[2];
	size_t n = 0;
	uint8_t plain[OPENER_MAX], room[OPENER_MAX];
	struct buf payload = {.p = plain,
	    .room = OPENER_MAX,
	    .max = OPENER_MAX};
	struct buf message = {.p = room, .room = OPENER_MAX, .max = OPENER_MAX};

	for (int c = COSE_P256; c <= COSE_ED25519; c++) {
		const struct cose_signer *signer = signer_at(w, domain, c);

		if (signer == NULL && domain->hsm_uri[c] == NULL)
			continue;
		keys[n] = signer != NULL ? cose_signer_key(signer)
		                         : &domain->keys[c].key;
		algs[n++] =
		    alg_of((enum cose_curve)c, profile->deprecated_algs);
	}
	if (n == 0)
		return TAM_NO_KEY;
	teep_encode(m, &payload);
	cose_sign_blank(keys, algs, n, buf_slice(&payload), arena, &message,
	    blanks);
	fill_blanks(w, domain, blanks, n, &message, out);
	out->message = arena_dup(arena, buf_slice(&message));
	return TAM_OK;
}

/* CONFORMANCE P8: an algorithm each to sign and to encrypt with. */
static void
old_profile(struct teep_message *m)
{
	m->n_profiles = 1;
	m->profile_n[0] = 2;
	m->profiles[0][0] = COSE_ALG_ES256;
	m->profiles[0][1] = COSE_ALG_A128GCM;
}

/* CONFORMANCE E1: a token, or with the attestation bit a challenge. */
static void
fill_request(struct teep_message *m, const struct wire_profile *profile,
    bool deprecated, uint8_t items, struct slice token)
{
	bool challenge = (items & TEEP_ITEM_ATTESTATION) != 0;

	m->kind = TEEP_QUERY_REQUEST;
	m->data_items = items;
	m->present |= 1u << TEEP_OPT_VERSIONS;
	m->n_versions = 1;
	teep_mandatory_suites(m, deprecated);
	if (profile->two_integers)
		old_profile(m);
	else
		teep_mandatory_profiles(m);
	if (challenge) {
		m->present |= 1u << TEEP_OPT_CHALLENGE;
		m->challenge = token;
	}
	if (!challenge || profile->always_token) {
		m->present |= 1u << TEEP_OPT_TOKEN;
		m->token = token;
	}
}

enum tam_err
opener_make(struct worker *w, const struct http_exchange *x,
    const struct tam_domain *domain, const struct wire_profile *profile,
    const struct opener_ask *ask, int64_t now_us, struct reply *out)
{
	struct token_scope scope = {domain->incarnation, domain->id};
	struct token t = {.kind = ask->hop > 0 ? TOKEN_VERIFY : TOKEN_QUERY,
	    .items = TEEP_ITEM_TRUSTED_COMPONENTS,
	    .hop = ask->hop,
	    .wire_id = profile->wire_id,
	    .epoch = domain->epoch};
	struct reply_form form = {.numbering = profile->numbering,
	    .curve = profile->opener == OPENER_SIGN1_ED25519 ? COSE_ED25519
	                                                     : COSE_P256,
	    .deprecated = profile->deprecated_algs,
	    .send_kid = profile->send_kid,
	    .kid = {profile->kid, profile->kid_n}};
	struct teep_message m = {0};
	uint8_t token[TOKEN_SIZE];
	enum tam_err err;

	if (ask->attest) {
		t.kind = TOKEN_CHALLENGE;
		t.items |= TEEP_ITEM_ATTESTATION;
	}
	err = token_mint(&w->snapshot->tokens, scope, &t, now_us, token);
	if (err != TAM_OK)
		return err;
	if (ask->known != NULL)
		form = *ask->known;
	if (ask->attest)
		challenges_add(x, SLICE_OF(token));
	m.numbering = form.numbering;
	if (ask->own_result.n > 0) {
		m.present |= 1u << TEEP_OPT_PAYLOAD;
		m.payload = ask->own_result;
	}
	fill_request(&m, profile, form.deprecated, t.items, SLICE_OF(token));
	if (profile->opener == OPENER_SIGN && ask->known == NULL)
		return sign_all(w, x->arena, domain, profile, &m, out);
	return reply_sign(w, x->arena, domain, &form, &m, out);
}
