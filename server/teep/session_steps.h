/*
 * session_steps.h - a session from the inside; for server/teep/session*.c.
 *
 * struct session lives in the arena of its exchange.  A step ends by starting
 * one next thing (session_wait) or by answering, after which the session is
 * gone and callers return without touching it.
 */
#ifndef SERVER_TEEP_SESSION_STEPS_H
#define SERVER_TEEP_SESSION_STEPS_H

#include "server/teep/domain.h"
#include "server/teep/failures.h"
#include "server/teep/inventory.h"
#include "server/teep/opener.h"
#include "server/teep/session.h"
#include "server/teep/verifier.h"
#include "storage/device_store.h"

/* Where a session is; set_state() in session.c holds the legal moves. */
enum session_state {
	SESSION_RECEIVED,
	SESSION_IDENTIFYING,
	SESSION_ATTESTING,
	SESSION_LOADING,
	SESSION_PROMISING,
	SESSION_CONCLUDING,
	SESSION_SIGNING,
	SESSION_ANSWERED
};

struct session {
	enum session_state state;
	struct http_exchange *exchange;
	struct worker *worker;
	struct arena *arena;
	struct tam_snapshot *snapshot; /* a reference: what we decide under */
	const struct tam_domain *domain;
	const struct wire_profile *profile; /* of the token, else of the URI */
	int64_t now_us;

	struct cose_message cose;    /* borrows the body */
	struct teep_message message; /* borrows the body */
	struct slice handle; /* the token, or the challenge, it answers */
	struct token token;
	struct reply_form form;
	const struct x509_leaf *leaf; /* verified; NULL: no certificate */
	struct cose_key key;
	int64_t device_id;
	bool certified;        /* it was let in by a certificate */
	const uint8_t *source; /* NULL: trusted; see failures.h */

	const struct slice *candidates; /* keys left to try, without a kid */
	size_t n_candidates;
	unsigned n_tried; /* of them, in vain */

	bool payload_opened; /* message.payload is what was encrypted */
	enum policy_attestation attestation;
	uint8_t attest_hash[STORE_DIGEST_SIZE]; /* of what was found */
	struct selector_appraisal appraisal;    /* that, if it was attested */
	struct slice passport; /* for the agent, if nothing else is sent */
	struct slice passport_format; /* empty: TEEP's own */

	struct inventory inventory;
	const struct store_device *device;
	struct policy_facts facts;
	struct policy_decision decision;
	struct policy_pace pace;
	uint8_t content[STORE_DIGEST_SIZE];
	unsigned decisions;
	int poll_s; /* advice for who is told nothing; 0: none */
	int64_t update_id, withdraw;

	struct batch_call *pending;       /* NULL when nothing is awaited */
	struct verifier_call *appraising; /* the same */
	struct hsm_call *signing;         /* the same */
	struct reply reply;               /* what is being signed */
	bool promised; /* it is an Update that was committed */
};

/* session.c */
void session_wait(struct session *, enum session_state, struct batch_call *);
void session_wait_for_verifier(struct session *, struct verifier_call *);
void session_answer_nothing(struct session *);
/* Answers with it, once the signatures it lacks are there. */
void session_answer_signed(struct session *, const struct reply *);
/* An Update that only says what is wrong. */
void session_answer_error(struct session *, uint64_t err_code,
    const char *text);
/* Another QueryRequest, to the device that is known now; with a result about
 * the TAM, or none. */
void session_ask(struct session *, bool attest, struct slice own_result);
/* 204, or the passport, when there is one to pass back. */
void session_answer_quiet(struct session *);
/* Counts the reason; answers what err.h says: 204, 413 or 503. */
void session_refuse(struct session *, enum tam_err);
struct token_scope session_scope(const struct session *);
/* Until when this session waits for the database, monotonic. */
int64_t session_deadline(const struct session *);
struct stamp session_stamp(const struct session *);
/* A positive number nobody has used before. */
int64_t session_new_id(void);
/* True when another epoch is served since; the session then uses it. */
bool session_epoch_moved(struct session *);

/* Guessing costs (failures.h): whether this source may fail once more, and
 * what n failures take from its budget, and one from the token. */
bool session_may_fail(struct session *);
void session_strike(struct session *, unsigned n);

/* session_identify.c: finds the key, verifies, goes on by kind. */
void session_identify(struct session *);
/* By rows, now that they are there. */
void session_identify_again(struct session *);
enum tam_err session_check_signature(struct session *);
/* session_enrol.c: a key nobody knows */
bool session_may_enrol(const struct session *);
void session_enrol(struct session *);
void session_enrol_certified(struct session *, const struct x509_leaf *);
/* session_attest.c: appraises, goes on to session_query_response(). */
void session_attest(struct session *);
/* Decrypts the attestation payload, once; TAM_OK when it is not encrypted. */
enum tam_err session_open_payload(struct session *);
/* Who signed a result and what it says, presented by the key with this
 * thumbprint, or by one that is not known yet. */
enum tam_err session_appraise(struct session *, struct slice result,
    enum eat_kind, const uint8_t *presenter, struct eat_claims *,
    const struct verifier **);
/* Evidence on its way; NULL: no Verifier takes it now. */
struct verifier_call *session_ask_verifier(struct session *, verifier_cb);
/* It was not asked for proof yet, and could be. */
bool session_may_attest(const struct session *);
/* session_query.c */
void session_query_response(struct session *);
/* Another epoch is served than the one the committed Update was decided
 * under: it is withdrawn, and decided again. */
void session_withdraw(struct session *);
/* session_error.c: an Error that answers a QueryRequest */
void session_query_error(struct session *);
/* session_outcome.c */
void session_conclude(struct session *);

#endif
