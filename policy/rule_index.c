#include "config.h"

#include "policy/rule_index.h"

#include <stdlib.h>

#include "lib/base/mem.h"
#include "policy/rules.h"

struct posting {
	struct slice label, value; /* no label: the class */
	uint32_t rule;
};

struct rule_index {
	size_t n, n_any;
	struct posting *postings; /* sorted by all three */
	uint32_t *any;
};

static int
compare(struct slice label_a, struct slice value_a, struct slice label_b,
    struct slice value_b)
{
	int c = slice_cmp(label_a, label_b);

	return c != 0 ? c : slice_cmp(value_a, value_b);
}

static int
by_place(const void *a, const void *b)
{
	const struct posting *x = a, *y = b;
	int c = compare(x->label, x->value, y->label, y->value);

	return c != 0 ? c : (x->rule > y->rule) - (x->rule < y->rule);
}

static int
by_number(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* The first posting that is not before it, or that is behind it. */
static size_t
bound(const struct posting *p, size_t n, struct slice label, struct slice value,
    bool behind)
{
	size_t lo = 0, hi = n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int c = compare(p[mid].label, p[mid].value, label, value);

		if (c < 0 || (behind && c == 0))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static size_t
count_of(const struct posting *p, size_t n, struct slice label,
    struct slice value)
{
	return bound(p, n, label, value, true) -
	    bound(p, n, label, value, false);
}

static size_t
file(struct posting *to, const struct selector_need *need, uint32_t rule)
{
	for (size_t i = 0; i < need->n; i++)
		to[i] = (struct posting){need->label, need->values[i], rule};
	return need->n;
}

/* Everything that any rule needs. */
static struct posting *
all_needs(const struct rule *rules, size_t n, size_t *count)
{
	struct selector_need need;
	struct posting *all;
	size_t total = 0;

	for (size_t r = 0; r < n; r++) {
		for (size_t i = 0; selector_needs(rules[r].selector, i, &need);
		     i++)
			total += need.n;
	}
	all = mem_new_n(total + 1, struct posting);
	*count = 0;
	for (size_t r = 0; r < n; r++) {
		for (size_t i = 0; selector_needs(rules[r].selector, i, &need);
		     i++)
			*count += file(all + *count, &need, (uint32_t)r);
	}
	qsort(all, *count, sizeof(*all), by_place);
	return all;
}

/* The need whose commonest value the fewest rules share. */
static bool
rarest_need(const struct rule *rule, const struct posting *all, size_t n_all,
    struct selector_need *out)
{
	struct selector_need need;
	size_t best = SIZE_MAX;

	for (size_t i = 0; selector_needs(rule->selector, i, &need); i++) {
		size_t worst = 0;

		for (size_t v = 0; v < need.n; v++) {
			size_t n =
			    count_of(all, n_all, need.label, need.values[v]);

			worst = n > worst ? n : worst;
		}
		if (worst >= best)
			continue;
		best = worst;
		*out = need;
	}
	return best < SIZE_MAX;
}

struct rule_index *
rule_index_new(const struct rule *rules, size_t n)
{
	struct rule_index *x = mem_new(struct rule_index);
	size_t n_all;
	struct posting *all = all_needs(rules, n, &n_all);

	x->postings = mem_new_n(n_all + 1, struct posting);
	x->any = mem_new_n(n + 1, uint32_t);
	for (size_t r = 0; r < n; r++) {
		struct selector_need need;

		if (rarest_need(&rules[r], all, n_all, &need))
			x->n += file(x->postings + x->n, &need, (uint32_t)r);
		else
			x->any[x->n_any++] = (uint32_t)r;
	}
	free(all);
	qsort(x->postings, x->n, sizeof(*x->postings), by_place);
	return x;
}

void
rule_index_free(struct rule_index *x)
{
	if (x == NULL)
		return;
	free(x->postings);
	free(x->any);
	free(x);
}

static size_t
take(const struct rule_index *x, struct slice label, struct slice value,
    uint32_t *out)
{
	size_t first = bound(x->postings, x->n, label, value, false);
	size_t n = bound(x->postings, x->n, label, value, true) - first;

	for (size_t i = 0; out != NULL && i < n; i++)
		out[i] = x->postings[first + i].rule;
	return n;
}

static size_t
take_all(const struct rule_index *x, const struct selector_subject *d,
    uint32_t *out)
{
	size_t n = take(x, slice_none(), d->class_name, out);

	for (size_t i = 0; i < d->n_labels; i++)
		n += take(x, d->labels[i].key, d->labels[i].value,
		    out == NULL ? NULL : out + n);
	return n;
}

/* A list may name a value twice. */
static size_t
without_repeats(uint32_t *v, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		if (kept == 0 || v[kept - 1] != v[i])
			v[kept++] = v[i];
	}
	return kept;
}

size_t
rule_index_find(const struct rule_index *x, const struct selector_subject *d,
    struct arena *arena, uint32_t **out)
{
	size_t n = take_all(x, d, NULL);
	uint32_t *places =
	    arena_alloc(arena, (n + x->n_any + 1) * sizeof(*places));

	(void)take_all(x, d, places);
	for (size_t i = 0; i < x->n_any; i++)
		places[n++] = x->any[i];
	qsort(places, n, sizeof(*places), by_number);
	*out = places;
	return without_repeats(places, n);
}
