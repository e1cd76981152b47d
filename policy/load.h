/*
 * load.h - reading documents, with an error that points at the member; for
 * policy/ only.
 */
#ifndef POLICY_LOAD_H
#define POLICY_LOAD_H

#include <jansson.h>

#include "policy/rules.h"

struct loader {
	struct policy_builder *builder;
	policy_parse_id parse_id;
	char *error;
	const char *prefix; /* where the document is in another; "" at top */
};

/* False, always. */
bool load_refuse(struct loader *, const char *pointer, const char *what);
/* NULL-terminated names; a misspelt member must not be ignored silently. */
bool load_only_members(struct loader *, json_t *object, const char *pointer,
    const char *const *known);
/* NULL when the text is no JSON. */
json_t *load_json(struct loader *, const char *text);
/* A selector of the set; NULL, and said, when it is none that lasts. */
struct selector *load_selector(struct loader *, json_t *text,
    const char *pointer);
/* The manifest of a digest; NULL, and said, when there is none. */
const struct policy_manifest *load_manifest(struct loader *, const char *hex,
    const char *pointer);

/* A policy document into a rule, whose targets are then to be freed. */
bool load_rule(struct loader *, json_t *doc, struct rule *);
/* Takes the rule over. */
void load_keep_rule(struct policy_builder *, const struct rule *);

#endif
