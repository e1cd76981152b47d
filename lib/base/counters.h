/*
 * counters.h - what a thread counts: one writer, any reader, no lock.
 *
 * Each thread has its own struct; the reader of /metrics sums them.  A value
 * is read whole (relaxed atomics); values read together need not fit.
 */
#ifndef LIB_BASE_COUNTERS_H
#define LIB_BASE_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

#include "lib/base/err.h"

/* name, help: counters only grow. */
#define TAM_COUNTERS(X)                                                      \
	X(connections_accepted, "Connections accepted")                      \
	X(connections_refused, "Connections refused for want of room")       \
	X(tls_handshakes, "TLS handshakes completed")                        \
	X(tls_failures, "TLS handshakes that failed")                        \
	X(http1_requests, "Requests over HTTP/1.x")                          \
	X(http2_requests, "Requests over HTTP/2")                            \
	X(http_bad_requests, "Requests refused as malformed")                \
	X(connections_shed,                                                  \
	    "Connections ended because the budget of bytes was spent")       \
	X(accept_pauses, "Pauses of accepting for want of descriptors")      \
	X(requests_shed,                                                     \
	    "Requests refused because the budget of bytes was spent")        \
	X(requests_limited,                                                  \
	    "Requests refused because their peer had its share")             \
	X(send_timeouts, "Answers given up because the peer took nothing")   \
	X(http_timeouts, "Requests that took too long to arrive")            \
	X(http2_abuse, "HTTP/2 connections ended for abuse")                 \
	X(responses_2xx, "Responses with status 2xx")                        \
	X(responses_4xx, "Responses with status 4xx")                        \
	X(responses_5xx, "Responses with status 5xx")                        \
	X(openers, "QueryRequests sent in answer to an empty POST")          \
	X(openers_shed, "Openers refused because the budget was spent")      \
	X(query_responses, "QueryResponses accepted")                        \
	X(polls_cached, "QueryResponses answered from the cache")            \
	X(updates_committed, "Updates committed")                            \
	X(updates_withdrawn, "Updates withdrawn because the epoch moved")    \
	X(query_errors, "Errors that answered a QueryRequest")               \
	X(passports, "Results passed back to the agent")                     \
	X(payloads, "Hosted binaries served, whole or in part")              \
	X(error_updates, "Updates that only say what is wrong")              \
	X(attestations, "Attestation results accepted")                      \
	X(attestations_cached, "of them, results whose signature was known") \
	X(attestations_failed, "Attestation payloads refused")               \
	X(enrolments, "Keys a Verifier vouched for, taken")                  \
	X(enrolments_refused, "and refused, or waiting for a decision")      \
	X(verifier_calls, "Evidence given to a Verifier")                    \
	X(verifier_failures, "Appraisals no Verifier completed")             \
	X(verify_requests, "Verifying QueryRequests sent after a Success")   \
	X(successes, "Success messages applied")                             \
	X(errors, "Error messages applied")                                  \
	X(observations_lost,                                                 \
	    "Observations dropped because the queue was full")               \
	X(observations_differ, "Observations the database contradicted")     \
	X(decided_again, "Decisions made again because the row had changed") \
	X(hsm_calls, "Messages given to an HSM to sign")                     \
	X(hsm_failures, "of them, those it did not sign in time")            \
	X(no_lease, "Requests refused without a lease")                      \
	X(answers_late,                                                      \
	    "Answers held back: the lease or the epoch had ended meanwhile") \
	X(suspended, "Requests refused because their domain is suspended")

/* name, help: gauges go up and down. */
#define TAM_GAUGES(X)                                      \
	X(connections, "Open connections")                 \
	X(exchanges, "Requests being answered")            \
	X(held_bytes, "Bytes held for peers")              \
	X(sessions, "TEEP sessions waiting for something") \
	X(cached_devices, "Devices in the cache")

enum counter {
#define X(name, help) COUNTER_##name,
	TAM_COUNTERS(X)
#undef X
	COUNTER_COUNT
};

enum gauge {
#define X(name, help) GAUGE_##name,
	TAM_GAUGES(X)
#undef X
	GAUGE_COUNT
};

struct counters {
	_Atomic uint64_t counts[COUNTER_COUNT];
	_Atomic uint64_t drops[TAM_ERR_COUNT]; /* messages, by reason */
	_Atomic int64_t gauges[GAUGE_COUNT];
};

/* By the owning thread only: a load and a store, no locked instruction. */
static inline void
counter_bump(_Atomic uint64_t *v)
{
	atomic_store_explicit(v,
	    atomic_load_explicit(v, memory_order_relaxed) + 1,
	    memory_order_relaxed);
}

static inline void
gauge_move(_Atomic int64_t *v, int64_t by)
{
	atomic_store_explicit(v,
	    atomic_load_explicit(v, memory_order_relaxed) + by,
	    memory_order_relaxed);
}

#define COUNT(c, name)     counter_bump(&(c)->counts[COUNTER_##name])
#define GAUGE(c, name, by) gauge_move(&(c)->gauges[GAUGE_##name], (by))

#endif
