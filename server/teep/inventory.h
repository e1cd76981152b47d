/*
 * inventory.h - what a device says it holds, in canonical form.
 *
 * A tc-list becomes a list of (component id, digest) in bytewise order with
 * one entry per component, and the SHA-256 of that list: two answers that say
 * the same hash alike, whatever their order and encoding.
 */
#ifndef SERVER_TEEP_INVENTORY_H
#define SERVER_TEEP_INVENTORY_H

#include "lib/base/arena.h"
#include "lib/codec/cose.h"
#include "lib/codec/teep.h"
#include "storage/device_store.h"

enum {
	INVENTORY_MAX = 256 /* components of one device; our limit */
};

struct inventory {
	size_t n;
	struct store_component *components;
	uint8_t hash[STORE_DIGEST_SIZE];
};

/* TAM_TOO_LARGE beyond INVENTORY_MAX. */
enum tam_err inventory_make(struct cose_crypto *, struct arena *,
    const struct teep_message *, struct inventory *);

#endif
