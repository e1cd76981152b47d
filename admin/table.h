/*
 * table.h - the admin API as one table: routes and the fields of what they
 * take.  Routing, validation, the OpenAPI document and tamctl's commands are
 * made from it, so they cannot disagree.
 */
#ifndef ADMIN_TABLE_H
#define ADMIN_TABLE_H

#include <stdbool.h>
#include <stddef.h>

enum api_role {
	ROLE_VIEWER = 1,
	ROLE_OPERATOR = 2,
	ROLE_POLICY = 4,
	ROLE_SECURITY = 8,
	ROLE_AUDITOR = 16,
	ROLE_ADMIN = 32,
	ROLE_ANY = 63,
	/* Not a role: where the domain says so, it takes another person. */
	TWO_PERSONS = 64,
	/* The same, where two_persons_for names this sort of thing too. */
	TWO_PERSONS_FOR = 128
};

enum api_body {
	BODY_NONE,
	BODY_JSON,  /* an object of the route's fields */
	BODY_RAW,   /* a JSON document, kept as it is */
	BODY_BYTES, /* a SUIT envelope */
	BODY_FILE,  /* any bytes */
	BODY_NDJSON /* a document per line; a result per line comes back */
};

enum api_type {
	TYPE_STRING,
	TYPE_INTEGER,
	TYPE_BOOLEAN,
	TYPE_OBJECT,  /* of strings */
	TYPE_STRINGS, /* an array of strings */
	TYPE_PATCH    /* an object of strings, or of nulls for what is to go */
};

struct api_field {
	const char *name;
	enum api_type type;
	bool required;
	const char *help;
};

enum {
	/* Two such texts fit into one entry of an index of PostgreSQL. */
	API_TEXT_MAX = 1024,
	API_REASON_MAX = 1000,
	API_SELECTOR_MAX = 65536,
	API_PEM_MAX = 1 << 20
};

/*
 * id, method, path, roles, body, fields, tamctl noun, verb, columns of its
 * human table, summary.  {x} in the path is an argument of the command.
 */
#define API_ROUTES(X)                                                           \
	X(manifest_list, "GET", "/v1/manifests", ROLE_ANY, BODY_NONE, NULL,     \
	    "manifest", "list", "digest,sequence,component,signer",             \
	    "List the manifests uploaded")                                      \
	X(manifest_upload, "POST", "/v1/manifests", ROLE_POLICY | ROLE_ADMIN,   \
	    BODY_BYTES, NULL, "manifest", "upload",                             \
	    "digest,sequence,component,signer",                                 \
	    "Upload a SUIT envelope; it is verified before it is kept")         \
	X(manifest_get, "GET", "/v1/manifests/{digest}", ROLE_ANY, BODY_NONE,   \
	    NULL, "manifest", "get", "",                                        \
	    "Show a manifest and what it installs")                             \
	X(manifest_download, "GET", "/v1/manifests/{digest}/envelope",          \
	    ROLE_ANY, BODY_NONE, NULL, "manifest", "download", "",              \
	    "Download an envelope as it was uploaded")                          \
	X(anchor_list, "GET", "/v1/trust-anchors", ROLE_ANY, BODY_NONE, NULL,   \
	    "trust-anchor", "list", "name,curve,thumbprint,prefixes",           \
	    "List the keys whose manifests are trusted")                        \
	X(anchor_put, "PUT", "/v1/trust-anchors/{name}",                        \
	    ROLE_SECURITY | ROLE_ADMIN | TWO_PERSONS, BODY_JSON,                \
	    api_anchor_fields, "trust-anchor", "put", "", "Trust a signer")     \
	X(anchor_get, "GET", "/v1/trust-anchors/{name}", ROLE_ANY, BODY_NONE,   \
	    NULL, "trust-anchor", "get", "", "Show a trusted signer")           \
	X(anchor_delete, "DELETE", "/v1/trust-anchors/{name}",                  \
	    ROLE_SECURITY | ROLE_ADMIN | TWO_PERSONS, BODY_NONE, NULL,          \
	    "trust-anchor", "delete", "", "Trust a signer no longer")           \
	X(policy_list, "GET", "/v1/policies", ROLE_ANY, BODY_NONE, NULL,        \
	    "policy", "list", "name,revision,document", "List the policies")    \
	X(policy_put, "PUT", "/v1/policies/{name}",                             \
	    ROLE_POLICY | ROLE_ADMIN | TWO_PERSONS_FOR, BODY_RAW, NULL,         \
	    "policy", "put", "",                                                \
	    "Create a policy, or make a new revision of it")                    \
	X(policy_get, "GET", "/v1/policies/{name}", ROLE_ANY, BODY_NONE, NULL,  \
	    "policy", "get", "", "Show a policy")                               \
	X(policy_delete, "DELETE", "/v1/policies/{name}",                       \
	    ROLE_POLICY | ROLE_ADMIN | TWO_PERSONS_FOR, BODY_NONE, NULL,        \
	    "policy", "delete", "",                                             \
	    "Delete a policy; ?dry_run=true only counts whom it would change")  \
	X(policy_dry_run, "POST", "/v1/policies/{name}/dry-run", ROLE_ANY,      \
	    BODY_RAW, NULL, "policy", "dry-run", "",                            \
	    "Count whom a new revision would change, and how; changes nothing") \
	X(policy_history, "GET", "/v1/policies/{name}/revisions", ROLE_ANY,     \
	    BODY_NONE, NULL, "policy", "history",                               \
	    "revision,at,author,reason,document",                               \
	    "List what a policy said, newest first")                            \
	X(policy_rollback, "POST", "/v1/policies/{name}/rollback",              \
	    ROLE_POLICY | ROLE_ADMIN | TWO_PERSONS_FOR, BODY_JSON,              \
	    api_rollback_fields, "policy", "rollback", "",                      \
	    "Let a policy say again what it said")                              \
	X(channel_list, "GET", "/v1/channels", ROLE_ANY, BODY_NONE, NULL,       \
	    "channel", "list", "name,revision,manifest,component,sequence",     \
	    "List the channels")                                                \
	X(channel_put, "PUT", "/v1/channels/{name}",                            \
	    ROLE_POLICY | ROLE_ADMIN | TWO_PERSONS_FOR, BODY_JSON,              \
	    api_channel_fields, "channel", "put", "",                           \
	    "Let a channel point to a manifest")                                \
	X(channel_get, "GET", "/v1/channels/{name}", ROLE_ANY, BODY_NONE,       \
	    NULL, "channel", "get", "", "Show where a channel points to")       \
	X(channel_delete, "DELETE", "/v1/channels/{name}",                      \
	    ROLE_POLICY | ROLE_ADMIN | TWO_PERSONS_FOR, BODY_NONE, NULL,        \
	    "channel", "delete", "", "Delete a channel no policy uses")         \
	X(channel_history, "GET", "/v1/channels/{name}/revisions", ROLE_ANY,    \
	    BODY_NONE, NULL, "channel", "history",                              \
	    "revision,at,author,reason,manifest",                               \
	    "List where a channel pointed to, newest first")                    \
	X(policy_explain, "POST", "/v1/explain", ROLE_ANY, BODY_JSON,           \
	    api_facts_fields, "policy", "explain", "",                          \
	    "Show what a device with these facts would get, and why")           \
	X(profile_list, "GET", "/v1/wire-profiles", ROLE_ANY, BODY_NONE, NULL,  \
	    "wire-profile", "list",                                             \
	    "name,is_default,numbering,opener,algorithms,kid,ask",              \
	    "List how TAM URIs speak")                                          \
	X(profile_put, "PUT", "/v1/wire-profiles/{name}",                       \
	    ROLE_OPERATOR | ROLE_ADMIN, BODY_JSON, api_profile_fields,          \
	    "wire-profile", "put", "", "Create or change a wire profile")       \
	X(profile_get, "GET", "/v1/wire-profiles/{name}", ROLE_ANY, BODY_NONE,  \
	    NULL, "wire-profile", "get", "", "Show a wire profile")             \
	X(payload_list, "GET", "/v1/payloads", ROLE_ANY, BODY_NONE, NULL,       \
	    "payload", "list", "digest,size,path,note",                         \
	    "List the binaries hosted for devices")                             \
	X(payload_upload, "POST", "/v1/payloads", ROLE_POLICY | ROLE_ADMIN,     \
	    BODY_FILE, NULL, "payload", "upload", "digest,size,path,note",      \
	    "Host a binary; ?note= says what it is")                            \
	X(payload_delete, "DELETE", "/v1/payloads/{digest}",                    \
	    ROLE_POLICY | ROLE_ADMIN, BODY_NONE, NULL, "payload", "delete",     \
	    "", "Host a binary no longer")                                      \
	X(domain_get, "GET", "/v1/domain", ROLE_ANY, BODY_NONE, NULL,           \
	    "domain", "get", "", "Show how the domain takes devices in")        \
	X(domain_patch, "PATCH", "/v1/domain",                                  \
	    ROLE_SECURITY | ROLE_ADMIN | TWO_PERSONS, BODY_JSON,                \
	    api_domain_fields, "domain", "set", "",                             \
	    "Change how the domain takes devices in")                           \
	X(device_rekey, "POST", "/v1/devices/{name}/rekey",                     \
	    ROLE_SECURITY | ROLE_ADMIN | TWO_PERSONS_FOR, BODY_JSON,            \
	    api_rekey_fields, "device", "rekey", "",                            \
	    "Take or refuse a new key that waits for a decision")               \
	X(endorsement_list, "GET", "/v1/endorsements", ROLE_ANY, BODY_NONE,     \
	    NULL, "endorsement", "list", "name,curve,thumbprint,hwmodel",       \
	    "List the keys that may sign Evidence for our own Verifier")        \
	X(endorsement_put, "PUT", "/v1/endorsements/{name}",                    \
	    ROLE_SECURITY | ROLE_ADMIN | TWO_PERSONS, BODY_JSON,                \
	    api_endorsement_fields, "endorsement", "put", "",                   \
	    "Endorse an attestation key")                                       \
	X(endorsement_delete, "DELETE", "/v1/endorsements/{name}",              \
	    ROLE_SECURITY | ROLE_ADMIN | TWO_PERSONS, BODY_NONE, NULL,          \
	    "endorsement", "delete", "",                                        \
	    "Endorse an attestation key no longer")                             \
	X(reference_list, "GET", "/v1/reference-values", ROLE_ANY, BODY_NONE,   \
	    NULL, "reference-value", "list",                                    \
	    "name,hwmodel,hwversion,dbgstat,oemboot",                           \
	    "List what our own Verifier accepts")                               \
	X(reference_put, "PUT", "/v1/reference-values/{name}",                  \
	    ROLE_SECURITY | ROLE_ADMIN | TWO_PERSONS_FOR, BODY_JSON,            \
	    api_reference_fields, "reference-value", "put", "",                 \
	    "Accept devices that look like this")                               \
	X(reference_delete, "DELETE", "/v1/reference-values/{name}",            \
	    ROLE_SECURITY | ROLE_ADMIN | TWO_PERSONS_FOR, BODY_NONE, NULL,      \
	    "reference-value", "delete", "",                                    \
	    "Accept devices that look like this no longer")                     \
	X(device_ca_list, "GET", "/v1/device-cas", ROLE_ANY, BODY_NONE, NULL,   \
	    "device-ca", "list", "name,certificates,lists",                     \
	    "List the CAs that vouch for devices")                              \
	X(device_ca_put, "PUT", "/v1/device-cas/{name}",                        \
	    ROLE_SECURITY | ROLE_ADMIN | TWO_PERSONS, BODY_JSON,                \
	    api_device_ca_fields, "device-ca", "put", "",                       \
	    "Let a CA vouch for devices")                                       \
	X(device_ca_delete, "DELETE", "/v1/device-cas/{name}",                  \
	    ROLE_SECURITY | ROLE_ADMIN | TWO_PERSONS, BODY_NONE, NULL,          \
	    "device-ca", "delete", "", "Let a CA vouch for devices no longer")  \
	X(verifier_list, "GET", "/v1/verifiers", ROLE_ANY, BODY_NONE, NULL,     \
	    "verifier", "list", "name,curve,thumbprint,worst_tier,url",         \
	    "List whose attestation results are believed")                      \
	X(verifier_put, "PUT", "/v1/verifiers/{name}",                          \
	    ROLE_SECURITY | ROLE_ADMIN | TWO_PERSONS, BODY_JSON,                \
	    api_verifier_fields, "verifier", "put", "",                         \
	    "Believe a Verifier, or change how")                                \
	X(verifier_get, "GET", "/v1/verifiers/{name}", ROLE_ANY, BODY_NONE,     \
	    NULL, "verifier", "get", "", "Show a Verifier")                     \
	X(verifier_delete, "DELETE", "/v1/verifiers/{name}",                    \
	    ROLE_SECURITY | ROLE_ADMIN | TWO_PERSONS, BODY_NONE, NULL,          \
	    "verifier", "delete", "", "Believe a Verifier no longer")           \
	X(tam_key_list, "GET", "/v1/tam-keys", ROLE_ANY, BODY_NONE, NULL,       \
	    "tam-key", "list", "use,curve,thumbprint,created_at",               \
	    "List the TAM's public keys, for devices to trust and encrypt to")  \
	X(device_list, "GET", "/v1/devices", ROLE_ANY, BODY_NONE, NULL,         \
	    "device", "list", "name,class,status,reason,last_seen",             \
	    "List devices; ?selector=, ?limit=, ?cursor=, ?class=, ?status=")   \
	X(device_count, "GET", "/v1/device-count", ROLE_ANY, BODY_NONE, NULL,   \
	    "device", "count", "", "Count devices and show some; ?selector=")   \
	X(device_export, "GET", "/v1/device-export", ROLE_ANY, BODY_NONE,       \
	    NULL, "device", "export",                                           \
	    "name,class,status,update_bytes,labels,key",                        \
	    "List devices as an import takes them; ?selector=, ?limit=all")     \
	X(device_change, "POST", "/v1/device-changes",                          \
	    ROLE_OPERATOR | ROLE_SECURITY | ROLE_ADMIN, BODY_JSON,              \
	    api_device_change_fields, "device", "change", "",                   \
	    "Change class, status or labels of all that a selector matches")    \
	X(device_explain, "GET", "/v1/devices/{name}/explain", ROLE_ANY,        \
	    BODY_NONE, NULL, "device", "explain", "",                           \
	    "Show which rules match a device, which won, and what it gets")     \
	X(device_import, "POST", "/v1/devices/import",                          \
	    ROLE_OPERATOR | ROLE_ADMIN | TWO_PERSONS_FOR, BODY_NDJSON,          \
	    api_import_fields, "device", "import", "line,status,name,detail",   \
	    "Enrol devices: {name, class, labels, key (JWK)} per line")         \
	X(device_get, "GET", "/v1/devices/{name}", ROLE_ANY, BODY_NONE, NULL,   \
	    "device", "get", "",                                                \
	    "Show a device, what it holds and the last decision")               \
	X(device_patch, "PATCH", "/v1/devices/{name}",                          \
	    ROLE_OPERATOR | ROLE_SECURITY | ROLE_ADMIN, BODY_JSON,              \
	    api_device_fields, "device", "set", "",                             \
	    "Change class, status or labels")                                   \
	X(revocation_list, "GET", "/v1/revocations", ROLE_ANY, BODY_NONE,       \
	    NULL, "revocation", "list", "id,target,label,reason,in_force_at",   \
	    "List the revocations")                                             \
	X(revocation_create, "POST", "/v1/revocations",                         \
	    ROLE_SECURITY | ROLE_ADMIN | TWO_PERSONS, BODY_JSON,                \
	    api_revocation_fields, "revocation", "create", "",                  \
	    "Revoke a component or a manifest: it leaves every device")         \
	X(revocation_get, "GET", "/v1/revocations/{id}", ROLE_ANY, BODY_NONE,   \
	    NULL, "revocation", "status", "", "Show how far a revocation is")   \
	X(revocation_devices, "GET", "/v1/revocations/{id}/devices", ROLE_ANY,  \
	    BODY_NONE, NULL, "revocation", "devices",                           \
	    "device,class,status,state,last_seen",                              \
	    "List the devices that did not show it gone yet")                   \
	X(revocation_lift, "POST", "/v1/revocations/{id}/lift",                 \
	    ROLE_SECURITY | ROLE_ADMIN | TWO_PERSONS, BODY_JSON,                \
	    api_reason_fields, "revocation", "lift", "", "Lift a revocation")   \
	X(rollout_list, "GET", "/v1/rollouts", ROLE_ANY, BODY_NONE, NULL,       \
	    "rollout", "list", "name,state,opened,stages,reason",               \
	    "List the rollouts")                                                \
	X(rollout_put, "PUT", "/v1/rollouts/{name}", ROLE_POLICY | ROLE_ADMIN,  \
	    BODY_RAW, NULL, "rollout", "create", "",                            \
	    "Draft a rollout, or change a draft")                               \
	X(rollout_get, "GET", "/v1/rollouts/{name}", ROLE_ANY, BODY_NONE,       \
	    NULL, "rollout", "status", "", "Show how far a rollout is")         \
	X(rollout_delete, "DELETE", "/v1/rollouts/{name}",                      \
	    ROLE_POLICY | ROLE_ADMIN, BODY_NONE, NULL, "rollout", "delete",     \
	    "", "Delete a draft")                                               \
	X(rollout_dry_run, "POST", "/v1/rollouts/{name}/dry-run", ROLE_ANY,     \
	    BODY_RAW, NULL, "rollout", "dry-run", "",                           \
	    "Count whom each stage would change; changes nothing")              \
	X(rollout_devices, "GET", "/v1/rollouts/{name}/devices", ROLE_ANY,      \
	    BODY_NONE, NULL, "rollout", "devices",                              \
	    "device,class,stage,state,attempts,last_seen",                      \
	    "List the devices it reached; ?state=")                             \
	X(rollout_start, "POST", "/v1/rollouts/{name}/start",                   \
	    ROLE_POLICY | ROLE_ADMIN | TWO_PERSONS, BODY_JSON,                  \
	    api_start_fields, "rollout", "start", "", "Open the first stage")   \
	X(rollout_pause, "POST", "/v1/rollouts/{name}/pause",                   \
	    ROLE_POLICY | ROLE_OPERATOR | ROLE_SECURITY | ROLE_ADMIN,           \
	    BODY_JSON, api_reason_fields, "rollout", "pause", "",               \
	    "Send nothing more for now")                                        \
	X(rollout_resume, "POST", "/v1/rollouts/{name}/resume",                 \
	    ROLE_POLICY | ROLE_ADMIN | TWO_PERSONS, BODY_JSON,                  \
	    api_reason_fields, "rollout", "resume", "",                         \
	    "Go on with what was paused")                                       \
	X(rollout_advance, "POST", "/v1/rollouts/{name}/advance",               \
	    ROLE_POLICY | ROLE_ADMIN | TWO_PERSONS, BODY_JSON,                  \
	    api_reason_fields, "rollout", "advance", "",                        \
	    "Open the next stage now")                                          \
	X(rollout_retry, "POST", "/v1/rollouts/{name}/retry",                   \
	    ROLE_POLICY | ROLE_OPERATOR | ROLE_ADMIN, BODY_JSON,                \
	    api_reason_fields, "rollout", "retry-failed", "",                   \
	    "Offer it again to those that failed")                              \
	X(rollout_rollback, "POST", "/v1/rollouts/{name}/rollback",             \
	    ROLE_POLICY | ROLE_SECURITY | ROLE_ADMIN, BODY_JSON,                \
	    api_reason_fields, "rollout", "rollback", "",                       \
	    "Bring the devices it reached back")                                \
	X(rollout_abort, "POST", "/v1/rollouts/{name}/abort",                   \
	    ROLE_POLICY | ROLE_SECURITY | ROLE_ADMIN, BODY_JSON,                \
	    api_reason_fields, "rollout", "abort", "",                          \
	    "End a rollout where it is")                                        \
	X(proposal_list, "GET", "/v1/proposals", ROLE_ANY, BODY_NONE, NULL,     \
	    "proposal", "list", "id,action,object,author,state,created_at",     \
	    "List what waits, or waited, for a second person")                  \
	X(proposal_get, "GET", "/v1/proposals/{id}", ROLE_ANY, BODY_NONE,       \
	    NULL, "proposal", "get", "",                                        \
	    "Show what was proposed, and what it acts on")                      \
	X(proposal_approve, "POST", "/v1/proposals/{id}/approve",               \
	    ROLE_OPERATOR | ROLE_POLICY | ROLE_SECURITY | ROLE_ADMIN,           \
	    BODY_NONE, NULL, "proposal", "approve", "",                         \
	    "Let be done what another person proposed, or did alone")           \
	X(proposal_reject, "POST", "/v1/proposals/{id}/reject",                 \
	    ROLE_OPERATOR | ROLE_POLICY | ROLE_SECURITY | ROLE_ADMIN,           \
	    BODY_JSON, api_reason_fields, "proposal", "reject", "",             \
	    "Refuse what another person proposed")                              \
	X(event_list, "GET", "/v1/events", ROLE_ANY, BODY_NONE, NULL, "event",  \
	    "list", "seq,at,actor,action,object,reason",                        \
	    "List audit events; ?after=SEQ, ?limit=")                           \
	X(device_event_list, "GET", "/v1/devices/{name}/events", ROLE_ANY,      \
	    BODY_NONE, NULL, "device", "events", "at,kind,update_id,detail",    \
	    "List what happened to a device")                                   \
	X(fleet_get, "GET", "/v1/fleet", ROLE_ANY, BODY_NONE, NULL, "fleet",    \
	    "status", "", "Count devices by status and by last decision")

enum api_route_id {
#define X(id, ...) API_##id,
	API_ROUTES(X)
#undef X
	API_ROUTE_COUNT
};

struct api_route {
	const char *name, *method, *path;
	int roles;
	enum api_body body;
	const struct api_field *fields; /* ends with a NULL name */
	const char *noun, *verb, *columns, *summary;
};

extern const struct api_route api_routes[API_ROUTE_COUNT];

/* How many bytes each text in a field may have. */
size_t api_field_max(const struct api_field *);

enum {
	API_QUERY_MAX = 8
};

/* Lists the query parameters that a route takes, those that all lists and all
 * changes by two persons have among them; returns their number.  No other
 * parameter has a meaning. */
size_t api_query_fields(const struct api_route *,
    const struct api_field *out[API_QUERY_MAX]);
/* The parameter of this name, or NULL. */
const struct api_field *api_query_field(const struct api_route *,
    const char *name, size_t name_n);
/* The word in two_persons_for that guards a route with TWO_PERSONS_FOR; NULL
 * for the others. */
const char *api_two_persons_for(const struct api_route *);
/* True for a route that answers pages of items, with a cursor. */
bool api_is_list(const struct api_route *);

extern const struct api_field api_anchor_fields[];
extern const struct api_field api_profile_fields[];
extern const struct api_field api_domain_fields[];
extern const struct api_field api_rekey_fields[];
extern const struct api_field api_endorsement_fields[];
extern const struct api_field api_reference_fields[];
extern const struct api_field api_device_ca_fields[];
extern const struct api_field api_verifier_fields[];
extern const struct api_field api_device_fields[];
extern const struct api_field api_device_change_fields[];
extern const struct api_field api_facts_fields[];
extern const struct api_field api_import_fields[];
extern const struct api_field api_rollback_fields[];
extern const struct api_field api_channel_fields[];
extern const struct api_field api_revocation_fields[];
extern const struct api_field api_reason_fields[];
extern const struct api_field api_start_fields[];

#endif
