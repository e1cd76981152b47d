#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include <check.h>

#include "policy/policy.h"
#include "policy/rules.h"
#include "tests/support/suite.h"

/* Ids are any bytes to policy/; here they are their own text. */
static bool
parse_id(struct arena *arena, const char *text, struct slice *out)
{
	*out = arena_dup(arena, slice_str(text));
	return strchr(text, ' ') == NULL;
}

static struct arena *arena;
static struct policy_builder *builder;
static uint8_t digests[256][32];

static void
setup(void)
{
	arena = arena_new_in(NULL);
	builder = policy_builder_new();
	for (int i = 0; i < 256; i++)
		memset(digests[i], i, 32);
}

static void
teardown(void)
{
	policy_builder_free(builder); /* NULL once it was built */
	arena_free(arena);
}

static struct policy_set *
build(void)
{
	struct policy_set *set = policy_build(builder);

	builder = NULL;
	return set;
}

/* A manifest "<id>/suit" that installs <id> with image digest n. */
static void
add_manifest(const char *id, int n, size_t bytes)
{
	struct policy_component c = {slice_str(id), SLICE_OF(digests[n])};
	struct policy_manifest m = {.digest = SLICE_OF(digests[n]),
	    .id = slice_str(arena_printf(arena, "%s/suit", id)),
	    .envelope = {arena_calloc(arena, 1, bytes), bytes},
	    .n_components = 1,
	    .components = &c};

	policy_add_manifest(builder, &m);
}

static void
add_policy(const char *name, const char *document)
{
	char error[POLICY_ERROR_MAX];

	ck_assert_msg(policy_add_policy(builder, name, document, parse_id,
	                  error),
	    "%s", error);
}

static const char *
digest_text(int n)
{
	char *text = arena_alloc(arena, 65);

	for (int i = 0; i < 32; i++)
		(void)snprintf(text + (size_t)2 * (size_t)i, 3, "%02x", n);
	return text;
}

static const char *
wants(const char *selector, int priority, int n)
{
	return arena_printf(arena,
	    "{\"selector\": \"%s\", \"priority\": %d, \"components\": "
	    "[{\"manifest\": \"%s\"}]}",
	    selector, priority, digest_text(n));
}

static struct policy_decision
decide(struct policy_set *set, const char *class_name, const char *held, int n)
{
	struct policy_component c = {slice_str(held == NULL ? "" : held),
	    SLICE_OF(digests[n])};
	struct selector_label label = {SLICE_LIT("region"), SLICE_LIT("eu")};
	struct policy_facts facts = {.subject = {.class_name =
	                                             slice_str(class_name),
	                                 .n_labels = 1,
	                                 .labels = &label},
	    .n_components = held == NULL ? 0 : 1,
	    .components = &c,
	    .update_max = 1000};
	struct policy_decision d;

	policy_decide(set, &facts, arena, &d);
	return d;
}

START_TEST(ten_thousand_policies_cost_a_device_what_ten_cost)
{
	struct selector_label label = {SLICE_LIT("region"), SLICE_LIT("eu")};
	struct selector_subject d = {.class_name = SLICE_LIT("cam"),
	    .n_labels = 1,
	    .labels = &label};
	struct policy_set *set;
	uint32_t *places;

	add_manifest("a", 1, 10);
	/* All of one class: the rarer need is what they are filed under. */
	for (int i = 0; i < 10000; i++)
		add_policy(arena_printf(arena, "p%d", i),
		    wants(arena_printf(arena,
		              "class == \\\"cam\\\" and labels.site in "
		              "(\\\"s%d\\\", \\\"t%d\\\")",
		              i, i),
		        0, 1));
	add_policy("any", wants("not exists labels.site", 0, 1));
	add_policy("mine", wants("labels.region == \\\"eu\\\"", 0, 1));
	set = build();
	ck_assert_uint_eq(rule_index_find(set->index, &d, arena, &places), 2);
	ck_assert_str_eq(set->rules[places[0]].name, "any");
	ck_assert_str_eq(set->rules[places[1]].name, "mine");
	label = (struct selector_label){SLICE_LIT("site"), SLICE_LIT("t77")};
	ck_assert_uint_eq(rule_index_find(set->index, &d, arena, &places), 2);
	ck_assert_str_eq(set->rules[places[1]].name, "p77");
	policy_set_unref(set);
}
END_TEST

START_TEST(what_is_too_large_whole_is_fetched_where_it_can_be)
{
	uint8_t whole[1500] = {0}, bare[100] = {0};
	struct policy_component c = {SLICE_LIT("a"), SLICE_OF(digests[1])};
	struct policy_manifest m = {.digest = SLICE_OF(digests[1]),
	    .id = SLICE_LIT("a/suit"),
	    .envelope = SLICE_OF(whole),
	    .bare = SLICE_OF(bare),
	    .n_components = 1,
	    .components = &c};

	for (int fetchable = 0; fetchable < 2; fetchable++) {
		struct policy_set *set;
		struct policy_decision d;

		m.fetchable = fetchable != 0;
		if (builder == NULL)
			builder = policy_builder_new();
		policy_add_manifest(builder, &m);
		add_policy("p", wants("class == \\\"cam\\\"", 0, 1));
		set = build();
		d = decide(set, "cam", NULL, 0);
		ck_assert_uint_eq(d.n_manifests, fetchable ? 1 : 0);
		if (fetchable)
			ck_assert_uint_eq(d.envelopes[0].n, sizeof(bare));
		else
			ck_assert_str_eq(d.reason,
			    "manifest_too_large_for_device");
		policy_set_unref(set);
	}
}
END_TEST

START_TEST(a_device_gets_what_its_rule_wants_and_nothing_twice)
{
	struct policy_set *set;
	struct policy_decision d;

	add_manifest("a", 1, 10);
	add_policy("p", wants("class == \\\"cam\\\"", 0, 1));
	set = build();
	d = decide(set, "cam", NULL, 0);
	ck_assert_uint_eq(d.n_manifests, 1);
	ck_assert_str_eq(d.reason, "policy");
	ck_assert_uint_eq(d.n_adds, 1);
	d = decide(set, "cam", "a", 1);
	ck_assert(!policy_has_work(&d));
	ck_assert_str_eq(d.reason, "up_to_date");
	d = decide(set, "cam", "a", 2); /* another image */
	ck_assert_uint_eq(d.n_manifests, 1);
	d = decide(set, "lock", NULL, 0);
	ck_assert(!policy_has_work(&d));
	policy_set_unref(set);
}
END_TEST

START_TEST(the_rule_of_higher_priority_speaks_first)
{
	struct policy_set *set;
	struct policy_decision d;

	add_manifest("a", 1, 10);
	add_policy("low", wants("", 1, 1));
	add_policy("high",
	    "{\"priority\": 2, \"components\": [{\"component\": "
	    "\"a/suit\", \"state\": \"absent\"}]}");
	set = build();
	d = decide(set, "cam", NULL, 0);
	ck_assert(!policy_has_work(&d));
	d = decide(set, "cam", "a", 1);
	ck_assert_uint_eq(d.n_unlinks, 1);
	ck_assert(slice_is(d.unlinks[0], "a/suit"));
	ck_assert(slice_is(d.removes[0], "a"));
	policy_set_unref(set);
}
END_TEST

START_TEST(a_revocation_outranks_every_rule)
{
	struct policy_set *set;
	struct policy_decision d;

	add_manifest("a", 1, 10);
	add_policy("p", wants("", 100, 1));
	policy_add_revocation(builder,
	    &(struct policy_revocation){.id = 7, .component = SLICE_LIT("a")});
	set = build();
	d = decide(set, "cam", "a", 1);
	ck_assert_uint_eq(d.n_unlinks, 1);
	ck_assert_uint_eq(d.n_manifests, 0);
	ck_assert_uint_eq(d.n_shown, 1);
	ck_assert_int_eq(d.shown[0], 7);
	ck_assert_str_eq(d.reason, "revocation");
	d = decide(set, "cam", NULL, 0);
	ck_assert(!policy_has_work(&d));
	ck_assert_uint_eq(d.n_shown, 0);
	policy_set_unref(set);
}
END_TEST

START_TEST(a_revoked_manifest_is_replaced_by_another_of_its_id)
{
	struct policy_set *set;
	struct policy_decision d;

	add_manifest("a", 1, 10);
	add_manifest("a", 2, 10);
	add_policy("p", wants("", 0, 2));
	policy_add_revocation(builder,
	    &(struct policy_revocation){.id = 8,
	        .manifest = SLICE_OF(digests[1])});
	set = build();
	d = decide(set, "cam", "a", 1);
	ck_assert_uint_eq(d.n_manifests, 1);
	ck_assert_uint_eq(d.n_unlinks, 0);
	ck_assert_uint_eq(d.n_removes, 0);
	ck_assert_uint_eq(d.n_shown, 1);
	d = decide(set, "cam", "a", 2);
	ck_assert_uint_eq(d.n_shown, 0);
	policy_set_unref(set);
}
END_TEST

START_TEST(a_device_gets_on_request_what_it_asks_for)
{
	struct policy_request request = {SLICE_LIT("a"), 0, false};
	struct policy_facts facts = {.subject = {.class_name =
	                                             SLICE_LIT("cam")},
	    .update_max = 1000};
	struct policy_set *set;
	struct policy_decision d;

	add_manifest("a", 1, 10);
	add_policy("p",
	    arena_printf(arena,
	        "{\"components\": [{\"manifest\": \"%s\", \"state\": "
	        "\"on-request\"}]}",
	        digest_text(1)));
	set = build();
	policy_decide(set, &facts, arena, &d);
	ck_assert(!policy_has_work(&d));
	facts.n_requested = 1;
	facts.requested = &request;
	policy_decide(set, &facts, arena, &d);
	ck_assert_uint_eq(d.n_manifests, 1);
	request.sequence = 5; /* newer than what there is */
	policy_decide(set, &facts, arena, &d);
	ck_assert(!policy_has_work(&d));
	policy_set_unref(set);
}
END_TEST

START_TEST(who_has_the_binary_gets_the_manifest_only)
{
	struct policy_component c = {SLICE_LIT("a"), SLICE_OF(digests[1])};
	struct policy_manifest m = {.digest = SLICE_OF(digests[1]),
	    .id = SLICE_LIT("a/suit"),
	    .sequence = 5,
	    .envelope = {arena_calloc(arena, 1, 900), 900},
	    .bare = {arena_calloc(arena, 1, 90), 90},
	    .n_components = 1,
	    .components = &c};
	const struct {
		struct policy_request request;
		size_t room, n, bytes;
	} cases[] = {
	    {{SLICE_LIT("a"), 5, false}, 1000, 1, 900},
	    {{SLICE_LIT("a"), 5, true}, 1000, 1, 90},
	    {{SLICE_LIT("a/suit"), 5, true}, 1000, 1, 90},
	    {{SLICE_LIT("a"), 4, true}, 1000, 1, 900}, /* an older binary */
	    {{SLICE_LIT("b"), 5, true}, 1000, 1, 900},
	    {{SLICE_LIT("a"), 5, false}, 100, 0, 0},
	    {{SLICE_LIT("a"), 5, true}, 100, 1, 90}, /* fits only like this */
	};
	struct policy_set *set;
	struct policy_decision d;

	policy_add_manifest(builder, &m);
	add_policy("p", wants("", 0, 1));
	set = build();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct policy_facts facts = {.subject = {.class_name =
		                                             SLICE_LIT("cam")},
		    .update_max = cases[i].room,
		    .n_requested = 1,
		    .requested = &cases[i].request};

		policy_decide(set, &facts, arena, &d);
		ck_assert_uint_eq(d.n_manifests, cases[i].n);
		if (d.n_manifests == 1)
			ck_assert_uint_eq(d.envelopes[0].n, cases[i].bytes);
	}
	policy_set_unref(set);
}
END_TEST

START_TEST(what_a_device_does_not_need_goes_unless_a_rule_keeps_it)
{
	struct slice unneeded[2] = {SLICE_LIT("a/suit"), SLICE_LIT("b/suit")};
	struct policy_component held[2] = {{SLICE_LIT("a"),
	                                       SLICE_OF(digests[1])},
	    {SLICE_LIT("b"), SLICE_OF(digests[2])}};
	struct policy_facts facts = {.subject = {.class_name =
	                                             SLICE_LIT("cam")},
	    .n_unneeded = 2,
	    .unneeded = unneeded,
	    .n_components = 2,
	    .components = held,
	    .update_max = 1000};
	struct policy_set *set;
	struct policy_decision d;

	add_manifest("a", 1, 10);
	add_manifest("b", 2, 10);
	add_policy("p", wants("", 0, 1));
	set = build();
	policy_decide(set, &facts, arena, &d);
	ck_assert_uint_eq(d.n_unlinks, 1);
	ck_assert(slice_is(d.unlinks[0], "b/suit"));
	policy_set_unref(set);
}
END_TEST

/* "<id>/suit" as add_manifest() makes it, depending on manifest `on`. */
static void
add_dependent(const char *id, int n, int on)
{
	struct policy_component c = {slice_str(id), SLICE_OF(digests[n])};
	struct slice dependency = SLICE_OF(digests[on]);
	struct policy_manifest m = {.digest = SLICE_OF(digests[n]),
	    .id = slice_str(arena_printf(arena, "%s/suit", id)),
	    .envelope = {arena_calloc(arena, 1, 10), 10},
	    .n_components = 1,
	    .components = &c,
	    .n_dependencies = 1,
	    .dependencies = &dependency};

	policy_add_manifest(builder, &m);
}

START_TEST(the_best_rule_says_how_often_a_device_is_to_come)
{
	struct policy_set *set;

	add_manifest("a", 1, 10);
	add_policy("low",
	    "{\"priority\": 1, \"poll_interval_s\": 60, \"components\": "
	    "[{\"component\": \"x\", \"state\": \"absent\"}]}");
	add_policy("silent",
	    "{\"priority\": 3, \"components\": [{\"component\": \"y\", "
	    "\"state\": \"absent\"}]}");
	add_policy("cams",
	    "{\"priority\": 2, \"selector\": \"class == \\\"cam\\\"\", "
	    "\"poll_interval_s\": 3600, \"components\": [{\"component\": "
	    "\"z\", \"state\": \"absent\"}]}");
	set = build();
	ck_assert_int_eq(decide(set, "cam", "a", 1).poll_s, 3600);
	ck_assert_int_eq(decide(set, "door", "a", 1).poll_s, 60);
	policy_set_unref(set);
}
END_TEST

START_TEST(who_is_in_quarantine_keeps_it_and_gets_nothing_else)
{
	struct policy_revocation held = {.id = 7,
	    .manifest = SLICE_OF(digests[1]),
	    .quarantine = true};
	struct policy_revocation cams = {.id = 8,
	    .class_name = SLICE_LIT("cam")};
	struct policy_revocation b = {.id = 9, .component = SLICE_LIT("b")};
	struct policy_set *set;
	struct policy_decision d;

	add_manifest("a", 1, 10);
	add_manifest("b", 2, 10);
	add_policy("p", wants("", 0, 2));
	policy_add_revocation(builder, &held);
	set = build();
	d = decide(set, "cam", "a", 1);
	ck_assert(!policy_has_work(&d));
	ck_assert_str_eq(d.reason, "quarantined");
	ck_assert_uint_eq(d.n_shown, 1);
	d = decide(set, "cam", "c", 3);
	ck_assert_uint_eq(d.n_manifests, 1);
	ck_assert_uint_eq(d.n_shown, 0);
	policy_set_unref(set);
	/* A class, whatever they hold; what else is revoked is still taken. */
	builder = policy_builder_new();
	add_manifest("a", 1, 10);
	add_manifest("b", 2, 10);
	add_policy("p", wants("", 0, 1));
	policy_add_revocation(builder, &b);
	policy_add_revocation(builder, &cams);
	set = build();
	d = decide(set, "cam", "c", 3);
	ck_assert(!policy_has_work(&d));
	ck_assert_str_eq(d.reason, "quarantined");
	ck_assert_uint_eq(d.n_shown, 1);
	d = decide(set, "cam", "b", 2);
	ck_assert_uint_eq(d.n_unlinks, 1);
	ck_assert_uint_eq(d.n_manifests, 0);
	ck_assert_uint_eq(d.n_shown, 2);
	ck_assert_str_eq(d.reason, "revocation");
	d = decide(set, "door", "c", 3);
	ck_assert_uint_eq(d.n_manifests, 1);
	policy_set_unref(set);
}
END_TEST

START_TEST(what_is_revoked_can_be_replaced)
{
	struct policy_revocation bad = {.id = 7,
	    .manifest = SLICE_OF(digests[1]),
	    .replacement = SLICE_OF(digests[2])};
	struct policy_manifest m = {.digest = SLICE_OF(digests[1])};
	struct policy_set *set;
	struct policy_decision d;

	add_manifest("a", 1, 10);
	add_manifest("b", 2, 10);
	add_manifest("a", 3, 10);
	ck_assert(policy_would_revoke(&bad, &m));
	policy_add_revocation(builder, &bad);
	set = build();
	d = decide(set, "cam", "a", 1);
	ck_assert_uint_eq(d.n_unlinks, 1);
	ck_assert_uint_eq(d.n_manifests, 1);
	ck_assert(slice_eq(d.manifests[0]->id, SLICE_LIT("b/suit")));
	/* Who does not hold the target does not get what replaces it. */
	d = decide(set, "cam", "a", 3);
	ck_assert_uint_eq(d.n_manifests, 0);
	policy_set_unref(set);
	/* By another image of the same: it is not unlinked. */
	builder = policy_builder_new();
	add_manifest("a", 1, 10);
	add_manifest("a", 3, 10);
	bad.replacement = SLICE_OF(digests[3]);
	policy_add_revocation(builder, &bad);
	set = build();
	d = decide(set, "cam", "a", 1);
	ck_assert_uint_eq(d.n_unlinks, 0);
	ck_assert_uint_eq(d.n_manifests, 1);
	ck_assert_uint_eq(d.n_shown, 1);
	policy_set_unref(set);
}
END_TEST

START_TEST(what_others_depend_on_is_sent_first)
{
	struct policy_facts facts = {.update_max = 1 << 20};
	struct policy_set *set;
	struct policy_decision d;

	add_dependent("app", 1, 2);
	add_dependent("lib", 2, 3);
	add_manifest("base", 3, 10);
	add_policy("p",
	    arena_printf(arena,
	        "{\"components\": [{\"manifest\": \"%s\"}, "
	        "{\"manifest\": \"%s\"}, {\"manifest\": \"%s\"}]}",
	        digest_text(1), digest_text(2), digest_text(3)));
	set = build();
	policy_decide(set, &facts, arena, &d);
	ck_assert_uint_eq(d.n_manifests, 3);
	ck_assert(slice_is(d.manifests[0]->id, "base/suit"));
	ck_assert(slice_is(d.manifests[1]->id, "lib/suit"));
	ck_assert(slice_is(d.manifests[2]->id, "app/suit"));
	policy_set_unref(set);
}
END_TEST

START_TEST(a_revocation_reaches_what_depends_on_its_target)
{
	struct policy_component holds[] = {{SLICE_LIT("app"),
	                                       SLICE_OF(digests[1])},
	    {SLICE_LIT("base"), SLICE_OF(digests[3])}};
	struct policy_facts facts = {.update_max = 1 << 20,
	    .n_components = 2,
	    .components = holds};
	struct policy_set *set;
	struct policy_decision d;

	add_dependent("app", 1, 2);
	add_dependent("lib", 2, 3);
	add_manifest("base", 3, 10);
	add_policy("p",
	    arena_printf(arena, "{\"components\": [{\"manifest\": \"%s\"}]}",
	        digest_text(1)));
	policy_add_revocation(builder,
	    &(struct policy_revocation){.id = 7,
	        .component = SLICE_LIT("base")});
	set = build();
	ck_assert(policy_is_revoked(set,
	    policy_find_manifest(set, SLICE_OF(digests[1]))));
	policy_decide(set, &facts, arena, &d);
	ck_assert_uint_eq(d.n_manifests, 0);
	ck_assert_uint_eq(d.n_shown, 1);
	ck_assert_uint_eq(d.n_unlinks, 3);
	policy_set_unref(set);
}
END_TEST

/* One rule of each sort for the same class, each with a manifest of its own. */
static const struct {
	enum policy_attestation attestation;
	const char *sent, *reason;
	bool needs;
} attested[] = {
    {POLICY_UNATTESTED, "a/suit", "policy", true},
    {POLICY_ATTESTED, "a/suit b/suit", "policy", false},
    {POLICY_ATTEST_FAILED, "c/suit", "policy", false},
};

START_TEST(attestation_says_which_rules_count)
{
	struct policy_facts facts = {.update_max = 1 << 20,
	    .attestation = attested[_i].attestation};
	struct policy_set *set;
	struct policy_decision d;
	char sent[64] = "";

	add_manifest("a", 1, 100);
	add_manifest("b", 2, 100);
	add_manifest("c", 3, 100);
	add_policy("any",
	    arena_printf(arena, "{\"components\": [{\"manifest\": \"%s\"}]}",
	        digest_text(1)));
	add_policy("must",
	    arena_printf(arena,
	        "{\"attestation\": \"required\", \"components\": "
	        "[{\"manifest\": \"%s\"}]}",
	        digest_text(2)));
	add_policy("mend",
	    arena_printf(arena,
	        "{\"attestation\": \"repair\", \"components\": "
	        "[{\"manifest\": \"%s\"}]}",
	        digest_text(3)));
	set = build();
	policy_decide(set, &facts, arena, &d);
	for (size_t i = 0; i < d.n_manifests; i++)
		(void)snprintf(sent + strlen(sent), sizeof(sent) - strlen(sent),
		    "%s%.*s", i == 0 ? "" : " ", (int)d.manifests[i]->id.n,
		    (const char *)d.manifests[i]->id.p);
	ck_assert_str_eq(sent, attested[_i].sent);
	ck_assert_str_eq(d.reason, attested[_i].reason);
	ck_assert_int_eq(d.needs_attestation, attested[_i].needs);
	policy_set_unref(set);
}
END_TEST

START_TEST(an_update_stays_within_the_devices_size)
{
	struct policy_set *set;
	struct policy_decision d;

	add_manifest("a", 1, 600);
	add_manifest("b", 2, 600);
	add_manifest("c", 3, 2000);
	add_policy("p1", wants("", 3, 1));
	add_policy("p2", wants("", 2, 2));
	add_policy("p3", wants("", 1, 3));
	set = build();
	d = decide(set, "cam", NULL, 0);
	ck_assert_uint_eq(d.n_manifests, 1);
	policy_set_unref(set);
}
END_TEST

/* Attested never, now, or at 1000 s of 5000; what is required, and what comes. */
static const struct {
	const char *requirement;
	enum policy_attestation now;
	const char *hwversion; /* of the appraisal; NULL: there was none */
	const char *reason;
	int64_t good_until_s;
} requirements[] = {
    {"\"required\"", POLICY_UNATTESTED, "2.0", "attestation_required", 0},
    {"\"required\"", POLICY_ATTESTED, "2.0", "policy", 0},
    {"{}", POLICY_UNATTESTED, "2.0", "attestation_required", 0},
    {"{\"max_age_s\": 4000}", POLICY_UNATTESTED, NULL, "attestation_required",
        0},
    {"{\"max_age_s\": 4000}", POLICY_UNATTESTED, "2.0", "attestation_required",
        0},
    {"{\"max_age_s\": 4001}", POLICY_UNATTESTED, "2.0", "policy", 5001},
    {"{\"max_age_s\": 4001}", POLICY_ATTESTED, "2.0", "policy", 0},
    {"{\"max_age_s\": 9000, \"claims\": \"hwversion >= \\\"2.1\\\"\"}",
        POLICY_UNATTESTED, "2.10", "policy", 10000},
    {"{\"max_age_s\": 9000, \"claims\": \"hwversion >= \\\"2.1\\\"\"}",
        POLICY_UNATTESTED, "2.0", "attestation_insufficient", 10000},
    {"{\"claims\": \"hwversion >= \\\"2.1\\\"\"}", POLICY_UNATTESTED, "2.2",
        "attestation_required", 0},
    {"{\"claims\": \"hwversion >= \\\"2.1\\\"\"}", POLICY_ATTESTED, "2.2",
        "policy", 0},
    {"{\"claims\": \"hwversion >= \\\"2.1\\\"\"}", POLICY_ATTESTED, "2.0",
        "attestation_insufficient", 0},
};

START_TEST(an_attestation_may_have_to_be_young_and_to_say_something)
{
	struct policy_facts f = {.subject = {.class_name = SLICE_LIT("cam"),
	                             .now_us = INT64_C(5000) * 1000000},
	    .attestation = requirements[_i].now,
	    .update_max = 1000};
	struct policy_set *set;
	struct policy_decision d;

	add_manifest("a", 1, 10);
	add_policy("p",
	    arena_printf(arena,
	        "{\"attestation\": %s, \"components\": [{\"manifest\": "
	        "\"%s\"}]}",
	        requirements[_i].requirement, digest_text(1)));
	set = build();
	if (requirements[_i].hwversion != NULL) {
		f.subject.appraisal.result = SLICE_LIT("affirmed");
		f.subject.appraisal.at_us = INT64_C(1000) * 1000000;
		f.subject.appraisal.hwversion =
		    slice_str(requirements[_i].hwversion);
	}
	policy_decide(set, &f, arena, &d);
	ck_assert_str_eq(d.reason, requirements[_i].reason);
	ck_assert_int_eq(d.good_until_us,
	    requirements[_i].good_until_s * 1000000);
	policy_set_unref(set);
}
END_TEST

static const struct {
	const char *document, *error;
} bad_documents[] = {
    {"{\"attestation\": 1}", "/attestation: must be any, required, repair"},
    {"{\"attestation\": {\"age\": 1}}", "/attestation/age: no such member"},
    {"{\"attestation\": {\"max_age_s\": -1}}",
        "/attestation/max_age_s: must be from 0"},
    {"{\"attestation\": {\"claims\": \"tier\"}}",
        "/attestation/claims: column"},
    {"{\"verify_after_update\": 1}",
        "/verify_after_update: must be true or false"},
    {"{\"poll_interval_s\": 0}", "/poll_interval_s: must be from 1"},
    {"{\"poll_interval_s\": 604801}", "/poll_interval_s: must be from 1"},
    {"{\"poll_interval_s\": \"1\"}", "/poll_interval_s: must be from 1"},
    {"[", "line 1, column 1"},
    {"[]", ": must be a JSON object"},
    {"{\"componets\": []}", "/componets: no such member"},
    {"{}", "/components: must be an array"},
    {"{\"components\": [1]}", "/components/0: must be an object"},
    {"{\"components\": [{\"manifest\": \"ab\"}]}",
        "/components/0: manifest must be 64"},
    {"{\"components\": [{\"component\": \"a\"}]}",
        "/components/0: a component can only be absent"},
    {"{\"components\": [{\"component\": \"a b\", \"state\": \"absent\"}]}",
        "/components/0: component must be"},
    {"{\"priority\": \"1\", \"components\": []}",
        "/priority: must be an integer"},
    {"{\"selector\": \"x\", \"components\": []}", "/selector: column 1"},
    {"{\"selector\": \"last_seen < ago(7d)\", \"components\": []}",
        "/selector: last_seen, attested and ago() change by themselves"},
};

START_TEST(a_documents_error_points_at_the_member)
{
	char error[POLICY_ERROR_MAX];

	ck_assert(!policy_add_policy(builder, "p", bad_documents[_i].document,
	    parse_id, error));
	ck_assert_msg(strncmp(error, bad_documents[_i].error,
	                  strlen(bad_documents[_i].error)) == 0,
	    "%s", error);
}
END_TEST

#define MINUTE (INT64_C(60) * 1000000)

static const struct {
	struct policy_last last;
	bool revocation;
	int64_t now_us;
	bool offer, again;
} paces[] = {
    {{.same = false, .open = true}, false, 0, true, false},
    {{.same = true,
         .open = true,
         .attempt = 1,
         .offered_us = 0,
         .expires_us = 1000 * MINUTE},
        false, 9 * MINUTE, false, false},
    {{.same = true,
         .open = true,
         .attempt = 1,
         .offered_us = 0,
         .expires_us = 1000 * MINUTE},
        false, 11 * MINUTE, true, true},
    /* a revocation at once, twice; then with a back-off */
    {{.same = true,
         .open = true,
         .attempt = 1,
         .offered_us = 5,
         .expires_us = 1000 * MINUTE},
        true, 6, true, true},
    {{.same = true,
         .open = true,
         .attempt = 3,
         .offered_us = 5,
         .expires_us = 1000 * MINUTE},
        true, 6, false, false},
    /* expired: a new one */
    {{.same = true, .open = true, .attempt = 1, .expires_us = MINUTE}, false,
        2 * MINUTE, true, false},
    /* an Error: later, and later still; a permanent one much later */
    {{.same = true, .answered = true, .failed = true, .err_code = 11}, false,
        MINUTE / 2, false, false},
    {{.same = true, .answered = true, .failed = true, .err_code = 11}, false,
        MINUTE, true, false},
    {{.same = true,
         .answered = true,
         .failed = true,
         .err_code = 11,
         .failures = 2},
        false, 3 * MINUTE, false, false},
    {{.same = true, .answered = true, .failed = true, .err_code = 1}, false,
        60 * MINUTE, false, false},
    /* a Success that the device does not show */
    {{.same = true, .answered = true}, false, 1, false, false},
};

START_TEST(paces_offers)
{
	struct policy_pace p = policy_pace(&paces[_i].last,
	    paces[_i].revocation, paces[_i].now_us);

	ck_assert_int_eq(p.offer, paces[_i].offer);
	ck_assert_int_eq(p.offer && p.again, paces[_i].again);
	ck_assert(p.offer || p.reason != NULL);
}
END_TEST

/* A policy: the components c0, c1, ... are to be absent. */
static const char *
many_absent(int priority, int n)
{
	const char *list = "";

	for (int i = 0; i < n; i++)
		list = arena_printf(arena,
		    "%s%s{\"component\": \"c%d\", \"state\": \"absent\"}", list,
		    i == 0 ? "" : ", ", i);
	return arena_printf(arena, "{\"priority\": %d, \"components\": [%s]}",
	    priority, list);
}

START_TEST(the_last_of_many_components_keeps_its_priority)
{
	struct policy_trace trace = {0};
	struct policy_facts facts = {.update_max = 1000};
	struct policy_decision d;
	struct policy_set *set;

	for (int i = 0; i < 250; i++)
		add_manifest(arena_printf(arena, "c%d", i), i, 1);
	add_policy("high", many_absent(9, 250));
	add_policy("middle", many_absent(5, 250));
	add_policy("low",
	    arena_printf(arena,
	        "{\"components\": [{\"manifest\": \"%s\"}, "
	        "{\"component\": \"c249\", \"state\": \"absent\"}]}",
	        digest_text(249)));
	set = build();
	policy_explain(set, &facts, arena, &d, &trace);
	ck_assert_uint_eq(d.n_manifests, 1); /* another id: c249/suit */
	ck_assert_uint_eq(trace.n, 502);
	for (size_t i = 250; i < 500; i++) {
		ck_assert_str_eq(trace.steps[i].verdict, "outranked");
		ck_assert_str_eq(trace.steps[i].winner, "high");
	}
	ck_assert_str_eq(trace.steps[501].verdict, "outranked");
	policy_set_unref(set);
}
END_TEST

START_TEST(each_of_many_revoked_components_is_shown_and_leaves)
{
	struct policy_component held[250];
	struct policy_facts facts = {.n_components = 250,
	    .components = held,
	    .update_max = 1000};
	struct policy_decision d;
	struct policy_set *set;

	for (int i = 0; i < 250; i++) {
		const char *id = arena_printf(arena, "c%d", i);
		struct policy_revocation r = {.id = i + 1,
		    .component = slice_str(id)};

		held[i] = (struct policy_component){slice_str(id),
		    SLICE_OF(digests[i])};
		add_manifest(id, i, 1);
		policy_add_revocation(builder, &r);
	}
	set = build();
	policy_decide(set, &facts, arena, &d);
	ck_assert_uint_eq(d.n_shown, 250);
	ck_assert_uint_eq(d.n_unlinks, 250);
	ck_assert_uint_eq(d.n_removes, 250);
	policy_set_unref(set);
}
END_TEST

START_TEST(what_an_update_has_no_room_for_comes_with_the_next)
{
	struct policy_facts facts = {.update_max = 1000};
	struct policy_trace trace = {0};
	struct policy_decision d;
	struct policy_set *set;
	const char *list = "";

	for (int i = 0; i < 200; i++) {
		add_manifest(arena_printf(arena, "c%d", i), i, 1);
		list = arena_printf(arena, "%s%s{\"manifest\": \"%s\"}", list,
		    i == 0 ? "" : ", ", digest_text(i));
	}
	add_policy("p", arena_printf(arena, "{\"components\": [%s]}", list));
	set = build();
	policy_explain(set, &facts, arena, &d, &trace);
	ck_assert_uint_eq(d.n_manifests, 128);
	ck_assert_uint_eq(d.n_adds, 128);
	ck_assert_str_eq(trace.steps[128].verdict, "next_update");
	policy_set_unref(set);
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("policy");

	tcase_set_timeout(tc, 60); /* sanitizers are slow */
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, ten_thousand_policies_cost_a_device_what_ten_cost);
	tcase_add_test(tc, what_is_too_large_whole_is_fetched_where_it_can_be);
	tcase_add_test(tc, a_device_gets_what_its_rule_wants_and_nothing_twice);
	tcase_add_test(tc, the_rule_of_higher_priority_speaks_first);
	tcase_add_test(tc, a_revocation_outranks_every_rule);
	tcase_add_test(tc, a_revoked_manifest_is_replaced_by_another_of_its_id);
	tcase_add_test(tc, the_best_rule_says_how_often_a_device_is_to_come);
	tcase_add_test(tc, who_is_in_quarantine_keeps_it_and_gets_nothing_else);
	tcase_add_test(tc, what_is_revoked_can_be_replaced);
	tcase_add_test(tc, what_others_depend_on_is_sent_first);
	tcase_add_test(tc, a_revocation_reaches_what_depends_on_its_target);
	tcase_add_loop_test(tc, attestation_says_which_rules_count, 0, 3);
	tcase_add_test(tc, an_update_stays_within_the_devices_size);
	tcase_add_test(tc, a_device_gets_on_request_what_it_asks_for);
	tcase_add_test(tc, who_has_the_binary_gets_the_manifest_only);
	tcase_add_test(tc,
	    what_a_device_does_not_need_goes_unless_a_rule_keeps_it);
	LOOP(tc, an_attestation_may_have_to_be_young_and_to_say_something,
	    requirements);
	LOOP(tc, a_documents_error_points_at_the_member, bad_documents);
	LOOP(tc, paces_offers, paces);
	tcase_add_test(tc, the_last_of_many_components_keeps_its_priority);
	tcase_add_test(tc, each_of_many_revoked_components_is_shown_and_leaves);
	tcase_add_test(tc, what_an_update_has_no_room_for_comes_with_the_next);
	return suite_main(tc);
}
