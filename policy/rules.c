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
		selector_free(set->rules[i].selector);
		free(set->rules[i].name);
		free(set->rules[i].targets);
	}
	rule_index_free(set->index);
	free(set->images);
	free(set->rules);
	free(set->manifests);
	free(set->revoked);
	free(set->revoked_manifests);
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
	to->envelope = dup_form(set, m->envelope);
	to->bare = dup_form(set, m->bare);
	to->components = components;
	to->dependencies = dependencies;
}

bool
policy_asks_keys(const struct policy_set *set)
{
	for (size_t i = 0; i < set->n_rules; i++) {
		if (selector_asks_keys(set->rules[i].selector))
			return true;
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
policy_add_revocation(struct policy_builder *b, int64_t id,
    struct slice component, struct slice digest)
{
	if (b->n_revocations == b->room_revocations) {
		b->room_revocations = 2 * b->room_revocations + 16;
		b->revocations = mem_realloc(b->revocations,
		    b->room_revocations * sizeof(*b->revocations));
	}
	b->revocations[b->n_revocations++] =
	    (struct pending_revocation){id, arena_dup(b->set->arena, component),
	        arena_dup(b->set->arena, digest)};
}

static int
by_component(const void *a, const void *b)
{
	const struct revoked *x = a, *y = b;

	return slice_cmp(x->component, y->component);
}

static int
by_slice(const void *a, const void *b)
{
	const struct slice *x = a, *y = b;

	return slice_cmp(*x, *y);
}

static void
add_revoked(struct policy_set *set, int64_t id, struct slice component,
    struct slice digest)
{
	set->revoked = mem_realloc(set->revoked,
	    (set->n_revoked + 1) * sizeof(*set->revoked));
	set->revoked[set->n_revoked++] =
	    (struct revoked){component, digest, id};
}

/* A component target may also name a manifest: then what it installs. */
static void
expand_component(struct policy_set *set, const struct pending_revocation *r)
{
	add_revoked(set, r->id, r->component, (struct slice){0});
	for (size_t i = 0; i < set->n_manifests; i++) {
		const struct policy_manifest *m = &set->manifests[i];

		if (!slice_eq(m->id, r->component))
			continue;
		for (size_t j = 0; j < m->n_components; j++)
			add_revoked(set, r->id, m->components[j].id,
			    (struct slice){0});
	}
}

static void
expand_manifest(struct policy_set *set, const struct pending_revocation *r)
{
	const struct policy_manifest *m = policy_find_manifest(set, r->digest);

	set->revoked_manifests = mem_realloc(set->revoked_manifests,
	    (set->n_revoked_manifests + 1) * sizeof(struct slice));
	set->revoked_manifests[set->n_revoked_manifests++] = r->digest;
	for (size_t i = 0; m != NULL && i < m->n_components; i++)
		add_revoked(set, r->id, m->components[i].id,
		    m->components[i].digest);
}

static int
by_rank(const void *a, const void *b)
{
	const struct rule *x = a, *y = b;

	if (x->priority != y->priority)
		return x->priority > y->priority ? -1 : 1;
	return strcmp(x->name, y->name);
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

	for (size_t i = 0; i < b->n_revocations; i++) {
		if (b->revocations[i].digest.n > 0)
			expand_manifest(set, &b->revocations[i]);
		else
			expand_component(set, &b->revocations[i]);
	}
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
	b->set = NULL;
	policy_builder_free(b);
	return set;
}
