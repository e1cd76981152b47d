#include "config.h"

#include "policy/selector.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/mem.h"

enum {
	TERMS_MAX = 64,
	VALUES_MAX = 256
};

struct term {
	char *label; /* NULL: the class */
	char **values;
	size_t n;
};

struct selector {
	size_t n;
	struct term terms[TERMS_MAX];
};

/* --- parsing --------------------------------------------------------------- */

struct parser {
	const char *start, *p;
	char *error;
};

static bool
expected(struct parser *ps, const char *what)
{
	(void)snprintf(ps->error, SELECTOR_ERROR_MAX, "column %zu: expected %s",
	    (size_t)(ps->p - ps->start) + 1, what);
	return false;
}

static void
skip_blanks(struct parser *ps)
{
	while (*ps->p == ' ' || *ps->p == '\t' || *ps->p == '\n')
		ps->p++;
}

static bool
name_char(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '.';
}

static bool
accept_word(struct parser *ps, const char *word)
{
	size_t n = strlen(word);

	skip_blanks(ps);
	if (strncmp(ps->p, word, n) != 0 ||
	    (name_char(word[n - 1]) && name_char(ps->p[n])))
		return false;
	ps->p += n;
	return true;
}

static bool
parse_field(struct parser *ps, struct term *t)
{
	size_t n = 0;

	if (accept_word(ps, "class"))
		return true;
	skip_blanks(ps);
	if (strncmp(ps->p, "labels.", 7) != 0)
		return expected(ps, "class or labels.NAME");
	ps->p += 7;
	while (name_char(ps->p[n]))
		n++;
	if (n == 0)
		return expected(ps, "the name of a label");
	t->label = mem_dup((struct slice){(const uint8_t *)ps->p, n});
	ps->p += n;
	return true;
}

static bool
parse_string(struct parser *ps, struct term *t)
{
	size_t n;

	skip_blanks(ps);
	if (*ps->p != '"')
		return expected(ps, "a string in double quotes");
	n = strcspn(ps->p + 1, "\"");
	if (ps->p[n + 1] != '"')
		return expected(ps, "a closing double quote");
	if (t->n == VALUES_MAX)
		return expected(ps, "no more than 256 strings");
	t->values = mem_realloc(t->values, (t->n + 1) * sizeof(char *));
	t->values[t->n++] =
	    mem_dup((struct slice){(const uint8_t *)ps->p + 1, n});
	ps->p += n + 2;
	return true;
}

static bool
parse_list(struct parser *ps, struct term *t)
{
	if (!accept_word(ps, "("))
		return expected(ps, "(");
	do {
		if (!parse_string(ps, t))
			return false;
	} while (accept_word(ps, ","));
	return accept_word(ps, ")") || expected(ps, ", or )");
}

static bool
parse_term(struct parser *ps, struct term *t)
{
	if (!parse_field(ps, t))
		return false;
	if (accept_word(ps, "=="))
		return parse_string(ps, t);
	if (accept_word(ps, "in"))
		return parse_list(ps, t);
	return expected(ps, "== or in");
}

static bool
parse(struct parser *ps, struct selector *s)
{
	skip_blanks(ps);
	if (*ps->p == '\0')
		return true;
	do {
		if (s->n == TERMS_MAX)
			return expected(ps, "no more than 64 terms");
		s->n++;
		if (!parse_term(ps, &s->terms[s->n - 1]))
			return false;
	} while (accept_word(ps, "and"));
	skip_blanks(ps);
	return *ps->p == '\0' || expected(ps, "and, or the end");
}

struct selector *
selector_compile(const char *text, char error[SELECTOR_ERROR_MAX])
{
	struct parser ps = {text, text, error};
	struct selector *s = mem_new(struct selector);

	if (strlen(text) > SELECTOR_MAX) {
		(void)snprintf(error, SELECTOR_ERROR_MAX,
		    "column %d: expected the end", SELECTOR_MAX + 1);
	} else if (parse(&ps, s)) {
		return s;
	}
	selector_free(s);
	return NULL;
}

void
selector_free(struct selector *s)
{
	if (s == NULL)
		return;
	for (size_t i = 0; i < s->n; i++) {
		for (size_t j = 0; j < s->terms[i].n; j++)
			free(s->terms[i].values[j]);
		free(s->terms[i].values);
		free(s->terms[i].label);
	}
	free(s);
}

/* --- matching -------------------------------------------------------------- */

static bool
value_of(const struct term *t, const struct selector_subject *d,
    struct slice *out)
{
	if (t->label == NULL) {
		*out = d->class_name;
		return true;
	}
	for (size_t i = 0; i < d->n_labels; i++) {
		if (slice_is(d->labels[i].key, t->label)) {
			*out = d->labels[i].value;
			return true;
		}
	}
	return false;
}

static bool
term_matches(const struct term *t, const struct selector_subject *d)
{
	struct slice value;

	if (!value_of(t, d, &value))
		return false;
	for (size_t i = 0; i < t->n; i++) {
		if (slice_is(value, t->values[i]))
			return true;
	}
	return false;
}

bool
selector_matches(const struct selector *s, const struct selector_subject *d)
{
	for (size_t i = 0; i < s->n; i++) {
		if (!term_matches(&s->terms[i], d))
			return false;
	}
	return true;
}

struct slice
selector_class(const struct selector *s)
{
	for (size_t i = 0; i < s->n; i++) {
		if (s->terms[i].label == NULL && s->terms[i].n == 1)
			return slice_str(s->terms[i].values[0]);
	}
	return (struct slice){0};
}
