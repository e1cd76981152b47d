/*
 * selector.h - which devices: one small language for policies, rollouts,
 * lists and changes of many (tam-selector(7) is its manual).
 *
 *	selector = "" | or
 *	or       = and *( "or" and )
 *	and      = not *( "and" not )
 *	not      = "not" not | "(" or ")" | "exists" field | test
 *	test     = field ( "==" | "!=" | "<" | "<=" | ">" | ">=" ) value
 *	         | field [ "not" ] "in" "(" value *( "," value ) ")"
 *	         | component                            it holds one
 *	         | "requested(" string ")"              it asked for one
 *	field    = name | "labels." word | "labels[" string "]"
 *	         | component ".sequence" | component ".digest"
 *	component = "component(" string ")"
 *	value    = string | number | "ago(" number unit ")"
 *
 * What a device does not have compares as nothing: every test of it is false
 * but "!=" and "not in", which are "not" of their opposites.  Text is ordered
 * as versions (version.h).
 *
 * A selector is compiled once and immutable.  It is asked in memory
 * (selector_matches) or of the database (selector_sql): the same devices
 * match, and tests/integration/test_selector.c holds both to it.
 */
#ifndef POLICY_SELECTOR_H
#define POLICY_SELECTOR_H

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/slice.h"

enum {
	SELECTOR_MAX = 4096, /* bytes of its text */
	SELECTOR_ERROR_MAX = 160,
	SELECTOR_TESTS_MAX = 64,
	SELECTOR_VALUES_MAX = 256, /* of one list */
	SELECTOR_SQL_PARAMS_MAX = 2 * SELECTOR_TESTS_MAX
};

struct selector;

/* Turns a component id's text into CBOR. */
typedef bool (*policy_parse_id)(struct arena *, const char *, struct slice *);

/* In the arena.  NULL when it does not parse; `error` then says the column and
 * what was expected there. */
struct selector *selector_compile(struct arena *, const char *text,
    policy_parse_id, char error[SELECTOR_ERROR_MAX]);

/* --- in memory --------------------------------------------------------------- */

struct policy_component {
	struct slice id;     /* component id, CBOR; compared as bytes */
	struct slice digest; /* of the image; empty when not known */
};

/* A manifest brings this image for that component; sorted by all three. */
struct policy_image {
	struct slice component, digest;
	uint64_t sequence;
};

struct selector_label {
	struct slice key, value;
};

/* The last appraisal; an empty slice is what it did not say. */
struct selector_appraisal {
	struct slice result; /* affirmed or failed; empty: there was none */
	struct slice verifier, oemid, ueid, hwmodel, hwversion;
	int64_t tier; /* RFC draft EAR: 0, 2, 32 or 96 */
	int64_t at_us;
};

/* Everything borrowed. */
struct selector_subject {
	struct slice domain, name, status, class_name;
	size_t n_labels, n_keys, n_components, n_images;
	const struct selector_label *labels;
	const struct slice *keys; /* thumbprints */
	const struct policy_component *components;
	const struct policy_image *images; /* the domain's */
	size_t n_requested;
	const struct slice *requested; /* component ids it asked for last */
	struct selector_appraisal appraisal;
	int64_t first_seen_us, last_seen_us; /* enrolled; last_seen 0: never */
	int64_t now_us;
};

bool selector_matches(const struct selector *, const struct selector_subject *);

/* Whether it matches the same devices for as long as nobody changes them:
 * it asks for nothing that time alone changes. */
bool selector_is_lasting(const struct selector *);

/* What of a device it needs to be told, beside what is always at hand. */
enum selector_asked {
	SELECTOR_ASKS_KEYS = 1,
	SELECTOR_ASKS_LABELS = 2,
	SELECTOR_ASKS_ENROLMENT = 4, /* when that was */
	SELECTOR_ASKS_APPRAISAL = 8,
	SELECTOR_ASKS_REQUESTS = 16
};
bool selector_asks(const struct selector *, enum selector_asked);

/*
 * What a device must have to match: a class or a label with one of the values.
 * What rules are indexed by.  The i-th of them; false when there are fewer.
 */
struct selector_need {
	struct slice label; /* empty: the class */
	size_t n;
	const struct slice *values;
};
bool selector_needs(const struct selector *, size_t i, struct selector_need *);

/* --- of the database ------------------------------------------------------------ */

/*
 * Appends a condition on rows d (device), s (device_seen) and a
 * (device_attestation, LEFT JOINed), and fills in its parameters, texts in the
 * arena, the first of which is $first.  How many there are.
 */
size_t selector_sql(const struct selector *, int64_t now_us, size_t first,
    struct arena *, struct buf *, const char **params);

#endif
