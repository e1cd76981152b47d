#include "config.h"

#include "server/teep/builtin.h"

#include "server/teep/domain.h"

enum {
	RESULT_MAX = 32768
};

static const char evidence_type[] = "application/eat+cwt";

bool
builtin_takes(const struct tam_domain *d, struct slice media_type)
{
	size_t n = sizeof(evidence_type) - 1;

	return d->n_endorsements > 0 && media_type.n >= n &&
	    memcmp(media_type.p, evidence_type, n) == 0 &&
	    (media_type.n == n || media_type.p[n] == ';');
}

/* --- who signed it ------------------------------------------------------------------ */

static const struct endorsement *
by_thumbprint(const struct tam_domain *d, struct slice kid)
{
	size_t lo = 0, hi = d->n_endorsements;

	while (kid.n == COSE_THUMBPRINT_SIZE && lo < hi) {
		size_t mid = (lo + hi) / 2;
		int c = memcmp(d->endorsements[mid].key.thumbprint, kid.p,
		    COSE_THUMBPRINT_SIZE);

		if (c == 0)
			return &d->endorsements[mid];
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

static enum tam_err
check_signer(struct cose_crypto *crypto, const struct tam_domain *d,
    const struct eat_token *t)
{
	const struct endorsement *e =
	    by_thumbprint(d, t->cose.signatures[0].kid);

	if (e == NULL || eat_verify(crypto, t, &e->key, 1) != TAM_OK)
		return TAM_ATTEST_UNTRUSTED;
	if (e->hwmodel_n > 0 &&
	    !slice_eq(t->claims.hwmodel,
	        (struct slice){e->hwmodel, e->hwmodel_n}))
		return TAM_ATTEST_UNTRUSTED;
	return TAM_OK;
}

/* --- what it says --------------------------------------------------------------------- */

static bool
is_allowed(const struct reference_value *r, struct slice digest)
{
	for (size_t i = 0; i < r->n_manifests; i++) {
		if (slice_eq(digest, (struct slice){r->manifests[i], 32}))
			return true;
	}
	return r->n_manifests == 0;
}

static bool
matches(const struct reference_value *r, const struct eat_claims *c)
{
	if (!slice_eq(c->hwmodel, (struct slice){r->hwmodel, r->hwmodel_n}) ||
	    (r->hwversion[0] != '\0' &&
	        !slice_is(c->hwversion, r->hwversion)) ||
	    (r->dbgstat > 0 && (!c->has_dbgstat || c->dbgstat < r->dbgstat)) ||
	    (r->oemboot && !(c->has_oemboot && c->oemboot)))
		return false;
	for (size_t i = 0; i < c->n_manifests; i++) {
		if (!is_allowed(r, c->manifests[i].digest))
			return false;
	}
	return true;
}

enum tam_err
builtin_appraise(struct cose_crypto *crypto, const struct tam_domain *d,
    struct slice evidence, struct arena *arena, const struct eat_expect *x,
    struct eat_claims *claims)
{
	struct eat_token *t = arena_new(arena, struct eat_token);
	enum tam_err err = eat_open(evidence, EAT_RESULT, arena, t);

	if (err == TAM_OK)
		err = check_signer(crypto, d, t);
	if (err != TAM_OK)
		return err;
	*claims = t->claims;
	t->claims.profile = slice_none(); /* Evidence has its own */
	err = eat_judge(&t->claims, x);
	if (err != TAM_OK)
		return err;
	for (size_t i = 0; i < d->n_references; i++) {
		if (matches(&d->references[i], claims))
			return TAM_OK;
	}
	return TAM_ATTEST_STATUS;
}

/* --- a result ------------------------------------------------------------------------- */

struct slice
builtin_result(struct cose_crypto *crypto, struct cose_signer *signer,
    const struct tam_domain *d, const struct eat_claims *of, struct slice nonce,
    int64_t now_s, struct arena *arena)
{
	const struct cose_key *key = cose_signer_key(signer);
	struct eat_claims *c = arena_new(arena, struct eat_claims);
	struct buf claims, out;
	struct slice result;

	*c = *of;
	c->issuer = SLICE_LIT("tamd");
	c->profile = slice_str(d->teep_profile);
	c->n_nonces = nonce.n > 0 ? 1 : 0;
	c->nonces[0] = nonce;
	c->has_iat = c->has_exp = c->has_manifests = true;
	c->has_nbf = false;
	c->iat = now_s;
	c->exp = now_s + d->passport_s;
	c->cnf_whole = false; /* its thumbprint, as the profile has it */
	buf_init(&claims, RESULT_MAX);
	buf_init(&out, RESULT_MAX);
	eat_claims_encode(c, &claims);
	cose_sign1(crypto, signer,
	    key->curve == COSE_P256 ? COSE_ALG_ESP256 : COSE_ALG_ED25519,
	    SLICE_OF(key->thumbprint), buf_slice(&claims), &out);
	/* E20: without the tag. */
	result = arena_dup(arena, (struct slice){out.p + 1, out.n - 1});
	buf_fini(&claims);
	buf_fini(&out);
	return result;
}
