#include "config.h"

#include "policy/rules.h"

#include <stdlib.h>

#include "lib/base/mem.h"

/* Building a set: gather, then sort what is looked up while deciding. */

struct policy_builder *
policy_builder_new(void)
{
	struct policy_builder *b = mem_new(struct policy_builder);

	b->set = mem_new(struct policy_set);
	b->set->arena = arena_new_in(NULL);
	atomic_init(&b->set->refs, 1);
	return b;
}

void
policy_builder_free(struct policy_builder *b)
{
	if (b == NULL)
		return;
	policy_set_unref(b->set);
	free(b->revocations);
	free(b->channels);
	free(b);
}

struct policy_set *
policy_set_ref(struct policy_set *set)
{
	(void)atomic_fetch_add(&set->refs, 1);
	return set;
}

void
policy_set_unref(struct policy_set *set)
{
	if (set == NULL || atomic_fetch_sub(&set->refs, 1) > 1)
		return;
	for (size_t i = 0; i < set->n_rules; i++) {
		free(set->rules[i].name);
		free(set->rules[i].targets);
	}
	rule_index_free(set->index);
	free(set->images);
	free(set->rules);
	free(set->manifests);
	free(set->revoked);
	free(set->revoked_manifests);
	free(set->revoked_classes);
	arena_free(set->arena);
	free(set);
}

static int
by_digest(const void *a, const void *b)
{
	const struct policy_manifest *x = a, *y = b;

	return slice_cmp(x->digest, y->digest);
}

/* Of what is not to be sent the size alone may be known. */
static struct slice
dup_form(const struct policy_set *set, struct slice form)
{
	return form.p == NULL ? form : arena_dup(set->arena, form);
}

/* Kept sorted while it is built: policies look their manifests up. */
void
policy_add_manifest(struct policy_builder *b, const struct policy_manifest *m)
{
	struct policy_set *set = b->set;
	struct policy_component *components =
	    arena_new_n(set->arena, m->n_components, struct policy_component);
	struct slice *dependencies =
	    arena_new_n(set->arena, m->n_dependencies, struct slice);
	struct policy_manifest *to;

	if (set->n_manifests == b->room_manifests) {
		b->room_manifests = 2 * b->room_manifests + 16;
		set->manifests = mem_realloc(set->manifests,
		    b->room_manifests * sizeof(*set->manifests));
	}
	for (size_t i = 0; i < m->n_components; i++) {
		components[i].id = arena_dup(set->arena, m->components[i].id);
		components[i].digest =
		    arena_dup(set->arena, m->components[i].digest);
	}
	for (size_t i = 0; i < m->n_dependencies; i++)
		dependencies[i] = arena_dup(set->arena, m->dependencies[i]);
	to = set->manifests + set->n_manifests++;
	/* Rows come in no order of digests; shift what is larger. */
	while (to > set->manifests && slice_cmp(to[-1].digest, m->digest) > 0) {
		*to = to[-1];
		to--;
	}
	*to = *m;
	to->digest = arena_dup(set->arena, m->digest);
	to->id = arena_dup(set->arena, m->id);
	to->signer = arena_dup(set->arena, m->signer);
	to->envelope = dup_form(set, m->envelope);
	to->bare = dup_form(set, m->bare);
	to->components = components;
	to->dependencies = dependencies;
}

static bool
rule_asks(const struct rule *r, enum selector_asked what)
{
	for (size_t i = 0; what == SELECTOR_ASKS_REQUESTS && i < r->n; i++) {
		if (r->targets[i].on_request)
			return true;
	}
	return selector_asks(r->selector, what) ||
	    (r->claims != NULL && selector_asks(r->claims, what)) ||
	    (what == SELECTOR_ASKS_APPRAISAL && r->max_age_us > 0);
}

bool
policy_asks(const struct policy_set *set, enum selector_asked what)
{
	for (size_t i = 0; i < set->n_rules; i++) {
		if (rule_asks(&set->rules[i], what))
			return true;
	}
	for (size_t i = 0; i < set->n_rollouts; i++) {
		const struct rollout_plan *plan = &set->rollouts[i]->plan;

		for (size_t k = 0; k < plan->n_stages; k++) {
			if (plan->stages[k].selector != NULL &&
			    selector_asks(plan->stages[k].selector, what))
				return true;
		}
	}
	return false;
}

const struct policy_manifest *
policy_find_manifest(const struct policy_set *set, struct slice digest)
{
	struct policy_manifest key = {.digest = digest};

	if (set->n_manifests == 0)
		return NULL;
	return bsearch(&key, set->manifests, set->n_manifests,
	    sizeof(set->manifests[0]), by_digest);
}

const struct policy_manifest *
policy_builder_manifest(const struct policy_builder *b, struct slice digest)
{
	return policy_find_manifest(b->set, digest);
}

void
policy_add_channel(struct policy_builder *b, const char *name,
    struct slice digest)
{
	const struct policy_manifest *m = policy_find_manifest(b->set, digest);

	if (m == NULL)
		return;
	b->channels = mem_realloc(b->channels,
	    (b->n_channels + 1) * sizeof(*b->channels));
	b->channels[b->n_channels++] =
	    (struct channel){arena_strdup(b->set->arena, slice_str(name)), m};
}

void
policy_add_revocation(struct policy_builder *b,
    const struct policy_revocation *r)
{
	struct arena *arena = b->set->arena;
	struct policy_revocation *to;

	if (b->n_revocations == b->room_revocations) {
		b->room_revocations = 2 * b->room_revocations + 16;
		b->revocations = mem_realloc(b->revocations,
		    b->room_revocations * sizeof(*b->revocations));
	}
	to = &b->revocations[b->n_revocations++];
	*to = *r;
	to->component = arena_dup(arena, r->component);
	to->manifest = arena_dup(arena, r->manifest);
	to->signer = arena_dup(arena, r->signer);
	to->class_name = arena_dup(arena, r->class_name);
	to->replacement = arena_dup(arena, r->replacement);
}

bool
policy_manifest_brings(const struct policy_manifest *m, struct slice id)
{
	if (slice_eq(m->id, id))
		return true;
	for (size_t i = 0; i < m->n_components; i++) {
		if (slice_eq(m->components[i].id, id))
			return true;
	}
	return false;
}

static int
by_component(const void *a, const void *b)
{
	const struct revoked *x = a, *y = b;

	return slice_cmp(x->component, y->component);
}

static int
by_class(const void *a, const void *b)
{
	const struct revoked_class *x = a, *y = b;

	return slice_cmp(x->name, y->name);
}

static int
by_slice(const void *a, const void *b)
{
	const struct slice *x = a, *y = b;

	return slice_cmp(*x, *y);
}

/* --- what a revocation is about --------------------------------------------------- */

/* Any image of one component, whoever brings it. */
static bool
is_plain(const struct policy_revocation *r)
{
	return r->component.n > 0 && !r->ranged;
}

/* A plain target may be a manifest's id: then it is what that installs. */
static bool
names(const struct policy_revocation *r, const struct policy_manifest *m)
{
	if (r->manifest.n > 0)
		return slice_eq(r->manifest, m->digest);
	if (r->signer.n > 0)
		return slice_eq(r->signer, m->signer);
	if (r->class_name.n > 0)
		return false;
	if (!r->ranged)
		return slice_eq(m->id, r->component);
	return policy_manifest_brings(m, r->component) &&
	    m->sequence >= r->first && m->sequence <= r->last;
}

bool
policy_would_revoke(const struct policy_revocation *r,
    const struct policy_manifest *m)
{
	return names(r, m) ||
	    (is_plain(r) && policy_manifest_brings(m, r->component));
}

size_t
policy_revocation_targets(const struct policy_set *set,
    const struct policy_revocation *r, struct arena *arena,
    struct policy_component **out, size_t *named)
{
	size_t room = 1, n = 0;
	struct policy_component *targets;

	*named = 0;
	for (size_t i = 0; i < set->n_manifests; i++) {
		if (names(r, &set->manifests[i]))
			room += set->manifests[i].n_components;
	}
	targets = arena_new_n(arena, room, struct policy_component);
	if (is_plain(r))
		targets[n++] =
		    (struct policy_component){r->component, slice_none()};
	for (size_t i = 0; i < set->n_manifests; i++) {
		const struct policy_manifest *m = &set->manifests[i];

		if (!names(r, m))
			continue;
		++*named;
		for (size_t c = 0; c < m->n_components; c++)
			targets[n++] =
			    (struct policy_component){m->components[c].id,
			        is_plain(r) ? slice_none()
			                    : m->components[c].digest};
	}
	*out = targets;
	return n;
}

static void
revoke_manifest(struct policy_set *set, struct slice digest)
{
	set->revoked_manifests = mem_realloc(set->revoked_manifests,
	    (set->n_revoked_manifests + 1) * sizeof(struct slice));
	set->revoked_manifests[set->n_revoked_manifests++] = digest;
}

static void
revoke_class(struct policy_set *set, const struct policy_revocation *r)
{
	set->revoked_classes = mem_realloc(set->revoked_classes,
	    (set->n_revoked_classes + 1) * sizeof(*set->revoked_classes));
	set->revoked_classes[set->n_revoked_classes++] =
	    (struct revoked_class){r->class_name, r->id};
}

/* Of a range or a signer: the manifests there are; one that is uploaded later
 * comes with another epoch. */
static void
expand(struct policy_set *set, const struct policy_revocation *r)
{
	struct policy_component *targets;
	size_t named,
	    n = policy_revocation_targets(set, r, set->arena, &targets, &named);

	set->revoked = mem_realloc(set->revoked,
	    (set->n_revoked + n + 1) * sizeof(*set->revoked));
	for (size_t i = 0; i < n; i++)
		set->revoked[set->n_revoked++] = (struct revoked){targets[i].id,
		    targets[i].digest, r->id,
		    policy_find_manifest(set, r->replacement), r->quarantine};
	if (r->class_name.n > 0)
		revoke_class(set, r);
	if (r->manifest.n > 0)
		revoke_manifest(set, r->manifest);
	for (size_t i = 0;
	     !is_plain(r) && r->manifest.n == 0 && i < set->n_manifests; i++) {
		if (names(r, &set->manifests[i]))
			revoke_manifest(set, set->manifests[i].digest);
	}
}

/* --- sorting ------------------------------------------------------------------------ */

static int
by_rank(const void *a, const void *b)
{
	const struct rule *x = a, *y = b;

	if (x->priority != y->priority)
		return x->priority > y->priority ? -1 : 1;
	if (strcmp(x->name, y->name) != 0)
		return strcmp(x->name, y->name);
	return (int)x->side - (int)y->side;
}

static int
by_image(const void *a, const void *b)
{
	const struct policy_image *x = a, *y = b;
	int c = slice_cmp(x->component, y->component);

	if (c == 0)
		c = slice_cmp(x->digest, y->digest);
	return c != 0
	    ? c
	    : (x->sequence > y->sequence) - (x->sequence < y->sequence);
}

static void
list_images(struct policy_set *set)
{
	size_t room = 0;

	for (size_t i = 0; i < set->n_manifests; i++)
		room += set->manifests[i].n_components;
	set->images = mem_new_n(room + 1, struct policy_image);
	for (size_t i = 0; i < set->n_manifests; i++) {
		const struct policy_manifest *m = &set->manifests[i];

		for (size_t c = 0; c < m->n_components; c++) {
			if (m->components[c].digest.n > 0)
				set->images[set->n_images++] =
				    (struct policy_image){m->components[c].id,
				        m->components[c].digest, m->sequence};
		}
	}
	qsort(set->images, set->n_images, sizeof(set->images[0]), by_image);
}

struct policy_set *
policy_build(struct policy_builder *b)
{
	struct policy_set *set = b->set;

	for (size_t i = 0; i < b->n_revocations; i++)
		expand(set, &b->revocations[i]);
	if (set->n_rules > 0)
		qsort(set->rules, set->n_rules, sizeof(set->rules[0]), by_rank);
	set->index = rule_index_new(set->rules, set->n_rules);
	list_images(set);
	if (set->n_revoked > 0)
		qsort(set->revoked, set->n_revoked, sizeof(set->revoked[0]),
		    by_component);
	if (set->n_revoked_manifests > 0)
		qsort(set->revoked_manifests, set->n_revoked_manifests,
		    sizeof(struct slice), by_slice);
	if (set->n_revoked_classes > 0)
		qsort(set->revoked_classes, set->n_revoked_classes,
		    sizeof(set->revoked_classes[0]), by_class);
	b->set = NULL;
	policy_builder_free(b);
	return set;
}
