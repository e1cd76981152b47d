/*
 * payload_store.h - binaries hosted for devices, read whole.
 */
#ifndef STORAGE_PAYLOAD_STORE_H
#define STORAGE_PAYLOAD_STORE_H

#include "lib/base/err.h"
#include "lib/base/slice.h"

struct batch;
struct batch_call;

enum {
	PAYLOAD_DIGEST_SIZE = 32
};

/* Empty when there is none; borrowed until the callback returns. */
typedef void (*payload_load_cb)(enum tam_err, struct slice bytes, void *);

struct batch_call *payload_load(struct batch *, int32_t domain_id,
    const uint8_t digest[PAYLOAD_DIGEST_SIZE], int64_t deadline_us,
    payload_load_cb, void *);

#endif
