/*
 * selector.h - which devices a rule is about.
 *
 *	selector = "" | term *( "and" term )
 *	term     = field "==" string | field "in" "(" string *( "," string ) ")"
 *	field    = "class" | "labels." name
 *	string   = DQUOTE *( any character but DQUOTE ) DQUOTE
 *
 * A subset of the language that policies, rollouts and filters will share;
 * what is accepted here keeps its meaning there.  Compiled once, immutable.
 */
#ifndef POLICY_SELECTOR_H
#define POLICY_SELECTOR_H

#include "lib/base/slice.h"

struct selector;

/* What a selector can ask about a device; everything borrowed. */
struct selector_label {
	struct slice key, value;
};

struct selector_subject {
	struct slice class_name;
	size_t n_labels;
	const struct selector_label *labels;
};

enum {
	SELECTOR_MAX = 4096, /* bytes of its text */
	SELECTOR_ERROR_MAX = 160
};

/* NULL when it does not parse; `error` then says the column and what was
 * expected there. */
struct selector *selector_compile(const char *text,
    char error[SELECTOR_ERROR_MAX]);
void selector_free(struct selector *);

bool selector_matches(const struct selector *, const struct selector_subject *);

/* The class a device must have to match; empty when it need not have any
 * particular one.  What rules are indexed by. */
struct slice selector_class(const struct selector *);

#endif
