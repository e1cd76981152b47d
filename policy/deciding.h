/*
 * deciding.h - one decision on its way; for policy/ only.
 *
 * decide.c says what is to be, best rule first; wants.c compares that with
 * what the device holds, and puts into the decision what follows from it.
 * What a decision spoke of once is decided.
 */
#ifndef POLICY_DECIDING_H
#define POLICY_DECIDING_H

#include "policy/rules.h"

enum {
	WANTED_MAX = 128 /* things one decision can speak about */
};

struct deciding {
	const struct policy_set *set;
	const struct policy_facts *facts;
	struct selector_subject subject; /* with what the device holds */
	struct policy_decision *out;
	/* Ids that are decided already, and by whom. */
	struct slice spoken[WANTED_MAX];
	const char *speakers[WANTED_MAX];
	size_t n_spoken;
	const char *speaker;
	bool too_large, downgrades, insufficient;
	const char *hold;  /* why what a rule wants is not sent now */
	const char *waits; /* the same, of any rule */
	int64_t until_us;
	struct policy_trace *trace; /* NULL: nobody asks why */
};

/* False: somebody spoke about it before. */
bool deciding_speak(struct deciding *, struct slice id);

/* A manifest is to be there; what became of that, as a verdict of a trace. */
const char *deciding_want(struct deciding *, const struct policy_manifest *);
/* A component, or what a manifest of this id installs, is to be absent. */
const char *deciding_unwant(struct deciding *, struct slice id);
/* The same without asking who spoke: it is revoked. */
void deciding_unlink(struct deciding *, struct slice component);

/* Whether it is as it is to be already. */
bool deciding_satisfied(const struct policy_facts *,
    const struct policy_manifest *);
bool deciding_is_absent(const struct deciding *, struct slice id);

/* At the end: what comes first, in which form, and what is not lost. */
void deciding_settle(struct deciding *);

#endif
