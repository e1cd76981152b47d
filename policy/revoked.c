#include "config.h"

#include "policy/rules.h"

/* What a set's revocations are about. */

/* Of sorted rows that begin with a slice, the first that is not less. */
static size_t
first_of(const void *rows, size_t n, size_t size, struct slice key)
{
	size_t lo = 0, hi = n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		struct slice at;

		memcpy(&at, (const uint8_t *)rows + mid * size, sizeof(at));
		if (slice_cmp(at, key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

size_t
revoked_first(const struct policy_set *set, struct slice component)
{
	return first_of(set->revoked, set->n_revoked, sizeof(*set->revoked),
	    component);
}

size_t
revoked_class_first(const struct policy_set *set, struct slice name)
{
	return first_of(set->revoked_classes, set->n_revoked_classes,
	    sizeof(*set->revoked_classes), name);
}

bool
revoked_hits(const struct revoked *r, struct slice digest)
{
	return r->digest.n == 0 || digest.n == 0 || slice_eq(r->digest, digest);
}

static bool is_revoked(const struct policy_set *,
    const struct policy_manifest *, unsigned depth);

static bool
revoked_digest(const struct policy_set *set, struct slice digest)
{
	size_t lo = 0, hi = set->n_revoked_manifests;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int c = slice_cmp(set->revoked_manifests[mid], digest);

		if (c == 0)
			return true;
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return false;
}

/* What it depends on is part of it. */
static bool
depends_on_revoked(const struct policy_set *set,
    const struct policy_manifest *m, unsigned depth)
{
	for (size_t i = 0; i < m->n_dependencies; i++) {
		const struct policy_manifest *d =
		    policy_find_manifest(set, m->dependencies[i]);

		if (revoked_digest(set, m->dependencies[i]) ||
		    (depth > 0 && d != NULL && is_revoked(set, d, depth - 1)))
			return true;
	}
	return false;
}

static bool
is_revoked(const struct policy_set *set, const struct policy_manifest *m,
    unsigned depth)
{
	if (revoked_digest(set, m->digest) || depends_on_revoked(set, m, depth))
		return true;
	for (size_t i = 0; i < m->n_components; i++) {
		const struct policy_component *c = &m->components[i];

		for (size_t r = revoked_first(set, c->id); r < set->n_revoked &&
		     slice_eq(set->revoked[r].component, c->id);
		     r++) {
			if (revoked_hits(&set->revoked[r], c->digest))
				return true;
		}
	}
	return false;
}

bool
policy_is_revoked(const struct policy_set *set, const struct policy_manifest *m)
{
	return is_revoked(set, m, DEPENDENCY_DEPTH);
}

bool
policy_image_revoked(const struct policy_set *set, struct slice digest)
{
	for (size_t i = 0; i < set->n_manifests; i++) {
		const struct policy_manifest *m = &set->manifests[i];

		for (size_t k = 0; k < m->n_components; k++) {
			if (slice_eq(m->components[k].digest, digest) &&
			    policy_is_revoked(set, m))
				return true;
		}
	}
	return false;
}
