/*
 * attest.h - what a simulated agent presents as proof: an attestation result
 * of a Verifier it has been to (passport), or Evidence.
 *
 * The simulator plays the Verifier too, with a key it is given: the TAM must
 * be told to believe that key.
 */
#ifndef LOADTEST_ATTEST_H
#define LOADTEST_ATTEST_H

#include "lib/codec/eat.h"
#include "lib/codec/ecdh.h"

struct agent;
struct fleet_world;
struct teep_message;

enum attest_form {
	ATTEST_NONE,    /* the agent cannot */
	ATTEST_EAT,     /* a result in TEEP's profile, as CWT */
	ATTEST_EAR,     /* an EAR as JWT, under deployed names */
	ATTEST_EAR_CWT, /* an EAR as CWT, as the draft has it now */
	ATTEST_EVIDENCE /* an EAT the agent's attester signed */
};

/* One thing wrong with what is presented. */
enum attest_fault {
	ATTEST_SOUND,
	ATTEST_WRONG_NONCE,
	ATTEST_WRONG_KEY, /* it confirms another agent's key */
	ATTEST_EXPIRED,
	ATTEST_FORGED,    /* the signature does not hold */
	ATTEST_WORTHLESS, /* the Verifier contraindicates; a claim is missing */
	ATTEST_ABSENT
};

struct attest_plan {
	enum attest_form form;
	enum attest_fault fault;
	struct cose_signer *signer; /* the Verifier's, or the attester's */
	bool encrypted;
	int encrypt_alg;
	struct ecdh_key encrypt_to;
};

/* Fills attestation-payload and its format; in the arena. */
void attest_fill(struct fleet_world *, const struct agent *,
    const struct teep_message *request, struct arena *,
    struct teep_message *response);

#endif
