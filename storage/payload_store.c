#include "config.h"

#include "storage/payload_store.h"

#include "storage/batch.h"

static void
on_loaded(enum tam_err err, const struct db_rows *rows, size_t row,
    const struct batch_caller *w)
{
	payload_load_cb cb = (payload_load_cb)w->cb;
	struct slice bytes = slice_none();

	if (err == TAM_OK && rows != NULL)
		bytes = db_bytes(rows, row, 1);
	cb(err, bytes, w->arg);
}

struct batch_call *
payload_load(struct batch *batch, int32_t domain_id,
    const uint8_t digest[PAYLOAD_DIGEST_SIZE], int64_t deadline_us,
    payload_load_cb cb, void *arg)
{
	uint8_t domain[8];
	struct slice values[2] = {SLICE_OF(domain),
	    {digest, PAYLOAD_DIGEST_SIZE}};
	int64_t key;

	batch_int(domain, domain_id);
	memcpy(&key, digest, sizeof(key));
	return batch_add(batch, DB_PAYLOAD, key, values, deadline_us, on_loaded,
	    (struct batch_caller){.cb = (void (*)(void))cb, .arg = arg});
}
