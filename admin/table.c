#include "config.h"

#include "admin/table.h"

#include <assert.h>
#include <string.h>

const struct api_field api_anchor_fields[] =
    {{"public_key", TYPE_STRING, true, "SubjectPublicKeyInfo in PEM"},
        {"prefixes", TYPE_STRINGS, false,
            "component-id prefixes it may write; none: any"},
        {0}};

const struct api_field api_profile_fields[] = {{"is_default", TYPE_BOOLEAN,
                                                   false,
                                                   "the one of /tam/{domain}"},
    {"numbering", TYPE_STRING, false, "final or legacy"},
    {"opener", TYPE_STRING, false, "sign, sign1-esp256 or sign1-ed25519"},
    {"algorithms", TYPE_STRING, false,
        "current (-9, -19) or deprecated (-7, -8)"},
    {"kid", TYPE_STRING, false, "thumbprint, none, or hexadecimal digits"},
    {"ask", TYPE_STRING, false, "plain or attest"},
    {"always_token", TYPE_BOOLEAN, false, "a token beside a challenge"},
    {"verify_after_update", TYPE_STRING, false, "never, revocations or always"},
    {"update_bytes", TYPE_INTEGER, false,
        "bytes of manifests one Update may carry"},
    {"suit_profiles", TYPE_STRING, false,
        "current, or two-integers as old drafts had them"},
    {0}};

const struct api_field api_domain_fields[] = {
    {"enrol", TYPE_STRING, false,
        "closed; attested or ca: a "
        "Verifier or CA vouches for new "
        "devices"},
    {"enrol_status", TYPE_STRING, false, "pending or active: of new devices"},
    {"enrol_class", TYPE_STRING, false, "class of new devices"},
    {"rekey", TYPE_STRING, false,
        "refuse, pending or auto: a new key of a known identity"},
    {"two_persons", TYPE_BOOLEAN, false,
        "whether revocations and trust take a second person"},
    {"two_persons_for", TYPE_STRINGS, false,
        "what takes one as well: policy, channel, reference, rekey, import"},
    {"preconditions", TYPE_BOOLEAN, false,
        "whether a change of what has an ETag needs If-Match or "
        "If-None-Match"},
    {"passport_s", TYPE_INTEGER, false,
        "how long a result we pass back is good; 0: none is"},
    {"teep_profile", TYPE_STRING, false, "eat_profile of attestation results"},
    {0}};

const struct api_field api_rekey_fields[] = {{"thumbprint", TYPE_STRING, true,
                                                 "of the new key, hex"},
    {"take", TYPE_BOOLEAN, true, "true: it replaces the old keys"},
    {"reason", TYPE_STRING, true, "why; for the audit log"}, {0}};

const struct api_field api_endorsement_fields[] =
    {{"public_key", TYPE_STRING, true, "PEM of the attestation key"},
        {"hwmodel", TYPE_STRING, false, "hex: Evidence of this model only"},
        {0}};

const struct api_field api_reference_fields[] = {{"hwmodel", TYPE_STRING, true,
                                                     "hex"},
    {"hwversion", TYPE_STRING, false, "absent: any"},
    {"dbgstat", TYPE_INTEGER, false,
        "at least: 0 enabled to 4 disabled for good"},
    {"oemboot", TYPE_BOOLEAN, false, "true: it must be"},
    {"manifests", TYPE_STRINGS, false,
        "digests, hex: the only ones it may run; absent: any"},
    {0}};

const struct api_field api_device_ca_fields[] =
    {{"certificates", TYPE_STRING, true, "PEM: roots or intermediates"},
        {"crl", TYPE_STRING, false,
            "PEM: revocation lists; with any, every chain is checked"},
        {"purpose", TYPE_STRING, false,
            "OID of the extKeyUsage that devices' certificates have, or any; "
            "absent: clientAuth, if they have one"},
        {0}};

const struct api_field api_verifier_fields[] = {{"public_key", TYPE_STRING,
                                                    true,
                                                    "PEM of its signing key"},
    {"worst_tier", TYPE_STRING, false,
        "affirming or warning: the worst result that passes"},
    {"unbound", TYPE_BOOLEAN, false,
        "whether an EAR that names no device key passes"},
    {"max_age_s", TYPE_INTEGER, false,
        "age of a result without our nonce that passes; 0: none does"},
    {"url", TYPE_STRING, false,
        "https://host[:port]/path of its challenge-response API"},
    {"ca", TYPE_STRING, false, "PEM its TLS certificate must chain to"},
    {"media_types", TYPE_STRINGS, false,
        "of the Evidence it takes, without parameters; absent: any"},
    {"pass_back", TYPE_BOOLEAN, false,
        "whether the agent gets its results, to show them again"},
    {0}};

const struct api_field api_device_fields[] = {{"class", TYPE_STRING, false,
                                                  "device class"},
    {"status", TYPE_STRING, false,
        "pending, active, quarantined or decommissioned"},
    {"labels", TYPE_PATCH, false,
        "merged into its labels (RFC 7396); null removes one"},
    {"update_bytes", TYPE_INTEGER, false,
        "bytes of manifests one Update may carry; 0: as its wire profile"},
    {"reason", TYPE_STRING, false, "for the audit log"}, {0}};

const struct api_field api_device_change_fields[] = {{"selector", TYPE_STRING,
                                                         true, "which devices"},
    {"class", TYPE_STRING, false, "device class"},
    {"status", TYPE_STRING, false,
        "pending, active, quarantined or decommissioned"},
    {"labels", TYPE_PATCH, false,
        "merged into their labels (RFC 7396); null removes one"},
    {"update_bytes", TYPE_INTEGER, false,
        "bytes of manifests one Update may carry; 0: as the wire profile"},
    {"dry_run", TYPE_BOOLEAN, false, "only count whom it would change"},
    {"after", TYPE_INTEGER, false,
        "0, then as the last answer said: a part of many at a time"},
    {"reason", TYPE_STRING, true, "why; for the audit log"}, {0}};

const struct api_field api_import_fields[] = {{"key", TYPE_OBJECT, true,
                                                  "its public key, a JWK"},
    {"name", TYPE_STRING, false, "without one: the key's thumbprint"},
    {"class", TYPE_STRING, false, "device class"},
    {"status", TYPE_STRING, false,
        "pending, active, quarantined or decommissioned"},
    {"labels", TYPE_OBJECT, false, "its labels"},
    {"update_bytes", TYPE_INTEGER, false,
        "bytes of manifests one Update may carry; 0: the wire profile's"},
    {0}};

const struct api_field api_rollback_fields[] = {{"revision", TYPE_INTEGER, true,
                                                    "which to say again"},
    {"dry_run", TYPE_BOOLEAN, false, "only count whom it would change"},
    {"reason", TYPE_STRING, true, "why; for the history"}, {0}};

const struct api_field api_channel_fields[] = {{"manifest", TYPE_STRING, true,
                                                   "digest, hex"},
    {"dry_run", TYPE_BOOLEAN, false, "only count whom it would change"},
    {"reason", TYPE_STRING, false, "why; for the history"}, {0}};

const struct api_field api_facts_fields[] = {{"name", TYPE_STRING, false,
                                                 "of the device"},
    {"class", TYPE_STRING, false, "device class"},
    {"labels", TYPE_OBJECT, false, "its labels"},
    {"components", TYPE_OBJECT, false,
        "what it holds: component ids, and digests of images or \"\""},
    {"requested", TYPE_STRINGS, false, "component ids that it asks for"},
    {"attestation", TYPE_STRING, false, "none, affirmed or failed"},
    {"hwversion", TYPE_STRING, false, "what the appraisal said"},
    {"update_bytes", TYPE_INTEGER, false,
        "bytes of manifests one Update may carry"},
    {0}};

const struct api_field api_revocation_fields[] =
    {{"component", TYPE_STRING, false,
         "component id: a component's or a manifest's"},
        {"first_sequence", TYPE_INTEGER, false,
            "only manifests from this sequence number on"},
        {"last_sequence", TYPE_INTEGER, false, "and up to this one"},
        {"manifest", TYPE_STRING, false, "digest of a manifest, hex"},
        {"signer", TYPE_STRING, false,
            "all that this trust anchor's key signed"},
        {"class", TYPE_STRING, false,
            "a class of devices, which get nothing any more"},
        {"quarantine", TYPE_BOOLEAN, false,
            "who holds it keeps it, and gets nothing else meanwhile"},
        {"replacement", TYPE_STRING, false,
            "digest of a manifest for the devices that hold the target"},
        {"suspend", TYPE_BOOLEAN, false, "it is meant to be lifted again"},
        {"deadline_s", TYPE_INTEGER, false,
            "seconds after which a device is overdue"},
        {"reason", TYPE_STRING, true, "why; for the audit log"},
        {"advisory", TYPE_STRING, false, "URL"},
        {"dry_run", TYPE_BOOLEAN, false,
            "only count whom it would reach, and how old that is known"},
        {"label", TYPE_STRING, false, "of a dry run: count by its values"},
        {0}};

const struct api_field api_reason_fields[] = {{"reason", TYPE_STRING, true,
                                                  "why; for the audit log"},
    {0}};

const struct api_field api_start_fields[] = {{"reason", TYPE_STRING, true,
                                                 "why; for the audit log"},
    {"anyway", TYPE_BOOLEAN, false,
        "start it although a stage never passes by itself"},
    {0}};

const struct api_route api_routes[API_ROUTE_COUNT] = {
#define X(id, method, path, roles, body, fields, noun, verb, columns, summary) \
	[API_##id] = {#id, method, path, roles, body, fields, noun, verb,      \
	    columns, summary},
    API_ROUTES(X)
#undef X
};

size_t
api_field_max(const struct api_field *f)
{
	static const struct {
		const char *name;
		size_t max;
	} longer[] = {{"public_key", API_PEM_MAX},
	    {"certificates", API_PEM_MAX}, {"crl", API_PEM_MAX},
	    {"ca", API_PEM_MAX}, {"selector", API_SELECTOR_MAX}};

	for (size_t i = 0; i < sizeof(longer) / sizeof(longer[0]); i++) {
		if (strcmp(longer[i].name, f->name) == 0)
			return longer[i].max;
	}
	return API_TEXT_MAX;
}

/* --- query parameters --------------------------------------------------------------- */

static const struct api_field page_query[] = {{"limit", TYPE_INTEGER, false,
                                                  "items of a page, 1 to 500"},
    {"cursor", TYPE_STRING, false, "where the page before ended"}, {0}};

static const struct api_field alone_query[] = {{"alone", TYPE_STRING, false,
                                                   "why one person does it"},
    {0}};

static const struct api_field reason_query[] = {{"reason", TYPE_STRING, false,
                                                    "why; for the audit log"},
    {0}};

static const struct api_field policy_delete_query[] =
    {{"dry_run", TYPE_BOOLEAN, false, "only count whom it would change"},
        {"reason", TYPE_STRING, false, "why; for the audit log"}, {0}};

static const struct api_field selector_query[] = {{"selector", TYPE_STRING,
                                                      false,
                                                      "devices it matches"},
    {0}};

static const struct api_field device_list_query[] = {{"selector", TYPE_STRING,
                                                         false,
                                                         "devices it matches"},
    {"class", TYPE_STRING, false, "devices of this class"},
    {"status", TYPE_STRING, false, "devices of this status"}, {0}};

static const struct api_field rollout_devices_query[] =
    {{"state", TYPE_STRING, false, "devices that are in this state"}, {0}};

static const struct api_field event_list_query[] = {{"after", TYPE_INTEGER,
                                                        false,
                                                        "events later than "
                                                        "this number"},
    {0}};

static const struct api_field payload_upload_query[] = {{"note", TYPE_STRING,
                                                            false,
                                                            "what it is"},
    {0}};

static const struct api_field *const own_query[API_ROUTE_COUNT] = {
    [API_policy_put] = reason_query,
    [API_policy_delete] = policy_delete_query,
    [API_payload_upload] = payload_upload_query,
    [API_device_list] = device_list_query,
    [API_device_count] = selector_query,
    [API_device_export] = selector_query,
    [API_rollout_put] = reason_query,
    [API_rollout_delete] = reason_query,
    [API_rollout_devices] = rollout_devices_query,
    [API_event_list] = event_list_query,
};

const char *
api_two_persons_for(const struct api_route *r)
{
	static const char *const sorts[API_ROUTE_COUNT] = {
	    [API_policy_put] = "policy",
	    [API_policy_delete] = "policy",
	    [API_policy_rollback] = "policy",
	    [API_channel_put] = "channel",
	    [API_channel_delete] = "channel",
	    [API_reference_put] = "reference",
	    [API_reference_delete] = "reference",
	    [API_device_rekey] = "rekey",
	    [API_device_import] = "import",
	};

	return sorts[r - api_routes];
}

bool
api_is_list(const struct api_route *r)
{
	return strcmp(r->method, "GET") == 0 && r->columns[0] != '\0';
}

static size_t
add_fields(const struct api_field *f, size_t n,
    const struct api_field *out[API_QUERY_MAX])
{
	for (; f != NULL && f->name != NULL; f++) {
		assert(n < API_QUERY_MAX);
		out[n++] = f;
	}
	return n;
}

size_t
api_query_fields(const struct api_route *r,
    const struct api_field *out[API_QUERY_MAX])
{
	size_t n = add_fields(own_query[r - api_routes], 0, out);

	if (api_is_list(r))
		n = add_fields(page_query, n, out);
	if ((r->roles & (TWO_PERSONS | TWO_PERSONS_FOR)) != 0)
		n = add_fields(alone_query, n, out);
	return n;
}

const struct api_field *
api_query_field(const struct api_route *r, const char *name, size_t name_n)
{
	const struct api_field *fields[API_QUERY_MAX];
	size_t n = api_query_fields(r, fields);

	for (size_t i = 0; i < n; i++) {
		if (strlen(fields[i]->name) == name_n &&
		    memcmp(fields[i]->name, name, name_n) == 0)
			return fields[i];
	}
	return NULL;
}
