/*
 * device_cache.h - devices this worker knows well enough to answer 204.
 *
 * Bounded; filled from rows, emptied by the change log and by whatever the
 * database contradicts.  It yields the key to verify with, and whether an
 * answer that shows the same inventory needs nothing: never more than a 204.
 * What sends an Update reads the rows again.
 */
#ifndef SERVER_TEEP_DEVICE_CACHE_H
#define SERVER_TEEP_DEVICE_CACHE_H

#include "lib/base/slice.h"
#include "lib/codec/cose.h"
#include "policy/policy.h"
#include "storage/device_store.h"

struct device_cache;

struct cached_device {
	int32_t domain_id;
	int64_t id, version;
	struct cose_key key;
	bool certified;
	/* Under this epoch nothing was to do for this inventory; 0: not known. */
	int64_t quiet_epoch;
	int64_t quiet_until_us; /* and no longer; 0: that does not end */
	int wire_id;        /* and for devices that come by this wire profile */
	int poll_s;         /* what it was advised then; 0: nothing */
	struct stamp stamp; /* the newest this worker has seen */
	uint8_t inventory_hash[STORE_DIGEST_SIZE];
	enum policy_attestation attestation; /* which that was true for */
	uint8_t attest_hash[STORE_DIGEST_SIZE];
};

struct device_cache *device_cache_new(size_t max);
void device_cache_free(struct device_cache *);

/* NULL when unknown here.  Borrowed until the next call. */
struct cached_device *device_cache_find(struct device_cache *,
    int32_t domain_id, const uint8_t thumbprint[COSE_THUMBPRINT_SIZE]);

/* Copies the entry; may evict one that was not asked for lately. */
void device_cache_put(struct device_cache *, const struct cached_device *);

void device_cache_drop(struct device_cache *, int32_t domain_id,
    int64_t device_id);
void device_cache_clear(struct device_cache *);
size_t device_cache_size(const struct device_cache *);

#endif
