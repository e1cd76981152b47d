#include "config.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/hex.h"
#include "lib/codec/crypto.h"
#include "lib/codec/suit.h"
#include "policy/selector.h"
#include "policy/version.h"
#include "storage/sql.h"
#include "tests/support/suite.h"

/*
 * A selector means the same in memory and in the database: devices and
 * selectors are made by chance, of so few values that they often meet, and
 * asked both ways, the database as the role that asks in production.
 * TAM_TEST_SEED repeats a run.
 */

enum {
	DEVICES = 48,
	SELECTORS = 1500,
	TEXTS = 7
};

/* What values are made of; the awkward ones on purpose. */
static const char *const texts[TEXTS] = {"", "a", "1.0", "1.0-rc1", "1.10",
    "x\"y", "\\'{}"};
static const char *const words[] = {"region", "fw", "a b"};
static const char *const ids[] = {"v/ta", "v/0x00ff", "w"};
static const char *const images[] = {"", "0102", "ff"};
static const char *const statuses[] = {"pending", "active", "quarantined",
    "decommissioned"};
static const char *const days[] = {"2026-01-01", "2026-06-01T12:00:00Z",
    "2027-01-01T00:00:00-02:00"};
static const int64_t tiers[] = {0, 2, 32, 96};
static const char *const tier_names[] = {"none", "affirming", "warning",
    "contraindicated"};

static struct sql *sql;
static struct arena *arena;
static unsigned long long state;
static int64_t now_us;
static struct policy_image known[8];
static size_t n_known;

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

static struct slice
from_hex(const char *text)
{
	uint8_t *p = arena_alloc(arena, strlen(text) / 2 + 1);
	size_t n = 0;

	ck_assert(hex_decode(text, strlen(text), p, strlen(text) / 2 + 1, &n));
	return (struct slice){p, n};
}

static struct slice
from_id(const char *text)
{
	struct slice s;

	ck_assert(suit_component_parse(arena, text, &s));
	return s;
}

static void
run(const char *statement, size_t n, const char *const *params)
{
	ck_assert_msg(sql_exec(sql, statement, n, params, NULL) == TAM_OK,
	    "%s: %s", statement, sql_error(sql));
}
#define RUN(statement, ...)                                         \
	run((statement),                                            \
	    sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), \
	    (const char *[]){__VA_ARGS__})

static const char *
number(int64_t v)
{
	return arena_printf(arena, "%lld", (long long)v);
}

/* --- devices --------------------------------------------------------------------- */

static void
give_labels(struct selector_subject *d, const char *id)
{
	struct selector_label *l = arena_new_n(arena, 3, struct selector_label);

	d->labels = l;
	for (size_t i = 0; i < 3; i++) {
		const char *value = PICK(texts);

		if (chance(3) == 0)
			continue;
		l[d->n_labels++] = (struct selector_label){slice_str(words[i]),
		    slice_str(value)};
		RUN("INSERT INTO device_label VALUES (1, $1, $2, $3::int8)",
		    words[i], value, id);
	}
}

static void
give_components(struct selector_subject *d, const char *id)
{
	struct policy_component *c =
	    arena_new_n(arena, 3, struct policy_component);

	d->components = c;
	for (size_t i = 0; i < 3; i++) {
		const char *image = PICK(images);

		if (chance(2) == 0)
			continue;
		c[d->n_components++] =
		    (struct policy_component){from_id(ids[i]), from_hex(image)};
		RUN("INSERT INTO device_component VALUES (1, $1::int8, "
		    "$2::bytea, nullif($3, '\\x')::bytea, 'reported', 1)",
		    id, sql_bytea(arena, from_id(ids[i])),
		    arena_printf(arena, "\\x%s", image));
	}
}

static void
give_requests(struct selector_subject *d, const char *id)
{
	struct slice *requests = arena_new_n(arena, 3, struct slice);

	d->requested = requests;
	for (size_t i = 0; i < 3; i++) {
		if (chance(3) > 0)
			continue;
		requests[d->n_requested++] = from_id(ids[i]);
		RUN("INSERT INTO device_request VALUES (1, $1::int8, "
		    "$2::bytea)",
		    id, sql_bytea(arena, from_id(ids[i])));
	}
}

static void
give_appraisal(struct selector_subject *d, const char *id)
{
	struct selector_appraisal *a = &d->appraisal;

	if (chance(3) == 0)
		return;
	a->result = slice_str(chance(3) == 0 ? "failed" : "affirmed");
	a->verifier = slice_str(PICK(texts));
	a->tier = PICK(tiers);
	a->oemid = from_hex(PICK(images));
	a->ueid = from_hex(PICK(images));
	a->hwmodel = from_hex(PICK(images));
	a->hwversion = slice_str(PICK(texts));
	a->at_us = now_us - (int64_t)chance(3) * 86400 * CLOCK_SECOND;
	RUN("INSERT INTO device_attestation VALUES (1, $1::int8, 1, 1, "
	    "$2::int8, $3, '', $4, $5::int, $6::bytea, $7::bytea, $8::bytea, "
	    "$9)",
	    id, number(a->at_us), arena_strdup(arena, a->result),
	    arena_strdup(arena, a->verifier), number(a->tier),
	    sql_bytea(arena, a->oemid), sql_bytea(arena, a->ueid),
	    sql_bytea(arena, a->hwmodel), arena_strdup(arena, a->hwversion));
}

static void
give_key(struct selector_subject *d, const char *id, int i)
{
	struct slice *keys = arena_new_n(arena, 1, struct slice);

	keys[0] = from_hex(arena_printf(arena, "%04x", i));
	d->keys = keys;
	d->n_keys = 1;
	RUN("INSERT INTO device_key VALUES (1, $1::bytea, $2::int8, 'p256', "
	    "'')",
	    sql_bytea(arena, keys[0]), id);
}

static void
make_device(int i, struct selector_subject *d)
{
	const char *name = arena_printf(arena, "%s%d", PICK(texts), i);
	const char *class_name = PICK(texts), *status = PICK(statuses);
	struct sql_result *rows;
	const char *id;

	*d = (struct selector_subject){.domain = SLICE_LIT("default"),
	    .name = slice_str(name),
	    .class_name = slice_str(class_name),
	    .status = slice_str(status),
	    .first_seen_us =
	        now_us - (int64_t)chance(300) * 86400 * CLOCK_SECOND,
	    .last_seen_us = (int64_t)chance(2) *
	        (now_us - (int64_t)chance(9) * 3600 * CLOCK_SECOND),
	    .n_images = n_known,
	    .images = known,
	    .now_us = now_us};
	ck_assert_int_eq(
	    SQL_EXEC(sql, &rows,
	        "WITH d AS (INSERT INTO device (domain_id, name, class, "
	        "status, enrolled_at) VALUES (1, $1, $2, $3, "
	        "to_timestamp(0) + $4::int8 * interval '1 microsecond') "
	        "RETURNING device_id), s AS (INSERT INTO device_seen "
	        "(domain_id, device_id, seen_us) SELECT 1, device_id, $5::int8 "
	        "FROM d) SELECT device_id FROM d",
	        name, class_name, status, number(d->first_seen_us),
	        number(d->last_seen_us)),
	    TAM_OK);
	id = arena_strdup(arena, slice_str(sql_text(rows, 0, 0)));
	sql_result_free(rows);
	give_labels(d, id);
	give_components(d, id);
	give_requests(d, id);
	give_appraisal(d, id);
	give_key(d, id, i);
}

/* Two manifests bring one image, one another. */
static void
make_manifests(void)
{
	static const struct {
		const char *id, *image, *sequence;
	} all[] = {{"v/ta", "0102", "3"}, {"v/ta", "0102", "7"},
	    {"v/0x00ff", "ff", "5"}, {"w", "0102", "1"}};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		const char *digest = arena_printf(arena, "\\x%02zx", i);

		RUN("INSERT INTO manifest (domain_id, digest, component, "
		    "component_id, sequence, signer, envelope, components, "
		    "uploaded_by) VALUES (1, $1::bytea, $2, component_cbor($2), "
		    "$3::int8, '', '', '[]', '')",
		    digest, all[i].id, all[i].sequence);
		RUN("INSERT INTO manifest_component VALUES (1, $1::bytea, "
		    "component_cbor($2), $3::bytea, $4::int8)",
		    digest, all[i].id,
		    arena_printf(arena, "\\x%s", all[i].image),
		    all[i].sequence);
		known[n_known++] = (struct policy_image){from_id(all[i].id),
		    from_hex(all[i].image),
		    (uint64_t)strtoull(all[i].sequence, NULL, 10)};
	}
	for (size_t i = 1; i < n_known; i++) { /* as a policy_set has them */
		for (size_t k = i; k > 0 &&
		     slice_cmp(known[k - 1].component, known[k].component) > 0;
		     k--) {
			struct policy_image x = known[k];

			known[k] = known[k - 1];
			known[k - 1] = x;
		}
	}
}

/* --- selectors --------------------------------------------------------------------- */

static void
add_text(struct buf *b, const char *text)
{
	const char *quote = strchr(text, '"') == NULL ? "\"" : "'";

	buf_printf(b, "%s%s%s", quote, text, quote);
}

static void
add_list(struct buf *b, void (*value)(struct buf *))
{
	static const char *const signs[] = {"==", "!="};

	if (chance(2) == 0) {
		buf_printf(b, " %s ", PICK(signs));
		value(b);
		return;
	}
	buf_printf(b, "%s in (", chance(3) == 0 ? " not" : "");
	value(b);
	while (chance(2) == 0) {
		buf_add_str(b, ", ");
		value(b);
	}
	buf_add_str(b, ")");
}

static void
any_text(struct buf *b)
{
	const char *text = PICK(texts);

	add_text(b, strchr(text, '\'') == NULL ? text : "a");
}

static void
any_image(struct buf *b)
{
	const char *image = PICK(images);

	add_text(b, image[0] == '\0' ? "0001" : image);
}

static void
any_status(struct buf *b)
{
	add_text(b, PICK(statuses));
}

static void
any_result(struct buf *b)
{
	static const char *const results[] = {"none", "affirmed", "failed"};

	add_text(b, PICK(results));
}

static void
any_tier(struct buf *b)
{
	add_text(b, PICK(tier_names));
}

static void
any_number(struct buf *b)
{
	buf_printf(b, "%u", chance(9));
}

static const char *
order(void)
{
	static const char *const signs[] = {"<", "<=", ">", ">="};

	return PICK(signs);
}

static void
add_text_test(struct buf *b)
{
	if (chance(2) == 0) {
		buf_printf(b, " %s ", order());
		any_text(b);
	} else {
		add_list(b, any_text);
	}
}

static void
add_time_test(struct buf *b)
{
	buf_printf(b, " %s ", order());
	if (chance(2) == 0)
		add_text(b, PICK(days));
	else
		buf_printf(b, "ago(%u%c)", chance(9), "smhdw"[chance(5)]);
}

static void
add_component_test(struct buf *b)
{
	buf_printf(b, "component(\"%s\")", PICK(ids));
	switch (chance(4)) {
	case 0:
		buf_add_str(b, ".digest");
		add_list(b, any_image);
		break;
	case 1:
		buf_add_str(b, ".sequence");
		add_list(b, any_number);
		break;
	case 2:
		buf_printf(b, ".sequence %s %u", order(), chance(9));
		break;
	default:
		break;
	}
}

static void
add_test(struct buf *b)
{
	static const char *const of_text[] = {"class", "name", "domain",
	    "hwversion", "verifier"};
	static const char *const of_bytes[] = {"oemid", "ueid", "hwmodel",
	    "key"};
	static const char *const of_time[] = {"attested", "first_seen",
	    "last_seen"};
	static const char *const any[] = {"class", "labels.region",
	    "labels[\"a b\"]", "ueid", "hwversion", "attestation", "tier",
	    "last_seen", "component(\"w\")", "component(\"v/ta\").digest",
	    "component(\"v/ta\").sequence", "requested(\"v/ta\")"};

	switch (chance(10)) {
	case 0:
		buf_add_str(b, PICK(of_text));
		add_text_test(b);
		break;
	case 1:
		buf_add_str(b, PICK(of_bytes));
		add_list(b, any_image);
		break;
	case 2:
		buf_add_str(b, PICK(of_time));
		add_time_test(b);
		break;
	case 3:
		buf_printf(b, "labels[\"%s\"]", PICK(words));
		add_text_test(b);
		break;
	case 4:
		buf_add_str(b, "status");
		add_list(b, any_status);
		break;
	case 5:
		buf_add_str(b, "attestation");
		add_list(b, any_result);
		break;
	case 6:
		buf_add_str(b, "tier");
		add_list(b, any_tier);
		break;
	case 7:
		buf_printf(b, "exists %s", PICK(any));
		break;
	case 8:
		buf_printf(b, "requested(\"%s\")", PICK(ids));
		break;
	default:
		add_component_test(b);
	}
}

static void
add_expression(struct buf *b, unsigned depth)
{
	if (depth == 0 || chance(3) == 0) {
		add_test(b);
	} else if (chance(4) == 0) {
		buf_add_str(b, "not (");
		add_expression(b, depth - 1);
		buf_add_str(b, ")");
	} else {
		buf_add_str(b, "(");
		add_expression(b, depth - 1);
		buf_add_str(b, chance(2) == 0 ? " and " : " or ");
		add_expression(b, depth - 1);
		buf_add_str(b, ")");
	}
}

/* --- both ways ------------------------------------------------------------------------- */

/* Names in order, with commas. */
static char *
in_database(const struct selector *s)
{
	const char *params[SELECTOR_SQL_PARAMS_MAX];
	struct sql_result *rows;
	struct buf b;
	char *names;
	size_t n;

	buf_init(&b, 1 << 20);
	buf_add_str(&b,
	    "SELECT coalesce(string_agg(d.name, ',' ORDER BY d.device_id), '') "
	    "FROM device d JOIN device_seen s USING (domain_id, device_id) "
	    "LEFT JOIN device_attestation a USING (domain_id, device_id) "
	    "WHERE ");
	n = selector_sql(s, now_us, 1, arena, &b, params);
	ck_assert_msg(sql_exec(sql, arena_strdup(arena, buf_slice(&b)), n,
	                  params, &rows) == TAM_OK,
	    "%s: %s", sql_error(sql), arena_strdup(arena, buf_slice(&b)));
	names = arena_strdup(arena, slice_str(sql_text(rows, 0, 0)));
	sql_result_free(rows);
	buf_fini(&b);
	return names;
}

static char *
in_memory(const struct selector *s, const struct selector_subject *d, size_t n)
{
	struct buf b;
	char *names;

	buf_init(&b, 1 << 20);
	for (size_t i = 0; i < n; i++) {
		if (!selector_matches(s, &d[i]))
			continue;
		if (b.n > 0)
			buf_add_str(&b, ",");
		buf_add_slice(&b, d[i].name);
	}
	names = arena_strdup(arena, buf_slice(&b));
	buf_fini(&b);
	return names;
}

START_TEST(a_selector_means_the_same_in_memory_and_in_the_database)
{
	struct selector_subject *d =
	    arena_new_n(arena, DEVICES, struct selector_subject);
	size_t some = 0;

	ck_assert_int_eq(sql_script(sql, "TRUNCATE device CASCADE"), TAM_OK);
	make_manifests();
	for (int i = 0; i < DEVICES; i++)
		make_device(i, &d[i]);
	ck_assert_int_eq(sql_script(sql,
	                     "SET ROLE tam_admin; SET tam.domain = '1'"),
	    TAM_OK);
	for (int i = 0; i < SELECTORS; i++) {
		char error[SELECTOR_ERROR_MAX];
		struct selector *s;
		struct buf b;
		char *text, *memory, *database;

		buf_init(&b, 1 << 16);
		add_expression(&b, 3);
		text = arena_strdup(arena, buf_slice(&b));
		buf_fini(&b);
		s = selector_compile(arena, text, suit_component_parse, error);
		ck_assert_msg(s != NULL, "%s: %s", text, error);
		memory = in_memory(s, d, DEVICES);
		database = in_database(s);
		ck_assert_msg(strcmp(memory, database) == 0,
		    "%s\nmemory: %s\ndatabase: %s", text, memory, database);
		some += memory[0] != '\0';
	}
	/* Chance must not have made selectors that nothing matches. */
	ck_assert_uint_gt(some, SELECTORS / 3);
}
END_TEST

START_TEST(versions_are_ordered_alike)
{
	static const char *const parts[] = {"0", "1", "00", "9", "10", "a",
	    "rc", "B", ".", "-", ".0", "é", "+", "v", "V",
	    "99999999999999999999"};

	for (int i = 0; i < 3000; i++) {
		char *v[2];
		struct sql_result *rows;
		int expected;

		for (int k = 0; k < 2; k++) {
			v[k] = arena_strdup(arena, slice_none());
			for (unsigned n = chance(7); n > 0; n--)
				v[k] = arena_printf(arena, "%s%s", v[k],
				    PICK(parts));
		}
		expected = version_cmp(slice_str(v[0]), slice_str(v[1]));
		expected = (expected > 0) - (expected < 0);
		ck_assert_int_eq(SQL_EXEC(sql, &rows,
		                     "SELECT CASE WHEN a < b THEN -1 WHEN a = "
		                     "b THEN 0 ELSE 1 END FROM (SELECT "
		                     "version_key($1) AS a, version_key($2) AS "
		                     "b) x",
		                     v[0], v[1]),
		    TAM_OK);
		ck_assert_msg(sql_int(rows, 0, 0) == expected,
		    "%s and %s: %d in memory", v[0], v[1], expected);
		sql_result_free(rows);
	}
}
END_TEST

static void
setup(void)
{
	const char *seed = getenv("TAM_TEST_SEED");

	state = seed == NULL ? (unsigned long long)clock_wall_us()
	                     : strtoull(seed, NULL, 10);
	(void)fprintf(stderr, "TAM_TEST_SEED=%llu\n", state);
	state |= 1;
	now_us = INT64_C(1795305600000000); /* 2026-11-22 */
	arena = arena_new_in(NULL);
	sql = sql_new(getenv("TAM_TEST_DATABASE"), NULL, 60000, -1);
}

static void
teardown(void)
{
	sql_free(sql);
	arena_free(arena);
}

int
main(void)
{
	TCase *tc = tcase_create("selector");

	crypto_init();
	tcase_set_timeout(tc, 300);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc,
	    a_selector_means_the_same_in_memory_and_in_the_database);
	tcase_add_test(tc, versions_are_ordered_alike);
	return suite_main(tc);
}
