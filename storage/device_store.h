/*
 * device_store.h - what is known of a device, and the effects of its answers.
 *
 * Typed callers of the batched statements.  Callbacks as batch.h has them:
 * once, from the loop, after the commit.  Structs passed in are copied; rows
 * passed out are borrowed until the callback returns.
 */
#ifndef STORAGE_DEVICE_STORE_H
#define STORAGE_DEVICE_STORE_H

#include "lib/base/arena.h"
#include "lib/base/err.h"
#include "lib/base/slice.h"

struct batch;
struct batch_call;
struct db_rows;

enum {
	STORE_THUMBPRINT_SIZE = 32,
	STORE_DIGEST_SIZE = 32
};

/* The order of answers: by the token they answer (DESIGN: ideas, stamps). */
struct stamp {
	int64_t epoch;
	int64_t us; /* when the token was made, microseconds since 1970 */
};

static inline int
stamp_cmp(struct stamp a, struct stamp b)
{
	if (a.epoch != b.epoch)
		return a.epoch < b.epoch ? -1 : 1;
	return a.us < b.us ? -1 : a.us > b.us;
}

struct store_component {
	struct slice id;     /* CBOR */
	struct slice digest; /* 32 bytes; empty when unknown */
};

struct store_label {
	struct slice key, value;
};

/* What the last appraisal found; no result: there was none. */
struct store_appraisal {
	struct slice result; /* affirmed or failed */
	struct slice verifier, oemid, ueid, hwmodel, hwversion;
	int64_t tier, at_us;
};

/* How far a device is in a rollout. */
struct store_part {
	int64_t rollout, stage, back, state; /* policy.h, PART_* */
};

/* What an answer says of a rollout. */
struct store_mark {
	int64_t rollout, stage, back, mark; /* policy.h, MARK_* */
};

enum {
	STORE_MARKS_MAX = 32 /* rollouts of a domain under way */
};

/* The newest Update of a device, whatever became of it. */
struct store_update {
	int64_t id; /* 0: there is none */
	uint8_t content[STORE_DIGEST_SIZE];
	bool open, answered, success;
	int64_t err_code, attempt, failures;
	int64_t offered_us, closed_us, expires_us;
};

/* One device as its rows have it; everything in the arena it was loaded to. */
struct store_device {
	int32_t domain_id;
	int64_t id;
	bool active, certified; /* by a device CA, which must vouch again */
	struct slice name, status, class_name;
	size_t n_keys;
	struct slice *keys; /* thumbprints */
	int64_t enrolled_us, seen_us;
	struct store_appraisal appraisal;
	bool p256;
	struct slice public_key;
	struct stamp stamp;
	int64_t version;
	bool has_hash, open_work;
	uint8_t inventory_hash[STORE_DIGEST_SIZE];
	int numbering;     /* -1: not known yet */
	int wire_id;       /* of the profile it came by last; -1: unknown */
	size_t update_max; /* bytes of one Update; 0: its profile's */
	size_t n_labels, n_components;
	struct store_label *labels;
	struct store_component *components; /* in bytewise order of their ids */
	struct store_update update;
	struct slice reason; /* of the last decision written down */
	int bucket;
	size_t n_parts;
	struct store_part *parts;
	size_t n_requested;
	struct slice *requested; /* component ids; what it asked for last */
};

/* `device` is NULL when no device has the key; it lives in `arena`. */
typedef void (
    *device_load_cb)(enum tam_err, const struct store_device *device, void *);

struct batch_call *device_load(struct batch *, struct arena *,
    int32_t domain_id, const uint8_t thumbprint[STORE_THUMBPRINT_SIZE],
    int64_t deadline_us, device_load_cb, void *);

enum {
	STORE_CANDIDATES_MAX = 8 /* keys tried for a message without a kid */
};

/*
 * The keys of a domain that is small enough to try them all; n is greater
 * than STORE_CANDIDATES_MAX when it is not.  Thumbprints, in the arena.
 */
typedef void (*device_candidates_cb)(enum tam_err, const struct slice *,
    size_t n, void *);
struct batch_call *device_candidates(struct batch *, struct arena *,
    int32_t domain_id, int64_t deadline_us, device_candidates_cb, void *);

/* An answer that, as far as the node knows, changes nothing. */
struct store_observation {
	int32_t domain_id;
	int64_t device_id;
	struct stamp stamp;
	int64_t now_us, version;
	const uint8_t *hash;
};

/*
 * One of the two is called: differs when the rows say otherwise than the node
 * believed (nothing was written then) or nobody can tell, written when all is
 * well.  False when the queue is full: neither will be.
 */
typedef void (*device_observe_cb)(void *);
bool device_observe(struct batch *, const struct store_observation *,
    int64_t deadline_us, device_observe_cb differs, device_observe_cb written,
    void *);

enum store_verdict {
	STORE_APPLIED,
	STORE_STALE,    /* a newer answer was applied before */
	STORE_REPLAYED, /* this answer was */
	STORE_CHANGED,  /* the device's row is another version: decide again */
	STORE_GONE,
	STORE_UNKNOWN, /* no such Update of this device */
	STORE_CLOSED   /* the Update was answered before */
};

/* An answer to a QueryRequest, applied whole, with the Update it causes. */
struct store_answer {
	int32_t domain_id;
	int64_t device_id, exchange;
	struct stamp stamp;
	int64_t now_us, version, epoch;
	int numbering;
	/* NULL: the inventory is not believed, and left as it is. */
	const uint8_t *hash;
	size_t n_components;
	const struct store_component *components;
	size_t n_shown;
	const int64_t *shown; /* revocations whose target it shows */
	const char *reason;
	bool attested;    /* it proved itself in this exchange */
	int64_t withdraw; /* an Update of this very exchange; 0: none */

	int64_t update_id; /* 0: no Update */
	struct slice opener;
	const uint8_t *content;
	size_t n_manifests, n_adds, n_removes;
	const struct slice *manifests; /* digests */
	const struct store_component *adds;
	const struct slice *removes; /* component ids */
	int64_t expires_us;
	bool verify; /* ask again once it is answered */
	size_t n_marks;
	struct store_mark marks[STORE_MARKS_MAX];
	size_t n_requested;
	const struct slice *requested; /* component ids; NULL: as it was */
};

typedef void (*device_answer_cb)(enum tam_err, enum store_verdict,
    int64_t version, void *);
struct batch_call *device_answer_query(struct batch *,
    const struct store_answer *, int64_t deadline_us, device_answer_cb, void *);

/* What an appraisal found; fields are empty when it found nothing. */
struct store_attestation {
	int32_t domain_id;
	int64_t device_id;
	struct stamp stamp;
	int64_t at_us;
	bool affirmed;
	const char *reason, *verifier;
	int64_t tier;
	struct slice oemid, ueid, hwmodel, hwversion;
};

/* Written behind: nobody waits.  False when the queue is full. */
bool device_attested(struct batch *, const struct store_attestation *);

/*
 * The wire profile a device came by, where the row says another.  Written
 * behind: nobody waits.  False when the queue is full.
 */
bool device_came_by(struct batch *, int32_t domain_id, int64_t device_id,
    int wire_id);

/* A key a Verifier or a CA vouched for, and whose it is. */
struct store_enrol {
	int32_t domain_id;
	const char *how;  /* what the domain must allow: attested or ca */
	const char *name; /* for the device; "": none */
	const uint8_t *thumbprint;
	bool p256;
	/* Of a certificate: a hash of its issuer, and its serial number. */
	struct slice public_key, oemid, ueid;
	int64_t now_us;
};

enum store_enrolled {
	STORE_ENROL_KNOWN, /* the key is a device's already */
	STORE_ENROL_CREATED,
	STORE_ENROL_REKEYED, /* it took the place of the identity's old one */
	STORE_ENROL_PENDING, /* it waits for somebody to say so */
	STORE_ENROL_REFUSED
};

typedef void (*device_enrol_cb)(enum tam_err, enum store_enrolled, void *);
struct batch_call *device_enrol(struct batch *, const struct store_enrol *,
    int64_t deadline_us, device_enrol_cb, void *);

/* A Success or an Error. */
struct store_outcome {
	int32_t domain_id;
	int64_t device_id, exchange, update_id;
	struct stamp stamp;
	int64_t now_us;
	bool success;
	int64_t err_code;
	const char *detail;
};

typedef void (*device_outcome_cb)(enum tam_err, enum store_verdict,
    bool had_revocations, void *);
struct batch_call *device_answer_update(struct batch *,
    const struct store_outcome *, int64_t deadline_us, device_outcome_cb,
    void *);

#endif
