#include "config.h"

#include <check.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

#include "admin/policy_cache.h"
#include "admin/policy_rows.h"
#include "admin/request.h"
#include "lib/base/clock.h"
#include "lib/base/hex.h"
#include "lib/codec/crypto.h"
#include "lib/codec/suit.h"
#include "storage/batch.h"
#include "storage/device_facts.h"
#include "tests/support/files.h"
#include "tests/support/suite.h"

/*
 * Explain and dry run say what a device then gets.  Devices, wire profiles and
 * policies are made by chance.  Each device is asked about through the API's
 * handlers, as the role that production asks with; then it comes: its rows are
 * loaded as a worker loads them, and decided as a session decides.
 * TAM_TEST_SEED repeats a run.
 */

enum {
	DEVICES = 60,
	POLICIES = 14,
	MANIFESTS = 10 /* run.sh made them: five components, two of each */
};

static const int64_t update_bytes[] = {512, 900, 2000, 5000, 1048576};
static const char *const classes[] = {"a", "b"};
static const char *const selectors[] = {"", "class == \\\"a\\\"",
    "labels.region == \\\"eu\\\"", "attestation == \\\"affirmed\\\"",
    "exists requested(\\\"vendor/c\\\")"};
static const char *const attestations[] = {"\"any\"", "\"any\"", "\"required\"",
    "\"repair\"", "{\"max_age_s\": 3600}",
    "{\"max_age_s\": 86400, \"claims\": \"hwversion >= \\\"2\\\"\"}"};
/* Far from every maximum age: the clock goes on while the test runs. */
static const int64_t ages_s[] = {60, 7200, 200000};

static struct sql *sql, *admin;
static struct arena *arena;
static struct cose_crypto *crypto;
static struct event_base *base;
static struct db *db;
static struct batch *batch;
static unsigned long long state;

static struct {
	char *digest; /* hexadecimal */
	struct slice id;
	char *component; /* the text of what it installs */
	struct slice component_id, image;
} manifests[MANIFESTS];

static struct made {
	char *name, *id;
	uint8_t key[32];
	struct device_profile profile;
	size_t update_max; /* the lesser of its own limit and the profile's */
} made[DEVICES];

/* xorshift64*: the same seed, the same test. */
static unsigned
chance(unsigned n)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (unsigned)(((state * 0x2545F4914F6CDD1DULL) >> 33) % n);
}

#define PICK(list) ((list)[chance(sizeof(list) / sizeof((list)[0]))])

static void
run(const char *statement, size_t n, const char *const *params)
{
	ck_assert_msg(sql_exec(sql, statement, n, params, NULL) == TAM_OK,
	    "%s: %s", sql_error(sql), statement);
}

#define RUN(statement, ...)                                         \
	run((statement),                                            \
	    sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), \
	    (const char *[]){__VA_ARGS__})

static char *
number(int64_t v)
{
	return arena_printf(arena, "%lld", (long long)v);
}

/* --- what there is --------------------------------------------------------------- */

static void
make_manifest(int i)
{
	const char *dir = getenv("TAM_TEST_MANIFESTS");
	struct slice envelope =
	    test_file(arena, arena_printf(arena, "%s/m%d.suit", dir, i));
	struct suit_info *info = arena_new(arena, struct suit_info);
	struct suit_envelope e;

	ck_assert_int_eq(suit_learn(envelope, arena, info), TAM_OK);
	ck_assert_int_eq(suit_envelope_decode(envelope, arena, &e), TAM_OK);
	manifests[i].digest = arena_calloc(arena, 1, 65);
	hex_encode(SLICE_OF(e.digest), manifests[i].digest);
	manifests[i].id = info->manifest.component_id;
	manifests[i].component_id = info->components[0].id;
	manifests[i].component =
	    suit_component_text(arena, info->components[0].id);
	manifests[i].image = info->components[0].digest;
	RUN("INSERT INTO manifest (domain_id, digest, component, component_id, "
	    "sequence, signer, envelope, components, uploaded_by) VALUES (1, "
	    "$1::bytea, $2, $3::bytea, $4::int8, 's', $5::bytea, '[]', '')",
	    sql_bytea(arena, SLICE_OF(e.digest)),
	    suit_component_text(arena, manifests[i].id),
	    sql_bytea(arena, manifests[i].id),
	    number((int64_t)info->manifest.sequence),
	    sql_bytea(arena, envelope));
}

static char *
component_document(void)
{
	static const char *const states[] = {"present", "present",
	    "on-request"};
	unsigned i = chance(MANIFESTS);

	return chance(4) == 0
	    ? arena_printf(arena,
	          "{\"component\": \"%s\", \"state\": \"absent\"}",
	          manifests[i].component)
	    : arena_printf(arena, "{\"manifest\": \"%s\", \"state\": \"%s\"}",
	          manifests[i].digest, PICK(states));
}

static char *
policy_document(const char *selector, int priority)
{
	char *list = component_document();

	while (chance(2) == 0)
		list =
		    arena_printf(arena, "%s, %s", list, component_document());
	return arena_printf(arena,
	    "{\"selector\": \"%s\", \"priority\": %d, \"attestation\": %s, "
	    "\"components\": [%s]}",
	    selector, priority, PICK(attestations), list);
}

/* The default profile is number 0, and may be what a device came by. */
static void
make_profiles(struct device_profile profiles[4])
{
	for (int i = 0; i < 4; i++) {
		const char *bytes;

		profiles[i] =
		    (struct device_profile){(size_t)PICK(update_bytes),
		        chance(3) == 0};
		bytes = number((int64_t)profiles[i].update_max);
		RUN("INSERT INTO wire_profile (domain_id, name, is_default, "
		    "wire_id, update_bytes, ask) VALUES (1, $1, $2 = '200', "
		    "$2::int2, $3::int, $4)",
		    arena_printf(arena, "p%d", i), number(200 + i), bytes,
		    profiles[i].asks_proof ? "attest" : "plain");
	}
}

/* --- devices ------------------------------------------------------------------------ */

static void
give_components(const char *id)
{
	for (int i = 0; i < MANIFESTS; i += 2) {
		int which = i + (int)chance(2);
		struct slice image = manifests[which].image;

		if (chance(2) == 0)
			continue;
		RUN("INSERT INTO device_component VALUES (1, $1::int8, "
		    "$2::bytea, nullif($3, '\\x')::bytea, 'reported', 1)",
		    id, sql_bytea(arena, manifests[which].component_id),
		    chance(5) == 0 ? "\\x" : sql_bytea(arena, image));
	}
}

static void
give_the_rest(const char *id)
{
	static const char *const results[] = {"affirmed", "affirmed", "failed"};
	static const char *const versions[] = {"1.9", "2.0"};

	if (chance(2) == 0)
		RUN("INSERT INTO device_label VALUES (1, 'region', 'eu', "
		    "$1::int8)",
		    id);
	for (int i = 0; i < MANIFESTS; i += 2) {
		if (chance(3) == 0)
			RUN("INSERT INTO device_request VALUES (1, $1::int8, "
			    "$2::bytea)",
			    id, sql_bytea(arena, manifests[i].component_id));
	}
	if (chance(4) > 0)
		RUN("INSERT INTO device_attestation VALUES (1, $1::int8, 1, 1, "
		    "$2::int8, $3, '', 'v', 2, '', '', '', $4)",
		    id, number(clock_wall_us() - PICK(ages_s) * CLOCK_SECOND),
		    PICK(results), PICK(versions));
}

static void
make_device(int i, const struct device_profile profiles[4])
{
	struct made *d = &made[i];
	struct sql_result *rows;
	struct cose_private priv;
	unsigned came_by = chance(5); /* 4: it never came */
	int64_t limit = chance(2) == 0 ? 0 : PICK(update_bytes);

	cose_private_generate(&priv, COSE_P256);
	memcpy(d->key, priv.key.thumbprint, sizeof(d->key));
	d->name = arena_printf(arena, "device-%d", i);
	d->profile = profiles[came_by % 4];
	d->update_max = limit > 0 && (size_t)limit < d->profile.update_max
	    ? (size_t)limit
	    : d->profile.update_max;
	ck_assert_msg(
	    SQL_EXEC(sql, &rows,
	        "WITH d AS (INSERT INTO device (domain_id, name, class, status, "
	        "update_bytes) VALUES (1, $1, $2, 'active', nullif($3::int, 0))"
	        " RETURNING device_id), s AS (INSERT INTO device_seen "
	        "(domain_id, device_id, wire_id) SELECT 1, device_id, "
	        "nullif($4::int2, 204) FROM d), k AS (INSERT INTO device_key "
	        "SELECT 1, $5::bytea, device_id, 'p256', $6::bytea FROM d) "
	        "SELECT device_id FROM d",
	        d->name, PICK(classes), number(limit), number(200 + came_by),
	        sql_bytea(arena, SLICE_OF(d->key)),
	        sql_bytea(arena, SLICE_OF(priv.key.pub))) == TAM_OK,
	    "%s", sql_error(sql));
	d->id = arena_strdup(arena, slice_str(sql_text(rows, 0, 0)));
	sql_result_free(rows);
	give_components(d->id);
	give_the_rest(d->id);
}

/* --- the device path ------------------------------------------------------------------ */

static struct {
	bool done;
	const struct store_device *device;
} loaded;

static void
on_loaded(enum tam_err err, const struct store_device *d, void *arg)
{
	(void)arg;
	ck_assert_int_eq(err, TAM_OK);
	loaded.done = true;
	loaded.device = d;
}

static const struct store_device *
load(const struct made *d)
{
	loaded.done = false;
	ck_assert(
	    device_load(batch, arena, 1, d->key,
	        clock_mono_us() + 20 * CLOCK_SECOND, on_loaded, NULL) != NULL);
	while (!loaded.done)
		(void)event_base_loop(base, EVLOOP_ONCE);
	ck_assert_ptr_nonnull(loaded.device);
	return loaded.device;
}

static struct policy_decision
decide(const struct policy_set *set, const struct made *m,
    const struct store_device *d, enum policy_attestation attestation)
{
	struct policy_request *requests =
	    arena_new_n(arena, d->n_requested, struct policy_request);
	struct device_shown shown = {.attestation = attestation,
	    .n_components = d->n_components,
	    .components =
	        device_components(arena, d->components, d->n_components),
	    .n_requested = d->n_requested,
	    .requested = requests};
	struct policy_facts facts;
	struct policy_decision decision;

	for (size_t i = 0; i < d->n_requested; i++)
		requests[i].component = d->requested[i];
	facts = device_facts(arena, SLICE_LIT("default"), d, &m->profile,
	    &shown, clock_wall_us());
	ck_assert_uint_eq(facts.update_max, m->update_max);
	policy_decide(set, &facts, arena, &decision);
	return decision;
}

/* It comes, with proof if it is asked for that, and shows what it showed
 * last.  Who failed fails again when it is asked in the session. */
static struct policy_decision
come(const struct policy_set *set, const struct made *m)
{
	const struct store_device *d = load(m);
	bool failed = slice_is(d->appraisal.result, "failed");
	enum policy_attestation result = failed ? POLICY_ATTEST_FAILED
	    : d->appraisal.result.n > 0         ? POLICY_ATTESTED
	                                        : POLICY_UNATTESTED;
	struct policy_decision decision;

	if (m->profile.asks_proof)
		return decide(set, m, d, result);
	decision = decide(set, m, d, POLICY_UNATTESTED);
	return failed && decision.needs_attestation &&
	        !policy_has_work(&decision)
	    ? decide(set, m, d, POLICY_ATTEST_FAILED)
	    : decision;
}

/* --- the API ---------------------------------------------------------------------------- */

static const struct api_route *
route_of(const char *name)
{
	const struct api_route *r = api_routes;

	while (strcmp(r->name, name) != 0)
		r++;
	return r;
}

/* Runs a handler in a transaction, as api_run() does, and reads its answer. */
static json_t *
ask(const char *route, const char *param, const char *body)
{
	struct api_request r = {.arena = arena,
	    .route = route_of(route),
	    .params = {param},
	    .body = slice_str(body),
	    .domain_id = 1,
	    .domain_text = "1",
	    .domain = arena_strdup(arena, SLICE_LIT("default")),
	    .sql = admin,
	    .crypto = crypto};
	json_t *answer;
	enum tam_err err;

	buf_init(&r.response, API_RESPONSE_MAX);
	ck_assert_int_eq(sql_script(admin, "BEGIN; SET LOCAL tam.domain = '1'"),
	    TAM_OK);
	ck_assert_int_eq(api_read_body(&r), TAM_OK);
	err = api_handlers[r.route - api_routes](&r);
	ck_assert_msg(err == TAM_OK, "%.*s", (int)r.response.n,
	    (const char *)r.response.p);
	ck_assert_int_eq(sql_script(admin, "ROLLBACK"), TAM_OK);
	answer = json_loadb((const char *)r.response.p, r.response.n, 0, NULL);
	ck_assert_ptr_nonnull(answer);
	buf_fini(&r.response);
	json_decref(r.json);
	return answer;
}

static json_t *
at(json_t *doc, const char *a, const char *b)
{
	json_t *v = json_object_get(doc, a);

	return b == NULL ? v : json_object_get(v, b);
}

#define SAME(what, a, b)                                                     \
	ck_assert_msg((a) == (b), "%s of %s: %lld said, %lld got: %s", what, \
	    m->name, (long long)(a), (long long)(b), text)

/* Returns whether it would get something. */
static bool
is_explained(const struct policy_set *set, const struct made *m)
{
	json_t *doc = ask("device_explain", m->name, "");
	json_t *sent = at(doc, "decision", "manifests");
	json_t *unlinked = at(doc, "decision", "unlinks");
	struct policy_decision d = come(set, m);
	char *text = json_dumps(doc, JSON_COMPACT);

	ck_assert_msg(strcmp(json_string_value(at(doc, "decision", "reason")),
	                  d.reason) == 0,
	    "%s: %s got, in %s", m->name, d.reason, text);
	SAME("needs_attestation",
	    json_is_true(at(doc, "decision", "needs_attestation")),
	    d.needs_attestation);
	SAME("offer", json_is_true(at(doc, "now", "offer")),
	    policy_has_work(&d));
	SAME("manifests", json_array_size(sent), d.n_manifests);
	SAME("unlinks", json_array_size(unlinked), d.n_unlinks);
	for (size_t i = 0; i < d.n_manifests; i++) {
		json_t *one = json_array_get(sent, i);
		char digest[65];

		hex_encode(d.manifests[i]->digest, digest);
		ck_assert_str_eq(json_string_value(
		                     json_object_get(one, "digest")),
		    digest);
		SAME("bytes", json_integer_value(json_object_get(one, "bytes")),
		    (json_int_t)d.envelopes[i].n);
	}
	for (size_t i = 0; i < d.n_unlinks; i++)
		ck_assert_str_eq(json_string_value(json_array_get(unlinked, i)),
		    suit_component_text(arena, d.unlinks[i]));
	free(text);
	json_decref(doc);
	return policy_has_work(&d);
}

static int64_t
bytes_of(const struct policy_decision *d)
{
	int64_t n = 0;

	for (size_t i = 0; i < d->n_manifests; i++)
		n += (int64_t)d->envelopes[i].n;
	return n;
}

/* A policy of the least priority, for this device alone: it can only add.  True if the device would get something by it. */
static bool
is_tried(const struct policy_set *before, const struct made *m)
{
	char *document =
	    policy_document(arena_printf(arena, "name == \\\"%s\\\"", m->name),
	        -1);
	json_t *doc = ask("policy_dry_run", "zz-tried", document), *kinds;
	char *text = json_dumps(doc, JSON_COMPACT), *error;
	struct policy_builder *b = NULL;
	struct policy_set *after;
	struct policy_decision was, then;

	error = arena_calloc(arena, 1, POLICY_ERROR_MAX);
	ck_assert_int_eq(policy_rows_begin(sql, "1", NULL, &b), TAM_OK);
	ck_assert_msg(policy_add_policy(b, "zz-tried", document,
	                  suit_component_parse, error),
	    "%s", error);
	after = policy_build(b);
	was = come(before, m);
	then = come(after, m);
	kinds = at(doc, "changes", NULL);
	SAME("considered", json_integer_value(at(doc, "considered", NULL)), 1);
	SAME("attest", json_integer_value(json_object_get(kinds, "attest")),
	    then.needs_attestation && !was.needs_attestation);
	if (was.n_manifests == 0) {
		SAME("send", json_integer_value(json_object_get(kinds, "send")),
		    then.n_manifests > 0);
		SAME("bytes", json_integer_value(at(doc, "bytes", NULL)),
		    bytes_of(&then));
	}
	if (was.n_unlinks == 0)
		SAME("unlink",
		    json_integer_value(json_object_get(kinds, "unlink")),
		    then.n_unlinks > 0);
	policy_set_unref(after);
	free(text);
	json_decref(doc);
	return then.n_manifests > was.n_manifests;
}

START_TEST(explain_and_dry_run_say_what_a_device_then_gets)
{
	struct device_profile profiles[4];
	struct policy_set *set;
	unsigned sent = 0;

	make_profiles(profiles);
	for (int i = 0; i < POLICIES; i++)
		RUN("INSERT INTO policy VALUES (1, $1, 1, $2::jsonb)",
		    arena_printf(arena, "policy-%d", i),
		    policy_document(PICK(selectors), (int)chance(4)));
	for (int i = 0; i < DEVICES; i++)
		make_device(i, profiles);
	ck_assert_int_eq(policy_rows_load(sql, "1", true, &set), TAM_OK);
	for (int i = 0; i < DEVICES; i++) {
		sent += is_explained(set, &made[i]);
		sent += is_tried(set, &made[i]);
	}
	/* Chance must not have made policies that say nothing. */
	ck_assert_uint_gt(sent, 0);
	policy_set_unref(set);
	policy_cache_clear();
}
END_TEST

/* --- what cannot be said is not done --------------------------------------------- */

static int64_t
count_of(const char *statement)
{
	struct sql_result *rows;
	int64_t n;

	ck_assert_int_eq(sql_exec(sql, statement, 0, NULL, &rows), TAM_OK);
	n = sql_int(rows, 0, 0);
	sql_result_free(rows);
	return n;
}

START_TEST(a_change_whose_answer_is_too_large_is_not_made)
{
	struct slice lines = test_file(arena,
	    arena_printf(arena, "%s/twenty.ndjson",
	        getenv("TAM_TEST_MANIFESTS")));
	struct api_request r = {.arena = arena,
	    .route = route_of("device_import"),
	    .sql = admin,
	    .crypto = crypto,
	    .body = lines,
	    .answer_max = 600};
	const char *token = getenv("TAM_TEST_TOKEN");

	api_run(&r, arena_printf(arena, "Bearer %s", token));
	ck_assert_int_eq(r.status, 413);
	ck_assert_msg(strstr((const char *)r.response.p, "too_large") != NULL,
	    "%s", (const char *)r.response.p);
	ck_assert_int_eq(count_of("SELECT count(*) FROM device"), 0);
	buf_fini(&r.response);

	r = (struct api_request){.arena = arena,
	    .route = route_of("device_import"),
	    .sql = admin,
	    .crypto = crypto,
	    .body = lines};
	api_run(&r, arena_printf(arena, "Bearer %s", token));
	ck_assert_int_eq(r.status, 200);
	ck_assert_msg(count_of("SELECT count(*) FROM device") == 20, "%.*s",
	    (int)r.response.n, (const char *)r.response.p);
	buf_fini(&r.response);
}
END_TEST

/* --- the profile a device comes by -------------------------------------------------------- */

START_TEST(the_profile_a_device_came_by_is_kept)
{
	static const struct device_profile any[4] = {{512, false}};
	int64_t deadline = clock_mono_us() + 20 * CLOCK_SECOND;
	const struct store_device *d;

	make_device(0, any);
	d = load(&made[0]);
	ck_assert(device_came_by(batch, 1, d->id, 77));
	do
		d = load(&made[0]);
	while (d->wire_id != 77 && clock_mono_us() < deadline);
	ck_assert_int_eq(d->wire_id, 77);
}
END_TEST

static void
setup(void)
{
	const char *seed = getenv("TAM_TEST_SEED");
	const char *conninfo = getenv("TAM_TEST_DATABASE");

	ck_assert_msg(conninfo != NULL, "run tests/integration/run.sh");
	state = seed == NULL ? (unsigned long long)clock_wall_us()
	                     : strtoull(seed, NULL, 10);
	(void)fprintf(stderr, "TAM_TEST_SEED=%llu\n", state);
	state |= 1;
	arena = arena_new_in(NULL);
	crypto = cose_crypto_new();
	sql = sql_new(conninfo, NULL, 60000, -1);
	admin = sql_new(conninfo, "tam_admin", 60000, -1);
	ck_assert_int_eq(sql_script(sql,
	                     "TRUNCATE device, manifest, policy CASCADE; "
	                     "DELETE FROM wire_profile WHERE domain_id = 1"),
	    TAM_OK);
	base = event_base_new();
	db = db_open(base, conninfo, NULL);
	batch = batch_open(base, db);
	while (!db_ready(db))
		(void)event_base_loop(base, EVLOOP_ONCE);
	for (int i = 0; i < MANIFESTS; i++)
		make_manifest(i);
}

static void
teardown(void)
{
	batch_close(batch);
	db_close(db);
	event_base_free(base);
	sql_free(admin);
	sql_free(sql);
	cose_crypto_free(crypto);
	arena_free(arena);
}

int
main(void)
{
	TCase *tc = tcase_create("explain");

	crypto_init();
	tcase_set_timeout(tc, 300);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, explain_and_dry_run_say_what_a_device_then_gets);
	tcase_add_test(tc, a_change_whose_answer_is_too_large_is_not_made);
	tcase_add_test(tc, the_profile_a_device_came_by_is_kept);
	return suite_main(tc);
}
