/*
 * suit_run.h - the simulator's SUIT manifest processor.
 *
 * Written apart from the TAM's checks: it runs commands
 * (draft-ietf-suit-manifest sections 6 and 8.4, -trust-domains section 6,
 * -firmware-encryption section 5), a manifest and its dependencies, on the
 * state of one device, and says where and why it failed.
 */
#ifndef LOADTEST_SUIT_RUN_H
#define LOADTEST_SUIT_RUN_H

#include "lib/base/arena.h"
#include "lib/codec/ecdh.h"
#include "lib/codec/suit.h"

/* What a device is, what it can open, and where a URI leads. */
struct suit_world {
	uint8_t vendor_id[16], class_id[16], device_id[16];
	size_t n_payloads;
	struct {
		struct slice uri, bytes;
	} payloads[16];
	size_t n_agree; /* keys for encrypted payloads */
	struct ecdh_private agree[2];
	bool
	    lenient; /* process-dependency without dependency-integrity (E12) */
	/* A dependency's own signature, and one that is installed, by digest;
	 * NULL: anything is trusted, nothing is installed. */
	bool (*trusts)(void *arg, const struct suit_envelope *);
	struct slice (*installed)(void *arg, const uint8_t digest[32]);
	void *arg;
};

/* What became of one component. */
struct suit_effect {
	struct slice envelope; /* of the dependency it is of; empty: the root */
	size_t index;          /* among that manifest's components */
	bool installed, unlinked;
	uint8_t digest[32]; /* of what was installed */
};

struct suit_outcome {
	bool ok;
	enum suit_section section; /* where it failed */
	uint64_t offset, component;
	unsigned reason; /* draft-ietf-suit-report, reasons */
	/* The identity condition that failed last; NULL: none did. */
	const char *mismatch;
	struct slice wanted, has; /* the manifest's id, and the device's */
	size_t n_effects;
	struct suit_effect *effects; /* in the arena of the run */
};

enum {
	SUIT_REASON_PARSE = 1,
	SUIT_REASON_UNAUTHORISED = 4,
	SUIT_REASON_COMMAND = 5,
	SUIT_REASON_CONDITION = 10,
	SUIT_REASON_OPERATION = 11
};

/* The update procedure: dependencies resolved, fetch, candidate check,
 * install, validate; the shared sequence before each. */
void suit_run_update(const struct suit_world *, const struct suit_envelope *,
    const struct suit_manifest *, struct arena *, struct suit_outcome *);

/* The uninstall section. */
void suit_run_uninstall(const struct suit_world *, const struct suit_envelope *,
    const struct suit_manifest *, struct arena *, struct suit_outcome *);

#endif
