#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include <check.h>

#include "policy/rollout.h"
#include "tests/support/suite.h"

/* Component "app": the images 1 and 2 are what there is and what is to come,
 * 3 brings the image 1 back. */
enum {
	OLD = 1,
	NEW = 2,
	BACK = 3
};

static bool
parse_id(struct arena *arena, const char *text, struct slice *out)
{
	*out = arena_dup(arena, slice_str(text));
	return strchr(text, ' ') == NULL;
}

static struct arena *arena;
static struct policy_builder *builder;
static uint8_t digests[8][32];

static void
add_manifest(const char *id, int n, int image, uint64_t sequence)
{
	struct policy_component c = {slice_str(id), SLICE_OF(digests[image])};
	struct policy_manifest m = {.digest = SLICE_OF(digests[n]),
	    .id = slice_str(arena_printf(arena, "%s/suit", id)),
	    .sequence = sequence,
	    .envelope = {arena_calloc(arena, 1, 10), 10},
	    .n_components = 1,
	    .components = &c};

	policy_add_manifest(builder, &m);
}

static const char *
hex(int n)
{
	char *text = arena_alloc(arena, 65);

	for (int i = 0; i < 32; i++)
		(void)snprintf(text + (size_t)2 * (size_t)i, 3, "%02x", n);
	return text;
}

static void
add_policy(const char *name, const char *document)
{
	char error[POLICY_ERROR_MAX];

	ck_assert_msg(policy_add_policy(builder, name, document, parse_id,
	                  error),
	    "%s", error);
}

static void
setup(void)
{
	arena = arena_new_in(NULL);
	builder = policy_builder_new();
	for (int i = 0; i < 8; i++)
		memset(digests[i], i, 32);
	add_manifest("app", OLD, 1, 1);
	add_manifest("app", NEW, 2, 2);
	add_manifest("app", BACK, 1, 3);
	add_manifest("other", 4, 4, 1);
	policy_add_channel(builder, "stable", SLICE_OF(digests[OLD]));
	policy_add_channel(builder, "idle", SLICE_OF(digests[OLD]));
	add_policy("app",
	    "{\"selector\": \"class == \\\"cam\\\"\", \"components\": "
	    "[{\"channel\": \"stable\"}]}");
}

static void
teardown(void)
{
	policy_builder_free(builder);
	arena_free(arena);
}

/* A rollout of the channel in three stages. */
static const char *
staged(const char *rest)
{
	return arena_printf(arena,
	    "{\"channel\": \"stable\", \"manifest\": \"%s\", \"rollback\": "
	    "\"%s\", \"stages\": [{\"selector\": \"labels.ring == "
	    "\\\"canary\\\"\"}, {\"percent\": 50}, {\"percent\": 100}]%s}",
	    hex(NEW), hex(BACK), rest);
}

static struct policy_set *
build_at(const char *document, struct rollout_position at)
{
	struct rollout_row row = {7, "r", document, at};
	struct policy_set *set;
	char error[POLICY_ERROR_MAX];

	ck_assert_msg(policy_add_rollout(builder, &row, parse_id, error), "%s",
	    error);
	set = policy_build(builder);
	builder = NULL;
	return set;
}

static const struct rollout_position running = {ROLLOUT_PHASE_running, 1, 0, 0,
    true, 0, false};

static struct selector_label canary = {{(const uint8_t *)"ring", 4},
    {(const uint8_t *)"canary", 6}};

/* A camera that holds an image (0: none). */
static struct policy_facts
camera(int image, bool is_canary, int bucket, struct policy_part *part)
{
	struct policy_component *c = arena_new(arena, struct policy_component);

	*c = (struct policy_component){SLICE_LIT("app"),
	    SLICE_OF(digests[image])};
	return (struct policy_facts){.subject = {.class_name = SLICE_LIT("cam"),
	                                 .n_labels = is_canary ? 1 : 0,
	                                 .labels = &canary,
	                                 .now_us = 1000},
	    .bucket = bucket,
	    .n_parts = part == NULL ? 0 : 1,
	    .parts = part,
	    .n_components = image == 0 ? 0 : 1,
	    .components = c,
	    .update_max = 1000};
}

static struct policy_decision
decide(struct policy_set *set, const struct policy_facts *f)
{
	struct policy_decision d;

	policy_decide(set, f, arena, &d);
	return d;
}

/* The manifest sent, by number; 0: none. */
static int
sent(const struct policy_decision *d)
{
	return d->n_manifests == 0 ? 0 : d->manifests[0]->digest.p[0];
}

/* --- who gets what ------------------------------------------------------------------ */

START_TEST(a_stage_is_reached_when_it_is_open)
{
	struct rollout_position at = running;

	for (at.opened = 1; at.opened <= 3; at.opened++) {
		struct policy_set *set;
		struct policy_facts in;
		struct policy_decision d;
		int reached = 0;

		if (builder == NULL) {
			arena_free(arena);
			setup();
		}
		set = build_at(staged(""), at);
		in = camera(OLD, true, 9999, NULL);
		d = decide(set, &in);
		ck_assert_int_eq(sent(&d), NEW);
		ck_assert_uint_eq(d.n_standings, 1);
		ck_assert_int_eq(d.standings[0].rollout, 7);
		ck_assert_int_eq(d.standings[0].stage, 0);
		ck_assert(d.verify);
		for (int b = 0; b < POLICY_BUCKETS; b += 10) {
			struct policy_facts f = camera(OLD, false, b, NULL);

			d = decide(set, &f);
			reached += sent(&d) == NEW;
			if (sent(&d) != NEW) {
				ck_assert_str_eq(d.reason,
				    "awaiting_rollout_stage");
				ck_assert_uint_eq(d.n_standings, 0);
			}
		}
		ck_assert_int_eq(reached,
		    at.opened == 1       ? 0
		        : at.opened == 2 ? POLICY_BUCKETS / 20
		                         : POLICY_BUCKETS / 10);
		policy_set_unref(set);
	}
}
END_TEST

START_TEST(who_is_not_reached_keeps_to_the_policy_as_it_is)
{
	struct policy_set *set = build_at(staged(""), running);
	struct policy_facts fresh = camera(0, false, 1, NULL);
	struct policy_facts other = camera(0, true, 1, NULL);
	struct policy_decision d = decide(set, &fresh);

	ck_assert_int_eq(sent(&d), OLD);
	other.subject.class_name = SLICE_LIT("bike");
	d = decide(set, &other);
	ck_assert_int_eq(sent(&d), 0);
	ck_assert_str_eq(d.reason, "up_to_date");
	policy_set_unref(set);
}
END_TEST

START_TEST(who_was_reached_stays_whatever_its_labels_say_later)
{
	struct policy_part part = {7, 0, false, PART_OFFERED};
	struct policy_set *set = build_at(staged(""), running);
	struct policy_facts f = camera(OLD, false, 9999, &part);
	struct policy_decision d = decide(set, &f);

	ck_assert_int_eq(sent(&d), NEW);
	f = camera(NEW, false, 9999, &part);
	d = decide(set, &f);
	ck_assert_str_eq(d.reason, "up_to_date");
	ck_assert(d.standings[0].held);
	policy_set_unref(set);
}
END_TEST

START_TEST(a_paused_rollout_sends_nothing_and_takes_nothing_back)
{
	struct policy_part part = {7, 0, false, PART_VERIFIED};
	struct rollout_position at = running;
	struct policy_facts f = camera(OLD, true, 1, NULL);
	struct policy_set *set;
	struct policy_decision d;

	at.phase = ROLLOUT_PHASE_paused;
	set = build_at(staged(""), at);
	d = decide(set, &f);
	ck_assert_int_eq(sent(&d), 0);
	ck_assert_str_eq(d.reason, "rollout_paused");
	f = camera(NEW, true, 1, &part);
	d = decide(set, &f);
	ck_assert_int_eq(sent(&d), 0);
	ck_assert_str_eq(d.reason, "up_to_date");
	/* One that lost it gets it no more, and not the old one either. */
	f = camera(0, true, 1, &part);
	d = decide(set, &f);
	ck_assert_int_eq(sent(&d), 0);
	ck_assert_str_eq(d.reason, "rollout_paused");
	policy_set_unref(set);
}
END_TEST

START_TEST(outside_its_window_nothing_is_sent_even_if_nobody_shut_it)
{
	struct rollout_position at = running;
	struct policy_facts f = camera(OLD, true, 1, NULL);
	struct policy_set *set;
	struct policy_decision d;

	at.window_us = 1000; /* it is that late */
	set = build_at(staged(""), at);
	d = decide(set, &f);
	ck_assert_str_eq(d.reason, "awaiting_window");
	ck_assert_int_eq(d.until_us, 0); /* when it opens is not known yet */
	f.subject.now_us = 999;
	d = decide(set, &f);
	ck_assert_int_eq(sent(&d), NEW);
	policy_set_unref(set);
	arena_free(arena);
	setup();
	at.window_open = false;
	at.window_us = 5000;
	set = build_at(staged(""), at);
	f = camera(OLD, true, 1, NULL);
	d = decide(set, &f);
	ck_assert_str_eq(d.reason, "awaiting_window");
	ck_assert_int_eq(d.until_us, 5000);
	policy_set_unref(set);
}
END_TEST

START_TEST(a_device_takes_part_in_every_rollout_of_its_domain)
{
	struct policy_part_mark marks[POLICY_STANDINGS_MAX];
	struct policy_facts f = camera(OLD, false, 1, NULL);
	struct policy_decision d;
	struct policy_set *set;
	char error[POLICY_ERROR_MAX];

	for (int i = 0; i < ROLLOUT_LIVE_MAX; i++) {
		const char *document = arena_printf(arena,
		    "{\"policy\": \"p%d\", \"document\": {\"components\": "
		    "[{\"component\": \"x%d\", \"state\": \"absent\"}]}, "
		    "\"stages\": [{}]}",
		    i, i);
		struct rollout_row row = {i + 1, arena_printf(arena, "r%d", i),
		    document, running};

		ck_assert_msg(policy_add_rollout(builder, &row, parse_id,
		                  error),
		    "%s", error);
	}
	set = policy_build(builder);
	builder = NULL;
	d = decide(set, &f);
	ck_assert_uint_eq(d.n_standings, ROLLOUT_LIVE_MAX);
	ck_assert_uint_eq(policy_marks(&f, &d, false, marks), ROLLOUT_LIVE_MAX);
	for (size_t i = 0; i < ROLLOUT_LIVE_MAX; i++)
		ck_assert_int_eq(marks[i].mark, MARK_HELD);
	policy_set_unref(set);
}
END_TEST

START_TEST(a_rollback_reaches_those_who_were_reached)
{
	struct policy_part part = {7, 0, false, PART_VERIFIED};
	struct rollout_position at = running;
	struct policy_facts f = camera(NEW, true, 1, &part);
	struct policy_part_mark marks[POLICY_STANDINGS_MAX];
	struct policy_set *set;
	struct policy_decision d;

	at.phase = ROLLOUT_PHASE_rolling_back;
	at.window_open = false;
	set = build_at(staged(""), at);
	d = decide(set, &f);
	ck_assert_int_eq(sent(&d), BACK);
	ck_assert(d.standings[0].back);
	ck_assert_uint_eq(policy_marks(&f, &d, true, marks), 1);
	ck_assert_int_eq(marks[0].mark, MARK_OFFERED);
	ck_assert(marks[0].back);
	/* One that failed has the old image: it is back. */
	part.state = PART_FAILED;
	f = camera(OLD, true, 1, &part);
	d = decide(set, &f);
	ck_assert_int_eq(sent(&d), 0);
	ck_assert_uint_eq(policy_marks(&f, &d, false, marks), 1);
	ck_assert_int_eq(marks[0].mark, MARK_HELD);
	/* Who was never reached has nothing to do with it. */
	f = camera(OLD, true, 1, NULL);
	d = decide(set, &f);
	ck_assert_uint_eq(d.n_standings, 0);
	ck_assert_str_eq(d.reason, "up_to_date");
	policy_set_unref(set);
}
END_TEST

START_TEST(behind_its_end_a_rollout_only_looks)
{
	struct policy_part part = {7, 1, false, PART_ACKNOWLEDGED};
	struct rollout_position at = {ROLLOUT_PHASE_completed, 3, 0, 0, true, 0,
	    true};
	struct policy_facts f = camera(NEW, false, 1, &part);
	struct policy_part_mark marks[POLICY_STANDINGS_MAX];
	struct policy_set *set = build_at(staged(""), at);
	struct policy_decision d = decide(set, &f);

	/* The channel, here, says the old one: it is the policy. */
	ck_assert_str_eq(d.reason, "newer_held");
	ck_assert_uint_eq(policy_marks(&f, &d, false, marks), 1);
	ck_assert_int_eq(marks[0].mark, MARK_HELD);
	f = camera(0, false, 1, &part);
	d = decide(set, &f);
	ck_assert_int_eq(sent(&d), OLD);
	ck_assert_uint_eq(policy_marks(&f, &d, true, marks), 0);
	/* Nor is what it shows believed when its attestation failed. */
	f.attestation = POLICY_ATTEST_FAILED;
	d = decide(set, &f);
	ck_assert_uint_eq(d.n_standings, 0);
	f.attestation = POLICY_UNATTESTED;
	/* Who had shown it is asked no more. */
	part.state = PART_VERIFIED;
	d = decide(set, &f);
	ck_assert_uint_eq(d.n_standings, 0);
	policy_set_unref(set);
}
END_TEST

START_TEST(what_was_on_its_way_at_the_end_is_counted)
{
	struct rollout_plan plan = {.n_stages = 1};
	struct rollout_counts counts = {.waiting = 1};
	struct rollout_position at = {ROLLOUT_PHASE_aborted, 1, 0, 0, true, 0,
	    true};
	struct rollout_step step;

	ck_assert(!rollout_next(&plan, &at, &counts, true, true, 0, 9, &step));
	counts.waiting = 0;
	ck_assert(rollout_next(&plan, &at, &counts, true, true, 0, 9, &step));
	ck_assert(!step.to.settling && !step.told && !step.seen);
	ck_assert_int_eq((int)step.to.phase, ROLLOUT_PHASE_aborted);
	at.settling = false;
	ck_assert(!rollout_next(&plan, &at, &counts, true, true, 0, 9, &step));
}
END_TEST

START_TEST(a_revocation_outranks_a_rollout)
{
	struct policy_revocation bad = {.id = 1,
	    .manifest = SLICE_OF(digests[NEW])};
	struct policy_facts f;
	struct policy_set *set;
	struct policy_decision d;

	policy_add_revocation(builder, &bad);
	set = build_at(staged(""), running);
	ck_assert(policy_rollout_revoked(set, "r"));
	f = camera(OLD, true, 1, NULL);
	d = decide(set, &f);
	ck_assert_int_eq(sent(&d), 0);
	policy_set_unref(set);
}
END_TEST

START_TEST(what_is_revoked_beside_it_does_not_end_a_rollout)
{
	struct policy_revocation bad = {.id = 1,
	    .manifest = SLICE_OF(digests[4])};
	const char *document = arena_printf(arena,
	    "{\"policy\": \"both\", \"document\": {\"components\": "
	    "[{\"manifest\": \"%s\"}, {\"manifest\": \"%s\"}]}, "
	    "\"stages\": [{}]}",
	    hex(4), hex(NEW));
	struct policy_set *set;
	struct policy_facts f;
	struct policy_decision d;

	add_policy("both",
	    arena_printf(arena, "{\"components\": [{\"manifest\": \"%s\"}]}",
	        hex(_i == 0 ? 4 : OLD)));
	policy_add_revocation(builder, &bad);
	set = build_at(document, running);
	ck_assert_int_eq(policy_rollout_revoked(set, "r"), _i != 0);
	/* Nor is it waited for. */
	f = camera(NEW, false, 1, NULL);
	d = decide(set, &f);
	ck_assert(d.standings[0].held);
	policy_set_unref(set);
}
END_TEST

START_TEST(a_device_is_never_sent_something_older)
{
	struct policy_set *set = policy_build(builder);
	struct policy_facts f = camera(NEW, false, 1, NULL);
	struct policy_decision d = decide(set, &f);

	builder = NULL;
	ck_assert_int_eq(sent(&d), 0);
	ck_assert_str_eq(d.reason, "newer_held");
	policy_set_unref(set);
}
END_TEST

START_TEST(a_policy_changes_whole)
{
	const char *document = arena_printf(arena,
	    "{\"policy\": \"app\", \"document\": {\"attestation\": \"required\", "
	    "\"components\": [{\"component\": \"app\", \"state\": "
	    "\"absent\"}]}, \"stages\": [{\"percent\": 100}]}");
	struct policy_set *set = build_at(document, running);
	struct policy_facts f = camera(OLD, false, 1, NULL);
	struct policy_decision d = decide(set, &f);

	ck_assert(d.needs_attestation);
	ck_assert_uint_eq(d.n_unlinks, 0);
	ck_assert(!d.standings[0].held);
	f.attestation = POLICY_ATTESTED;
	d = decide(set, &f);
	ck_assert_uint_eq(d.n_unlinks, 1);
	ck_assert(d.standings[0].work);
	/* The new one is for all classes; the old one is asked by none. */
	f = camera(0, false, 1, NULL);
	f.attestation = POLICY_ATTESTED;
	d = decide(set, &f);
	ck_assert_int_eq(sent(&d), 0);
	ck_assert(d.standings[0].held);
	policy_set_unref(set);
}
END_TEST

/* --- what is noted ------------------------------------------------------------------- */

static const struct {
	struct policy_standing s;
	enum policy_part_state was;
	bool offered;
	int mark; /* -1: none */
} marks[] = {
    {{.work = true}, PART_NONE, true, MARK_OFFERED},
    {{.work = true}, PART_NONE, false, -1}, /* not now */
    {{.work = true}, PART_OFFERED, false, -1},
    {{.work = true}, PART_ACKNOWLEDGED, false, MARK_MISSING},
    {{.work = true}, PART_ACKNOWLEDGED, true, MARK_OFFERED},
    {{.work = true}, PART_VERIFIED, true, MARK_OFFERED}, /* lost again */
    {{.held = true}, PART_NONE, false, MARK_HELD},
    {{.held = true}, PART_ACKNOWLEDGED, false, MARK_HELD},
    {{.held = true}, PART_FAILED, false, MARK_HELD},
    {{.held = true}, PART_VERIFIED, false, -1},
    {{.failed = true}, PART_OFFERED, false, MARK_FAILED},
    {{.failed = true}, PART_ACKNOWLEDGED, false, MARK_FAILED},
    {{.failed = true}, PART_NONE, false, -1},
    {{.failed = true}, PART_VERIFIED, false, -1},
    {{0}, PART_ACKNOWLEDGED, false, -1}, /* it waits for something */
    {{.held = true, .back = true}, PART_NONE, false, MARK_HELD},
};

START_TEST(what_is_noted_follows_what_was_known)
{
	struct policy_part part = {7, 1, marks[_i].s.back, marks[_i].was};
	struct policy_facts f = {.n_parts = 1, .parts = &part};
	struct policy_decision d = {.n_standings = 1};
	struct policy_part_mark out[POLICY_STANDINGS_MAX];
	size_t n;

	d.standings[0] = marks[_i].s;
	d.standings[0].rollout = 7;
	n = policy_marks(&f, &d, marks[_i].offered, out);
	ck_assert_uint_eq(n, marks[_i].mark < 0 ? 0 : 1);
	if (n > 0)
		ck_assert_int_eq((int)out[0].mark, marks[_i].mark);
}
END_TEST

/* --- documents ------------------------------------------------------------------------- */

static const struct {
	const char *document, *error; /* M for a manifest's digest */
} bad[] = {
    {"{", "line 1"},
    {"[]", ": must be a JSON object"},
    {"{}", "/stages: must be an array"},
    {"{\"stages\": []}", "/stages: must be an array"},
    {"{\"stages\": [{}]}", "/policy: name a policy or a channel"},
    {"{\"stages\": [1]}", "/stages/0: must be an object"},
    {"{\"stages\": [{\"part\": 1}]}", "/stages/0/part: no such member"},
    {"{\"stages\": [{\"percent\": 101}]}", "/stages/0/percent: must be"},
    {"{\"stages\": [{\"percent\": 9e11}]}", "/stages/0/percent: must be"},
    {"{\"stages\": [{\"percent\": \"1\"}]}", "/stages/0/percent: must be"},
    {"{\"stages\": [{}, {\"gate\": \"open\"}]}",
        "/stages/1/gate: must be auto or manual"},
    {"{\"stages\": [{\"soak_s\": -1}]}", "/stages/0/soak_s: must be from 0"},
    {"{\"stages\": [{\"minimum_percent\": 101}]}",
        "/stages/0/minimum_percent: must be a number from 0 to 100"},
    {"{\"stages\": [{}], \"minimum_percent\": \"1\"}",
        "/minimum_percent: must be a number from 0 to 100"},
    {"{\"stages\": [{\"minimum\": 1, \"minimum_percent\": 1}]}",
        "/stages/0/minimum_percent: excludes minimum"},
    {"{\"stages\": [{\"selector\": \"class ==\"}]}",
        "/stages/0/selector: column 9"},
    {"{\"stages\": [{\"selector\": \"last_seen > ago(1d)\"}]}",
        "/stages/0/selector: last_seen"},
    {"{\"stages\": [{}], \"limits\": {\"any\": -1}}", "/limits/any: must be"},
    {"{\"stages\": [{}], \"limits\": {\"late\": 1}}",
        "/limits/late: no such member"},
    {"{\"stages\": [{}], \"limits\": 5}", "/limits: must be an object"},
    {"{\"stages\": [{}], \"windows\": []}", "/windows: must be an array"},
    {"{\"stages\": [{}], \"windows\": [{\"from\": \"24:00\", \"to\": "
     "\"01:00\", \"zone\": \"UTC\"}]}",
        "/windows/0: from and to must be"},
    {"{\"stages\": [{}], \"windows\": [{\"days\": [\"sunday\"], \"from\": "
     "\"22:00\", \"to\": \"01:00\", \"zone\": \"UTC\"}]}",
        "/windows/0: days must be"},
    {"{\"stages\": [{}], \"windows\": [{\"days\": [], \"from\": \"22:00\", "
     "\"to\": \"01:00\", \"zone\": \"UTC\"}]}",
        "/windows/0: days must be"},
    {"{\"stages\": [{}], \"windows\": [{\"from\": \"22:00\", \"to\": "
     "\"01:00\"}]}",
        "/windows/0: zone must name"},
    {"{\"stages\": [{}], \"policy\": \"app\", \"channel\": \"stable\"}",
        "/policy: no such member"},
    {"{\"stages\": [{}], \"channel\": \"beta\"}",
        "/channel: there is no such channel"},
    {"{\"stages\": [{}], \"channel\": \"stable\"}",
        "/manifest: manifest must be 64"},
    {"{\"stages\": [{}], \"channel\": \"idle\", \"manifest\": \"M\"}",
        "/channel: no policy uses this channel"},
    {"{\"stages\": [{}], \"channel\": \"stable\", \"manifest\": \"M\", "
     "\"on_failure\": \"rollback\"}",
        "/rollback: on_failure is rollback"},
    {"{\"stages\": [{}], \"channel\": \"stable\", \"manifest\": \"M\", "
     "\"rollback\": {}}",
        "/rollback: manifest must be 64"},
    {"{\"stages\": [{}], \"channel\": \"stable\", \"manifest\": \"M\", "
     "\"on_failure\": \"stop\"}",
        "/on_failure: must be pause or rollback"},
    {"{\"stages\": [{}], \"policy\": \"app\"}",
        "/document: must be a JSON object"},
    {"{\"stages\": [{}], \"policy\": \"app\", \"document\": {\"components\": "
     "[{\"manifest\": \"00\"}]}}",
        "/document/components/0: manifest must be 64"},
    {"{\"stages\": [{}], \"policy\": \"app\", \"document\": {\"components\": "
     "[{\"manifest\": \"M\"}]}, \"rollback\": {\"selector\": 1}}",
        "/rollback/selector: must be a string"},
};

static const char *
fill_in(const char *document)
{
	const char *m = strstr(document, "\"M\"");

	return m == NULL ? document
	                 : arena_printf(arena, "%.*s\"%s\"%s",
	                       (int)(m - document), document, hex(NEW), m + 3);
}

START_TEST(a_documents_error_points_at_the_member)
{
	struct rollout_row row = {1, "r", fill_in(bad[_i].document), running};
	struct policy_set *set;
	struct policy_facts f = camera(0, true, 1, NULL);
	struct policy_decision d;
	char error[POLICY_ERROR_MAX] = "";

	ck_assert(!policy_add_rollout(builder, &row, parse_id, error));
	ck_assert_msg(strncmp(error, bad[_i].error, strlen(bad[_i].error)) == 0,
	    "%s", error);
	/* As if it had never been there. */
	set = policy_build(builder);
	builder = NULL;
	d = decide(set, &f);
	ck_assert_int_eq(sent(&d), OLD);
	policy_set_unref(set);
}
END_TEST

START_TEST(one_change_of_a_thing_at_a_time)
{
	struct rollout_row first = {1, "first", staged(""), running};
	struct rollout_row second = {2, "second", staged(""), running};
	char error[POLICY_ERROR_MAX];

	ck_assert(policy_add_rollout(builder, &first, parse_id, error));
	ck_assert(!policy_add_rollout(builder, &second, parse_id, error));
	ck_assert_str_eq(error, "/channel: rollout first is changing it");
	second.document =
	    fill_in("{\"policy\": \"app\", \"document\": {\"components\": "
	            "[{\"manifest\": \"M\"}]}, \"stages\": [{}]}");
	ck_assert(!policy_add_rollout(builder, &second, parse_id, error));
	ck_assert_str_eq(error, "/policy: rollout first is changing it");
}
END_TEST

/* A second rollout, of another policy, that could meet the first. */
static const struct {
	const char *document, *error; /* NULL: they do not fight */
} fights[] = {
    {"{\"policy\": \"b\", \"document\": {\"priority\": 9, \"components\": "
     "[{\"manifest\": \"M\"}]}, \"stages\": [{}]}",
        "/document: rollout r is under way"},
    {"{\"policy\": \"b\", \"document\": {\"priority\": 9, \"components\": "
     "[{\"component\": \"app\", \"state\": \"absent\"}]}, \"stages\": [{}]}",
        "/document: rollout r is under way"},
    {"{\"policy\": \"b\", \"document\": {\"priority\": 9, \"components\": "
     "[{\"component\": \"x\", \"state\": \"absent\"}]}, \"stages\": [{}], "
     "\"rollback\": {\"priority\": 9, \"components\": [{\"component\": "
     "\"app\", \"state\": \"absent\"}]}}",
        "/rollback: rollout r is under way"},
    {"{\"policy\": \"b\", \"document\": {\"selector\": \"class == "
     "\\\"bike\\\"\", \"components\": [{\"manifest\": \"M\"}]}, "
     "\"stages\": [{}]}",
        NULL},
    {"{\"policy\": \"b\", \"document\": {\"components\": [{\"component\": "
     "\"other\", \"state\": \"absent\"}]}, \"stages\": [{}]}",
        NULL},
    {"{\"policy\": \"b\", \"document\": {\"components\": [{\"component\": "
     "\"app\", \"state\": \"absent\"}]}, \"stages\": [{}]}",
        "/document/components/0: contradicts policy app"},
};

START_TEST(two_rollouts_do_not_fight_over_a_device)
{
	struct rollout_row row = {9, "other", fill_in(fights[_i].document),
	    running};
	struct policy_set *set;
	char error[POLICY_ERROR_MAX];

	ck_assert_msg(policy_add_rollout(builder, &row, parse_id, error), "%s",
	    error);
	set = build_at(staged(""), running);
	ck_assert_int_eq(policy_rollout_conflicts(set, "other", error),
	    fights[_i].error != NULL);
	if (fights[_i].error != NULL)
		ck_assert_msg(strncmp(error, fights[_i].error,
		                  strlen(fights[_i].error)) == 0,
		    "%s", error);
	policy_set_unref(set);
}
END_TEST

/* --- the controller's step ----------------------------------------------------------------- */

#define MINUTE INT64_C(60000000)

static const struct {
	struct rollout_position at;
	struct rollout_tally one, two;
	int64_t reached, returned;
	bool revoked, window_shut;
	int64_t now_us;
	/* What comes of it; no phase: nothing. */
	int phase; /* -1: nothing moves */
	size_t opened;
	int64_t met_us;
	const char *reason; /* begins like this; NULL: nobody is told */
} steps[] = {
#define AT(phase, opened, met)                                        \
	{                                                             \
		ROLLOUT_PHASE_##phase, opened, 0, met, true, 0, false \
	}
    /* not enough devices yet, then enough, but not good enough */
    {AT(running, 1, 0), {.verified = 3}, {0}, 3, 0, false, false, 1, -1, 0, 0,
        NULL},
    {AT(running, 1, 0), {.offered = 5, .acknowledged = 9}, {0}, 14, 0, false,
        false, 1, -1, 0, 0, NULL},
    {AT(running, 1, 0), {.verified = 8, .failed = {0, 0, 0, 0, 1}}, {0}, 9, 0,
        false, false, 1, -1, 0, 0, NULL},
    /* good: since now; soaks; no longer good; soaked: goes on */
    {AT(running, 1, 0), {.verified = 4}, {0}, 4, 0, false, false, MINUTE,
        ROLLOUT_PHASE_running, 1, MINUTE, NULL},
    {AT(running, 1, MINUTE), {.verified = 4}, {0}, 4, 0, false, false,
        2 * MINUTE - 1, -1, 0, 0, NULL},
    {AT(running, 1, MINUTE), {.verified = 4, .failed = {0, 0, 0, 0, 1}}, {0}, 5,
        0, false, false, 9 * MINUTE, ROLLOUT_PHASE_running, 1, 0, NULL},
    {AT(running, 1, MINUTE), {.verified = 4}, {0}, 4, 0, false, false,
        2 * MINUTE, ROLLOUT_PHASE_running, 2, 0, "stage 1 was good"},
    /* the second is gated by nothing but itself; it is the last */
    {AT(running, 2, MINUTE), {.verified = 4}, {.verified = 4}, 8, 0, false,
        false, 2 * MINUTE, ROLLOUT_PHASE_completed, 2, 0, "the last stage"},
    {AT(running, 2, 0), {.verified = 400}, {0}, 400, 0, false, false, 1, -1, 0,
        0, NULL},
    /* failures stop, whatever stage they are of, from the minimum on */
    {AT(running, 1, MINUTE), {.verified = 2, .failed = {1}}, {0}, 3, 0, false,
        false, 2, ROLLOUT_PHASE_running, 1, 0, NULL},
    {AT(running, 1, 0), {.verified = 3, .failed = {1}}, {0}, 4, 0, false, false,
        2, ROLLOUT_PHASE_paused, 1, 0,
        "stage 1: refused on 1 of 4 devices, more than 5.00 %"},
    {AT(running, 2, 0), {.verified = 1, .failed = {0, 3}}, {.verified = 1000},
        1004, 0, false, false, 2, ROLLOUT_PHASE_paused, 2, 0,
        "stage 1: failures on 3 of 4"},
    {AT(running, 1, 0), {.verified = 95, .failed = {5}}, {0}, 100, 0, false,
        false, 2, ROLLOUT_PHASE_running, 1, 2, NULL}, /* five is not more */
    /* revoked; a window; paused; back */
    {AT(running, 1, 0), {0}, {0}, 0, 0, true, true, 1, ROLLOUT_PHASE_cancelled,
        1, 0, "what it brings is revoked"},
    {AT(paused, 1, 0), {0}, {0}, 0, 0, true, false, 1, ROLLOUT_PHASE_cancelled,
        1, 0, "what it brings is revoked"},
    {AT(running, 1, MINUTE), {.verified = 4}, {0}, 4, 0, false, true,
        9 * MINUTE, ROLLOUT_PHASE_running, 1, MINUTE, NULL},
    {AT(paused, 1, 0), {.failed = {99}}, {0}, 99, 0, false, false, 1, -1, 0, 0,
        NULL},
    {AT(rolling_back, 1, 0), {0}, {0}, 9, 8, false, false, 1, -1, 0, 0, NULL},
    {AT(rolling_back, 1, 0), {0}, {0}, 9, 9, false, false, 1,
        ROLLOUT_PHASE_rolled_back, 1, 0, "all 9 devices are back"},
    {AT(completed, 2, 0), {.failed = {9}}, {0}, 9, 0, true, true, 1, -1, 0, 0,
        NULL},
    {AT(aborted, 1, 0), {.verified = 9}, {0}, 9, 0, true, true, 1, -1, 0, 0,
        NULL},
#undef AT
};

START_TEST(a_rollout_goes_on_stops_and_goes_back)
{
	struct rollout_plan plan = {.n_stages = 2,
	    .limits = {500, -1, -1, -1, -1},
	    .any_limit = 7000};
	struct rollout_counts counts = {.reached = steps[_i].reached,
	    .returned = steps[_i].returned};
	struct rollout_step step;
	bool moves;

	for (int i = 0; i < 2; i++)
		plan.stages[i] = (struct rollout_stage){.part = ROLLOUT_WHOLE,
		    .success = 9000,
		    .minimum = 4,
		    .soak_us = MINUTE};
	counts.stages[0] = steps[_i].one;
	counts.stages[1] = steps[_i].two;
	moves = rollout_next(&plan, &steps[_i].at, &counts, steps[_i].revoked,
	    !steps[_i].window_shut, 0, steps[_i].now_us, &step);
	ck_assert_int_eq(moves, steps[_i].phase >= 0);
	if (!moves)
		return;
	ck_assert_int_eq((int)step.to.phase, steps[_i].phase);
	ck_assert_uint_eq(step.to.opened, steps[_i].opened);
	ck_assert_int_eq(step.to.met_us, steps[_i].met_us);
	ck_assert_int_eq(step.told, steps[_i].reason != NULL);
	if (steps[_i].reason != NULL)
		ck_assert_msg(strncmp(step.reason, steps[_i].reason,
		                  strlen(steps[_i].reason)) == 0,
		    "%s", step.reason);
}
END_TEST

START_TEST(a_person_opens_what_is_gated)
{
	struct rollout_plan plan = {.n_stages = 2,
	    .limits = {-1, -1, -1, -1, -1},
	    .any_limit = -1};
	struct rollout_counts counts = {
	    .stages = {{.verified = 9}, {.verified = 9}}};
	struct rollout_position at = {ROLLOUT_PHASE_running, 1, 0, 1, true, 0,
	    false};
	struct rollout_step step;

	plan.stages[0].manual = plan.stages[1].manual = true;
	ck_assert(!rollout_next(&plan, &at, &counts, false, true, 0, 9, &step));
	at.opened = 2; /* behind the last there is nothing to open */
	ck_assert(rollout_next(&plan, &at, &counts, false, true, 0, 9, &step));
	ck_assert_int_eq((int)step.to.phase, ROLLOUT_PHASE_completed);
}
END_TEST

START_TEST(where_it_says_so_failures_roll_back)
{
	struct rollout_plan plan = {.n_stages = 1,
	    .limits = {-1, -1, -1, -1, -1},
	    .any_limit = 0,
	    .goes_back = true};
	struct rollout_counts counts = {
	    .stages = {{.verified = 99, .failed = {0, 0, 0, 1}}}};
	struct rollout_position at = {ROLLOUT_PHASE_running, 1, 0, 1, true, 0,
	    false};
	struct rollout_step step;

	ck_assert(rollout_next(&plan, &at, &counts, false, true, 0, 9, &step));
	ck_assert_int_eq((int)step.to.phase, ROLLOUT_PHASE_rolling_back);
	ck_assert(step.seen);
}
END_TEST

/* --- how many are enough ---------------------------------------------------------------- */

static const struct {
	int64_t minimum; /* -1: the share */
	int share;
	int64_t of, away, verified, failed;
	bool good;
} enough[] = {
    /* a number, whatever the stage has */
    {4, 5000, 1000, 0, 3, 0, false},
    {4, 5000, 1000, 0, 4, 0, true},
    {0, 5000, 1000, 0, 0, 0, true},
    /* a share of the stage, rounded up, and at least one */
    {-1, 5000, 1000, 0, 499, 0, false},
    {-1, 5000, 1000, 0, 500, 0, true},
    {-1, 5000, 1000, 0, 480, 20, true},
    {-1, 5000, 3, 0, 1, 0, false},
    {-1, 5000, 3, 0, 2, 0, true},
    {-1, 1, 3, 0, 0, 0, false},
    {-1, 1, 3, 0, 1, 0, true},
    {-1, 0, 3, 0, 0, 0, true},
    {-1, 10000, 1000000, 0, 999999, 0, false},
    {-1, 10000, 1000000, 0, 1000000, 0, true},
    /* an empty stage, or one whose size nobody knows, waits for one */
    {-1, 5000, 0, 0, 0, 0, false},
    {-1, 5000, 0, 0, 1, 0, true},
    /* who is out of use is not waited for */
    {-1, 5000, 1000, 900, 49, 0, false},
    {-1, 5000, 1000, 900, 50, 0, true},
    {-1, 5000, 10, 20, 1, 0, true},
};

START_TEST(a_stage_is_good_when_enough_of_its_devices_are)
{
	struct rollout_plan plan = {.n_stages = 1,
	    .limits = {-1, -1, -1, -1, -1},
	    .any_limit = -1,
	    .stages = {{.part = ROLLOUT_WHOLE,
	        .success = 9500,
	        .minimum = enough[_i].minimum,
	        .share = enough[_i].share,
	        .soak_us = MINUTE}}};
	struct rollout_counts counts = {.stages = {{.of = enough[_i].of,
	                                    .away = enough[_i].away,
	                                    .verified = enough[_i].verified,
	                                    .failed = {enough[_i].failed}}}};
	struct rollout_position at = {ROLLOUT_PHASE_running, 1, 0, 0, true, 0,
	    false};
	struct rollout_step step;

	ck_assert_int_eq(rollout_next(&plan, &at, &counts, false, true, 0, 9,
	                     &step),
	    enough[_i].good);
	if (enough[_i].good)
		ck_assert_int_eq(step.to.met_us, 9);
}
END_TEST

/* Failures do not wait for half of ten thousand. */
static const struct {
	int64_t minimum, of, verified, failed;
	bool stops;
} early[] = {
    {-1, 10000, 8, 1, false},
    {-1, 10000, 9, 1, true},
    {-1, 10000, 4000, 1000, true},
    {-1, 6, 1, 1, false},
    {-1, 6, 2, 1, true},
    {50, 10000, 9, 1, false},
    {50, 10000, 45, 5, true},
};

START_TEST(failures_stop_a_large_stage_early)
{
	struct rollout_plan plan = {.n_stages = 1,
	    .limits = {-1, -1, -1, -1, -1},
	    .any_limit = 500,
	    .stages = {{.success = 9500,
	        .minimum = early[_i].minimum,
	        .share = 5000}}};
	struct rollout_counts counts = {.stages = {{.of = early[_i].of,
	                                    .verified = early[_i].verified,
	                                    .failed = {early[_i].failed}}}};
	struct rollout_position at = {ROLLOUT_PHASE_running, 1, 0, 0, true, 0,
	    false};
	struct rollout_step step;

	ck_assert_int_eq(rollout_next(&plan, &at, &counts, false, true, 0, 9,
	                     &step),
	    early[_i].stops);
	if (early[_i].stops)
		ck_assert_int_eq((int)step.to.phase, ROLLOUT_PHASE_paused);
}
END_TEST

static const struct {
	int64_t reached, returned, away;
	const char *reason; /* NULL: it waits */
} backs[] = {
    {9, 8, 0, NULL},
    {9, 7, 1, NULL},
    {9, 9, 0, "all 9 devices are back"},
    {9, 7, 2,
        "7 of 9 devices are back; 2 are out of use or silent and were not "
        "waited for"},
    {9, 0, 9,
        "0 of 9 devices are back; 9 are out of use or silent and were not "
        "waited for"},
};

START_TEST(a_way_back_does_not_wait_for_who_will_not_come)
{
	struct rollout_plan plan = {.n_stages = 1};
	struct rollout_counts counts = {.reached = backs[_i].reached,
	    .returned = backs[_i].returned,
	    .away = backs[_i].away};
	struct rollout_position at = {ROLLOUT_PHASE_rolling_back, 1, 0, 0, true,
	    0, false};
	struct rollout_step step;

	ck_assert_int_eq(rollout_next(&plan, &at, &counts, false, true, 0, 9,
	                     &step),
	    backs[_i].reason != NULL);
	if (backs[_i].reason != NULL)
		ck_assert_str_eq(step.reason, backs[_i].reason);
}
END_TEST

START_TEST(a_way_back_knows_when_it_began)
{
	struct rollout_plan plan = {.n_stages = 1,
	    .limits = {-1, -1, -1, -1, -1},
	    .goes_back = true,
	    .stages = {{.minimum = 1}}};
	struct rollout_counts counts = {.stages = {{.failed = {1}}}};
	struct rollout_position at = {ROLLOUT_PHASE_running, 1, 5, 0, true, 0,
	    false};
	struct rollout_step step;

	ck_assert(rollout_next(&plan, &at, &counts, false, true, 0, 9, &step));
	ck_assert_int_eq((int)step.to.phase, ROLLOUT_PHASE_rolling_back);
	ck_assert_int_eq(step.to.stage_us, 9);
}
END_TEST

/* --- documents that protect nobody, or never complete ---------------------------------------- */

static const struct {
	const char
	    *more; /* of the first of two stages of a hundredth and all */
	int64_t of[2];
	const char *codes; /* "!": it never passes by itself */
} warnings[] = {
    {"", {10, 1000}, ""},
    {"", {0, 1000}, "0 stage_empty! "},
    {"", {10, 0}, "1 stage_empty! "},
    {", \"minimum\": 11", {10, 1000}, "0 minimum_beyond_stage! "},
    {", \"minimum\": 10", {10, 1000}, ""},
    {", \"minimum\": 0", {0, 1000}, "0 stage_empty "},
    {", \"minimum_percent\": 0", {0, 1000}, "0 stage_empty "},
    {", \"minimum\": 9", {100, 1000}, "0 minimum_small "},
    {", \"minimum_percent\": 10", {100, 1000}, ""},
    {", \"minimum\": 1", {99, 1000}, ""},
    {", \"soak_s\": 0", {10, 1000}, "0 no_soak "},
    {", \"soak_s\": 0, \"gate\": \"manual\"", {10, 1000}, ""},
    {", \"soak_s\": 0, \"minimum\": 1", {936, 0},
        "0 minimum_small 0 no_soak 1 stage_empty! "},
};

START_TEST(a_rollout_that_cannot_complete_is_told)
{
	char document[512], got[512] = "";
	struct rollout_warning out[ROLLOUT_WARNINGS_MAX];
	int64_t of[ROLLOUT_STAGES_MAX] = {warnings[_i].of[0],
	    warnings[_i].of[1]};
	struct policy_set *set;
	size_t n;

	(void)snprintf(document, sizeof(document),
	    "{\"channel\": \"stable\", \"manifest\": \"%s\", \"stages\": "
	    "[{\"percent\": 1%s}, {}]}",
	    hex(NEW), warnings[_i].more);
	set = build_at(document, running);
	n = rollout_warnings(policy_rollout_plan(set, "r"), of, out);
	for (size_t i = 0; i < n; i++) {
		size_t used = strlen(got);

		ck_assert_uint_gt(strlen(out[i].text), 10);
		(void)snprintf(got + used, sizeof(got) - used, "%zu %s%s ",
		    out[i].stage, out[i].code, out[i].never ? "!" : "");
	}
	ck_assert_str_eq(got, warnings[_i].codes);
	policy_set_unref(set);
}
END_TEST

START_TEST(a_document_that_says_nothing_gets_defaults_that_protect)
{
	struct policy_set *set = build_at(staged(""), running);
	const struct rollout_plan *plan = policy_rollout_plan(set, "r");

	for (size_t i = 0; i < plan->n_stages; i++) {
		ck_assert_int_eq(rollout_minimum(&plan->stages[i], 10000),
		    5000);
		ck_assert_int_eq(plan->stages[i].soak_us, 10 * MINUTE);
	}
	policy_set_unref(set);
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("rollout");

	tcase_set_timeout(tc, 60); /* sanitizers are slow */
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_stage_is_reached_when_it_is_open);
	tcase_add_test(tc, who_is_not_reached_keeps_to_the_policy_as_it_is);
	tcase_add_test(tc, who_was_reached_stays_whatever_its_labels_say_later);
	tcase_add_test(tc,
	    a_paused_rollout_sends_nothing_and_takes_nothing_back);
	tcase_add_test(tc,
	    outside_its_window_nothing_is_sent_even_if_nobody_shut_it);
	tcase_add_test(tc, a_device_takes_part_in_every_rollout_of_its_domain);
	tcase_add_test(tc, a_rollback_reaches_those_who_were_reached);
	tcase_add_test(tc, behind_its_end_a_rollout_only_looks);
	tcase_add_test(tc, what_was_on_its_way_at_the_end_is_counted);
	tcase_add_test(tc, a_revocation_outranks_a_rollout);
	tcase_add_loop_test(tc,
	    what_is_revoked_beside_it_does_not_end_a_rollout, 0, 2);
	tcase_add_test(tc, a_device_is_never_sent_something_older);
	tcase_add_test(tc, a_policy_changes_whole);
	LOOP(tc, what_is_noted_follows_what_was_known, marks);
	LOOP(tc, a_documents_error_points_at_the_member, bad);
	tcase_add_test(tc, one_change_of_a_thing_at_a_time);
	LOOP(tc, two_rollouts_do_not_fight_over_a_device, fights);
	LOOP(tc, a_rollout_goes_on_stops_and_goes_back, steps);
	tcase_add_test(tc, a_person_opens_what_is_gated);
	LOOP(tc, a_stage_is_good_when_enough_of_its_devices_are, enough);
	LOOP(tc, failures_stop_a_large_stage_early, early);
	LOOP(tc, a_way_back_does_not_wait_for_who_will_not_come, backs);
	tcase_add_test(tc, a_way_back_knows_when_it_began);
	LOOP(tc, a_rollout_that_cannot_complete_is_told, warnings);
	tcase_add_test(tc,
	    a_document_that_says_nothing_gets_defaults_that_protect);
	tcase_add_test(tc, where_it_says_so_failures_roll_back);
	return suite_main(tc);
}
