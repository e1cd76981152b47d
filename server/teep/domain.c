#include "config.h"

#include "server/teep/domain.h"

#include <stdlib.h>

#include "lib/base/mem.h"
#include "lib/codec/crypto.h"

struct tam_snapshot *
snapshot_new(size_t n)
{
	struct tam_snapshot *s =
	    mem_calloc(1, sizeof(*s) + n * sizeof(s->domains[0]));

	atomic_init(&s->refs, 1);
	s->n = n;
	return s;
}

struct tam_snapshot *
snapshot_ref(struct tam_snapshot *s)
{
	(void)atomic_fetch_add(&s->refs, 1);
	return s;
}

/* --- lists that grow while a snapshot is made ---------------------------------------- */

/* Room for one entry more; the old list is wiped, it may hold keys. */
static void *
grown(void *list, size_t n, size_t entry_size)
{
	void *larger = mem_calloc(n + 1, entry_size);

	if (n > 0) {
		memcpy(larger, list, n * entry_size);
		crypto_zero(list, n * entry_size);
	}
	free(list);
	return larger;
}

struct wire_profile *
domain_add_profile(struct tam_domain *d)
{
	d->profiles = grown(d->profiles, d->n_profiles, sizeof(*d->profiles));
	return &d->profiles[d->n_profiles++];
}

struct verifier *
domain_add_verifier(struct tam_domain *d)
{
	d->verifiers =
	    grown(d->verifiers, d->n_verifiers, sizeof(*d->verifiers));
	return &d->verifiers[d->n_verifiers++];
}

struct ecdh_private *
domain_add_agreement_key(struct tam_domain *d)
{
	d->agree = grown(d->agree, d->n_agree, sizeof(*d->agree));
	return &d->agree[d->n_agree++];
}

/* --- snapshots -------------------------------------------------------------------------- */

static void
domain_fini(struct tam_domain *d)
{
	policy_set_unref(d->policy);
	for (size_t i = 0; i < d->n_verifiers; i++) {
		free(d->verifiers[i].ca);
		free(d->verifiers[i].media_types);
	}
	for (size_t i = 0; i < d->n_references; i++)
		free(d->references[i].manifests);
	for (int c = COSE_P256; c <= COSE_ED25519; c++)
		free(d->hsm_uri[c]);
	x509_cas_free(d->cas);
	free(d->references);
	free(d->endorsements);
	crypto_zero(&d->verify_key, sizeof(d->verify_key));
	crypto_zero(d->keys, sizeof(d->keys));
	if (d->n_agree > 0)
		crypto_zero(d->agree, d->n_agree * sizeof(*d->agree));
	free(d->agree);
	free(d->verifiers);
	free(d->profiles);
}

void
snapshot_unref(struct tam_snapshot *s)
{
	if (s == NULL || atomic_fetch_sub(&s->refs, 1) > 1)
		return;
	for (size_t i = 0; i < s->n; i++)
		domain_fini(&s->domains[i]);
	crypto_zero(&s->tokens, sizeof(s->tokens));
	free(s);
}

struct tam_domain *
snapshot_domain(struct tam_snapshot *s, int64_t id)
{
	for (size_t i = 0; i < s->n; i++) {
		if (s->domains[i].id == id)
			return &s->domains[i];
	}
	return NULL;
}

const struct tam_domain *
snapshot_find(const struct tam_snapshot *s, struct slice name)
{
	if (name.n == 0)
		name = SLICE_LIT("default");
	for (size_t i = 0; i < s->n; i++) {
		if (slice_is(name, s->domains[i].name))
			return &s->domains[i];
	}
	return NULL;
}

const struct wire_profile *
domain_profile(const struct tam_domain *d, struct slice name)
{
	for (size_t i = 0; i < d->n_profiles; i++) {
		const struct wire_profile *p = &d->profiles[i];

		if (name.n == 0 ? p->is_default : slice_is(name, p->name))
			return p;
	}
	return NULL;
}

const struct wire_profile *
domain_profile_by_id(const struct tam_domain *d, uint8_t wire_id)
{
	for (size_t i = 0; i < d->n_profiles; i++) {
		if (d->profiles[i].wire_id == wire_id)
			return &d->profiles[i];
	}
	return domain_profile(d, (struct slice){0});
}

struct device_profile
domain_limits(const struct wire_profile *p)
{
	return (struct device_profile){p->update_max, p->ask_attest};
}
