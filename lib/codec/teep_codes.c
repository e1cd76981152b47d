#include "config.h"

#include "lib/codec/teep_codes.h"

/* The legacy label, the final one (IANA's registry), the CDDL type. */
const struct teep_code teep_codes[TEEP_OPT_COUNT] = {
    [TEEP_OPT_SUITES] = {{1, 1}, CBOR_ARRAY, CBOR_ARRAY},
    [TEEP_OPT_CHALLENGE] = {{2, 2}, CBOR_BYTES, CBOR_END},
    [TEEP_OPT_VERSIONS] = {{3, 3}, CBOR_ARRAY, CBOR_UINT},
    [TEEP_OPT_PROFILES] = {{4, 4}, CBOR_ARRAY, CBOR_ARRAY},
    [TEEP_OPT_SELECTED_VERSION] = {{6, 5}, CBOR_UINT, CBOR_END},
    [TEEP_OPT_PAYLOAD] = {{7, 6}, CBOR_BYTES, CBOR_END},
    [TEEP_OPT_TC_LIST] = {{8, 7}, CBOR_ARRAY, CBOR_MAP},
    [TEEP_OPT_EXT_LIST] = {{9, 8}, CBOR_ARRAY, CBOR_UINT},
    [TEEP_OPT_MANIFEST_LIST] = {{10, 9}, CBOR_ARRAY, CBOR_BYTES},
    [TEEP_OPT_MSG] = {{11, 10}, CBOR_TEXT, CBOR_END},
    [TEEP_OPT_ERR_MSG] = {{12, 11}, CBOR_TEXT, CBOR_END},
    [TEEP_OPT_PAYLOAD_FORMAT] = {{13, 12}, CBOR_TEXT, CBOR_END},
    [TEEP_OPT_REQUESTED] = {{14, 13}, CBOR_ARRAY, CBOR_MAP},
    [TEEP_OPT_UNNEEDED] = {{15, 14}, CBOR_ARRAY, CBOR_ARRAY},
    [TEEP_OPT_REPORTS] = {{19, 18}, CBOR_ARRAY, CBOR_BYTES},
    [TEEP_OPT_TOKEN] = {{20, 19}, CBOR_BYTES, CBOR_END},
    [TEEP_OPT_FRESHNESS] = {{21, 20}, CBOR_ARRAY, CBOR_UINT},
    [TEEP_OPT_ERR_LANG] = {{22, 21}, CBOR_TEXT, CBOR_END},
    [TEEP_OPT_ERR_CODE] = {{23, 22}, CBOR_UINT, CBOR_END},
    [TEEP_OPT_OBSOLETE_SUITE] = {{5, 0}, CBOR_ARRAY, CBOR_ARRAY},
};

const uint8_t teep_requested_codes[REQUESTED_LABELS][2] = {
    [REQUESTED_COMPONENT_ID] = {16, 15},
    [REQUESTED_SEQUENCE] = {17, 16},
    [REQUESTED_HAVE_BINARY] = {18, 17},
};

const uint8_t teep_kind_codes[TEEP_ERROR + 1][2] = {
    [TEEP_QUERY_REQUEST] = {1, 1},
    [TEEP_QUERY_RESPONSE] = {2, 2},
    [TEEP_UPDATE] = {3, 3},
    [TEEP_SUCCESS] = {5, 4},
    [TEEP_ERROR] = {6, 5},
};

enum {
	LEGACY_MANIFEST_FAILED = 17
};

uint64_t
teep_err_code_swap(enum teep_numbering numbering, uint64_t code)
{
	if (numbering == TEEP_LEGACY && code == LEGACY_MANIFEST_FAILED)
		return TEEP_ERR_MANIFEST_FAILED;
	if (numbering == TEEP_LEGACY && code == TEEP_ERR_MANIFEST_FAILED)
		return LEGACY_MANIFEST_FAILED;
	return code;
}

const char *
teep_kind_name(enum teep_kind kind)
{
	static const char *const names[] = {
	    [TEEP_QUERY_REQUEST] = "query-request",
	    [TEEP_QUERY_RESPONSE] = "query-response",
	    [TEEP_UPDATE] = "update",
	    [TEEP_SUCCESS] = "teep-success",
	    [TEEP_ERROR] = "teep-error",
	};

	return names[kind];
}

const char *
teep_err_code_name(uint64_t code)
{
	static const char *const names[] = {
	    [TEEP_ERR_PERMANENT] = "permanent_error",
	    [TEEP_ERR_UNSUPPORTED_EXTENSION] = "unsupported_extension",
	    [TEEP_ERR_UNSUPPORTED_FRESHNESS] =
	        "unsupported_freshness_mechanisms",
	    [TEEP_ERR_UNSUPPORTED_VERSION] = "unsupported_msg_version",
	    [TEEP_ERR_UNSUPPORTED_SUITES] = "unsupported_cipher_suites",
	    [TEEP_ERR_BAD_CERTIFICATE] = "bad_certificate",
	    [TEEP_ERR_ATTESTATION_REQUIRED] = "attestation_required",
	    [TEEP_ERR_UNSUPPORTED_REPORT] = "unsupported_suit_report",
	    [TEEP_ERR_CERTIFICATE_EXPIRED] = "certificate_expired",
	    [TEEP_ERR_TEMPORARY] = "temporary_error",
	    [TEEP_ERR_MANIFEST_FAILED] = "manifest_processing_failed",
	};

	if (code < sizeof(names) / sizeof(names[0]) && names[code] != NULL)
		return names[code];
	return "unknown_error";
}
