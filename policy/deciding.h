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
	/* Manifests of one Update; the next Update brings the others. */
	DECIDING_MANIFESTS_MAX = 128
};

/* An id that is decided, and the rule that decided it. */
struct spoken {
	struct slice id;
	const char *speaker; /* NULL: the place is free */
};

struct deciding {
	const struct policy_set *set;
	const struct policy_facts *facts;
	struct selector_subject subject; /* with what the device holds */
	struct policy_decision *out;
	struct arena *arena;
	/* The ids that are decided already: a hash table with open addressing,
	 * whose room is a power of two. */
	struct spoken *spoken;
	size_t n_spoken, spoken_room;
	const char *speaker;
	bool too_large, downgrades, insufficient;
	const char *hold;  /* why what a rule wants is not sent now */
	const char *waits; /* the same, of any rule */
	int64_t until_us;
	struct policy_trace *trace; /* NULL: nobody asks why */
};

/* False: a rule before decided about this id. */
bool deciding_speak(struct deciding *, struct slice id);
/* The rule that decided about this id; NULL: none did. */
const char *deciding_speaker(const struct deciding *, struct slice id);

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
