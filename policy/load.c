#include "config.h"

#include "policy/load.h"

#include <stdio.h>
#include <stdlib.h>

#include "lib/base/hex.h"
#include "lib/base/mem.h"

enum {
	AGE_MAX_S = 31536000,
	POLL_MAX_S = 604800
};

/*
 * A policy document:
 *
 *	{"selector": "class == \"cam\"", "priority": 10,
 *	 "attestation": "required", "verify_after_update": true,
 *	 "poll_interval_s": 3600,
 *	 "components": [
 *	    {"manifest": "<SHA-256 of a manifest, hex>"},
 *	    {"manifest": "<another>", "state": "on-request"},
 *	    {"channel": "stable"},
 *	    {"component": "vendor/ta", "state": "absent"}]}
 *
 * Unknown members are refused: a misspelt one must not be ignored silently.
 */

bool
load_refuse(struct loader *l, const char *pointer, const char *what)
{
	(void)snprintf(l->error, POLICY_ERROR_MAX, "%s%s: %s", l->prefix,
	    pointer, what);
	return false;
}

bool
load_only_members(struct loader *l, json_t *object, const char *pointer,
    const char *const *known)
{
	const char *key;
	json_t *value;
	char where[128];

	json_object_foreach(object, key, value)
	{
		bool found = false;

		for (const char *const *k = known; *k != NULL; k++)
			found |= strcmp(*k, key) == 0;
		if (found)
			continue;
		(void)snprintf(where, sizeof(where), "%s/%.64s", pointer, key);
		return load_refuse(l, where, "no such member");
	}
	return true;
}

static bool
load_state(struct loader *l, json_t *entry, const char *pointer,
    struct rule_target *out)
{
	const char *state = json_string_value(json_object_get(entry, "state"));

	out->on_request = state != NULL && strcmp(state, "on-request") == 0;
	return state == NULL || out->on_request ||
	    strcmp(state, "present") == 0 ||
	    load_refuse(l, pointer,
	        "a manifest can be present or on-request; name a component "
	        "to have it absent");
}

const struct policy_manifest *
load_manifest(struct loader *l, const char *hex, const char *pointer)
{
	const struct policy_manifest *m;
	uint8_t digest[POLICY_DIGEST_SIZE];
	size_t n = 0;

	if (hex == NULL ||
	    !hex_decode(hex, strlen(hex), digest, sizeof(digest), &n) ||
	    n != sizeof(digest)) {
		(void)load_refuse(l, pointer,
		    "manifest must be 64 hexadecimal digits");
		return NULL;
	}
	m = policy_find_manifest(l->builder->set, (struct slice){digest, n});
	if (m == NULL)
		(void)load_refuse(l, pointer,
		    "no manifest with this digest was uploaded");
	return m;
}

static bool
load_present(struct loader *l, json_t *entry, const char *pointer,
    struct rule_target *out)
{
	out->manifest = load_manifest(l,
	    json_string_value(json_object_get(entry, "manifest")), pointer);
	return out->manifest != NULL && load_state(l, entry, pointer, out);
}

static bool
load_channel(struct loader *l, json_t *entry, const char *pointer,
    struct rule_target *out)
{
	const char *name = json_string_value(json_object_get(entry, "channel"));
	const struct policy_builder *b = l->builder;

	if (json_object_get(entry, "manifest") != NULL)
		return load_refuse(l, pointer,
		    "name a manifest or a channel, not both");
	for (size_t i = 0; name != NULL && i < b->n_channels; i++) {
		if (strcmp(b->channels[i].name, name) != 0)
			continue;
		out->manifest = b->channels[i].manifest;
		out->channel = b->channels[i].name;
	}
	if (out->manifest == NULL)
		return load_refuse(l, pointer, "there is no such channel");
	return load_state(l, entry, pointer, out);
}

static bool
load_absent(struct loader *l, json_t *entry, const char *pointer,
    struct rule_target *out)
{
	const char *text =
	    json_string_value(json_object_get(entry, "component"));
	const char *state = json_string_value(json_object_get(entry, "state"));

	if (state == NULL || strcmp(state, "absent") != 0)
		return load_refuse(l, pointer,
		    "a component can only be absent; name a manifest to have "
		    "it present");
	if (text == NULL ||
	    !l->parse_id(l->builder->set->arena, text, &out->absent))
		return load_refuse(l, pointer,
		    "component must be segments joined by /, each of letters, "
		    "digits, . _ - or 0x and hexadecimal digits");
	return true;
}

static bool
load_target(struct loader *l, json_t *entry, size_t i, struct rule_target *out)
{
	static const char *const members[] = {"manifest", "channel",
	    "component", "state", NULL};
	char pointer[64];

	(void)snprintf(pointer, sizeof(pointer), "/components/%zu", i);
	if (!json_is_object(entry))
		return load_refuse(l, pointer, "must be an object");
	if (!load_only_members(l, entry, pointer, members))
		return false;
	if (json_object_get(entry, "component") != NULL)
		return load_absent(l, entry, pointer, out);
	return json_object_get(entry, "channel") != NULL
	    ? load_channel(l, entry, pointer, out)
	    : load_present(l, entry, pointer, out);
}

static bool
load_targets(struct loader *l, json_t *doc, struct rule *rule)
{
	json_t *list = json_object_get(doc, "components");
	size_t n = json_array_size(list);

	if (!json_is_array(list) || n == 0 || n > POLICY_COMPONENTS_MAX)
		return load_refuse(l, "/components",
		    "must be an array of 1 to 256 objects");
	rule->targets = mem_new_n(n, struct rule_target);
	for (rule->n = 0; rule->n < n; rule->n++) {
		if (!load_target(l, json_array_get(list, rule->n), rule->n,
		        &rule->targets[rule->n]))
			return false;
	}
	return true;
}

struct selector *
load_selector(struct loader *l, json_t *text, const char *pointer)
{
	char error[SELECTOR_ERROR_MAX];
	struct selector *s;

	if (text != NULL && !json_is_string(text)) {
		(void)load_refuse(l, pointer, "must be a string");
		return NULL;
	}
	s = selector_compile(l->builder->set->arena,
	    text == NULL ? "" : json_string_value(text), l->parse_id, error);
	if (s == NULL) {
		(void)load_refuse(l, pointer, error);
		return NULL;
	}
	if (selector_is_lasting(s))
		return s;
	(void)load_refuse(l, pointer,
	    "last_seen, attested and ago() change by themselves; what is sent "
	    "cannot rest on them");
	return NULL;
}

/* What an appraisal has to say, and how old it may be. */
static bool
load_requirement(struct loader *l, json_t *doc, struct rule *rule)
{
	static const char *const members[] = {"max_age_s", "claims", NULL};
	json_t *age = json_object_get(doc, "max_age_s");
	json_t *claims = json_object_get(doc, "claims");

	rule->attestation = RULE_REQUIRED;
	if (!load_only_members(l, doc, "/attestation", members))
		return false;
	if (age != NULL &&
	    (!json_is_integer(age) || json_integer_value(age) < 0 ||
	        json_integer_value(age) > AGE_MAX_S))
		return load_refuse(l, "/attestation/max_age_s",
		    "must be from 0 to 31536000");
	rule->max_age_us = json_integer_value(age) * 1000000;
	if (claims == NULL)
		return true;
	rule->claims = load_selector(l, claims, "/attestation/claims");
	return rule->claims != NULL;
}

static bool
load_attestation(struct loader *l, json_t *doc, struct rule *rule)
{
	static const char *const names[] = {[RULE_ANY] = "any",
	    [RULE_REQUIRED] = "required",
	    [RULE_REPAIR] = "repair"};
	json_t *value = json_object_get(doc, "attestation");

	if (value == NULL)
		return true;
	if (json_is_object(value))
		return load_requirement(l, value, rule);
	for (int i = RULE_ANY; json_is_string(value) && i <= RULE_REPAIR; i++) {
		if (strcmp(json_string_value(value), names[i]) != 0)
			continue;
		rule->attestation = (enum rule_attestation)i;
		return true;
	}
	return load_refuse(l, "/attestation",
	    "must be any, required, repair, or an object of max_age_s and "
	    "claims");
}

static bool
load_verify(struct loader *l, json_t *doc, struct rule *rule)
{
	json_t *value = json_object_get(doc, "verify_after_update");

	rule->verify = json_is_true(value);
	return value == NULL || json_is_boolean(value) ||
	    load_refuse(l, "/verify_after_update", "must be true or false");
}

static bool
load_poll(struct loader *l, json_t *doc, struct rule *rule)
{
	json_t *value = json_object_get(doc, "poll_interval_s");

	rule->poll_s = json_integer_value(value);
	return value == NULL ||
	    (json_is_integer(value) && rule->poll_s >= 1 &&
	        rule->poll_s <= POLL_MAX_S) ||
	    load_refuse(l, "/poll_interval_s", "must be from 1 to 604800");
}

bool
load_rule(struct loader *l, json_t *doc, struct rule *rule)
{
	static const char *const members[] = {"selector", "priority",
	    "attestation", "verify_after_update", "poll_interval_s",
	    "components", NULL};
	json_t *priority;

	if (!json_is_object(doc))
		return load_refuse(l, "", "must be a JSON object");
	if (!load_only_members(l, doc, "", members))
		return false;
	priority = json_object_get(doc, "priority");
	if (priority != NULL && !json_is_integer(priority))
		return load_refuse(l, "/priority", "must be an integer");
	rule->priority = json_integer_value(priority);
	rule->selector =
	    load_selector(l, json_object_get(doc, "selector"), "/selector");
	return rule->selector != NULL && load_attestation(l, doc, rule) &&
	    load_verify(l, doc, rule) && load_poll(l, doc, rule) &&
	    load_targets(l, doc, rule);
}

json_t *
load_json(struct loader *l, const char *text)
{
	json_error_t where;
	json_t *doc = json_loads(text, JSON_REJECT_DUPLICATES, &where);

	if (doc == NULL)
		(void)snprintf(l->error, POLICY_ERROR_MAX,
		    "line %d, column %d: %s", where.line, where.column,
		    where.text);
	return doc;
}

void
load_keep_rule(struct policy_builder *b, const struct rule *rule)
{
	if (b->set->n_rules == b->room_rules) {
		b->room_rules = 2 * b->room_rules + 16;
		b->set->rules = mem_realloc(b->set->rules,
		    b->room_rules * sizeof(*b->set->rules));
	}
	b->set->rules[b->set->n_rules++] = *rule;
}

bool
policy_add_policy(struct policy_builder *b, const char *name,
    const char *document, policy_parse_id parse_id,
    char error[POLICY_ERROR_MAX])
{
	struct loader l = {b, parse_id, error, ""};
	struct rule rule = {.name = mem_strdup(name)};
	json_t *doc;
	bool ok;

	error[0] = '\0';
	doc = load_json(&l, document);
	ok = doc != NULL && load_rule(&l, doc, &rule);
	json_decref(doc);
	if (ok) {
		load_keep_rule(b, &rule);
		return true;
	}
	free(rule.targets);
	free(rule.name);
	return false;
}
