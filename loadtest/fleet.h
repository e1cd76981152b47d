/*
 * fleet.h - runs a fleet: who calls when, on which connection, and what came
 * of it.
 *
 * Closed loop: `concurrency` sessions are always under way.  Open loop: a
 * session starts when it is planned to, whatever the server does, and its
 * latency counts from the planned start (no coordinated omission).
 */
#ifndef LOADTEST_FLEET_H
#define LOADTEST_FLEET_H

#include <stdatomic.h>

#include "lib/base/hist.h"
#include "loadtest/device.h"

struct event_base;
struct ssl_ctx_st;

enum outcome {
	OUTCOME_QUIET,    /* nothing to do: 204, and the agent is known */
	OUTCOME_UPDATED,  /* an Update was installed */
	OUTCOME_MANIFEST, /* an Update failed on the device */
	OUTCOME_TOLD,     /* the TAM said what is wrong */
	OUTCOME_REFUSED,  /* the agent refused what it was sent */
	/* 204 to all that the agent says, also to an answer that a TAM which
	 * knows the agent asks about: its key is unknown, or refused. */
	OUTCOME_DROPPED,
	OUTCOME_HTTP,          /* an error status */
	OUTCOME_NO_CONNECTION, /* no connection */
	OUTCOME_NO_TLS,        /* no handshake, or not with our server */
	OUTCOME_TRANSPORT,     /* a connection, and no answer */
	OUTCOME_LOOP,          /* the TAM did not come to an end */
	OUTCOME_COUNT
};

enum {
	FLEET_WHY_MAX = 200,
	FLEET_TOLD_MAX = 24 /* error codes counted apart; 0: any other */
};

struct fleet_uri {
	const char *path;
	enum teep_numbering numbering;
};

struct fleet_plan {
	const char *host;
	int port;
	struct ssl_ctx_st *tls;
	uint32_t agents, connections, concurrency;
	uint32_t streams; /* sessions of one HTTP/2 connection */
	size_t n_uris;
	struct fleet_uri uris[4];
	int http;   /* 1, 2, or 0 for half and half */
	int curves; /* 0 P-256, 1 Ed25519, 2 half and half */
	struct slice seed;
	double rate;       /* sessions per second; 0: closed loop */
	double interval_s; /* of one agent, between its sessions */
	uint32_t rounds;   /* sessions of each agent; 0: until stopped */
	double duration_s; /* 0: no limit */
	unsigned tries;
	double timeout_s; /* of connecting, and of each try */
	unsigned sources; /* addresses calls come from; 0: the system's */
	const atomic_int *mended; /* not 0: manifests fail no more */
	bool progress;
	enum outcome wanted; /* of every session; OUTCOME_COUNT: a good one */
};

struct fleet_result {
	uint64_t outcomes[OUTCOME_COUNT];
	char why[OUTCOME_COUNT][FLEET_WHY_MAX]; /* the first of each; or "" */
	uint64_t told[FLEET_TOLD_MAX];
	uint64_t passports; /* results passed back */
	uint64_t sessions, requests, retries, connects, updates;
	struct hist latency; /* from the planned start */
	struct hist service; /* from the real one */
	double seconds, cpu_seconds;
	uint64_t late; /* starts more than 10 ms after their plan */
};

/* The agents, made from the seed: as many as the plan has. */
struct agent *fleet_agents(const struct fleet_plan *);

/* Runs to the end of the plan, or until *stop is set by a signal. */
void fleet_run(const struct fleet_plan *, struct fleet_world *, struct agent *,
    const atomic_int *stop, struct fleet_result *);

#endif
