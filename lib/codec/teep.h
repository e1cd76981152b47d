/*
 * teep.h - the five TEEP messages, as structs (draft-ietf-teep-protocol
 * sections 4.2 to 4.6; section numbers below are the draft's).
 *
 * Two numberings are on the wire: the one of drafts up to -24, which every
 * deployed agent speaks, and the final one of draft -26 and IANA.  Here
 * everything has one name; the numbers stand in one table in teep_codes.c.
 * A decoder told one numbering recognises the other where the types differ,
 * which is nearly always.
 *
 * A decoded message borrows the bytes it came from and the arena.  Nothing in
 * it is trusted before the COSE signature around it was verified.
 */
#ifndef LIB_CODEC_TEEP_H
#define LIB_CODEC_TEEP_H

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/base/slice.h"

#define TEEP_MEDIA_TYPE "application/teep+cbor"

enum {
	TEEP_TOKEN_MIN = 8,
	TEEP_TOKEN_MAX = 64,
	TEEP_CHALLENGE_MAX = 512,
	TEEP_TEXT_MAX = 128, /* msg and err-msg, bytes */
	TEEP_LANG_MAX = 35,
	TEEP_COMPONENT_ID_MAX = 256, /* bytes of its CBOR; our limit */
	TEEP_LIST_MAX = 1024,        /* entries of any list; our limit */
	TEEP_FEW = 8                 /* entries of a list of code points */
};

enum teep_numbering {
	TEEP_LEGACY,
	TEEP_FINAL
};

enum teep_kind {
	TEEP_QUERY_REQUEST,
	TEEP_QUERY_RESPONSE,
	TEEP_UPDATE,
	TEEP_SUCCESS,
	TEEP_ERROR
};

/* Options by name; one bit each in teep_message.present. */
enum teep_option {
	TEEP_OPT_SUITES,
	TEEP_OPT_CHALLENGE,
	TEEP_OPT_VERSIONS,
	TEEP_OPT_PROFILES,
	TEEP_OPT_SELECTED_VERSION,
	TEEP_OPT_PAYLOAD,
	TEEP_OPT_TC_LIST,
	TEEP_OPT_EXT_LIST,
	TEEP_OPT_MANIFEST_LIST,
	TEEP_OPT_MSG,
	TEEP_OPT_ERR_MSG,
	TEEP_OPT_PAYLOAD_FORMAT,
	TEEP_OPT_REQUESTED,
	TEEP_OPT_UNNEEDED,
	TEEP_OPT_REPORTS,
	TEEP_OPT_TOKEN,
	TEEP_OPT_FRESHNESS,
	TEEP_OPT_ERR_LANG,
	TEEP_OPT_ERR_CODE,
	TEEP_OPT_OBSOLETE_SUITE, /* selected suite of old drafts; ignored */
	TEEP_OPT_COUNT
};

/* data-item-requested, section 4.2. */
enum {
	TEEP_ITEM_ATTESTATION = 1,
	TEEP_ITEM_TRUSTED_COMPONENTS = 2,
	TEEP_ITEM_EXTENSIONS = 4,
	TEEP_ITEM_SUIT_REPORTS = 8
};

/* err-code, section 4.6; the values of the final numbering. */
enum {
	TEEP_ERR_PERMANENT = 1,
	TEEP_ERR_UNSUPPORTED_EXTENSION = 2,
	TEEP_ERR_UNSUPPORTED_FRESHNESS = 3,
	TEEP_ERR_UNSUPPORTED_VERSION = 4,
	TEEP_ERR_UNSUPPORTED_SUITES = 5,
	TEEP_ERR_BAD_CERTIFICATE = 6,
	TEEP_ERR_ATTESTATION_REQUIRED = 7,
	TEEP_ERR_UNSUPPORTED_REPORT = 8,
	TEEP_ERR_CERTIFICATE_EXPIRED = 9,
	TEEP_ERR_TEMPORARY = 10,
	TEEP_ERR_MANIFEST_FAILED = 11 /* 17 in the legacy numbering */
};

/* One entry of a tc-list: SUIT system-property-claims. */
struct teep_tc {
	struct slice component_id; /* its CBOR, an array of bstr */
	struct slice digest;       /* 32 bytes of SHA-256; empty if not told */
};

struct teep_requested {
	struct slice component_id;
	bool has_sequence, have_binary;
	uint64_t sequence; /* the least acceptable one */
};

struct teep_suite {
	size_t n;
	int64_t type[2], alg[2]; /* COSE tag, algorithm */
};

struct teep_message {
	enum teep_kind kind;
	enum teep_numbering numbering;
	bool numbering_shown; /* decided by the bytes, not by the caller */
	uint32_t present;     /* 1 << enum teep_option */

	struct slice token, challenge;
	uint64_t data_items; /* QueryRequest */
	size_t n_suites, n_profiles, n_versions, n_freshness;
	struct teep_suite suites[TEEP_FEW];
	size_t profile_n[TEEP_FEW];
	int64_t profiles[TEEP_FEW][4];
	uint64_t versions[TEEP_FEW], freshness[TEEP_FEW];
	uint64_t selected_version;
	struct slice payload, payload_format; /* attestation */
	size_t n_tc, n_requested, n_unneeded, n_manifests, n_reports, n_ext;
	struct teep_tc *tc;
	struct teep_requested *requested;
	struct slice *unneeded;  /* manifest-component-ids, CBOR */
	struct slice *manifests; /* SUIT envelopes */
	struct slice *reports;
	struct slice msg, err_msg, err_lang;
	uint64_t err_code; /* Error and Update; the final numbering's value */
};

static inline bool
teep_has(const struct teep_message *m, enum teep_option opt)
{
	return (m->present >> opt & 1) != 0;
}

/* `likely` is used where the bytes fit both numberings. */
enum tam_err teep_decode(struct slice payload, struct arena *,
    enum teep_numbering likely, struct teep_message *out);

/* Writes the options whose bit is set, in the message's own numbering. */
void teep_encode(const struct teep_message *, struct buf *);

/* The suites and SUIT profiles a TAM must list (section 8).  With `deprecated`
 * those with the algorithm numbers of older drafts come first: their
 * agents look for them. */
void teep_mandatory_suites(struct teep_message *, bool deprecated);
void teep_mandatory_profiles(struct teep_message *);

const char *teep_kind_name(enum teep_kind);
const char *teep_err_code_name(uint64_t code);

#endif
