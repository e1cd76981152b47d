/*
 * eat.h - attestation tokens: what a Verifier says of a device, and what a
 * device says of itself (RFC 9711, draft-ietf-teep-protocol section 5,
 * draft-ietf-rats-ear).
 *
 * A token is opened (eat_open), its signature verified (eat_verify), and what
 * it claims is judged (eat_judge), in this order; nothing it claims is to be
 * used before.  Slices borrow the token and the arena.
 */
#ifndef LIB_CODEC_EAT_H
#define LIB_CODEC_EAT_H

#include "lib/codec/cose.h"

enum {
	EAT_NONCE_MIN = 8, /* RFC 9711; a TEEP challenge may be longer */
	EAT_NONCE_MAX = 512,
	EAT_NONCES_MAX = 8,
	EAT_MANIFESTS_MAX = 64,
	EAT_SUBMODS_MAX = 16,
	EAT_TOKEN_MAX = 64 << 10
};

/* Until the RFC has its number; a domain may name another. */
#define EAT_TEEP_PROFILE "urn:ietf:rfc:rfcXXXX"

/* What the bytes of an attestation payload are, by media type. */
enum eat_kind {
	EAT_EVIDENCE, /* whatever we do not recognise: for a Verifier */
	EAT_RESULT,   /* CWT, TEEP's profile */
	EAT_EAR_CWT,
	EAT_EAR_JWT
};

/*
 * attestation-payload-format to kind (section 7.1.1): case, blanks and quotes
 * are forgiven; absent is TEEP's own result.
 */
enum eat_kind eat_kind_of(struct slice media_type, const char *teep_profile);

/* An EAR in a JWT, under the name that Verifiers use today. */
#define EAT_EAR_JWT_FORMAT \
	"application/eat+jwt; eat_profile=\"tag:github.com,2023:veraison/ear\""

/* AR4SI trust tiers; the larger, the worse, but for EAR_NONE. */
enum ear_tier {
	EAR_NONE = 0, /* the Verifier makes no statement */
	EAR_AFFIRMING = 2,
	EAR_WARNING = 32,
	EAR_CONTRAINDICATED = 96
};

struct eat_manifest {
	struct slice uri, digest; /* SUIT_Reference; digest is SHA-256 */
};

struct eat_claims {
	struct slice issuer, profile;
	bool has_iat, has_exp, has_nbf;
	int64_t iat, exp, nbf; /* seconds since 1970 */
	size_t n_nonces;
	struct slice nonces[EAT_NONCES_MAX];

	/* Confirmation: which key it speaks of (RFC 8747, RFC 9679). */
	bool has_cnf, cnf_whole; /* whole: the key itself is in it */
	uint8_t cnf_thumbprint[COSE_THUMBPRINT_SIZE];
	struct cose_key cnf_key;

	struct slice ueid;
	struct slice oemid; /* bytes; of an integer its CBOR */
	struct slice hwmodel, hwversion, swname, swversion;
	bool has_dbgstat, has_oemboot, oemboot;
	uint64_t dbgstat; /* 0 enabled ... 4 disabled permanently */
	bool has_manifests;
	size_t n_manifests;
	struct eat_manifest manifests[EAT_MANIFESTS_MAX];

	/* Of an EAR: the worst tier of all submodules. */
	bool is_ear, tier_honest; /* no status better than its worst claim */
	size_t n_submods;
	enum ear_tier tier;

	/* The claim that cannot be read, where TAM_ATTEST_SYNTAX comes of one;
	 * static, for people. */
	const char *fault;
};

/* A token whose signature has not been looked at. */
struct eat_token {
	enum eat_kind kind;
	struct cose_message cose;            /* of a CWT */
	struct slice signed_text, signature; /* of a JWT */
	enum cose_curve jwt_curve;
	struct eat_claims claims;
};

/* TAM_ATTEST_SYNTAX and TAM_ALG_NOT_ALLOWED; kind is not EAT_EVIDENCE. */
enum tam_err eat_open(struct slice, enum eat_kind, struct arena *,
    struct eat_token *);

/* TAM_ATTEST_UNTRUSTED unless one of the keys signed it. */
enum tam_err eat_verify(struct cose_crypto *, const struct eat_token *,
    const struct cose_key *keys, size_t n);

/* What a result must say to count (CONFORMANCE T35 to T37). */
struct eat_expect {
	const char *teep_profile;
	/* The key that signed the TEEP message; NULL: not asked. */
	const uint8_t *presenter;
	/* Fresh is what carries one of these ... */
	size_t n_nonces;
	struct slice nonces[2];
	/* ... or, when positive, was issued no longer ago. */
	int64_t max_age_s;
	int64_t now_s, skew_s;
	enum ear_tier worst; /* the worst tier that still passes */
	bool unbound_ear;    /* an EAR without a key passes */
};

enum tam_err eat_judge(const struct eat_claims *, const struct eat_expect *);

/* --- pieces ------------------------------------------------------------------- */

/* One claims-set, CBOR; adds to claims. */
enum tam_err eat_claims_decode(struct slice, struct arena *,
    struct eat_claims *);
/* An EAR's claims: CBOR and JSON. */
enum tam_err ear_decode_cbor(struct slice, struct arena *, struct eat_claims *);
enum tam_err ear_decode_json(struct slice, struct arena *, struct eat_claims *);
/* The profiles of an EAR, deployed ones included; NULL behind the last. */
const char *ear_profile(size_t);
bool ear_profile_known(struct slice);

/* The TEEP profile's claims, deterministic; iat, exp, ueid, ... as set. */
void eat_claims_encode(const struct eat_claims *, struct buf *);

/*
 * The nonce of Evidence or of a result, read without any trust: an index,
 * never a proof (CONFORMANCE T27).  Empty when there is none to be read.
 */
struct slice eat_peek_nonce(struct slice payload, struct arena *);

#endif
