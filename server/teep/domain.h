/*
 * domain.h - a security domain as the device path sees it: one immutable
 * snapshot of its keys, wire profiles and policy, known by (incarnation,
 * epoch).
 *
 * The control thread builds a tam_snapshot of all domains and hands it to the
 * workers; who holds a reference may read everything in it.
 */
#ifndef SERVER_TEEP_DOMAIN_H
#define SERVER_TEEP_DOMAIN_H

#include <stdatomic.h>

#include "lib/codec/cose.h"
#include "lib/codec/eat.h"
#include "lib/codec/ecdh.h"
#include "lib/codec/teep.h"
#include "lib/codec/x509.h"
#include "policy/policy.h"
#include "server/teep/builtin.h"
#include "server/teep/token.h"
#include "storage/device_facts.h"

enum {
	DOMAIN_NAME_MAX = 64,
	DOMAIN_URL_MAX = 256
};

enum wire_opener {
	OPENER_SIGN, /* COSE_Sign, one signature per suite */
	OPENER_SIGN1_ESP256,
	OPENER_SIGN1_ED25519
};

enum wire_verify {
	VERIFY_NEVER,
	VERIFY_REVOCATIONS,
	VERIFY_ALWAYS
};

/* How a TAM URI speaks before it knows who is there. */
struct wire_profile {
	char name[DOMAIN_NAME_MAX];
	uint8_t wire_id; /* travels in tokens */
	bool is_default;
	enum teep_numbering numbering;
	enum wire_opener opener;
	bool deprecated_algs; /* -7 and -8 instead of -9 and -19 */
	bool send_kid, ask_attest, always_token;
	size_t kid_n; /* another kid than the key's thumbprint; 0: none */
	uint8_t kid[32];
	bool two_integers; /* SUIT profiles as old drafts had them (P8) */
	enum wire_verify verify;
	size_t update_max; /* bytes of manifests in one Update */
};

/* Whose attestation results the domain believes. */
struct verifier {
	char name[DOMAIN_NAME_MAX];
	struct cose_key key;
	enum ear_tier worst; /* the worst tier that passes */
	bool unbound;        /* an EAR that names no key passes */
	int64_t max_age_s;   /* a result without our nonce; 0: none passes */
	char url[DOMAIN_URL_MAX]; /* appraises Evidence; "" : it does not */
	char *media_types;        /* of that Evidence, with spaces; "": any */
	bool pass_back;           /* what it finds goes to the agent */
	char *ca;                 /* PEM its TLS certificate chains to */
};

struct tam_domain {
	int32_t id;
	char name[DOMAIN_NAME_MAX];
	int64_t incarnation, epoch;
	int64_t audit_seq; /* the head of its chain of events */
	uint8_t audit_hash[32];
	size_t n_profiles;
	struct wire_profile *profiles;
	bool has_key[2]; /* by enum cose_curve */
	struct cose_private keys[2];
	bool key_lost[2]; /* the newest signing key cannot be used */
	char *hsm_uri[2]; /* where it is, if its private half is not here */
	size_t n_agree;   /* keys to decrypt with */
	struct ecdh_private *agree;
	bool suspended;                    /* nothing is answered */
	char teep_profile[DOMAIN_URL_MAX]; /* of attestation results */
	bool enrols_attested; /* keys a Verifier vouches for become devices */
	/* The Verifier of our own: keys that sign Evidence, by thumbprint, and
	 * what may be found.  It speaks when it has a key. */
	size_t n_endorsements, n_references;
	struct endorsement *endorsements;
	struct reference_value *references;
	bool has_verify_key;
	struct cose_private verify_key;
	int64_t passport_s;
	struct x509_cas *cas; /* that vouch for devices; NULL: none */
	bool enrols_certified;
	size_t n_verifiers;
	struct verifier *verifiers;
	struct policy_set *policy;
};

struct tam_snapshot {
	atomic_int refs;
	struct token_keys tokens;
	size_t n;
	struct tam_domain domains[]; /* by id */
};

/* While a snapshot is made: room for one more, zeroed, at the end of the list.
 * The pointer holds until the next of the same kind is added. */
struct wire_profile *domain_add_profile(struct tam_domain *);
struct verifier *domain_add_verifier(struct tam_domain *);
struct ecdh_private *domain_add_agreement_key(struct tam_domain *);

struct tam_snapshot *snapshot_new(size_t n);
struct tam_snapshot *snapshot_ref(struct tam_snapshot *);
void snapshot_unref(struct tam_snapshot *);

/* NULL when there is none. */
struct tam_domain *snapshot_domain(struct tam_snapshot *, int64_t id);
/* By name; an empty name is "default".  NULL when there is none. */
const struct tam_domain *snapshot_find(const struct tam_snapshot *,
    struct slice name);

/* By name; an empty name is the default profile. */
const struct wire_profile *domain_profile(const struct tam_domain *,
    struct slice name);
/* The default profile if none has this id. */
const struct wire_profile *domain_profile_by_id(const struct tam_domain *,
    uint8_t wire_id);
/* The part of a profile that decisions depend on. */
struct device_profile domain_limits(const struct wire_profile *);

#endif
