/*
 * suit.h - SUIT envelopes, manifests and reports (draft-ietf-suit-manifest,
 * -trust-domains, -report), as far as relaying and judging them needs.
 *
 * An envelope is never changed: everything here borrows its bytes.  Decoding
 * proves structure and digests; suit_verify() proves who signed; suit_check()
 * is what an upload must pass (CONFORMANCE U1 to U12).  Running commands is
 * the agent's business and not done here.
 */
#ifndef LIB_CODEC_SUIT_H
#define LIB_CODEC_SUIT_H

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/base/slice.h"
#include "lib/codec/cbor_in.h"
#include "lib/codec/cose.h"
#include "lib/codec/cose_encrypt.h"

enum {
	SUIT_TAG = 107,
	SUIT_ENVELOPE_MAX = 16 << 20,
	SUIT_COMPONENTS_MAX = 16, /* and dependencies; our limit */
	SUIT_PAYLOADS_MAX = 8,
	SUIT_UNKNOWN_MAX = 8, /* elements of no draft we know */
	SUIT_BLOCKS_MAX = 4,
	SUIT_COMMANDS_MAX = 256, /* of one sequence; our limit */
	SUIT_NESTING_MAX = 4     /* of sequences, and of envelopes */
};

/* Elements of a manifest that hold a command sequence, or text. */
enum suit_section {
	SUIT_VALIDATE = 7,
	SUIT_LOAD = 8,
	SUIT_INVOKE = 9,
	SUIT_DEPENDENCY_RESOLUTION = 15,
	SUIT_PAYLOAD_FETCH = 16,
	SUIT_COSWID = 14, /* -update-management */
	SUIT_CANDIDATE = 18,
	SUIT_INSTALL = 20,
	SUIT_TEXT = 23,
	SUIT_UNINSTALL = 24,
	SUIT_SECTIONS = 25 /* one more than the largest */
};

enum suit_command {
	SUIT_COND_VENDOR = 1,
	SUIT_COND_CLASS = 2,
	SUIT_COND_IMAGE_MATCH = 3,
	SUIT_COND_SLOT = 5,
	SUIT_COND_CHECK_CONTENT = 6,
	SUIT_COND_DEP_INTEGRITY = 7,
	SUIT_COND_IS_DEPENDENCY = 8,
	SUIT_DIR_PROCESS_DEPENDENCY = 11,
	SUIT_DIR_SET_INDEX = 12,
	SUIT_COND_ABORT = 14,
	SUIT_DIR_TRY_EACH = 15,
	SUIT_DIR_WRITE = 18,
	SUIT_DIR_SET_PARAMS = 19,
	SUIT_DIR_OVERRIDE_PARAMS = 20,
	SUIT_DIR_FETCH = 21,
	SUIT_DIR_COPY = 22,
	SUIT_DIR_INVOKE = 23,
	SUIT_COND_DEVICE = 24,
	SUIT_DIR_SWAP = 31,
	SUIT_DIR_RUN_SEQUENCE = 32,
	SUIT_DIR_UNLINK = 33
};

enum suit_parameter {
	SUIT_PARAM_VENDOR = 1,
	SUIT_PARAM_CLASS = 2,
	SUIT_PARAM_IMAGE_DIGEST = 3,
	SUIT_PARAM_SLOT = 5,
	SUIT_PARAM_STRICT_ORDER = 12,
	SUIT_PARAM_SOFT_FAILURE = 13,
	SUIT_PARAM_IMAGE_SIZE = 14,
	SUIT_PARAM_CONTENT = 18,
	SUIT_PARAM_ENCRYPTION = 19,
	SUIT_PARAM_URI = 21,
	SUIT_PARAM_SOURCE = 22,
	SUIT_PARAM_INVOKE_ARGS = 23,
	SUIT_PARAM_DEVICE = 24,
	SUIT_PARAM_FETCH_ARGS = 25
};

/* --- small items, also used by TEEP messages ----------------------------- */

/* An array of one to 16 bstr: yields its CBOR, at most 256 bytes. */
struct slice suit_component_id(struct cbor_in *);

/* A SUIT_Digest, bstr-wrapped or not: yields the 32 bytes of SHA-256; empty
 * for another algorithm. */
struct slice suit_digest_claim(struct cbor_in *);

/* [-16, digest], without a bstr around it. */
void suit_digest_encode(struct slice digest, struct buf *);

/*
 * A component id as text, for people, JSON and SQL alike, and back: segments
 * joined by '/', one of [A-Za-z0-9._-] as it is, another as 0x and hex.
 * cbor may be anything; text from unsound input is "?".
 */
char *suit_component_text(struct arena *, struct slice cbor);
bool suit_component_parse(struct arena *, const char *text, struct slice *cbor);

/* --- envelopes ------------------------------------------------------------ */

struct suit_payload {
	struct slice name; /* "#tc", or a URI */
	struct slice bytes;
};

struct suit_envelope {
	uint8_t digest[32];        /* of the manifest, checked */
	struct slice digest_bytes; /* the encoded SUIT_Digest: what is signed */
	struct slice manifest;     /* content of the bstr */
	size_t n_blocks, n_payloads;
	struct slice blocks[SUIT_BLOCKS_MAX]; /* COSE objects, detached */
	struct suit_payload payloads[SUIT_PAYLOADS_MAX];
	struct slice severed[SUIT_SECTIONS]; /* whole bstr items, by label */
	size_t n_unknown;
	int64_t unknown[SUIT_UNKNOWN_MAX]; /* labels of other elements */
};

/* Refuses an element that no draft we know has. */
enum tam_err suit_envelope_decode(struct slice, struct arena *,
    struct suit_envelope *);
/* Names such elements instead; no signature covers them. */
enum tam_err suit_envelope_read(struct slice, struct arena *,
    struct suit_envelope *);

/*
 * A sound envelope without what is integrated in it, for who has the binary
 * (CONFORMANCE T42); no signature covers those elements.  Appends nothing
 * when nothing is integrated.  True when all that was left out goes by URIs
 * that can be fetched.
 */
bool suit_envelope_strip(struct slice sound, struct arena *, struct buf *);

/*
 * TAM_OK when one block verifies under one of the keys; *which is its place.
 * A MAC is no proof: a TAM shares no key with a signer.
 */
enum tam_err suit_verify(struct cose_crypto *, const struct suit_envelope *,
    struct arena *, const struct cose_key *keys, size_t n, size_t *which);

struct suit_manifest {
	uint64_t sequence;
	struct slice component_id; /* label 5; empty when absent */
	struct slice reference_uri;
	size_t n_components;
	struct slice components[SUIT_COMPONENTS_MAX];
	size_t n_dependencies;
	struct {
		uint64_t index;
		struct slice prefix;
	} dependencies[SUIT_COMPONENTS_MAX];
	struct slice shared;                  /* command sequence */
	struct slice sections[SUIT_SECTIONS]; /* content of each bstr */
};

/* Severed elements are taken from the envelope, their digests checked. */
enum tam_err suit_manifest_decode(const struct suit_envelope *, struct arena *,
    struct suit_manifest *);

/* --- what an upload must pass, and what is learnt from it ----------------- */

struct suit_component {
	struct slice id;
	struct slice digest; /* of its image; empty when unknown or several */
	bool many_digests;
	bool has_size;
	uint64_t size;
	struct slice vendor, class_id; /* the first given */
	struct slice uri;
	struct slice encryption; /* COSE_Encrypt of a profile that TEEP lists */
};

struct suit_info {
	struct suit_manifest manifest;
	size_t n; /* components; dependencies follow them in the manifest */
	struct suit_component components[SUIT_COMPONENTS_MAX];
	/* Of integrated dependencies, and theirs; by which of the keys each
	 * was signed. */
	size_t n_nested;
	struct suit_component nested[SUIT_COMPONENTS_MAX];
	size_t nested_signer[SUIT_COMPONENTS_MAX];
	size_t n_integrated; /* bytes of integrated payloads */
	bool has_uninstall;
};

enum {
	SUIT_BROUGHT_MAX = 2 * SUIT_COMPONENTS_MAX
};

/* Every component a device gets by it, each once. */
size_t suit_brought(const struct suit_info *,
    const struct suit_component *out[SUIT_BROUGHT_MAX]);
/* The digests of the manifests it depends on, as far as it names them. */
size_t suit_dependencies(const struct suit_info *,
    struct slice out[SUIT_COMPONENTS_MAX]);

/*
 * `why` is set to a static sentence when the verdict is not TAM_OK.  keys are
 * the trusted signers; an integrated dependency must pass as well.
 */
enum tam_err suit_check(struct cose_crypto *, struct slice envelope,
    struct arena *, const struct cose_key *keys, size_t n, struct suit_info *,
    size_t *signer, const char **why);

/*
 * What suit_check() learns, of an envelope that passed it before: structure
 * and digests are proven again, signatures are not.
 */
enum tam_err suit_learn(struct slice envelope, struct arena *,
    struct suit_info *);

/* --- reports --------------------------------------------------------------- */

struct suit_report {
	struct slice nonce;
	struct slice manifest_digest; /* of the reference; empty if unknown */
	bool success;
	int64_t code;
	uint64_t section, offset, component, reason; /* of a failure */
};

/* Keys to open an encrypted report with. */
struct suit_opening {
	const struct ecdh_private *keys;
	size_t n_keys;
	size_t *left; /* reports that may still be decrypted; NULL: any number */
};

/*
 * Reads a report: bare, in a COSE_Sign1 or Mac0 (whose proof is not looked
 * at), encrypted, or both.  TAM_CANNOT_DECRYPT; layouts of old drafts are
 * TAM_BAD_REPORT; TAM_TOO_LARGE when no more may be decrypted.
 */
enum tam_err suit_report_open(struct slice, const struct suit_opening *,
    struct arena *, struct suit_report *);
/* The same without keys. */
enum tam_err suit_report_decode(struct slice, struct arena *,
    struct suit_report *);
void suit_report_encode(const struct suit_report *, struct slice reference_uri,
    struct buf *);

#endif
