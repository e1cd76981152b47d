#include "config.h"

#include "lib/codec/cbor_out.h"
#include "lib/codec/cose.h"
#include "lib/codec/suit.h"
#include "lib/codec/teep.h"
#include "lib/codec/teep_codes.h"

/*
 * From struct teep_message to bytes, deterministic: options in the order of
 * their labels, which both numberings keep below 24, so that the numeric
 * order is the bytewise one.
 */

enum {
	LABEL_MAX = 23
};

static void
write_uints(struct buf *b, const uint64_t *v, size_t n)
{
	cbor_out_array(b, n);
	for (size_t i = 0; i < n; i++)
		cbor_out_uint(b, v[i]);
}

static void
write_suites(struct buf *b, const struct teep_message *m)
{
	cbor_out_array(b, m->n_suites);
	for (size_t i = 0; i < m->n_suites; i++) {
		cbor_out_array(b, m->suites[i].n);
		for (size_t j = 0; j < m->suites[i].n; j++) {
			cbor_out_array(b, 2);
			cbor_out_int(b, m->suites[i].type[j]);
			cbor_out_int(b, m->suites[i].alg[j]);
		}
	}
}

static void
write_profiles(struct buf *b, const struct teep_message *m)
{
	cbor_out_array(b, m->n_profiles);
	for (size_t i = 0; i < m->n_profiles; i++) {
		cbor_out_array(b, m->profile_n[i]);
		for (size_t j = 0; j < m->profile_n[i]; j++)
			cbor_out_int(b, m->profiles[i][j]);
	}
}

static void
write_tc_list(struct buf *b, const struct teep_message *m)
{
	cbor_out_array(b, m->n_tc);
	for (size_t i = 0; i < m->n_tc; i++) {
		const struct teep_tc *tc = &m->tc[i];
		bool digest = tc->digest.n > 0;

		cbor_out_map(b, digest ? 2 : 1);
		cbor_out_uint(b, 0);
		buf_add_slice(b, tc->component_id);
		if (!digest)
			continue;
		cbor_out_uint(b, SUIT_PARAM_IMAGE_DIGEST);
		cbor_out_bytes_head(b, 2 + 2 + tc->digest.n);
		suit_digest_encode(tc->digest, b);
	}
}

static void
write_requested(struct buf *b, const struct teep_message *m)
{
	const uint8_t(*codes)[2] = teep_requested_codes;

	cbor_out_array(b, m->n_requested);
	for (size_t i = 0; i < m->n_requested; i++) {
		const struct teep_requested *r = &m->requested[i];

		cbor_out_map(b, 1u + r->has_sequence + r->have_binary);
		cbor_out_uint(b, codes[REQUESTED_COMPONENT_ID][m->numbering]);
		buf_add_slice(b, r->component_id);
		if (r->has_sequence) {
			cbor_out_uint(b,
			    codes[REQUESTED_SEQUENCE][m->numbering]);
			cbor_out_uint(b, r->sequence);
		}
		if (r->have_binary) {
			cbor_out_uint(b,
			    codes[REQUESTED_HAVE_BINARY][m->numbering]);
			cbor_out_bool(b, true);
		}
	}
}

static void
write_byte_strings(struct buf *b, const struct slice *v, size_t n)
{
	cbor_out_array(b, n);
	for (size_t i = 0; i < n; i++)
		cbor_out_bytes(b, v[i]);
}

static void
write_items(struct buf *b, const struct slice *v, size_t n)
{
	cbor_out_array(b, n);
	for (size_t i = 0; i < n; i++)
		buf_add_slice(b, v[i]);
}

static void
write_option(struct buf *b, const struct teep_message *m, enum teep_option opt)
{
	switch (opt) {
	case TEEP_OPT_SUITES:
		write_suites(b, m);
		break;
	case TEEP_OPT_CHALLENGE:
		cbor_out_bytes(b, m->challenge);
		break;
	case TEEP_OPT_VERSIONS:
		write_uints(b, m->versions, m->n_versions);
		break;
	case TEEP_OPT_PROFILES:
		write_profiles(b, m);
		break;
	case TEEP_OPT_SELECTED_VERSION:
		cbor_out_uint(b, m->selected_version);
		break;
	case TEEP_OPT_PAYLOAD:
		cbor_out_bytes(b, m->payload);
		break;
	case TEEP_OPT_TC_LIST:
		write_tc_list(b, m);
		break;
	case TEEP_OPT_EXT_LIST:
		cbor_out_array(b, 0); /* the draft defines no extension */
		break;
	case TEEP_OPT_MANIFEST_LIST:
		write_byte_strings(b, m->manifests, m->n_manifests);
		break;
	case TEEP_OPT_MSG:
		cbor_out_text(b, m->msg);
		break;
	case TEEP_OPT_ERR_MSG:
		cbor_out_text(b, m->err_msg);
		break;
	case TEEP_OPT_PAYLOAD_FORMAT:
		cbor_out_text(b, m->payload_format);
		break;
	case TEEP_OPT_REQUESTED:
		write_requested(b, m);
		break;
	case TEEP_OPT_UNNEEDED:
		write_items(b, m->unneeded, m->n_unneeded);
		break;
	case TEEP_OPT_REPORTS:
		write_byte_strings(b, m->reports, m->n_reports);
		break;
	case TEEP_OPT_TOKEN:
		cbor_out_bytes(b, m->token);
		break;
	case TEEP_OPT_FRESHNESS:
		write_uints(b, m->freshness, m->n_freshness);
		break;
	case TEEP_OPT_ERR_LANG:
		cbor_out_text(b, m->err_lang);
		break;
	case TEEP_OPT_ERR_CODE:
		cbor_out_uint(b, teep_err_code_swap(m->numbering, m->err_code));
		break;
	case TEEP_OPT_OBSOLETE_SUITE:
	case TEEP_OPT_COUNT:
	default:
		break;
	}
}

static void
write_options(struct buf *b, const struct teep_message *m)
{
	uint32_t writable = m->present & ~(1u << TEEP_OPT_OBSOLETE_SUITE);

	cbor_out_map(b, (size_t)__builtin_popcount(writable));
	for (unsigned label = 1; label <= LABEL_MAX; label++) {
		for (unsigned opt = 0; opt < TEEP_OPT_COUNT; opt++) {
			if (teep_codes[opt].label[m->numbering] != label ||
			    (writable >> opt & 1) == 0)
				continue;
			cbor_out_uint(b, label);
			write_option(b, m, (enum teep_option)opt);
		}
	}
}

void
teep_encode(const struct teep_message *m, struct buf *b)
{
	cbor_out_array(b,
	    m->kind == TEEP_QUERY_REQUEST ? 5
	        : m->kind == TEEP_ERROR   ? 3
	                                  : 2);
	cbor_out_uint(b, teep_kind_codes[m->kind][m->numbering]);
	write_options(b, m);
	if (m->kind == TEEP_QUERY_REQUEST) {
		write_suites(b, m);
		write_profiles(b, m);
		cbor_out_uint(b, m->data_items);
	} else if (m->kind == TEEP_ERROR) {
		cbor_out_uint(b, teep_err_code_swap(m->numbering, m->err_code));
	}
}

void
teep_mandatory_suites(struct teep_message *m, bool deprecated)
{
	static const int64_t algs[] = {COSE_ALG_ES256, COSE_ALG_EDDSA,
	    COSE_ALG_ESP256, COSE_ALG_ED25519};

	m->n_suites = 0;
	for (size_t i = deprecated ? 0 : 2; i < 4; i++)
		m->suites[m->n_suites++] =
		    (struct teep_suite){1, {COSE_TAG_SIGN1}, {algs[i]}};
}

void
teep_mandatory_profiles(struct teep_message *m)
{
	/* digest, authentication, key exchange, encryption: section 8.2. */
	static const int64_t profiles[4][4] = {
	    {-16, -9, -29, -65534},
	    {-16, -19, -29, -65534},
	    {-16, -9, -29, 1},
	    {-16, -19, -29, 24},
	};

	m->n_profiles = 4;
	memcpy(m->profiles, profiles, sizeof(profiles));
	for (size_t i = 0; i < 4; i++)
		m->profile_n[i] = 4;
}
