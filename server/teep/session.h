/*
 * session.h - one POST of a device, from bytes to bytes; session.c has the map.
 */
#ifndef SERVER_TEEP_SESSION_H
#define SERVER_TEEP_SESSION_H

#include <stddef.h>
#include <stdint.h>

struct http_exchange;
struct tam_domain;
struct wire_profile;

struct teep_limits {
	int64_t deadline_us;        /* for a session's wait on the database */
	int64_t update_life_us;     /* how long an Update stays outstanding */
	int64_t hsm_us;             /* a signature by a key in an HSM */
	int64_t verifier_us;        /* one appraisal by a Verifier */
	size_t verifier_calls;      /* at once, of one worker */
	double openers_per_second;  /* that one worker signs */
	double failures_per_second; /* failed signatures it checks */
};

/* From here on the session answers the exchange, once. */
void teep_session_start(struct http_exchange *, const struct tam_domain *,
    const struct wire_profile *);

#endif
