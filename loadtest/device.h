/*
 * device.h - one simulated TEEP Agent, and what all agents of a fleet share.
 *
 * An agent is a key (derived from the fleet's seed), a numbering, and the
 * components it holds; under 2 KiB without its connection.  It verifies what
 * the TAM signs, runs manifests, and answers as the draft says an Agent must
 * (draft-ietf-teep-protocol sections 4 and 7.2).
 */
#ifndef LOADTEST_DEVICE_H
#define LOADTEST_DEVICE_H

#include "lib/codec/teep.h"
#include "loadtest/account.h"
#include "loadtest/attest.h"
#include "loadtest/journal.h"
#include "loadtest/suit_run.h"

enum {
	FLEET_KEYS_MAX = 8
};

/* A manifest as it was received, shared by all agents that have it. */
struct manifest_blob {
	struct manifest_blob *next;
	uint8_t digest[32];
	struct arena *arena;
	struct slice bytes;
	struct suit_envelope envelope;
	struct suit_manifest manifest;
};

struct agent_component {
	const struct manifest_blob *owner;
	uint8_t index; /* among the owner's components */
	/* The manifests that brought it, one per id; without any it goes. */
	uint32_t n_users;
	const struct manifest_blob **users;
	uint8_t digest[32];
};

struct agent {
	uint32_t number;
	enum cose_curve curve;
	bool http2, busy;
	bool changed; /* since an answer of it was taken */
	bool known;   /* the TAM showed that it knows the key */
	uint8_t uri;  /* which TAM URI it calls */
	uint8_t secret[32], thumbprint[COSE_THUMBPRINT_SIZE];
	uint32_t n_components;
	struct agent_component *components;
	uint32_t sessions;
	/* Of the last Update: the same one again is a replay. */
	uint8_t update_token[TEEP_TOKEN_MAX];
	uint8_t update_token_n;
	uint8_t *passport; /* a result the TAM passed back */
	uint32_t passport_n;
	bool passport_is_ear; /* else in TEEP's own format */
};

/* How the agents of this fleet are odd; all zero: they are not. */
struct agent_play {
	unsigned query_error; /* the first answer is an Error with this code */
	bool no_kid;
	bool unsolicited;      /* begins with an answer nobody asked for */
	bool duplicate;        /* every message is sent twice */
	bool replay;           /* the last message is sent again */
	unsigned extra;        /* components it claims to hold besides */
	unsigned slow_ms;      /* an Update takes so long */
	unsigned fail_section; /* of a manifest; 0: none */
	unsigned fail_from;    /* its least sequence number that fails */
};

struct fleet_world {
	struct cose_crypto *crypto;
	bool has_tam_verifier; /* whose results about the TAM are believed */
	struct cose_key tam_verifier;
	size_t n_tam_keys, n_signers;
	struct cose_key tam_keys[FLEET_KEYS_MAX], signers[FLEET_KEYS_MAX];
	struct suit_world suit;
	struct manifest_blob *blobs;
	bool deprecated_algs; /* sign with -7 and -8 */
	struct attest_plan attest;
	/* How reports travel: signed by a key that signs nothing else, and
	 * encrypted to the TAM; NULL and no key: as they are. */
	struct cose_signer *report_signer;
	bool encrypts_reports;
	struct ecdh_key report_to;
	struct agent_ca *ca;    /* certifies the agents; NULL: they send kids */
	bool whole_key;         /* results name the agent's key itself */
	struct slice ueid_seed; /* the identities are those of this fleet */
	/* A component the Client Apps ask for; in an agent's first session they
	 * need it, later they do not. */
	struct slice wanted;
	bool have_binary; /* of this sequence number */
	uint64_t have_sequence;
	struct agent_play play;
	struct journal *journal;
	struct account *account;
};

/* Makes certificates for the agents' keys; NULL when the files are none. */
struct agent_ca *agent_ca_new(const char *cert_file, const char *key_file,
    int days);
void agent_ca_free(struct agent_ca *);
/* The agent's own, DER, in the arena. */
struct slice agent_certificate(struct agent_ca *, const struct agent *,
    struct arena *);

/* What an agent does with a message it received. */
enum agent_did {
	AGENT_ANSWERED_QUERY,
	AGENT_UPDATED,       /* a Success goes back */
	AGENT_FAILED_UPDATE, /* an Error goes back */
	AGENT_HAS_NO_ANSWER,
	AGENT_GOT_PASSPORT, /* a result to show next time */
	AGENT_WAS_TOLD,     /* an Update with an error code and nothing else */
	/* Not from a TAM it trusts, or a replay: no answer.  From one, but not
	 * TEEP: an Error goes back. */
	AGENT_REFUSED
};

struct agent_reply {
	enum agent_did did;
	struct slice bytes; /* in the arena; empty when there is no answer */
	struct slice token;
	uint64_t told;   /* the error code of AGENT_WAS_TOLD */
	const char *why; /* of AGENT_FAILED_UPDATE, in the arena; or NULL */
};

void agent_init(struct agent *, uint32_t number, enum cose_curve,
    struct slice seed);
void agent_fini(struct agent *);

/* A QueryResponse to nothing (CONFORMANCE A20). */
struct slice agent_unsolicited(struct fleet_world *, const struct agent *,
    enum teep_numbering, struct arena *);

/* `first`: no message of this session was answered before. */
void agent_handle(struct fleet_world *, struct agent *, enum teep_numbering,
    struct slice bytes, bool first, struct arena *, struct agent_reply *);

/* Writes down what it holds. */
void agent_account(const struct fleet_world *, const struct agent *);
bool agent_holds(const struct agent *, struct slice component_id);

/* Its keys and payloads are set before or after. */
void fleet_world_init(struct fleet_world *);
void fleet_world_fini(struct fleet_world *);

#endif
