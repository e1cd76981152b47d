#include "config.h"

#include "policy/selector_program.h"
#include "policy/version.h"

/* A selector asked in memory.  Nothing is false but under "not". */

static bool
in_list(const struct selector_test *t, struct slice value)
{
	for (size_t i = 0; i < t->n; i++) {
		if (slice_eq(value, t->values[i]))
			return true;
	}
	return false;
}

static bool
in_numbers(const struct selector_test *t, int64_t value)
{
	for (size_t i = 0; i < t->n; i++) {
		if (value == t->numbers[i])
			return true;
	}
	return false;
}

static bool
ordered(enum selector_op op, int c)
{
	switch (op) {
	case OP_LT:
		return c < 0;
	case OP_LE:
		return c <= 0;
	case OP_GT:
		return c > 0;
	case OP_GE:
		return c >= 0;
	case OP_EXISTS:
	case OP_IN:
	default:
		return false;
	}
}

/* What is there, be it empty. */
static bool
test_value(const struct selector_test *t, struct slice value)
{
	if (t->op == OP_EXISTS)
		return true;
	if (t->op == OP_IN)
		return in_list(t, value);
	return ordered(t->op, version_cmp(value, t->values[0]));
}

/* Empty is nothing. */
static bool
test_text(const struct selector_test *t, struct slice value)
{
	return value.n > 0 && test_value(t, value);
}

static bool
test_number(const struct selector_test *t, int64_t value)
{
	if (t->op == OP_EXISTS)
		return true;
	if (t->op == OP_IN)
		return in_numbers(t, value);
	return ordered(t->op,
	    (value > t->numbers[0]) - (value < t->numbers[0]));
}

/* Zero is never. */
static bool
test_time(const struct selector_test *t, int64_t us, int64_t now_us)
{
	int64_t than;

	if (us == 0)
		return false;
	if (t->op == OP_EXISTS)
		return true;
	than = t->numbers[0] + (t->relative ? now_us : 0);
	return ordered(t->op, (us > than) - (us < than));
}

static bool
test_label(const struct selector_test *t, const struct selector_subject *d)
{
	for (size_t i = 0; i < d->n_labels; i++) {
		if (slice_eq(d->labels[i].key, t->of))
			return test_value(t, d->labels[i].value);
	}
	return false;
}

static bool
test_keys(const struct selector_test *t, const struct selector_subject *d)
{
	for (size_t i = 0; i < d->n_keys; i++) {
		if (test_text(t, d->keys[i]))
			return true;
	}
	return false;
}

static int
image_cmp(const struct policy_image *i, const struct policy_component *c)
{
	int r = slice_cmp(i->component, c->id);

	return r != 0 ? r : slice_cmp(i->digest, c->digest);
}

/* Some manifest that brings this very image passes. */
static bool
test_sequence(const struct selector_test *t, const struct selector_subject *d,
    const struct policy_component *c)
{
	size_t lo = 0, hi = d->n_images;

	if (c->digest.n == 0)
		return false;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (image_cmp(&d->images[mid], c) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < d->n_images && image_cmp(&d->images[lo], c) == 0; lo++) {
		if (test_number(t, (int64_t)d->images[lo].sequence))
			return true;
	}
	return false;
}

static bool
test_component(const struct selector_test *t, const struct selector_subject *d)
{
	for (size_t i = 0; i < d->n_components; i++) {
		const struct policy_component *c = &d->components[i];

		if (!slice_eq(c->id, t->of))
			continue;
		if (t->field == FIELD_component)
			return true;
		return t->field == FIELD_component_digest
		    ? test_text(t, c->digest)
		    : test_sequence(t, d, c);
	}
	return false;
}

static bool
test_requested(const struct selector_test *t, const struct selector_subject *d)
{
	for (size_t i = 0; i < d->n_requested; i++) {
		if (slice_eq(d->requested[i], t->of))
			return true;
	}
	return false;
}

static bool
test_result(const struct selector_test *t, struct slice result)
{
	if (result.n == 0 && t->op == OP_IN)
		return in_list(t, SLICE_LIT("none"));
	return test_text(t, result);
}

static bool
passes(const struct selector_test *t, const struct selector_subject *d)
{
	const struct selector_appraisal *a = &d->appraisal;
	bool appraised = a->result.n > 0;

	switch (t->field) {
	case FIELD_class:
		return test_text(t, d->class_name);
	case FIELD_name:
		return test_text(t, d->name);
	case FIELD_domain:
		return test_text(t, d->domain);
	case FIELD_status:
		return test_text(t, d->status);
	case FIELD_key:
		return test_keys(t, d);
	case FIELD_oemid:
		return appraised && test_text(t, a->oemid);
	case FIELD_ueid:
		return appraised && test_text(t, a->ueid);
	case FIELD_hwmodel:
		return appraised && test_text(t, a->hwmodel);
	case FIELD_hwversion:
		return appraised && test_text(t, a->hwversion);
	case FIELD_verifier:
		return appraised && test_text(t, a->verifier);
	case FIELD_attestation:
		return test_result(t, a->result);
	case FIELD_tier:
		return appraised && test_number(t, a->tier);
	case FIELD_attested:
		return appraised && test_time(t, a->at_us, d->now_us);
	case FIELD_first_seen:
		return test_time(t, d->first_seen_us, d->now_us);
	case FIELD_last_seen:
		return test_time(t, d->last_seen_us, d->now_us);
	case FIELD_label:
		return test_label(t, d);
	case FIELD_requested:
		return test_requested(t, d);
	case FIELD_component:
	case FIELD_component_digest:
	case FIELD_component_sequence:
	case FIELD_COUNT:
	default:
		return test_component(t, d);
	}
}

static bool
holds(const struct selector_node *n, const struct selector_subject *d)
{
	switch (n->kind) {
	case NODE_AND:
		return holds(n->left, d) && holds(n->right, d);
	case NODE_OR:
		return holds(n->left, d) || holds(n->right, d);
	case NODE_NOT:
		return !holds(n->left, d);
	case NODE_TEST:
		return passes(n->test, d);
	case NODE_TRUE:
	default:
		return true;
	}
}

bool
selector_matches(const struct selector *s, const struct selector_subject *d)
{
	return holds(s->root, d);
}
