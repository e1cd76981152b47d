#include "config.h"

#include "server/teep/inventory.h"

#include <stdlib.h>

static int
by_id(const void *a, const void *b)
{
	const struct store_component *x = a, *y = b;

	return slice_bytewise(x->id, y->id);
}

static void
hash_components(struct cose_crypto *crypto, struct inventory *inv)
{
	struct slice parts[3 * INVENTORY_MAX];
	uint8_t sizes[INVENTORY_MAX][3];
	size_t n = 0;

	for (size_t i = 0; i < inv->n; i++) {
		const struct store_component *c = &inv->components[i];

		sizes[i][0] = (uint8_t)(c->id.n >> 8);
		sizes[i][1] = (uint8_t)c->id.n;
		sizes[i][2] = (uint8_t)c->digest.n;
		parts[n++] = SLICE_OF(sizes[i]);
		parts[n++] = c->id;
		parts[n++] = c->digest;
	}
	cose_digest(crypto, parts, n, inv->hash);
}

enum tam_err
inventory_make(struct cose_crypto *crypto, struct arena *arena,
    const struct teep_message *m, struct inventory *out)
{
	size_t kept = 0;

	if (m->n_tc > INVENTORY_MAX)
		return TAM_TOO_LARGE;
	out->components = arena_new_n(arena, m->n_tc, struct store_component);
	for (size_t i = 0; i < m->n_tc; i++)
		out->components[i] =
		    (struct store_component){m->tc[i].component_id,
		        m->tc[i].digest};
	if (m->n_tc > 1)
		qsort(out->components, m->n_tc, sizeof(out->components[0]),
		    by_id);
	for (size_t i = 0; i < m->n_tc; i++) {
		if (kept > 0 &&
		    slice_eq(out->components[kept - 1].id,
		        out->components[i].id))
			kept--; /* said twice: the last one counts */
		out->components[kept++] = out->components[i];
	}
	out->n = kept;
	hash_components(crypto, out);
	return TAM_OK;
}
