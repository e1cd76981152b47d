#include "config.h"

#include "admin/ctl/inspect.h"
#include "lib/base/hex.h"
#include "lib/codec/cbor_diag.h"

/* Decoded things as JSON, with the names the specifications give them. */

json_t *
inspect_hex(struct inspect *x, struct slice s)
{
	return json_string(hex_dup(x->arena, s));
}

/* Text of a peer may be anything; JSON takes UTF-8 only. */
json_t *
inspect_text(struct slice s)
{
	json_t *v = json_stringn((const char *)s.p, s.n);

	return v != NULL ? v : json_null();
}

static void
set_hex(struct inspect *x, json_t *o, const char *name, struct slice s)
{
	(void)json_object_set_new(o, name, inspect_hex(x, s));
}

static void
set_int(json_t *o, const char *name, int64_t v)
{
	(void)json_object_set_new(o, name, json_integer(v));
}

static void
set_text(json_t *o, const char *name, struct slice s)
{
	(void)json_object_set_new(o, name, inspect_text(s));
}

static json_t *
component(struct inspect *x, struct slice id)
{
	return json_string(suit_component_text(x->arena, id));
}

/* --- TEEP ------------------------------------------------------------------------ */

static json_t *
suites(const struct teep_message *m)
{
	json_t *list = json_array();

	for (size_t i = 0; i < m->n_suites; i++) {
		json_t *suite = json_array();

		for (size_t k = 0; k < m->suites[i].n; k++)
			(void)json_array_append_new(suite,
			    json_pack("[I,I]", (json_int_t)m->suites[i].type[k],
			        (json_int_t)m->suites[i].alg[k]));
		(void)json_array_append_new(list, suite);
	}
	return list;
}

static json_t *
profiles(const struct teep_message *m)
{
	json_t *list = json_array();

	for (size_t i = 0; i < m->n_profiles; i++) {
		json_t *profile = json_array();

		for (size_t k = 0; k < m->profile_n[i]; k++)
			(void)json_array_append_new(profile,
			    json_integer(m->profiles[i][k]));
		(void)json_array_append_new(list, profile);
	}
	return list;
}

static json_t *
numbers(const uint64_t *v, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		(void)json_array_append_new(list,
		    json_integer((json_int_t)v[i]));
	return list;
}

static json_t *
tc_list(struct inspect *x, const struct teep_message *m)
{
	json_t *list = json_array();

	for (size_t i = 0; i < m->n_tc; i++)
		(void)json_array_append_new(list,
		    json_pack("{s:o,s:o}", "component-id",
		        component(x, m->tc[i].component_id), "image-digest",
		        inspect_hex(x, m->tc[i].digest)));
	return list;
}

static json_t *
requested(struct inspect *x, const struct teep_message *m)
{
	json_t *list = json_array();

	for (size_t i = 0; i < m->n_requested; i++) {
		const struct teep_requested *r = &m->requested[i];
		json_t *o = json_pack("{s:o,s:b}", "component-id",
		    component(x, r->component_id), "have-binary",
		    r->have_binary);

		if (r->has_sequence)
			set_int(o, "tc-manifest-sequence-number",
			    (int64_t)r->sequence);
		(void)json_array_append_new(list, o);
	}
	return list;
}

static json_t *
components(struct inspect *x, const struct slice *ids, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		(void)json_array_append_new(list, component(x, ids[i]));
	return list;
}

static void
print_options(struct inspect *x, const struct teep_message *m, json_t *o)
{
	if (teep_has(m, TEEP_OPT_SUITES))
		(void)json_object_set_new(o, "supported-teep-cipher-suites",
		    suites(m));
	if (teep_has(m, TEEP_OPT_PROFILES))
		(void)json_object_set_new(o, "supported-suit-cose-profiles",
		    profiles(m));
	if (teep_has(m, TEEP_OPT_VERSIONS))
		(void)json_object_set_new(o, "versions",
		    numbers(m->versions, m->n_versions));
	if (teep_has(m, TEEP_OPT_FRESHNESS))
		(void)json_object_set_new(o, "supported-freshness-mechanisms",
		    numbers(m->freshness, m->n_freshness));
	if (teep_has(m, TEEP_OPT_CHALLENGE))
		set_hex(x, o, "challenge", m->challenge);
	if (teep_has(m, TEEP_OPT_TOKEN))
		set_hex(x, o, "token", m->token);
	if (teep_has(m, TEEP_OPT_SELECTED_VERSION))
		set_int(o, "selected-version", (int64_t)m->selected_version);
	if (teep_has(m, TEEP_OPT_PAYLOAD_FORMAT))
		set_text(o, "attestation-payload-format", m->payload_format);
	if (teep_has(m, TEEP_OPT_PAYLOAD))
		set_int(o, "attestation-payload-bytes", (int64_t)m->payload.n);
	if (teep_has(m, TEEP_OPT_TC_LIST))
		(void)json_object_set_new(o, "tc-list", tc_list(x, m));
	if (teep_has(m, TEEP_OPT_REQUESTED))
		(void)json_object_set_new(o, "requested-tc-list",
		    requested(x, m));
	if (teep_has(m, TEEP_OPT_UNNEEDED))
		(void)json_object_set_new(o, "unneeded-manifest-list",
		    components(x, m->unneeded, m->n_unneeded));
	if (teep_has(m, TEEP_OPT_MSG))
		set_text(o, "msg", m->msg);
	if (teep_has(m, TEEP_OPT_ERR_MSG))
		set_text(o, "err-msg", m->err_msg);
	if (teep_has(m, TEEP_OPT_ERR_LANG))
		set_text(o, "err-lang", m->err_lang);
}

json_t *
inspect_teep(struct inspect *x, const struct teep_message *m)
{
	json_t *o = json_pack("{s:s,s:s,s:b}", "type", teep_kind_name(m->kind),
	    "numbering", m->numbering == TEEP_FINAL ? "final" : "legacy",
	    "numbering-shown", m->numbering_shown);

	print_options(x, m, o);
	if (m->kind == TEEP_QUERY_REQUEST)
		set_int(o, "data-item-requested", (int64_t)m->data_items);
	if (m->kind == TEEP_ERROR || teep_has(m, TEEP_OPT_ERR_CODE)) {
		set_int(o, "err-code", (int64_t)m->err_code);
		(void)json_object_set_new(o, "err-name",
		    json_string(teep_err_code_name(m->err_code)));
	}
	return o;
}

/* --- EAT and EAR -------------------------------------------------------------------- */

static const char *
tier_name(enum ear_tier tier)
{
	switch (tier) {
	case EAR_AFFIRMING:
		return "affirming";
	case EAR_WARNING:
		return "warning";
	case EAR_CONTRAINDICATED:
		return "contraindicated";
	case EAR_NONE:
	default:
		return "none";
	}
}

static json_t *
claim_manifests(struct inspect *x, const struct eat_claims *c)
{
	json_t *list = json_array();

	for (size_t i = 0; i < c->n_manifests; i++)
		(void)json_array_append_new(list,
		    json_pack("{s:o,s:o}", "uri",
		        inspect_text(c->manifests[i].uri), "digest",
		        inspect_hex(x, c->manifests[i].digest)));
	return list;
}

json_t *
inspect_claims(struct inspect *x, const struct eat_claims *c)
{
	json_t *o = json_object();

	if (c->profile.n > 0)
		set_text(o, "eat_profile", c->profile);
	if (c->issuer.n > 0)
		set_text(o, "iss", c->issuer);
	if (c->has_iat)
		set_int(o, "iat", c->iat);
	if (c->has_nbf)
		set_int(o, "nbf", c->nbf);
	if (c->has_exp)
		set_int(o, "exp", c->exp);
	for (size_t i = 0; i < c->n_nonces; i++)
		set_hex(x, o, i == 0 ? "eat_nonce" : "eat_nonce_2",
		    c->nonces[i]);
	if (c->has_cnf)
		set_hex(x, o, "cnf", SLICE_OF(c->cnf_thumbprint));
	if (c->ueid.n > 0)
		set_hex(x, o, "ueid", c->ueid);
	if (c->oemid.n > 0)
		set_hex(x, o, "oemid", c->oemid);
	if (c->hwmodel.n > 0)
		set_hex(x, o, "hwmodel", c->hwmodel);
	if (c->hwversion.n > 0)
		set_text(o, "hwversion", c->hwversion);
	if (c->has_manifests)
		(void)json_object_set_new(o, "manifests",
		    claim_manifests(x, c));
	if (c->is_ear)
		(void)json_object_set_new(o, "ear_status",
		    json_string(tier_name(c->tier)));
	return o;
}

/* --- SUIT --------------------------------------------------------------------------- */

static const struct {
	enum suit_section section;
	const char *name;
} sections[] = {
    {SUIT_VALIDATE, "validate"},
    {SUIT_LOAD, "load"},
    {SUIT_INVOKE, "invoke"},
    {SUIT_DEPENDENCY_RESOLUTION, "dependency-resolution"},
    {SUIT_PAYLOAD_FETCH, "payload-fetch"},
    {SUIT_CANDIDATE, "candidate-verification"},
    {SUIT_INSTALL, "install"},
    {SUIT_UNINSTALL, "uninstall"},
};

const char *
inspect_section_name(int section)
{
	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
		if ((int)sections[i].section == section)
			return sections[i].name;
	}
	return section == SUIT_TEXT  ? "text"
	    : section == SUIT_COSWID ? "coswid"
	                             : "?";
}

static void
print_sequence(struct inspect *x, json_t *o, const char *name,
    struct slice sequence)
{
	struct buf b;

	if (sequence.n == 0)
		return;
	buf_init(&b, 1 << 20);
	if (cbor_diag(sequence, x->arena, &b) == TAM_OK)
		(void)json_object_set_new(o, name, inspect_text(buf_slice(&b)));
	buf_fini(&b);
}

json_t *
inspect_manifest(struct inspect *x, const struct suit_envelope *e,
    const struct suit_manifest *m)
{
	json_t *o = json_pack("{s:o,s:I,s:o}", "digest",
	    inspect_hex(x, SLICE_OF(e->digest)), "manifest-sequence-number",
	    (json_int_t)m->sequence, "components",
	    components(x, m->components, m->n_components));

	if (m->component_id.n > 0)
		(void)json_object_set_new(o, "manifest-component-id",
		    component(x, m->component_id));
	if (m->reference_uri.n > 0)
		set_text(o, "reference-uri", m->reference_uri);
	set_int(o, "dependencies", (int64_t)m->n_dependencies);
	for (size_t i = 0; i < e->n_payloads; i++) {
		char name[64];

		(void)snprintf(name, sizeof(name), "payload %.*s",
		    (int)(e->payloads[i].name.n < 40 ? e->payloads[i].name.n
		                                     : 40),
		    (const char *)e->payloads[i].name.p);
		set_int(o, name, (int64_t)e->payloads[i].bytes.n);
	}
	print_sequence(x, o, "shared-sequence", m->shared);
	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++)
		print_sequence(x, o, sections[i].name,
		    m->sections[sections[i].section]);
	return o;
}

json_t *
inspect_report(struct inspect *x, const struct suit_report *r)
{
	json_t *o = json_pack("{s:b}", "success", r->success);

	if (r->nonce.n > 0)
		set_hex(x, o, "nonce", r->nonce);
	if (r->manifest_digest.n > 0)
		set_hex(x, o, "manifest-digest", r->manifest_digest);
	if (!r->success) {
		set_int(o, "code", r->code);
		set_int(o, "section", (int64_t)r->section);
		set_int(o, "offset", (int64_t)r->offset);
		set_int(o, "component", (int64_t)r->component);
		set_int(o, "reason", (int64_t)r->reason);
	}
	return o;
}
