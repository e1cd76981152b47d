#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/hex.h"
#include "policy/selector_program.h"

/*
 * From text to a tree of tests.  Each function reads what the grammar names
 * alike; NULL or false means that ps->error says what was expected where.
 */

enum {
	DEPTH_MAX = 32,
	ID_TEXT_MAX = 1024
};

struct parser {
	const char *start, *p;
	struct selector *out;
	policy_parse_id parse_id;
	char *error;
	unsigned depth;
};

static const struct {
	const char *name;
	enum selector_type type;
	bool lasting;
} fields[FIELD_COUNT] = {
#define X(name, type, lasting) {#name, TYPE_##type, lasting},
    SELECTOR_FIELDS(X)
#undef X
};

enum selector_type
selector_type_of(enum selector_field f)
{
	return fields[f].type;
}

/* --- words ------------------------------------------------------------------- */

static bool
expected_at(struct parser *ps, const char *where, const char *what)
{
	(void)snprintf(ps->error, SELECTOR_ERROR_MAX, "column %zu: expected %s",
	    (size_t)(where - ps->start) + 1, what);
	return false;
}

static bool
expected(struct parser *ps, const char *what)
{
	return expected_at(ps, ps->p, what);
}

static void
skip_blanks(struct parser *ps)
{
	while (
	    *ps->p == ' ' || *ps->p == '\t' || *ps->p == '\n' || *ps->p == '\r')
		ps->p++;
}

static bool
is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	    (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
}

/* A word, not the beginning of a longer one; or a sign. */
static bool
accept(struct parser *ps, const char *word)
{
	size_t n = strlen(word);

	skip_blanks(ps);
	if (strncmp(ps->p, word, n) != 0 ||
	    (is_name_char(word[n - 1]) && word[n - 1] != '.' &&
	        is_name_char(ps->p[n])))
		return false;
	ps->p += n;
	return true;
}

/* --- values -------------------------------------------------------------------- */

static bool
read_string(struct parser *ps, struct slice *out)
{
	char quote;
	const char *end;

	skip_blanks(ps);
	quote = *ps->p;
	if (quote != '"' && quote != '\'')
		return expected(ps, "a string in quotes");
	end = strchr(ps->p + 1, quote);
	if (end == NULL)
		return expected_at(ps, ps->p + strlen(ps->p),
		    quote == '"' ? "a closing double quote"
		                 : "a closing single quote");
	/* It ends in a NUL that does not count. */
	*out = slice_str(arena_strdup(ps->out->arena,
	    (struct slice){(const uint8_t *)ps->p + 1,
	        (size_t)(end - ps->p - 1)}));
	ps->p = end + 1;
	return true;
}

static bool
read_number(struct parser *ps, int64_t *out)
{
	int64_t v = 0;
	size_t n = 0;

	skip_blanks(ps);
	for (; ps->p[n] >= '0' && ps->p[n] <= '9'; n++) {
		if (n == 18)
			return expected(ps, "a number below 10^18");
		v = v * 10 + (ps->p[n] - '0');
	}
	if (n == 0)
		return expected(ps, "a whole number");
	ps->p += n;
	*out = v;
	return true;
}

static bool
read_bytes(struct parser *ps, struct slice *out)
{
	const char *at;
	struct slice text;
	uint8_t *bytes;
	size_t n = 0;

	skip_blanks(ps);
	at = ps->p;
	if (!read_string(ps, &text))
		return false;
	bytes = arena_alloc(ps->out->arena, text.n / 2 + 1);
	if (text.n == 0 ||
	    !hex_decode((const char *)text.p, text.n, bytes, text.n / 2 + 1,
	        &n))
		return expected_at(ps, at, "hexadecimal digits in quotes");
	*out = (struct slice){bytes, n};
	return true;
}

static bool
read_word(struct parser *ps, enum selector_field f, struct slice *out)
{
	static const char *const of_status[] = {"pending", "active",
	    "quarantined", "decommissioned", NULL};
	static const char *const of_attestation[] = {"none", "affirmed",
	    "failed", NULL};
	const char *const *words =
	    f == FIELD_status ? of_status : of_attestation;
	const char *at;

	skip_blanks(ps);
	at = ps->p;
	if (!read_string(ps, out))
		return false;
	for (; *words != NULL; words++) {
		if (slice_is(*out, *words))
			return true;
	}
	return expected_at(ps, at,
	    f == FIELD_status ? "\"pending\", \"active\", \"quarantined\" or "
	                        "\"decommissioned\""
	                      : "\"none\", \"affirmed\" or \"failed\"");
}

static bool
read_tier(struct parser *ps, int64_t *out)
{
	static const struct {
		const char *name;
		int64_t tier;
	} tiers[] = {{"none", 0}, {"affirming", 2}, {"warning", 32},
	    {"contraindicated", 96}};
	const char *at;
	struct slice name;

	skip_blanks(ps);
	at = ps->p;
	if (!read_string(ps, &name))
		return false;
	for (size_t i = 0; i < sizeof(tiers) / sizeof(tiers[0]); i++) {
		if (!slice_is(name, tiers[i].name))
			continue;
		*out = tiers[i].tier;
		return true;
	}
	return expected_at(ps, at,
	    "\"none\", \"affirming\", \"warning\" or \"contraindicated\"");
}

/* --- times ------------------------------------------------------------------------ */

static const int64_t second_us = 1000000;

/* Days from 1970-01-01 in the Gregorian calendar. */
static int64_t
days_of(int64_t y, int64_t m, int64_t d)
{
	int64_t era, doe;

	y -= m <= 2;
	era = y / 400;
	doe = (y - era * 400) * 365 + (y - era * 400) / 4 -
	    (y - era * 400) / 100 + (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d -
	    1;
	return era * 146097 + doe - 719468;
}

static bool
digits(const char **p, size_t n, int64_t min, int64_t max, int64_t *out)
{
	int64_t v = 0;

	for (size_t i = 0; i < n; i++) {
		if ((*p)[i] < '0' || (*p)[i] > '9')
			return false;
		v = v * 10 + ((*p)[i] - '0');
	}
	*p += n;
	*out = v;
	return v >= min && v <= max;
}

static bool
sign(const char **p, char c)
{
	if (**p != c)
		return false;
	++*p;
	return true;
}

static int64_t
days_in(int64_t year, int64_t month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30,
	    31};
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return days[month - 1] + (month == 2 && leap);
}

/* ".5", to nine digits; the microseconds of it.  None is none. */
static bool
fraction(const char **p, int64_t *us)
{
	int64_t unit = second_us / 10;
	size_t n = 0;

	*us = 0;
	if (!sign(p, '.'))
		return true;
	for (; **p >= '0' && **p <= '9'; ++*p, n++, unit /= 10)
		*us += (**p - '0') * unit;
	return n >= 1 && n <= 9;
}

/* The letters of RFC 3339, which may be small. */
static bool
letter(const char **p, char large)
{
	return sign(p, large) || sign(p, (char)(large + ('a' - 'A')));
}

/* RFC 3339, or its date alone, which means its beginning in UTC. */
static bool
parse_time(const char *p, int64_t *us)
{
	int64_t parts = 0, y, mon, d, h = 0, min = 0, s = 0, oh = 0, om = 0,
	        sgn = 1;

	if (!digits(&p, 4, 1970, 9999, &y) || !sign(&p, '-') ||
	    !digits(&p, 2, 1, 12, &mon) || !sign(&p, '-') ||
	    !digits(&p, 2, 1, days_in(y, mon), &d))
		return false;
	if (*p != '\0') {
		if (!letter(&p, 'T') || !digits(&p, 2, 0, 23, &h) ||
		    !sign(&p, ':') || !digits(&p, 2, 0, 59, &min) ||
		    !sign(&p, ':') || !digits(&p, 2, 0, 59, &s) ||
		    !fraction(&p, &parts))
			return false;
		if (*p == '+' || *p == '-') {
			sgn = *p++ == '+' ? 1 : -1;
			if (!digits(&p, 2, 0, 23, &oh) || !sign(&p, ':') ||
			    !digits(&p, 2, 0, 59, &om))
				return false;
		} else if (!letter(&p, 'Z')) {
			return false;
		}
		if (*p != '\0')
			return false;
	}
	*us =
	    (((days_of(y, mon, d) * 24 + h - sgn * oh) * 60 + min - sgn * om) *
	            60 +
	        s) *
	        second_us +
	    parts;
	return true;
}

static bool
read_ago(struct parser *ps, struct selector_test *t, int64_t *out)
{
	static const struct {
		const char *unit;
		int64_t s;
	} units[] = {{"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400},
	    {"w", 604800}};
	int64_t n;

	if (!read_number(ps, &n))
		return false;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (!accept(ps, units[i].unit))
			continue;
		if (n > INT64_C(3155760000) / units[i].s)
			return expected(ps, "no more than a hundred years");
		t->relative = true;
		*out = -n * units[i].s * second_us;
		return accept(ps, ")") || expected(ps, ")");
	}
	return expected(ps, "s, m, h, d or w");
}

static bool
read_time(struct parser *ps, struct selector_test *t, int64_t *out)
{
	struct slice text;
	const char *at;

	if (accept(ps, "ago("))
		return read_ago(ps, t, out);
	skip_blanks(ps);
	at = ps->p;
	if (*at != '"' && *at != '\'')
		return expected(ps, "a time in quotes, or ago(7d)");
	return read_string(ps, &text) &&
	    (parse_time((const char *)text.p, out) ||
	        expected_at(ps, at, "a time like \"2026-11-22T03:00:00Z\""));
}

/* --- tests -------------------------------------------------------------------------- */

/* For one more value: doubled where a power of two is full. */
static void
make_room(struct selector_test *t, struct arena *arena)
{
	struct slice *values;
	int64_t *numbers;

	if ((t->n & (t->n - 1)) != 0)
		return;
	values = arena_new_n(arena, 2 * t->n + 1, struct slice);
	numbers = arena_new_n(arena, 2 * t->n + 1, int64_t);
	for (size_t i = 0; i < t->n; i++) {
		values[i] = t->values[i];
		numbers[i] = t->numbers[i];
	}
	t->values = values;
	t->numbers = numbers;
}

static bool
read_value(struct parser *ps, struct selector_test *t)
{
	if (t->n == SELECTOR_VALUES_MAX)
		return expected(ps, "no more than 256 values");
	make_room(t, ps->out->arena);
	t->n++;
	switch (fields[t->field].type) {
	case TYPE_TEXT:
		return read_string(ps, &t->values[t->n - 1]);
	case TYPE_WORD:
		return read_word(ps, t->field, &t->values[t->n - 1]);
	case TYPE_BYTES:
		return read_bytes(ps, &t->values[t->n - 1]);
	case TYPE_TIER:
		return read_tier(ps, &t->numbers[t->n - 1]);
	case TYPE_TIME:
		return read_time(ps, t, &t->numbers[t->n - 1]);
	case TYPE_NUMBER:
		return read_number(ps, &t->numbers[t->n - 1]);
	case TYPE_HELD:
	default:
		return expected(ps, ".sequence or .digest");
	}
}

static bool
read_list(struct parser *ps, struct selector_test *t)
{
	if (!accept(ps, "("))
		return expected(ps, "(");
	do {
		if (!read_value(ps, t))
			return false;
	} while (accept(ps, ","));
	return accept(ps, ")") || expected(ps, ", or )");
}

/* "ID") */
static bool
read_id(struct parser *ps, struct selector_test *t)
{
	const char *at;
	struct slice text;

	skip_blanks(ps);
	at = ps->p;
	if (!read_string(ps, &text))
		return false;
	if (text.n > ID_TEXT_MAX ||
	    !ps->parse_id(ps->out->arena, (const char *)text.p, &t->of))
		return expected_at(ps, at, "a component id like \"vendor/ta\"");
	return accept(ps, ")") || expected(ps, ")");
}

static bool
read_component(struct parser *ps, struct selector_test *t)
{
	if (!read_id(ps, t))
		return false;
	t->field = FIELD_component;
	if (accept(ps, ".sequence"))
		t->field = FIELD_component_sequence;
	else if (accept(ps, ".digest"))
		t->field = FIELD_component_digest;
	return true;
}

static bool
read_label(struct parser *ps, struct selector_test *t)
{
	size_t n = 0;

	t->field = FIELD_label;
	if (accept(ps, "["))
		return read_string(ps, &t->of) &&
		    (accept(ps, "]") || expected(ps, "]"));
	if (*ps->p != '.')
		return expected(ps, ". or [ and the name of a label");
	ps->p++;
	while (is_name_char(ps->p[n]))
		n++;
	if (n == 0)
		return expected(ps, "the name of a label");
	t->of = arena_dup(ps->out->arena,
	    (struct slice){(const uint8_t *)ps->p, n});
	ps->p += n;
	return true;
}

static bool
read_field(struct parser *ps, struct selector_test *t)
{
	skip_blanks(ps);
	if (strncmp(ps->p, "labels", 6) == 0 &&
	    (ps->p[6] == '.' || ps->p[6] == '[' || ps->p[6] == ' ')) {
		ps->p += 6;
		return read_label(ps, t);
	}
	if (accept(ps, "component("))
		return read_component(ps, t);
	if (accept(ps, "requested(")) {
		t->field = FIELD_requested;
		return read_id(ps, t);
	}
	for (int f = 0; f < (int)FIELDS_NAMED; f++) {
		if (accept(ps, fields[f].name)) {
			t->field = (enum selector_field)f;
			return true;
		}
	}
	return expected(ps,
	    "a field: class, labels.NAME, name, status, component(\"ID\"), "
	    "hwversion, tier, last_seen, ...");
}

static const struct selector_node *
make_node(struct parser *ps, enum selector_node_kind kind,
    const struct selector_node *left, const struct selector_node *right)
{
	struct selector_node *n =
	    arena_new(ps->out->arena, struct selector_node);

	n->kind = kind;
	n->left = left;
	n->right = right;
	return n;
}

static bool
read_ordering(struct parser *ps, struct selector_test *t)
{
	static const struct {
		const char *sign;
		enum selector_op op;
	} orders[] = {{"<=", OP_LE}, {">=", OP_GE}, {"<", OP_LT}, {">", OP_GT}};
	enum selector_type type = fields[t->field].type;

	skip_blanks(ps);
	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
		const char *at = ps->p;

		if (!accept(ps, orders[i].sign))
			continue;
		t->op = orders[i].op;
		if (type == TYPE_WORD || type == TYPE_BYTES ||
		    type == TYPE_TIER)
			return expected_at(ps, at,
			    "==, != or in: this has no order");
		return read_value(ps, t);
	}
	return expected(ps, "==, !=, <, <=, >, >=, in or not in");
}

/* *negated: it is the opposite of what was read. */
static bool
read_comparison(struct parser *ps, struct selector_test *t, bool *negated)
{
	bool time = fields[t->field].type == TYPE_TIME;
	const char *at;

	t->op = OP_IN;
	skip_blanks(ps);
	at = ps->p;
	*negated = accept(ps, "not");
	if (!*negated && fields[t->field].type == TYPE_HELD) {
		t->op = OP_EXISTS;
		return true;
	}
	if (accept(ps, "in"))
		return time ? expected_at(ps, at, "<, <=, > or >= with a time")
		            : read_list(ps, t);
	if (*negated)
		return expected(ps, "in");
	if (accept(ps, "==") || (*negated = accept(ps, "!=")))
		return time ? expected_at(ps, at, "<, <=, > or >= with a time")
		            : read_value(ps, t);
	return read_ordering(ps, t);
}

static unsigned
asked_by(enum selector_field field)
{
	switch (field) {
	case FIELD_key:
		return SELECTOR_ASKS_KEYS;
	case FIELD_label:
		return SELECTOR_ASKS_LABELS;
	case FIELD_first_seen:
		return SELECTOR_ASKS_ENROLMENT;
	case FIELD_oemid:
	case FIELD_ueid:
	case FIELD_hwmodel:
	case FIELD_hwversion:
	case FIELD_verifier:
	case FIELD_attestation:
	case FIELD_tier:
	case FIELD_attested:
		return SELECTOR_ASKS_APPRAISAL;
	case FIELD_requested:
		return SELECTOR_ASKS_REQUESTS;
	case FIELD_class:
	case FIELD_name:
	case FIELD_domain:
	case FIELD_status:
	case FIELD_last_seen:
	case FIELD_component:
	case FIELD_component_digest:
	case FIELD_component_sequence:
	case FIELD_COUNT:
	default:
		return 0;
	}
}

static const struct selector_node *
read_test(struct parser *ps)
{
	struct selector_test *t =
	    arena_new(ps->out->arena, struct selector_test);
	struct selector_node *n =
	    arena_new(ps->out->arena, struct selector_node);
	bool exists = accept(ps, "exists"), negated = false;

	if (ps->out->n_tests++ == SELECTOR_TESTS_MAX) {
		(void)expected(ps, "no more than 64 tests");
		return NULL;
	}
	if (!read_field(ps, t))
		return NULL;
	if (exists)
		t->op = OP_EXISTS;
	else if (!read_comparison(ps, t, &negated))
		return NULL;
	n->kind = NODE_TEST;
	n->test = t;
	ps->out->lasting =
	    ps->out->lasting && fields[t->field].lasting && !t->relative;
	ps->out->asks |= asked_by(t->field);
	return negated ? make_node(ps, NODE_NOT, n, NULL) : n;
}

/* --- and, or, not ------------------------------------------------------------------------ */

static const struct selector_node *read_or(struct parser *);

static const struct selector_node *
read_not(struct parser *ps)
{
	const struct selector_node *n;

	if (ps->depth == DEPTH_MAX) {
		(void)expected(ps, "no more than 32 levels");
		return NULL;
	}
	ps->depth++;
	if (accept(ps, "not")) {
		n = read_not(ps);
		n = n == NULL ? NULL : make_node(ps, NODE_NOT, n, NULL);
	} else if (accept(ps, "(")) {
		n = read_or(ps);
		if (n != NULL && !accept(ps, ")")) {
			(void)expected(ps, "and, or, or )");
			n = NULL;
		}
	} else {
		n = read_test(ps);
	}
	ps->depth--;
	return n;
}

static const struct selector_node *
read_and(struct parser *ps)
{
	const struct selector_node *n = read_not(ps);

	while (n != NULL && accept(ps, "and")) {
		const struct selector_node *right = read_not(ps);

		n = right == NULL ? NULL : make_node(ps, NODE_AND, n, right);
	}
	return n;
}

static const struct selector_node *
read_or(struct parser *ps)
{
	const struct selector_node *n = read_and(ps);

	while (n != NULL && accept(ps, "or")) {
		const struct selector_node *right = read_and(ps);

		n = right == NULL ? NULL : make_node(ps, NODE_OR, n, right);
	}
	return n;
}

/* What every device that matches has: below "and" only. */
static void
find_needs(struct selector *s, const struct selector_node *n)
{
	const struct selector_test *t = n->test;

	if (n->kind == NODE_AND) {
		find_needs(s, n->left);
		find_needs(s, n->right);
	} else if (n->kind == NODE_TEST && t->op == OP_IN &&
	    (t->field == FIELD_class || t->field == FIELD_label)) {
		s->needs[s->n_needs++] = (struct selector_need){.label = t->of,
		    .n = t->n,
		    .values = t->values};
	}
}

static const struct selector_node *
read_all(struct parser *ps)
{
	const struct selector_node *n;

	skip_blanks(ps);
	if (*ps->p == '\0')
		return make_node(ps, NODE_TRUE, NULL, NULL);
	n = read_or(ps);
	skip_blanks(ps);
	if (n != NULL && *ps->p != '\0') {
		(void)expected(ps, "and, or, or the end");
		return NULL;
	}
	return n;
}

/* NOLINTBEGIN(readability-non-const-parameter): it is written to. */
struct selector *
selector_compile(struct arena *arena, const char *text,
    policy_parse_id parse_id, char error[SELECTOR_ERROR_MAX])
/* NOLINTEND(readability-non-const-parameter) */
{
	struct selector *s = arena_new(arena, struct selector);
	struct parser ps = {.start = text,
	    .p = text,
	    .out = s,
	    .parse_id = parse_id,
	    .error = error};

	s->arena = arena;
	s->lasting = true;
	if (strlen(text) > SELECTOR_MAX)
		(void)expected_at(&ps, text + SELECTOR_MAX, "the end");
	else
		s->root = read_all(&ps);
	if (s->root == NULL)
		return NULL;
	s->needs = arena_new_n(arena, s->n_tests, struct selector_need);
	find_needs(s, s->root);
	return s;
}

bool
selector_is_lasting(const struct selector *s)
{
	return s->lasting;
}

bool
selector_asks(const struct selector *s, enum selector_asked what)
{
	return (s->asks & (unsigned)what) != 0;
}

bool
selector_needs(const struct selector *s, size_t i, struct selector_need *out)
{
	if (i >= s->n_needs)
		return false;
	*out = s->needs[i];
	return true;
}
