#include "config.h"

#include "policy/rollout.h"

#include <stdio.h>
#include <stdlib.h>

#include "lib/base/mem.h"
#include "policy/load.h"

/*
 * A rollout's document: how it goes on, and the rules that it makes.  Of a
 * policy those of its new document; of a channel a twin of each rule that
 * names it, with the new manifest.
 */

const char *const rollout_failure_names[ROLLOUT_FAILURE_COUNT] = {
#define X(name) #name,
    ROLLOUT_FAILURES(X)
#undef X
};

const char *const rollout_phase_names[ROLLOUT_PHASE_COUNT] = {
#define X(name) #name,
    ROLLOUT_PHASES(X)
#undef X
};

enum {
	SECONDS_MAX = 31536000,
	MINIMUM_MAX = 1000000000,
	SUCCESS_DEFAULT = 9500,
	SHARE_DEFAULT = 5000,
	SOAK_DEFAULT_S = 600, /* as SQL_SOAK_DEFAULT_S has it */
	ANSWER_DEFAULT_S = 86400
};

enum rollout_phase
rollout_phase_of(const char *name)
{
	int i = 0;

	while (i < ROLLOUT_PHASE_COUNT &&
	    strcmp(rollout_phase_names[i], name) != 0)
		i++;
	return (enum rollout_phase)i;
}

/* --- members ------------------------------------------------------------------------ */

/* A percentage in hundredths; true when it is absent. */
static bool
load_percent(struct loader *l, json_t *of, const char *name, const char *where,
    int *out)
{
	json_t *value = json_object_get(of, name);
	double percent = json_number_value(value);
	char pointer[128];

	if (value == NULL)
		return true;
	if (json_is_number(value) && percent >= 0 && percent <= 100) {
		*out = (int)(percent * 100 + 0.5);
		return true;
	}
	(void)snprintf(pointer, sizeof(pointer), "%s/%s", where, name);
	return load_refuse(l, pointer, "must be a number from 0 to 100");
}

static bool
load_count(struct loader *l, json_t *of, const char *name, const char *where,
    int64_t max, int64_t *out)
{
	json_t *value = json_object_get(of, name);
	char pointer[128], what[64];

	if (value == NULL)
		return true;
	*out = json_integer_value(value);
	if (json_is_integer(value) && *out >= 0 && *out <= max)
		return true;
	(void)snprintf(pointer, sizeof(pointer), "%s/%s", where, name);
	(void)snprintf(what, sizeof(what), "must be from 0 to %lld",
	    (long long)max);
	return load_refuse(l, pointer, what);
}

/* One of two words; true when it is absent. */
static bool
load_choice(struct loader *l, json_t *of, const char *name, const char *where,
    const char *no, const char *yes, bool *out)
{
	json_t *value = json_object_get(of, name);
	const char *text = json_string_value(value);
	char pointer[128], what[64];

	if (value == NULL)
		return true;
	*out = text != NULL && strcmp(text, yes) == 0;
	if (*out || (text != NULL && strcmp(text, no) == 0))
		return true;
	(void)snprintf(pointer, sizeof(pointer), "%s/%s", where, name);
	(void)snprintf(what, sizeof(what), "must be %s or %s", no, yes);
	return load_refuse(l, pointer, what);
}

/* The minimum: a number of devices, or a share of the stage. */
static bool
load_minimum(struct loader *l, json_t *of, const char *where,
    struct rollout_stage *stage)
{
	bool count = json_object_get(of, "minimum") != NULL;
	bool share = json_object_get(of, "minimum_percent") != NULL;
	char pointer[128];

	if (count && share) {
		(void)snprintf(pointer, sizeof(pointer), "%s/minimum_percent",
		    where);
		return load_refuse(l, pointer, "excludes minimum");
	}
	if (share)
		stage->minimum = -1;
	return load_count(l, of, "minimum", where, MINIMUM_MAX,
	           &stage->minimum) &&
	    load_percent(l, of, "minimum_percent", where, &stage->share);
}

/* What a stage may say for itself, and a rollout for all of them. */
static bool
load_gate(struct loader *l, json_t *of, const char *where,
    struct rollout_stage *stage)
{
	int64_t soak_s = stage->soak_us / 1000000;
	bool ok =
	    load_percent(l, of, "success_percent", where, &stage->success) &&
	    load_minimum(l, of, where, stage) &&
	    load_count(l, of, "soak_s", where, SECONDS_MAX, &soak_s) &&
	    load_choice(l, of, "gate", where, "auto", "manual", &stage->manual);

	stage->soak_us = soak_s * 1000000;
	return ok;
}

/* --- stages -------------------------------------------------------------------------- */

static bool
load_stage(struct loader *l, json_t *entry, size_t i,
    struct rollout_stage *stage)
{
	static const char *const members[] = {"name", "selector", "percent",
	    "success_percent", "minimum", "minimum_percent", "soak_s", "gate",
	    NULL};
	json_t *selector = json_object_get(entry, "selector");
	char where[32], pointer[64];

	(void)snprintf(where, sizeof(where), "/stages/%zu", i);
	(void)snprintf(pointer, sizeof(pointer), "%s/selector", where);
	if (!json_is_object(entry))
		return load_refuse(l, where, "must be an object");
	if (!load_only_members(l, entry, where, members))
		return false;
	if (selector != NULL) {
		stage->selector = load_selector(l, selector, pointer);
		if (stage->selector == NULL)
			return false;
	}
	stage->part = ROLLOUT_WHOLE;
	return load_percent(l, entry, "percent", where, &stage->part) &&
	    load_gate(l, entry, where, stage);
}

static bool
load_stages(struct loader *l, json_t *doc, struct rollout_plan *plan)
{
	struct rollout_stage all = {.success = SUCCESS_DEFAULT,
	    .minimum = -1,
	    .share = SHARE_DEFAULT,
	    .soak_us = SOAK_DEFAULT_S * INT64_C(1000000)};
	json_t *list = json_object_get(doc, "stages");

	if (!load_gate(l, doc, "", &all))
		return false;
	if (!json_is_array(list) || json_array_size(list) == 0 ||
	    json_array_size(list) > ROLLOUT_STAGES_MAX)
		return load_refuse(l, "/stages",
		    "must be an array of 1 to 16 objects");
	for (size_t i = 0; i < json_array_size(list); i++) {
		plan->stages[i] = all;
		if (!load_stage(l, json_array_get(list, i), i,
		        &plan->stages[i]))
			return false;
	}
	plan->n_stages = json_array_size(list);
	return true;
}

static bool
load_limits(struct loader *l, json_t *doc, struct rollout_plan *plan)
{
	static const char *const members[] = {
#define X(name) #name,
	    ROLLOUT_FAILURES(X)
#undef X
	        "any",
	    NULL};
	json_t *limits = json_object_get(doc, "limits");

	plan->any_limit = -1;
	for (int k = 0; k < ROLLOUT_FAILURE_COUNT; k++)
		plan->limits[k] = -1;
	if (limits == NULL)
		return true;
	if (!json_is_object(limits))
		return load_refuse(l, "/limits", "must be an object");
	if (!load_only_members(l, limits, "/limits", members))
		return false;
	for (int k = 0; k < ROLLOUT_FAILURE_COUNT; k++) {
		if (!load_percent(l, limits, rollout_failure_names[k],
		        "/limits", &plan->limits[k]))
			return false;
	}
	return load_percent(l, limits, "any", "/limits", &plan->any_limit);
}

/* --- windows: PostgreSQL knows when they are, which zones there are ----------------------- */

/* Two digits. */
static bool
is_below(const char *text, int max)
{
	return strspn(text, "0123456789") == 2 &&
	    10 * (text[0] - '0') + (text[1] - '0') < max;
}

static bool
is_time(json_t *value)
{
	const char *t = json_string_value(value);

	return t != NULL && strlen(t) == 5 && t[2] == ':' && is_below(t, 24) &&
	    is_below(t + 3, 60);
}

static bool
are_days(json_t *value)
{
	static const char days[] = "mon tue wed thu fri sat sun";
	size_t i;
	json_t *day;

	json_array_foreach(value, i, day)
	{
		const char *text = json_string_value(day);

		if (text == NULL || strlen(text) != 3 ||
		    strchr(text, ' ') != NULL || strstr(days, text) == NULL)
			return false;
	}
	return value == NULL || json_array_size(value) > 0;
}

static bool
load_window(struct loader *l, json_t *entry, size_t i)
{
	static const char *const members[] = {"days", "from", "to", "zone",
	    NULL};
	char where[32];

	(void)snprintf(where, sizeof(where), "/windows/%zu", i);
	if (!json_is_object(entry))
		return load_refuse(l, where, "must be an object");
	if (!load_only_members(l, entry, where, members))
		return false;
	if (!are_days(json_object_get(entry, "days")))
		return load_refuse(l, where,
		    "days must be a list of mon, tue, wed, thu, fri, sat, sun");
	if (!is_time(json_object_get(entry, "from")) ||
	    !is_time(json_object_get(entry, "to")))
		return load_refuse(l, where,
		    "from and to must be times of day, hh:mm");
	return json_is_string(json_object_get(entry, "zone")) ||
	    load_refuse(l, where,
	        "zone must name a time zone, as Europe/Berlin or UTC");
}

static bool
load_windows(struct loader *l, json_t *doc, struct rollout_plan *plan)
{
	json_t *list = json_object_get(doc, "windows");

	plan->windowed = list != NULL;
	if (list == NULL)
		return true;
	if (!json_is_array(list) || json_array_size(list) == 0 ||
	    json_array_size(list) > ROLLOUT_WINDOWS_MAX)
		return load_refuse(l, "/windows",
		    "must be an array of 1 to 16 objects");
	for (size_t i = 0; i < json_array_size(list); i++) {
		if (!load_window(l, json_array_get(list, i), i))
			return false;
	}
	return true;
}

/* --- the rules it makes ------------------------------------------------------------------- */

/* How the buckets of this rollout are turned, so that not always the same
 * devices come first. */
static int
offset_of(const char *name)
{
	uint32_t h = 2166136261u; /* FNV-1a */

	for (; *name != '\0'; name++)
		h = (h ^ (uint8_t)*name) * 16777619u;
	return (int)(h % ROLLOUT_WHOLE);
}

static bool
make_rule(struct loader *l, json_t *doc, const char *prefix,
    struct live_rollout *r, enum rule_side side)
{
	struct loader inner = {l->builder, l->parse_id, l->error, prefix};
	struct rule rule = {.name = mem_strdup(r->plan.policy),
	    .rollout = r,
	    .side = side};
	bool ok = load_rule(&inner, doc, &rule);

	/* What a rollout does is looked at, unless it says otherwise. */
	if (json_object_get(doc, "verify_after_update") == NULL)
		rule.verify = true;
	if (ok) {
		load_keep_rule(l->builder, &rule);
		return true;
	}
	free(rule.targets);
	free(rule.name);
	return false;
}

/* What was changed is policy by now, or was left; it is only counted. */
static bool
has_ended(const struct live_rollout *r)
{
	return r->at.phase != ROLLOUT_PHASE_running &&
	    r->at.phase != ROLLOUT_PHASE_paused &&
	    r->at.phase != ROLLOUT_PHASE_rolling_back;
}

/* One change at a time. */
static bool
is_free(struct loader *l, const struct live_rollout *by, const char *pointer)
{
	char what[128];

	if (by == NULL || has_ended(by))
		return true;
	(void)snprintf(what, sizeof(what), "rollout %.63s is changing it",
	    by->name);
	return load_refuse(l, pointer, what);
}

static bool
make_policy(struct loader *l, json_t *doc, struct live_rollout *r)
{
	json_t *back = json_object_get(doc, "rollback");
	struct policy_set *set = l->builder->set;

	for (size_t i = 0; !has_ended(r) && i < set->n_rules; i++) {
		const struct rule *rule = &set->rules[i];

		if (strcmp(rule->name, r->plan.policy) == 0 &&
		    !is_free(l, rule->rollout, "/policy"))
			return false;
	}
	if (!make_rule(l, json_object_get(doc, "document"), "/document", r,
	        RULE_NEXT))
		return false;
	r->n_next = 1;
	for (size_t i = 0; !has_ended(r) && i < set->n_rules; i++) {
		struct rule *rule = &set->rules[i];

		if (rule->side == RULE_NOW &&
		    strcmp(rule->name, r->plan.policy) == 0)
			rule->rollout = r;
	}
	return back == NULL || make_rule(l, back, "/rollback", r, RULE_BACK);
}

/* The same rule, but with another manifest where it names the channel. */
static void
make_twin(struct policy_builder *b, size_t of, struct live_rollout *r,
    enum rule_side side, const struct policy_manifest *m)
{
	struct rule rule = b->set->rules[of];

	rule.name = mem_strdup(rule.name);
	rule.rollout = r;
	rule.side = side;
	rule.verify = true;
	rule.targets = mem_new_n(rule.n, struct rule_target);
	for (size_t i = 0; i < rule.n; i++) {
		rule.targets[i] = b->set->rules[of].targets[i];
		if (rule.targets[i].channel != NULL &&
		    strcmp(rule.targets[i].channel, r->plan.channel) == 0)
			rule.targets[i].manifest = m;
	}
	load_keep_rule(b, &rule);
}

static bool
names_channel(const struct rule *rule, const char *channel)
{
	for (size_t i = 0; i < rule->n; i++) {
		if (rule->targets[i].channel != NULL &&
		    strcmp(rule->targets[i].channel, channel) == 0)
			return true;
	}
	return false;
}

static bool
is_channel(const struct policy_builder *b, const char *name)
{
	for (size_t i = 0; i < b->n_channels; i++) {
		if (strcmp(b->channels[i].name, name) == 0)
			return true;
	}
	return false;
}

static bool
make_channel(struct loader *l, json_t *doc, struct live_rollout *r)
{
	struct policy_builder *b = l->builder;
	json_t *back = json_object_get(doc, "rollback");
	const struct policy_manifest *next, *old = NULL;
	size_t n = b->set->n_rules;

	if (!is_channel(b, r->plan.channel))
		return load_refuse(l, "/channel", "there is no such channel");
	next = load_manifest(l,
	    json_string_value(json_object_get(doc, "manifest")), "/manifest");
	if (next == NULL)
		return false;
	if (back != NULL)
		old = load_manifest(l, json_string_value(back), "/rollback");
	if (back != NULL && old == NULL)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (b->set->rules[i].side != RULE_NOW ||
		    !names_channel(&b->set->rules[i], r->plan.channel))
			continue;
		if (!has_ended(r)) {
			if (!is_free(l, b->set->rules[i].rollout, "/channel"))
				return false;
			b->set->rules[i].rollout = r;
		}
		make_twin(b, i, r, RULE_NEXT, next);
		r->n_next++;
		if (old != NULL)
			make_twin(b, i, r, RULE_BACK, old);
	}
	return r->n_next > 0 ||
	    load_refuse(l, "/channel", "no policy uses this channel");
}

/* --- the document --------------------------------------------------------------------------- */

static bool
load_subject(struct loader *l, json_t *doc, struct live_rollout *r)
{
	struct arena *arena = l->builder->set->arena;
	const char *policy = json_string_value(json_object_get(doc, "policy"));
	const char *channel =
	    json_string_value(json_object_get(doc, "channel"));

	if ((policy == NULL) == (channel == NULL))
		return load_refuse(l, policy == NULL ? "/policy" : "/channel",
		    "name a policy or a channel, not both");
	if (policy != NULL)
		r->plan.policy = arena_strdup(arena, slice_str(policy));
	else
		r->plan.channel = arena_strdup(arena, slice_str(channel));
	r->plan.can_go_back = json_object_get(doc, "rollback") != NULL;
	if (r->plan.goes_back && !r->plan.can_go_back)
		return load_refuse(l, "/rollback",
		    "on_failure is rollback: say what that brings");
	return policy != NULL ? make_policy(l, doc, r)
	                      : make_channel(l, doc, r);
}

static bool
load_plan(struct loader *l, json_t *doc, struct live_rollout *r)
{
	static const char *const of_policy[] = {"policy", "document",
	    "rollback", "stages", "success_percent", "minimum",
	    "minimum_percent", "soak_s", "gate", "limits", "answer_within_s",
	    "on_failure", "windows", NULL};
	static const char *const of_channel[] = {"channel", "manifest",
	    "rollback", "stages", "success_percent", "minimum",
	    "minimum_percent", "soak_s", "gate", "limits", "answer_within_s",
	    "on_failure", "windows", NULL};
	int64_t answer_s = ANSWER_DEFAULT_S;

	if (!json_is_object(doc))
		return load_refuse(l, "", "must be a JSON object");
	if (!load_only_members(l, doc, "",
	        json_object_get(doc, "channel") != NULL ? of_channel
	                                                : of_policy) ||
	    !load_stages(l, doc, &r->plan) || !load_limits(l, doc, &r->plan) ||
	    !load_windows(l, doc, &r->plan) ||
	    !load_count(l, doc, "answer_within_s", "", SECONDS_MAX,
	        &answer_s) ||
	    !load_choice(l, doc, "on_failure", "", "pause", "rollback",
	        &r->plan.goes_back))
		return false;
	r->plan.answer_within_us = answer_s * 1000000;
	return load_subject(l, doc, r);
}

/* As if it had never been read. */
static void
forget(struct policy_set *set, const struct live_rollout *r)
{
	size_t kept = 0;

	for (size_t i = 0; i < set->n_rules; i++) {
		struct rule *rule = &set->rules[i];

		if (rule->rollout == r && rule->side != RULE_NOW) {
			free(rule->targets);
			free(rule->name);
			continue;
		}
		if (rule->rollout == r)
			rule->rollout = NULL;
		set->rules[kept++] = *rule;
	}
	set->n_rules = kept;
}

bool
policy_add_rollout(struct policy_builder *b, const struct rollout_row *row,
    policy_parse_id parse_id, char error[POLICY_ERROR_MAX])
{
	struct policy_set *set = b->set;
	struct loader l = {b, parse_id, error, ""};
	struct live_rollout *r = arena_new(set->arena, struct live_rollout);
	json_t *doc;
	bool ok;

	error[0] = '\0';
	if (set->n_rollouts == ROLLOUT_LIVE_MAX)
		return load_refuse(&l, "", "too many rollouts are under way");
	r->id = row->id;
	r->name = arena_strdup(set->arena, slice_str(row->name));
	r->offset = offset_of(r->name);
	r->at = row->at;
	doc = load_json(&l, row->document);
	ok = doc != NULL && load_plan(&l, doc, r);
	json_decref(doc);
	if (ok)
		set->rollouts[set->n_rollouts++] = r;
	else
		forget(set, r);
	return ok;
}
