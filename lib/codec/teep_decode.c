#include "config.h"

#include "lib/codec/suit.h"
#include "lib/codec/teep.h"
#include "lib/codec/teep_codes.h"

/*
 * From bytes to struct teep_message: the numbering first, by the types of the
 * options; then each option by its name; then what follows the options, which
 * only QueryRequest and Error have.  Unknown labels are passed over (section
 * 6), a known one of the wrong type is an error.
 */

enum {
	OPTIONS_MAX = 64
};

/* --- which numbering ----------------------------------------------------- */

static bool
fits(const struct teep_code *code, const struct cbor_in *value)
{
	struct cbor_in in = *value;

	if (cbor_in_peek(&in) != code->type)
		return false;
	if (code->type != CBOR_ARRAY)
		return true;
	return cbor_in_array(&in, SIZE_MAX) == 0 ||
	    cbor_in_peek(&in) == code->element;
}

static bool
known(enum teep_numbering numbering, uint64_t label,
    const struct cbor_in *value)
{
	for (size_t i = 0; i < TEEP_OPT_COUNT; i++) {
		if (teep_codes[i].label[numbering] == label &&
		    fits(&teep_codes[i], value))
			return true;
	}
	return false;
}

/* One label that is known in one numbering only decides. */
static void
detect(const struct cbor_in *options, struct teep_message *m)
{
	struct cbor_in in = *options;
	size_t n = cbor_in_map(&in, OPTIONS_MAX);

	for (size_t i = 0; i < n && in.err == TAM_OK; i++) {
		uint64_t label = cbor_in_uint(&in, UINT64_MAX);
		bool legacy = label > 0 && known(TEEP_LEGACY, label, &in);
		bool final = label > 0 && known(TEEP_FINAL, label, &in);

		cbor_in_skip(&in);
		if (legacy == final)
			continue;
		m->numbering = legacy ? TEEP_LEGACY : TEEP_FINAL;
		m->numbering_shown = true;
		return;
	}
}

/* The type number and, for 5, the length of the array: section 4.1. */
static void
read_kind(struct cbor_in *in, struct teep_message *m, size_t items)
{
	uint64_t type = cbor_in_uint(in, UINT64_MAX);

	if (in->err != TAM_OK)
		return;
	if (type >= 1 && type <= 3) {
		m->kind = (enum teep_kind)(type - 1);
		return;
	}
	if (type < 4 || type > 6) {
		cbor_in_fail(in, TAM_UNKNOWN_MESSAGE);
		return;
	}
	m->numbering_shown = true;
	m->numbering =
	    type == 6 || (type == 5 && items == 2) ? TEEP_LEGACY : TEEP_FINAL;
	m->kind = type == teep_kind_codes[TEEP_SUCCESS][m->numbering]
	    ? TEEP_SUCCESS
	    : TEEP_ERROR;
}

/* --- values -------------------------------------------------------------- */

static size_t
read_uints(struct cbor_in *in, uint64_t out[TEEP_FEW])
{
	size_t n = cbor_in_array(in, TEEP_LIST_MAX), kept = 0;

	for (size_t i = 0; i < n && in->err == TAM_OK; i++) {
		uint64_t v = cbor_in_uint(in, UINT32_MAX);

		if (kept < TEEP_FEW)
			out[kept++] = v;
	}
	return kept;
}

/* Members that are not arrays are passed over: old drafts had numbers. */
static void
read_suites(struct cbor_in *in, struct teep_message *m)
{
	size_t n = cbor_in_array(in, TEEP_LIST_MAX);

	m->n_suites = 0;
	for (size_t i = 0; i < n && in->err == TAM_OK; i++) {
		struct teep_suite suite = {0};

		if (cbor_in_peek(in) != CBOR_ARRAY) {
			cbor_in_skip(in);
			continue;
		}
		suite.n = cbor_in_array(in, 2);
		for (size_t j = 0; j < suite.n; j++) {
			cbor_in_array_of(in, 2);
			suite.type[j] = cbor_in_int(in);
			suite.alg[j] = cbor_in_int(in);
		}
		if (m->n_suites < TEEP_FEW)
			m->suites[m->n_suites++] = suite;
	}
}

static void
read_profiles(struct cbor_in *in, struct teep_message *m)
{
	size_t n = cbor_in_array(in, TEEP_LIST_MAX);

	m->n_profiles = 0;
	for (size_t i = 0; i < n && in->err == TAM_OK; i++) {
		int64_t profile[4] = {0};
		size_t items = cbor_in_array(in, 4);

		for (size_t j = 0; j < items; j++)
			profile[j] = cbor_in_int(in);
		if (m->n_profiles == TEEP_FEW)
			continue;
		memcpy(m->profiles[m->n_profiles], profile, sizeof(profile));
		m->profile_n[m->n_profiles++] = items;
	}
}

/* SUIT system-property-claims: component-id (0, 16 in old agents), digest. */
static void
read_tc(struct cbor_in *in, struct teep_tc *tc)
{
	size_t n = cbor_in_map(in, 64);

	for (size_t i = 0; i < n && in->err == TAM_OK; i++) {
		int64_t key = cbor_in_int(in);

		if (key == 0 || (key == 16 && tc->component_id.n == 0))
			tc->component_id = suit_component_id(in);
		else if (key == SUIT_PARAM_IMAGE_DIGEST)
			tc->digest = suit_digest_claim(in);
		else
			cbor_in_skip(in);
	}
	if (tc->component_id.n == 0)
		cbor_in_fail(in, TAM_MISSING_FIELD);
}

static void
read_tc_list(struct cbor_in *in, struct arena *arena, struct teep_message *m)
{
	m->n_tc = cbor_in_array(in, TEEP_LIST_MAX);
	m->tc = arena_new_n(arena, m->n_tc, struct teep_tc);
	for (size_t i = 0; i < m->n_tc && in->err == TAM_OK; i++)
		read_tc(in, &m->tc[i]);
}

static void
read_requested_one(struct cbor_in *in, enum teep_numbering numbering,
    struct teep_requested *r)
{
	size_t n = cbor_in_map(in, OPTIONS_MAX);

	for (size_t i = 0; i < n && in->err == TAM_OK; i++) {
		uint64_t key = cbor_in_uint(in, UINT64_MAX);
		const uint8_t(*codes)[2] = teep_requested_codes;

		if (key == codes[REQUESTED_COMPONENT_ID][numbering]) {
			r->component_id = suit_component_id(in);
		} else if (key == codes[REQUESTED_SEQUENCE][numbering]) {
			r->sequence = cbor_in_uint(in, UINT64_MAX);
			r->has_sequence = true;
		} else if (key == codes[REQUESTED_HAVE_BINARY][numbering]) {
			r->have_binary = cbor_in_bool(in);
		} else {
			cbor_in_skip(in);
		}
	}
	if (r->component_id.n == 0 || (r->have_binary && !r->has_sequence))
		cbor_in_fail(in, TAM_MISSING_FIELD);
}

static void
read_requested(struct cbor_in *in, struct arena *arena, struct teep_message *m)
{
	m->n_requested = cbor_in_array(in, TEEP_LIST_MAX);
	m->requested =
	    arena_new_n(arena, m->n_requested, struct teep_requested);
	for (size_t i = 0; i < m->n_requested && in->err == TAM_OK; i++)
		read_requested_one(in, m->numbering, &m->requested[i]);
}

static struct slice *
read_slices(struct cbor_in *in, struct arena *arena, size_t *n,
    enum teep_option opt)
{
	struct slice *out;

	*n = cbor_in_array(in, TEEP_LIST_MAX);
	out = arena_new_n(arena, *n, struct slice);
	for (size_t i = 0; i < *n && in->err == TAM_OK; i++)
		out[i] = opt == TEEP_OPT_UNNEEDED
		    ? suit_component_id(in)
		    : cbor_in_bytes(in, 0, SIZE_MAX);
	return out;
}

static void
read_option(struct cbor_in *in, struct arena *arena, enum teep_option opt,
    struct teep_message *m)
{
	m->present |= 1u << opt;
	switch (opt) {
	case TEEP_OPT_SUITES:
		read_suites(in, m);
		break;
	case TEEP_OPT_CHALLENGE:
		m->challenge = cbor_in_bytes(in, 8, TEEP_CHALLENGE_MAX);
		break;
	case TEEP_OPT_VERSIONS:
		m->n_versions = read_uints(in, m->versions);
		break;
	case TEEP_OPT_PROFILES:
		read_profiles(in, m);
		break;
	case TEEP_OPT_SELECTED_VERSION:
		m->selected_version = cbor_in_uint(in, UINT32_MAX);
		break;
	case TEEP_OPT_PAYLOAD:
		m->payload = cbor_in_bytes(in, 0, SIZE_MAX);
		break;
	case TEEP_OPT_TC_LIST:
		read_tc_list(in, arena, m);
		break;
	case TEEP_OPT_EXT_LIST: {
		uint64_t ignored[TEEP_FEW];

		m->n_ext = read_uints(in, ignored);
		break;
	}
	case TEEP_OPT_MANIFEST_LIST:
		m->manifests = read_slices(in, arena, &m->n_manifests, opt);
		break;
	case TEEP_OPT_MSG:
		m->msg = cbor_in_text(in, 1, TEEP_TEXT_MAX);
		break;
	case TEEP_OPT_ERR_MSG:
		m->err_msg = cbor_in_text(in, 1, TEEP_TEXT_MAX);
		break;
	case TEEP_OPT_PAYLOAD_FORMAT:
		m->payload_format = cbor_in_text(in, 1, 256);
		break;
	case TEEP_OPT_REQUESTED:
		read_requested(in, arena, m);
		break;
	case TEEP_OPT_UNNEEDED:
		m->unneeded = read_slices(in, arena, &m->n_unneeded, opt);
		break;
	case TEEP_OPT_REPORTS:
		m->reports = read_slices(in, arena, &m->n_reports, opt);
		break;
	case TEEP_OPT_TOKEN:
		m->token = cbor_in_bytes(in, TEEP_TOKEN_MIN, TEEP_TOKEN_MAX);
		break;
	case TEEP_OPT_FRESHNESS:
		m->n_freshness = read_uints(in, m->freshness);
		break;
	case TEEP_OPT_ERR_LANG:
		m->err_lang = cbor_in_text(in, 1, TEEP_LANG_MAX);
		break;
	case TEEP_OPT_ERR_CODE:
		m->err_code = teep_err_code_swap(m->numbering,
		    cbor_in_uint(in, UINT64_MAX));
		break;
	case TEEP_OPT_OBSOLETE_SUITE:
	case TEEP_OPT_COUNT:
	default:
		cbor_in_skip(in);
		break;
	}
}

static enum teep_option
option_of(enum teep_numbering numbering, uint64_t label)
{
	for (size_t i = 0; label > 0 && i < TEEP_OPT_COUNT; i++) {
		if (teep_codes[i].label[numbering] == label)
			return (enum teep_option)i;
	}
	return TEEP_OPT_COUNT;
}

static void
read_options(struct cbor_in *in, struct arena *arena, struct teep_message *m)
{
	size_t n = cbor_in_map(in, OPTIONS_MAX);

	for (size_t i = 0; i < n && in->err == TAM_OK; i++) {
		uint64_t label = cbor_in_uint(in, UINT64_MAX);
		enum teep_option opt = option_of(m->numbering, label);

		if (opt == TEEP_OPT_COUNT || opt == TEEP_OPT_OBSOLETE_SUITE)
			cbor_in_skip(in);
		else
			read_option(in, arena, opt, m);
	}
}

static size_t
items_of(enum teep_kind kind)
{
	return kind == TEEP_QUERY_REQUEST ? 5 : kind == TEEP_ERROR ? 3 : 2;
}

enum tam_err
teep_decode(struct slice payload, struct arena *arena,
    enum teep_numbering likely, struct teep_message *out)
{
	struct teep_message m = {.numbering = likely};
	struct cbor_in in;
	size_t items;
	enum tam_err err;

	cbor_in_open(&in, payload, arena, CBOR_ANY);
	items = cbor_in_array(&in, 8);
	read_kind(&in, &m, items);
	if (in.err == TAM_OK && items != items_of(m.kind))
		cbor_in_fail(&in, TAM_OUT_OF_RANGE);
	if (!m.numbering_shown)
		detect(&in, &m);
	read_options(&in, arena, &m);
	if (m.kind == TEEP_QUERY_REQUEST) {
		read_suites(&in, &m);
		read_profiles(&in, &m);
		m.data_items = cbor_in_uint(&in, UINT64_MAX);
	} else if (m.kind == TEEP_ERROR) {
		m.err_code = teep_err_code_swap(m.numbering,
		    cbor_in_uint(&in, UINT64_MAX));
	}
	err = cbor_in_finish(&in);
	if (err == TAM_OK)
		*out = m;
	return err;
}
