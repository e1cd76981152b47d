/*
 * opener.h - QueryRequests, and how the TAM signs what it sends
 * (draft-ietf-teep-protocol sections 4.2 and 8.1).
 */
#ifndef SERVER_TEEP_OPENER_H
#define SERVER_TEEP_OPENER_H

#include "lib/base/arena.h"
#include "server/hsm/hsm.h"
#include "server/teep/domain.h"

struct http_exchange;
struct worker;

/* How one message is to be signed: by which key, under which number. */
struct reply_form {
	enum teep_numbering numbering;
	enum cose_curve curve;
	bool deprecated; /* -7 or -8 */
	bool send_kid;
	struct slice kid; /* another than the thumbprint; the snapshot's */
};

/* What a QueryRequest is to ask, and of whom. */
struct opener_ask {
	uint8_t hop; /* as in token.h */
	bool attest;
	struct slice own_result; /* about the TAM, for an agent that asked */
	const struct reply_form *known; /* the device's; NULL: nobody's yet */
};

/* A signed message, or one whose signatures an HSM has to make. */
struct reply {
	struct slice message;
	size_t n; /* blanks; 0: it is ready */
	struct cose_blank blanks[HSM_SIGNATURES_MAX];
	const char *uris[HSM_SIGNATURES_MAX];
};

/*
 * A QueryRequest of the profile, for this exchange, whose connection
 * remembers its challenge.  TAM_NO_KEY when the domain lacks the key.
 */
enum tam_err opener_make(struct worker *, const struct http_exchange *,
    const struct tam_domain *, const struct wire_profile *,
    const struct opener_ask *, int64_t now_us, struct reply *out);

/* A COSE_Sign1 over whatever it is. */
enum tam_err reply_sign_payload(struct worker *, struct arena *,
    const struct tam_domain *, const struct reply_form *, struct slice payload,
    struct reply *out);
/* Over a message of TEEP. */
enum tam_err reply_sign(struct worker *, struct arena *,
    const struct tam_domain *, const struct reply_form *,
    const struct teep_message *, struct reply *out);

/* Returns the message with the signatures in its placeholders. */
struct slice reply_complete(const struct reply *, struct arena *,
    uint8_t (*signatures)[COSE_SIGNATURE_SIZE]);

/* Of the Verifier of our own; NULL: there is none. */
struct cose_signer *worker_verifier(struct worker *, const struct tam_domain *);

#endif
