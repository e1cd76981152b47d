#include "config.h"

#include "lib/codec/eat.h"

#include <ctype.h>

/* --- which sort of payload (section 7.1.1; CONFORMANCE T32, E21) ---------------- */

enum {
	FORMAT_MAX = 256
};

/* Lower case, without blanks and quotes: how media types are compared. */
static size_t
folded(struct slice in, char out[FORMAT_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < in.n && n < FORMAT_MAX - 1; i++) {
		uint8_t c = in.p[i];

		if (c == ' ' || c == '\t' || c == '"' || c == '\\')
			continue;
		out[n++] = (char)tolower(c);
	}
	out[n] = '\0';
	return n;
}

static bool
is_type(const char *folded_type, const char *type)
{
	size_t n = strlen(type);

	return strncmp(folded_type, type, n) == 0 &&
	    (folded_type[n] == '\0' || folded_type[n] == ';');
}

/* The value of eat_profile, "" without one. */
static const char *
profile_parameter(const char *folded_type, char out[FORMAT_MAX])
{
	const char *p = strstr(folded_type, ";eat_profile=");
	size_t n;

	out[0] = '\0';
	if (p == NULL)
		return out;
	p += strlen(";eat_profile=");
	n = strcspn(p, ";");
	memcpy(out, p, n);
	out[n] = '\0';
	return out;
}

static bool
same_folded(const char *a, const char *b)
{
	char room[FORMAT_MAX];

	(void)folded(slice_str(b), room);
	return strcmp(a, room) == 0;
}

static bool
is_ear_profile(const char *folded_profile)
{
	for (size_t i = 0; ear_profile(i) != NULL; i++) {
		if (same_folded(folded_profile, ear_profile(i)))
			return true;
	}
	return false;
}

enum eat_kind
eat_kind_of(struct slice media_type, const char *teep_profile)
{
	char type[FORMAT_MAX] = "", room[FORMAT_MAX];
	const char *profile;

	if (media_type.n == 0)
		return EAT_RESULT;
	(void)folded(media_type, type);
	profile = profile_parameter(type, room);
	if (is_type(type, "application/eat+cwt") &&
	    same_folded(profile, teep_profile))
		return EAT_RESULT;
	if (!is_ear_profile(profile))
		return EAT_EVIDENCE;
	/* "eat-cwt" and "eat-jwt" are what the EAR draft prints. */
	if (is_type(type, "application/eat+cwt") ||
	    is_type(type, "application/eat-cwt"))
		return EAT_EAR_CWT;
	if (is_type(type, "application/eat+jwt") ||
	    is_type(type, "application/eat-jwt"))
		return EAT_EAR_JWT;
	return EAT_EVIDENCE;
}

/* --- what it must say (CONFORMANCE T35 to T37) ----------------------------------- */

static enum tam_err
judge_profile(const struct eat_claims *c, const struct eat_expect *x)
{
	if (c->is_ear)
		return ear_profile_known(c->profile) ? TAM_OK
		                                     : TAM_ATTEST_PROFILE;
	return c->profile.n == 0 || slice_is(c->profile, x->teep_profile)
	    ? TAM_OK
	    : TAM_ATTEST_PROFILE;
}

static enum tam_err
judge_times(const struct eat_claims *c, const struct eat_expect *x)
{
	if (c->has_exp && c->exp + x->skew_s <= x->now_s)
		return TAM_ATTEST_EXPIRED;
	if (c->has_nbf && c->nbf - x->skew_s > x->now_s)
		return TAM_ATTEST_EXPIRED;
	if (c->has_iat && c->iat - x->skew_s > x->now_s)
		return TAM_ATTEST_EXPIRED; /* from the future */
	return TAM_OK;
}

static bool
has_nonce(const struct eat_claims *c, const struct eat_expect *x)
{
	for (size_t i = 0; i < c->n_nonces; i++) {
		for (size_t k = 0; k < x->n_nonces; k++) {
			if (x->nonces[k].n > 0 &&
			    slice_eq(c->nonces[i], x->nonces[k]))
				return true;
		}
	}
	return false;
}

static enum tam_err
judge_freshness(const struct eat_claims *c, const struct eat_expect *x)
{
	if (has_nonce(c, x))
		return TAM_OK;
	if (x->max_age_s > 0 && c->has_iat &&
	    x->now_s - c->iat <= x->max_age_s + x->skew_s)
		return TAM_OK;
	return TAM_ATTEST_STALE;
}

static enum tam_err
judge_binding(const struct eat_claims *c, const struct eat_expect *x)
{
	if (x->presenter == NULL)
		return TAM_OK;
	if (!c->has_cnf)
		return c->is_ear && x->unbound_ear ? TAM_OK
		                                   : TAM_ATTEST_BINDING;
	return memcmp(c->cnf_thumbprint, x->presenter, COSE_THUMBPRINT_SIZE) ==
	        0
	    ? TAM_OK
	    : TAM_ATTEST_BINDING;
}

static enum tam_err
judge_content(const struct eat_claims *c, const struct eat_expect *x)
{
	if (!c->is_ear)
		return c->ueid.n > 0 && c->oemid.n > 0 && c->hwmodel.n > 0 &&
		        c->hwversion.n > 0 && c->has_manifests
		    ? TAM_OK
		    : TAM_ATTEST_CLAIMS;
	if (c->n_submods == 0)
		return TAM_ATTEST_CLAIMS;
	/* A status better than its own claims is no Verifier's honest word. */
	if (!c->tier_honest || c->tier == EAR_NONE || c->tier > x->worst)
		return TAM_ATTEST_STATUS;
	return TAM_OK;
}

enum tam_err
eat_judge(const struct eat_claims *c, const struct eat_expect *x)
{
	enum tam_err err = judge_profile(c, x);

	if (err == TAM_OK)
		err = judge_times(c, x);
	if (err == TAM_OK)
		err = judge_binding(c, x);
	if (err == TAM_OK)
		err = judge_freshness(c, x);
	if (err == TAM_OK)
		err = judge_content(c, x);
	return err;
}
