/*
 * worker.h - all that one thread of the device path owns.
 *
 * Built and torn down by its own thread, touched by no other; therefore no
 * locks on the path of a request.  What threads share (the snapshot, the TLS
 * context, the configuration) is immutable and replaced whole, between two
 * turns of the loop.
 */
#ifndef SERVER_WORKER_H
#define SERVER_WORKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/base/counters.h"
#include "lib/base/err.h"

struct batch;
struct cose_crypto;
struct cose_signer;
struct db;
struct device_cache;
struct event_base;
struct failures;
struct hsm_port;
struct http_server;
struct payload_cache;
struct result_cache;
struct signed_notice;
struct tam_snapshot;
struct teep_limits;
struct verifier_peers;

enum {
	WORKER_SIGNERS = 3,
	SIGNER_VERIFIER = 2
};

/* A rate with a burst; one thread's. */
struct budget {
	double tokens, per_second, burst;
	int64_t refilled_us;
};

struct worker {
	int index;
	struct event_base *base;
	struct http_server *http;
	struct db *db;
	struct batch *batch;
	struct cose_crypto *crypto;
	struct device_cache *devices;
	struct result_cache *results;
	struct verifier_peers *verifiers;
	struct payload_cache *payloads;
	struct published *published; /* a reference; NULL before the first */
	struct signed_notice *signed_notices; /* one for each of its notices */
	struct failures *failures;
	struct hsm_port *hsm;
	struct budget openers;
	const struct teep_limits *limits;
	struct counters counters;

	struct tam_snapshot *snapshot; /* a reference; NULL before the first */
	/* By place of the domain in the snapshot: P-256, Ed25519, and the
	 * Verifier's of our own.  NULL where there is no key, or it is in an
	 * HSM. */
	struct cose_signer *(*signers)[WORKER_SIGNERS];

	/* Until when this node may answer, monotonic; the control thread's. */
	const _Atomic int64_t *lease_until_us;
};

/* True, and one less, when the budget has something left. */
bool budget_take(struct budget *, int64_t now_us);

#endif
