#include "config.h"

#include "admin/holdings.h"

#include <stdlib.h>

#include "lib/base/mem.h"
#include "storage/admin_statements.h"

enum {
	KNOWN_MAX = 8192, /* inventories that are kept from read to read */
	SLOTS = 65536,    /* more than these and those of one read */
	IDS_MAX = 1 << 20 /* bytes of the ids of one read */
};

struct holding {
	const char *hash; /* hexadecimal; NULL: nobody else's */
	const char *device;
	size_t n;
	struct policy_component *components;
};

/* One of a list of them. */
struct holding_ref {
	struct holding *to;
};

struct holdings {
	struct api_request *request;
	struct arena *arena; /* of what is known */
	size_t n_known;
	struct holding_ref slots[SLOTS]; /* by hash */
	size_t n_rows, n_fresh;
	struct holding_ref *rows;  /* of the last read */
	struct holding_ref *fresh; /* to be read, in the order of devices */
};

struct holdings *
holdings_new(struct api_request *r)
{
	struct holdings *h = mem_new(struct holdings);

	h->request = r;
	h->arena = arena_new_in(NULL);
	return h;
}

void
holdings_free(struct holdings *h)
{
	arena_free(h->arena);
	free(h->rows);
	free(h->fresh);
	free(h);
}

static void
forget(struct holdings *h)
{
	arena_free(h->arena);
	h->arena = arena_new_in(NULL);
	h->n_known = 0;
	memset(h->slots, 0, sizeof(h->slots));
}

/* --- which inventory ---------------------------------------------------------------- */

/* The slot of a hash, or the empty one where it belongs. */
static struct holding_ref *
slot_of(struct holdings *h, const char *hash)
{
	size_t at = 0;

	for (const char *p = hash; *p != '\0'; p++)
		at = at * 31 + (unsigned char)*p;
	at %= SLOTS;
	while (
	    h->slots[at].to != NULL && strcmp(h->slots[at].to->hash, hash) != 0)
		at = (at + 1) % SLOTS;
	return &h->slots[at];
}

static struct holding *
note_fresh(struct holdings *h, const char *device, const char *hash)
{
	struct holding *x = arena_new(h->arena, struct holding);

	x->device = arena_strdup(h->arena, slice_str(device));
	if (hash != NULL)
		x->hash = arena_strdup(h->arena, slice_str(hash));
	h->n_known++;
	h->fresh[h->n_fresh++].to = x;
	return x;
}

static struct holding *
find(struct holdings *h, const char *device, const char *hash)
{
	struct holding_ref *slot;

	if (hash == NULL)
		return note_fresh(h, device, NULL);
	slot = slot_of(h, hash);
	if (slot->to == NULL)
		slot->to = note_fresh(h, device, hash);
	return slot->to;
}

/* --- reading ---------------------------------------------------------------------------- */

static const char *
fresh_ids(const struct holdings *h)
{
	const char *text;
	struct buf b;

	buf_init(&b, IDS_MAX);
	for (size_t i = 0; i < h->n_fresh; i++)
		buf_printf(&b, "%c%s", i == 0 ? '{' : ',',
		    h->fresh[i].to->device);
	buf_add_str(&b, "}");
	text = arena_strdup(h->arena, buf_slice(&b));
	buf_fini(&b);
	return text;
}

/* Of one device; where the next one's rows begin. */
static size_t
take(struct holdings *h, struct holding *x, const struct sql_result *rows,
    size_t from)
{
	size_t to = from;

	while (to < sql_rows(rows) &&
	    strcmp(sql_text(rows, to, 0), x->device) == 0)
		to++;
	x->n = to - from;
	x->components = arena_new_n(h->arena, x->n, struct policy_component);
	for (size_t i = 0; i < x->n; i++)
		x->components[i] =
		    (struct policy_component){sql_bytes(rows, from + i, 1,
		                                  h->arena),
		        sql_bytes(rows, from + i, 2, h->arena)};
	return to;
}

static enum tam_err
read_fresh(struct holdings *h)
{
	struct sql_result *rows;
	size_t at = 0;
	enum tam_err err;

	if (h->n_fresh == 0)
		return TAM_OK;
	err = API_EXEC(h->request, &rows, SQL_DRY_COMPONENTS, fresh_ids(h));
	if (err != TAM_OK)
		return err;
	for (size_t i = 0; i < h->n_fresh; i++)
		at = take(h, h->fresh[i].to, rows, at);
	sql_result_free(rows);
	return TAM_OK;
}

enum tam_err
holdings_read(struct holdings *h, const struct sql_result *devices,
    int id_column, int hash_column)
{
	if (h->n_known > KNOWN_MAX)
		forget(h);
	if (h->n_rows < sql_rows(devices)) {
		h->n_rows = sql_rows(devices);
		h->rows = mem_realloc(h->rows, h->n_rows * sizeof(*h->rows));
		h->fresh = mem_realloc(h->fresh, h->n_rows * sizeof(*h->fresh));
	}
	h->n_fresh = 0;
	for (size_t i = 0; i < sql_rows(devices); i++)
		h->rows[i].to = find(h, sql_text(devices, i, id_column),
		    sql_text(devices, i, hash_column));
	return read_fresh(h);
}

size_t
holdings_of(const struct holdings *h, size_t row,
    const struct policy_component **out)
{
	*out = h->rows[row].to->components;
	return h->rows[row].to->n;
}
