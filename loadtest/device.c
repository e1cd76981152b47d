#include "config.h"

#include <stdlib.h>

#include "lib/base/mem.h"
#include "lib/codec/crypto.h"
#include "loadtest/holdings.h"

/*
 * What an agent is and holds: its components, the manifests that brought them,
 * and what installing and unlinking does to both.  Its messages are answers.c's.
 */

/* --- life ------------------------------------------------------------------------- */

void
agent_init(struct agent *a, uint32_t number, enum cose_curve curve,
    struct slice seed)
{
	struct cose_private priv;
	uint8_t bytes[64] = {0};
	size_t n = seed.n < 56 ? seed.n : 56;

	memcpy(bytes, seed.p, n);
	memcpy(bytes + 56, &number, sizeof(number));
	bytes[63] = (uint8_t)curve;
	*a = (struct agent){.number = number, .curve = curve};
	crypto_sha256(SLICE_OF(bytes), a->secret);
	cose_private_from_seed(&priv, curve, a->secret);
	memcpy(a->secret, priv.secret, sizeof(a->secret));
	memcpy(a->thumbprint, priv.key.thumbprint, sizeof(a->thumbprint));
	cose_private_wipe(&priv);
}

void
agent_fini(struct agent *a)
{
	free(a->passport);
	for (size_t i = 0; i < a->n_components; i++)
		free(a->components[i].users);
	free(a->components);
	a->components = NULL;
	a->n_components = 0;
}

void
fleet_world_fini(struct fleet_world *w)
{
	struct manifest_blob *next;

	for (struct manifest_blob *b = w->blobs; b != NULL; b = next) {
		next = b->next;
		arena_free(b->arena);
		free(b);
	}
	w->blobs = NULL;
	cose_crypto_free(w->crypto);
}

/* --- what it holds ------------------------------------------------------------------ */

struct slice
agent_component_id(const struct agent_component *c)
{
	return c->owner->manifest.components[c->index];
}

bool
agent_holds(const struct agent *a, struct slice id)
{
	for (size_t i = 0; i < a->n_components; i++) {
		if (slice_eq(agent_component_id(&a->components[i]), id))
			return true;
	}
	return false;
}

struct agent_component *
agent_component(struct agent *a, struct slice id)
{
	for (size_t i = 0; i < a->n_components; i++) {
		if (slice_eq(agent_component_id(&a->components[i]), id))
			return &a->components[i];
	}
	return NULL;
}

static size_t
find_user(const struct agent_component *c, const struct manifest_blob *user)
{
	size_t i = 0;

	while (i < c->n_users &&
	    !slice_eq(c->users[i]->manifest.component_id,
	        user->manifest.component_id))
		i++;
	return i;
}

/* One user less; the last takes it along (E23). */
static void
drop_component(const struct fleet_world *w, struct agent *a, struct slice id,
    const struct manifest_blob *user)
{
	struct agent_component *c = agent_component(a, id);
	size_t i;

	if (c == NULL)
		return;
	i = find_user(c, user);
	if (i < c->n_users)
		c->users[i] = c->users[--c->n_users];
	if (c->n_users > 0)
		return;
	free(c->users);
	*c = a->components[--a->n_components];
	a->changed = true;
	account_add(w->account, '-', SLICE_OF(a->thumbprint), id, slice_none());
}

/* `user` is the manifest of the Update, `owner` it or a dependency of it; a
 * newer manifest of the same id takes the place of the older. */
static void
add_component(const struct fleet_world *w, struct agent *a,
    const struct manifest_blob *owner, size_t index, const uint8_t digest[32],
    const struct manifest_blob *user)
{
	struct agent_component *c =
	    agent_component(a, owner->manifest.components[index]);
	size_t i;

	if (c == NULL) {
		a->components = mem_realloc(a->components,
		    (a->n_components + 1u) * sizeof(*a->components));
		c = &a->components[a->n_components++];
		*c = (struct agent_component){.owner = owner};
	}
	i = find_user(c, user);
	if (i == c->n_users)
		c->users =
		    mem_realloc(c->users, ++c->n_users * sizeof(*c->users));
	c->users[i] = user;
	c->owner = owner;
	c->index = (uint8_t)index;
	memcpy(c->digest, digest, 32);
	a->changed = true;
	account_add(w->account, '+', SLICE_OF(a->thumbprint),
	    agent_component_id(c), SLICE_OF(c->digest));
}

void
agent_account(const struct fleet_world *w, const struct agent *a)
{
	for (size_t i = 0; i < a->n_components; i++)
		account_add(w->account, '=', SLICE_OF(a->thumbprint),
		    agent_component_id(&a->components[i]),
		    SLICE_OF(a->components[i].digest));
}

/* A manifest every agent that installs it points to. */
static const struct manifest_blob *
intern(struct fleet_world *w, struct slice envelope)
{
	struct manifest_blob *b = mem_new(struct manifest_blob);
	struct slice copy;

	b->arena = arena_new_in(NULL);
	copy = arena_dup(b->arena, envelope);
	b->bytes = copy;
	if (suit_envelope_decode(copy, b->arena, &b->envelope) != TAM_OK ||
	    suit_manifest_decode(&b->envelope, b->arena, &b->manifest) !=
	        TAM_OK) {
		arena_free(b->arena);
		free(b);
		return NULL;
	}
	memcpy(b->digest, b->envelope.digest, sizeof(b->digest));
	for (struct manifest_blob *known = w->blobs; known != NULL;
	     known = known->next) {
		if (memcmp(known->digest, b->digest, 32) != 0)
			continue;
		arena_free(b->arena);
		free(b);
		return known;
	}
	b->next = w->blobs;
	w->blobs = b;
	return b;
}

/* CONFORMANCE A19: never back to a lower sequence number. */
static bool
rolls_back(const struct agent *a, const struct manifest_blob *b)
{
	for (size_t i = 0; i < a->n_components; i++) {
		const struct suit_manifest *have =
		    &a->components[i].owner->manifest;

		if (slice_eq(have->component_id, b->manifest.component_id) &&
		    have->sequence > b->manifest.sequence)
			return true;
	}
	return false;
}

/* --- an Update (section 7.2.2) ------------------------------------------------------------ */

/* What a run did, to what the agent holds. */
static void
apply_effects(struct fleet_world *w, struct agent *a,
    const struct manifest_blob *root, const struct suit_outcome *o)
{
	for (size_t i = 0; i < o->n_effects; i++) {
		const struct suit_effect *e = &o->effects[i];
		const struct manifest_blob *owner =
		    e->envelope.n > 0 ? intern(w, e->envelope) : root;

		if (owner == NULL)
			continue;
		if (e->unlinked)
			drop_component(w, a,
			    owner->manifest.components[e->index], root);
		else
			add_component(w, a, owner, e->index, e->digest, root);
	}
}

/* The manifest of an id that brought something, itself or by a dependency. */
static const struct manifest_blob *
find_manifest(const struct agent *a, struct slice id)
{
	for (size_t i = 0; i < a->n_components; i++) {
		const struct agent_component *c = &a->components[i];

		for (size_t k = 0; k < c->n_users; k++) {
			if (slice_eq(c->users[k]->manifest.component_id, id))
				return c->users[k];
		}
	}
	return NULL;
}

bool
agent_unlink(struct fleet_world *w, struct agent *a, struct slice id,
    struct arena *arena)
{
	const struct manifest_blob *b = find_manifest(a, id);
	struct suit_outcome *o;

	if (b == NULL)
		return true; /* not there: what was asked for is so */
	o = arena_new(arena, struct suit_outcome);
	suit_run_uninstall(&w->suit, &b->envelope, &b->manifest, arena, o);
	if (o->ok)
		apply_effects(w, a, b, o);
	return o->ok;
}

/* -trust-domains, 6.7: what another manifest put there is not overwritten. */
static bool
is_occupied(const struct agent *a, const struct manifest_blob *b)
{
	for (size_t i = 0; i < a->n_components; i++) {
		const struct agent_component *c = &a->components[i];

		for (size_t k = 0; k < b->manifest.n_components; k++) {
			if (slice_eq(agent_component_id(c),
			        b->manifest.components[k]) &&
			    find_user(c, b) == c->n_users)
				return true;
		}
	}
	return false;
}

bool
agent_install(struct fleet_world *w, struct agent *a, struct slice envelope,
    struct arena *arena, struct suit_outcome *o, uint8_t digest[32])
{
	const struct manifest_blob *b = intern(w, envelope);
	size_t which;

	*o = (struct suit_outcome){.section = SUIT_INSTALL,
	    .reason = SUIT_REASON_PARSE};
	if (b == NULL)
		return false;
	memcpy(digest, b->digest, 32);
	o->reason = SUIT_REASON_UNAUTHORISED;
	if (suit_verify(w->crypto, &b->envelope, arena, w->signers,
	        w->n_signers, &which) != TAM_OK ||
	    rolls_back(a, b))
		return false;
	o->reason = SUIT_REASON_OPERATION;
	if (is_occupied(a, b))
		return false;
	suit_run_update(&w->suit, &b->envelope, &b->manifest, arena, o);
	if (o->ok && w->play.fail_section != 0 &&
	    b->manifest.sequence >= w->play.fail_from)
		*o = (struct suit_outcome){.section = (enum suit_section)
		                                          w->play.fail_section,
		    .reason = SUIT_REASON_CONDITION};
	if (o->ok)
		apply_effects(w, a, b, o);
	return o->ok;
}

/* --- what the interpreter asks -------------------------------------------------------------- */

static bool
trusts(void *arg, const struct suit_envelope *e)
{
	struct fleet_world *w = arg;
	struct arena *arena = arena_new_in(NULL);
	size_t which;
	bool ok = suit_verify(w->crypto, e, arena, w->signers, w->n_signers,
	              &which) == TAM_OK;

	arena_free(arena);
	return ok;
}

static struct slice
installed(void *arg, const uint8_t digest[32])
{
	const struct fleet_world *w = arg;

	for (const struct manifest_blob *b = w->blobs; b != NULL; b = b->next) {
		if (memcmp(b->digest, digest, 32) == 0)
			return b->bytes;
	}
	return slice_none();
}

void
fleet_world_init(struct fleet_world *w)
{
	w->crypto = cose_crypto_new();
	w->suit.trusts = trusts;
	w->suit.installed = installed;
	w->suit.arg = w;
}
