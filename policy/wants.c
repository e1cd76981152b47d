#include "config.h"

#include "policy/deciding.h"

static const struct policy_component *
held(const struct policy_facts *f, struct slice id)
{
	for (size_t i = 0; i < f->n_components; i++) {
		if (slice_eq(f->components[i].id, id))
			return &f->components[i];
	}
	return NULL;
}

/* --- what is decided already -------------------------------------------------------- */

enum {
	SPOKEN_ROOM = 16 /* at first */
};

/* FNV-1a. */
static size_t
hash_of(struct slice id)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < id.n; i++)
		h = (h ^ id.p[i]) * UINT64_C(0x100000001b3);
	return (size_t)(h ^ h >> 32);
}

/* The place of an id, or the free one where it belongs. */
static struct spoken *
place_of(struct spoken *table, size_t room, struct slice id)
{
	size_t i = hash_of(id) & (room - 1);

	while (table[i].speaker != NULL && !slice_eq(table[i].id, id))
		i = (i + 1) & (room - 1);
	return &table[i];
}

static void
grow_spoken(struct deciding *d)
{
	size_t room = d->spoken_room == 0 ? SPOKEN_ROOM : 2 * d->spoken_room;
	struct spoken *table = arena_new_n(d->arena, room, struct spoken);

	for (size_t i = 0; i < d->spoken_room; i++) {
		if (d->spoken[i].speaker != NULL)
			*place_of(table, room, d->spoken[i].id) = d->spoken[i];
	}
	d->spoken = table;
	d->spoken_room = room;
}

bool
deciding_speak(struct deciding *d, struct slice id)
{
	struct spoken *place;

	if (2 * d->n_spoken >= d->spoken_room)
		grow_spoken(d);
	place = place_of(d->spoken, d->spoken_room, id);
	if (place->speaker != NULL)
		return false;
	*place = (struct spoken){id, d->speaker};
	d->n_spoken++;
	return true;
}

const char *
deciding_speaker(const struct deciding *d, struct slice id)
{
	return d->n_spoken == 0
	    ? NULL
	    : place_of(d->spoken, d->spoken_room, id)->speaker;
}

/* --- what is to be unlinked ---------------------------------------------------------- */

/* Adds the id to a list in the arena, unless it is in it. */
static void
add_once(struct arena *arena, struct slice **list, size_t *n, struct slice id)
{
	for (size_t i = 0; i < *n; i++) {
		if (slice_eq((*list)[i], id))
			return;
	}
	*list = arena_room(arena, *list, *n, sizeof(**list));
	(*list)[(*n)++] = id;
}

static bool
installs(const struct policy_manifest *m, struct slice component)
{
	for (size_t i = 0; i < m->n_components; i++) {
		if (slice_eq(m->components[i].id, component))
			return true;
	}
	return false;
}

static bool
sends(const struct policy_decision *out, struct slice manifest_id)
{
	for (size_t i = 0; i < out->n_manifests; i++) {
		if (slice_eq(out->manifests[i]->id, manifest_id))
			return true;
	}
	return false;
}

/* By itself, or by what it depends on. */
static bool
brings(const struct policy_set *set, const struct policy_manifest *m,
    struct slice component, unsigned depth)
{
	if (installs(m, component))
		return true;
	for (size_t i = 0; depth > 0 && i < m->n_dependencies; i++) {
		const struct policy_manifest *d =
		    policy_find_manifest(set, m->dependencies[i]);

		if (d != NULL && brings(set, d, component, depth - 1))
			return true;
	}
	return false;
}

/* Every manifest that could have put the component there is unlinked, but
 * for one that is being replaced by a newer of the same id. */
void
deciding_unlink(struct deciding *d, struct slice component)
{
	for (size_t i = 0; i < d->set->n_manifests; i++) {
		const struct policy_manifest *m = &d->set->manifests[i];

		if (brings(d->set, m, component, DEPENDENCY_DEPTH) &&
		    !sends(d->out, m->id))
			add_once(d->arena, &d->out->unlinks, &d->out->n_unlinks,
			    m->id);
	}
	add_once(d->arena, &d->out->removes, &d->out->n_removes, component);
}

/* --- a manifest ------------------------------------------------------------------ */

bool
deciding_satisfied(const struct policy_facts *f,
    const struct policy_manifest *m)
{
	for (size_t i = 0; i < m->n_components; i++) {
		const struct policy_component *have =
		    held(f, m->components[i].id);

		if (have == NULL)
			return false;
		if (have->digest.n > 0 && m->components[i].digest.n > 0 &&
		    !slice_eq(have->digest, m->components[i].digest))
			return false;
	}
	return true;
}

/* CONFORMANCE T42: a device that has the binary gets the manifest only; one
 * that takes no Update as large as the whole fetches the binary. */
static struct slice
sent_form(const struct policy_facts *f, const struct policy_manifest *m)
{
	if (m->fetchable && m->bare.n > 0 && m->envelope.n > f->update_max)
		return m->bare;
	for (size_t i = 0; m->bare.n > 0 && i < f->n_requested; i++) {
		const struct policy_request *r = &f->requested[i];

		if (r->have_binary && r->sequence == m->sequence &&
		    policy_manifest_brings(m, r->component))
			return m->bare;
	}
	return m->envelope;
}

/* Whether every manifest that brings this image is newer. */
static bool
is_newer(const struct policy_set *set, const struct policy_component *have,
    uint64_t sequence)
{
	size_t lo = 0, hi = set->n_images;
	const struct policy_image *image;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int c = slice_cmp(set->images[mid].component, have->id);

		if (c == 0)
			c = slice_cmp(set->images[mid].digest, have->digest);
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	image = &set->images[lo]; /* the least sequence number is first */
	return lo < set->n_images && slice_eq(image->component, have->id) &&
	    slice_eq(image->digest, have->digest) && image->sequence > sequence;
}

/* CONFORMANCE P: a device takes no manifest older than what it has. */
static bool
would_go_back(const struct deciding *d, const struct policy_manifest *m)
{
	for (size_t i = 0; i < m->n_components; i++) {
		const struct policy_component *have =
		    held(d->facts, m->components[i].id);

		if (have != NULL && have->digest.n > 0 &&
		    is_newer(d->set, have, m->sequence))
			return true;
	}
	return false;
}

static size_t
sent_bytes(const struct deciding *d)
{
	size_t n = 0;

	for (size_t i = 0; i < d->out->n_manifests; i++)
		n += sent_form(d->facts, d->out->manifests[i]).n;
	return n;
}

static void
drop_unlink(struct policy_decision *out, struct slice manifest_id)
{
	for (size_t i = 0; i < out->n_unlinks; i++) {
		if (slice_eq(out->unlinks[i], manifest_id))
			out->unlinks[i--] = out->unlinks[--out->n_unlinks];
	}
}

static void
add_wanted(struct deciding *d, const struct policy_manifest *m)
{
	struct policy_decision *out = d->out;

	drop_unlink(out, m->id);
	out->manifests = arena_room(d->arena, out->manifests, out->n_manifests,
	    sizeof(*out->manifests));
	out->manifests[out->n_manifests++] = m;
	for (size_t i = 0; i < m->n_components; i++) {
		out->adds = arena_room(d->arena, out->adds, out->n_adds,
		    sizeof(*out->adds));
		out->adds[out->n_adds++] = m->components[i];
	}
}

/* What became of it. */
const char *
deciding_want(struct deciding *d, const struct policy_manifest *m)
{
	struct policy_decision *out = d->out;

	if (!deciding_speak(d, m->id))
		return "outranked";
	if (policy_is_revoked(d->set, m))
		return "revoked";
	if (deciding_satisfied(d->facts, m))
		return "held";
	if (would_go_back(d, m)) {
		d->downgrades = true;
		return "newer_held";
	}
	if (d->hold != NULL)
		return d->hold;
	if (sent_bytes(d) + sent_form(d->facts, m).n > d->facts->update_max) {
		d->too_large = out->n_manifests == 0 || d->too_large;
		/* The next Update takes it, if it fits at all. */
		return out->n_manifests == 0 ? "too_large" : "next_update";
	}
	if (out->n_manifests == DECIDING_MANIFESTS_MAX)
		return "next_update";
	add_wanted(d, m);
	return "sent";
}

bool
deciding_is_absent(const struct deciding *d, struct slice id)
{
	if (held(d->facts, id) != NULL)
		return false;
	for (size_t i = 0; i < d->set->n_manifests; i++) {
		const struct policy_manifest *m = &d->set->manifests[i];

		for (size_t j = 0; slice_eq(m->id, id) && j < m->n_components;
		     j++) {
			if (held(d->facts, m->components[j].id) != NULL)
				return false;
		}
	}
	return true;
}

/* The id may be a component's or a manifest's. */
const char *
deciding_unwant(struct deciding *d, struct slice id)
{
	size_t before = d->out->n_removes;

	if (!deciding_speak(d, id))
		return "outranked";
	if (d->hold != NULL)
		return deciding_is_absent(d, id) ? "absent" : d->hold;
	if (held(d->facts, id) != NULL)
		deciding_unlink(d, id);
	for (size_t i = 0; i < d->set->n_manifests; i++) {
		const struct policy_manifest *m = &d->set->manifests[i];

		for (size_t j = 0; slice_eq(m->id, id) && j < m->n_components;
		     j++) {
			if (held(d->facts, m->components[j].id) != NULL)
				deciding_unlink(d, m->components[j].id);
		}
	}
	return d->out->n_removes > before ? "unlinked" : "absent";
}

/* --- what was put there ----------------------------------------------------------- */

static bool
depends_on(const struct policy_manifest *m, struct slice digest)
{
	for (size_t i = 0; i < m->n_dependencies; i++) {
		if (slice_eq(m->dependencies[i], digest))
			return true;
	}
	return false;
}

/* CONFORMANCE T45: what others depend on comes first; else the order stays. */
static void
order_manifests(struct policy_decision *out)
{
	for (size_t done = 0; done < out->n_manifests; done++) {
		size_t pick = done;

		for (size_t i = done; i < out->n_manifests; i++) {
			bool waits = false;

			for (size_t k = done; k < out->n_manifests; k++)
				waits |= k != i &&
				    depends_on(out->manifests[i],
				        out->manifests[k]->digest);
			if (!waits) {
				pick = i;
				break;
			}
		}
		const struct policy_manifest *next = out->manifests[pick];

		for (; pick > done; pick--)
			out->manifests[pick] = out->manifests[pick - 1];
		out->manifests[done] = next;
	}
}

static void
choose_forms(struct deciding *d)
{
	d->out->envelopes =
	    arena_new_n(d->arena, d->out->n_manifests, struct slice);
	for (size_t i = 0; i < d->out->n_manifests; i++)
		d->out->envelopes[i] =
		    sent_form(d->facts, d->out->manifests[i]);
}

/* A component that a manifest brings again is not lost. */
static void
settle_removes(struct policy_decision *out)
{
	for (size_t i = 0; i < out->n_removes; i++) {
		for (size_t j = 0; j < out->n_adds; j++) {
			if (!slice_eq(out->removes[i], out->adds[j].id))
				continue;
			out->removes[i--] = out->removes[--out->n_removes];
			break;
		}
	}
}

void
deciding_settle(struct deciding *d)
{
	settle_removes(d->out);
	order_manifests(d->out);
	choose_forms(d);
}
