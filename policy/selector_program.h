/*
 * selector_program.h - a compiled selector from the inside; for
 * policy/selector*.c.
 */
#ifndef POLICY_SELECTOR_PROGRAM_H
#define POLICY_SELECTOR_PROGRAM_H

#include "policy/selector.h"

/* What a test asks for, and with what it compares. */
enum selector_type {
	TYPE_TEXT,  /* ordered as versions */
	TYPE_WORD,  /* text of a fixed set, without order */
	TYPE_BYTES, /* hexadecimal digits, without order */
	TYPE_TIER,
	TYPE_TIME,
	TYPE_NUMBER,
	TYPE_HELD /* a component: there, or not */
};

/* name, type, lasting: every field but labels. */
#define SELECTOR_FIELDS(X)                  \
	X(class, TEXT, true)                \
	X(name, TEXT, true)                 \
	X(domain, TEXT, true)               \
	X(status, WORD, true)               \
	X(key, BYTES, true)                 \
	X(oemid, BYTES, true)               \
	X(ueid, BYTES, true)                \
	X(hwmodel, BYTES, true)             \
	X(hwversion, TEXT, true)            \
	X(verifier, TEXT, true)             \
	X(attestation, WORD, true)          \
	X(tier, TIER, true)                 \
	X(attested, TIME, false)            \
	X(first_seen, TIME, true)           \
	X(last_seen, TIME, false)           \
	X(label, TEXT, true)                \
	X(component, HELD, true)            \
	X(component_digest, BYTES, true)    \
	X(component_sequence, NUMBER, true) \
	X(requested, HELD, true)

enum selector_field {
#define X(name, type, lasting) FIELD_##name,
	SELECTOR_FIELDS(X)
#undef X
	FIELD_COUNT
};

enum {
	FIELDS_NAMED = FIELD_label /* those before it are words by themselves */
};

enum selector_op {
	OP_EXISTS,
	OP_IN, /* == is a list of one */
	OP_LT,
	OP_LE,
	OP_GT,
	OP_GE
};

struct selector_test {
	enum selector_field field;
	enum selector_op op;
	struct slice of;      /* the label's key, the component's id */
	bool relative;        /* numbers[0] is to be taken from now */
	size_t n;             /* values */
	struct slice *values; /* text or bytes; OP_LT to OP_GE have one */
	int64_t *numbers;     /* microseconds, sequence numbers, tiers */
};

enum selector_node_kind {
	NODE_TRUE,
	NODE_TEST,
	NODE_NOT,
	NODE_AND,
	NODE_OR
};

struct selector_node {
	enum selector_node_kind kind;
	struct selector_test *test;
	const struct selector_node *left, *right;
};

struct selector {
	struct arena *arena; /* of all of it */
	const struct selector_node *root;
	size_t n_tests;
	bool lasting;
	unsigned asks; /* enum selector_asked */
	size_t n_needs;
	struct selector_need *needs;
};

enum selector_type selector_type_of(enum selector_field);

#endif
