#include "config.h"

#include <stdio.h>

#include "lib/base/hex.h"
#include "policy/selector_program.h"

/*
 * A selector asked of the database: a condition with parameters only, never a
 * value in its text.  Every test is true or false, never null, so that "not"
 * means what it means in memory.
 */

struct writer {
	struct arena *arena;
	struct buf *out;
	int64_t now_us;
	size_t first, n;
	const char **params;
};

/* --- parameters ------------------------------------------------------------------ */

/* Its number. */
static size_t
add_param(struct writer *w, const char *text)
{
	w->params[w->n] = text;
	return w->first + w->n++;
}

static const char *
bytea(struct writer *w, struct slice v)
{
	return arena_printf(w->arena, "\\x%s", hex_dup(w->arena, v));
}

/* An element of a text array: quoted, with a backslash before what ends it. */
static void
add_quoted(struct buf *b, const char *text)
{
	buf_add_str(b, "\"");
	for (; *text != '\0'; text++) {
		if (*text == '"' || *text == '\\')
			buf_add_str(b, "\\");
		buf_add(b, text, 1);
	}
	buf_add_str(b, "\"");
}

static const char *
value_text(struct writer *w, const struct selector_test *t, size_t i)
{
	int64_t number;

	switch (selector_type_of(t->field)) {
	case TYPE_BYTES:
		return bytea(w, t->values[i]);
	case TYPE_TIER:
	case TYPE_NUMBER:
		return arena_printf(w->arena, "%lld", (long long)t->numbers[i]);
	case TYPE_TIME:
		number = t->numbers[i] + (t->relative ? w->now_us : 0);
		return arena_printf(w->arena, "%lld", (long long)number);
	case TYPE_TEXT:
	case TYPE_WORD:
	case TYPE_HELD:
	default:
		return arena_strdup(w->arena, t->values[i]);
	}
}

static size_t
add_list(struct writer *w, const struct selector_test *t)
{
	struct buf b;
	size_t place;

	buf_init(&b, (size_t)4 * SELECTOR_MAX);
	buf_add_str(&b, "{");
	for (size_t i = 0; i < t->n; i++) {
		if (i > 0)
			buf_add_str(&b, ",");
		add_quoted(&b, value_text(w, t, i));
	}
	buf_add_str(&b, "}");
	place = add_param(w, arena_strdup(w->arena, buf_slice(&b)));
	buf_fini(&b);
	return place;
}

/* --- tests ------------------------------------------------------------------------ */

static const char *
sign_of(enum selector_op op)
{
	switch (op) {
	case OP_LT:
		return "<";
	case OP_LE:
		return "<=";
	case OP_GT:
		return ">";
	case OP_GE:
		return ">=";
	case OP_EXISTS:
	case OP_IN:
	default:
		return "=";
	}
}

static const char *
sql_type(const struct selector_test *t)
{
	switch (selector_type_of(t->field)) {
	case TYPE_BYTES:
		return "bytea";
	case TYPE_TIER:
	case TYPE_TIME:
	case TYPE_NUMBER:
		return "int8";
	case TYPE_TEXT:
	case TYPE_WORD:
	case TYPE_HELD:
	default:
		return "text";
	}
}

/* What stands in `column`, which is neither null nor what means nothing. */
static void
compare(struct writer *w, const struct selector_test *t, const char *column)
{
	if (t->op == OP_EXISTS)
		buf_add_str(w->out, "true");
	else if (t->op == OP_IN)
		buf_printf(w->out, "%s = ANY ($%zu::%s[])", column,
		    add_list(w, t), sql_type(t));
	else if (selector_type_of(t->field) == TYPE_TEXT)
		buf_printf(w->out, "version_key(%s) %s version_key($%zu)",
		    column, sign_of(t->op), add_param(w, value_text(w, t, 0)));
	else
		buf_printf(w->out, "%s %s $%zu::%s", column, sign_of(t->op),
		    add_param(w, value_text(w, t, 0)), sql_type(t));
}

/* A column of d or s; `nothing` is the value that stands for none. */
static void
of_device(struct writer *w, const struct selector_test *t, const char *column,
    const char *nothing)
{
	if (nothing != NULL)
		buf_printf(w->out, "(%s <> %s AND ", column, nothing);
	compare(w, t, column);
	if (nothing != NULL)
		buf_add_str(w->out, ")");
}

static void
of_appraisal(struct writer *w, const struct selector_test *t,
    const char *column, const char *nothing)
{
	buf_add_str(w->out, "(a.device_id IS NOT NULL AND ");
	of_device(w, t, column, nothing);
	buf_add_str(w->out, ")");
}

static void
of_result(struct writer *w, const struct selector_test *t)
{
	if (t->op == OP_EXISTS)
		buf_add_str(w->out, "(a.device_id IS NOT NULL)");
	else
		compare(w, t, "coalesce(a.result, 'none')");
}

static void
of_label(struct writer *w, const struct selector_test *t)
{
	buf_printf(w->out,
	    "EXISTS (SELECT FROM device_label l WHERE l.domain_id = "
	    "d.domain_id AND l.device_id = d.device_id AND l.key = $%zu AND ",
	    add_param(w, arena_strdup(w->arena, t->of)));
	compare(w, t, "l.value");
	buf_add_str(w->out, ")");
}

static void
of_key(struct writer *w, const struct selector_test *t)
{
	buf_add_str(w->out,
	    "EXISTS (SELECT FROM device_key k WHERE k.domain_id = d.domain_id "
	    "AND k.device_id = d.device_id AND ");
	compare(w, t, "k.thumbprint");
	buf_add_str(w->out, ")");
}

static void
of_component(struct writer *w, const struct selector_test *t)
{
	size_t id = add_param(w, bytea(w, t->of));

	buf_printf(w->out,
	    "EXISTS (SELECT FROM device_component c %s"
	    "WHERE c.domain_id = d.domain_id AND c.device_id = d.device_id "
	    "AND c.component = $%zu::bytea AND ",
	    t->field == FIELD_component_sequence
	        ? "JOIN manifest_component m ON m.domain_id = c.domain_id AND "
	          "m.component = c.component AND m.image = c.digest "
	        : "",
	    id);
	if (t->field == FIELD_component_digest)
		buf_add_str(w->out, "c.digest IS NOT NULL AND ");
	compare(w, t,
	    t->field == FIELD_component_sequence ? "m.sequence" : "c.digest");
	buf_add_str(w->out, ")");
}

static void
of_request(struct writer *w, const struct selector_test *t)
{
	buf_printf(w->out,
	    "EXISTS (SELECT FROM device_request q WHERE q.domain_id = "
	    "d.domain_id AND q.device_id = d.device_id AND q.component = "
	    "$%zu::bytea)",
	    add_param(w, bytea(w, t->of)));
}

static void
write_test(struct writer *w, const struct selector_test *t)
{
	switch (t->field) {
	case FIELD_class:
		of_device(w, t, "d.class", "''");
		break;
	case FIELD_name:
		of_device(w, t, "d.name", "''");
		break;
	case FIELD_domain:
		of_device(w, t,
		    "(SELECT x.name FROM domain x WHERE x.domain_id = "
		    "d.domain_id)",
		    NULL);
		break;
	case FIELD_status:
		of_device(w, t, "d.status", "''");
		break;
	case FIELD_key:
		of_key(w, t);
		break;
	case FIELD_oemid:
		of_appraisal(w, t, "a.oemid", "''::bytea");
		break;
	case FIELD_ueid:
		of_appraisal(w, t, "a.ueid", "''::bytea");
		break;
	case FIELD_hwmodel:
		of_appraisal(w, t, "a.hwmodel", "''::bytea");
		break;
	case FIELD_hwversion:
		of_appraisal(w, t, "a.hwversion", "''");
		break;
	case FIELD_verifier:
		of_appraisal(w, t, "a.verifier", "''");
		break;
	case FIELD_attestation:
		of_result(w, t);
		break;
	case FIELD_tier:
		of_appraisal(w, t, "a.tier::int8", NULL);
		break;
	case FIELD_attested:
		of_appraisal(w, t, "a.at_us", "0");
		break;
	case FIELD_first_seen:
		of_device(w, t,
		    "(extract(epoch FROM d.enrolled_at) * 1000000)::int8",
		    NULL);
		break;
	case FIELD_last_seen:
		of_device(w, t, "s.seen_us", "0");
		break;
	case FIELD_label:
		of_label(w, t);
		break;
	case FIELD_requested:
		of_request(w, t);
		break;
	case FIELD_component:
	case FIELD_component_digest:
	case FIELD_component_sequence:
	case FIELD_COUNT:
	default:
		of_component(w, t);
	}
}

static void
write_node(struct writer *w, const struct selector_node *n)
{
	switch (n->kind) {
	case NODE_AND:
	case NODE_OR:
		buf_add_str(w->out, "(");
		write_node(w, n->left);
		buf_add_str(w->out, n->kind == NODE_AND ? " AND " : " OR ");
		write_node(w, n->right);
		buf_add_str(w->out, ")");
		break;
	case NODE_NOT:
		buf_add_str(w->out, "NOT ");
		write_node(w, n->left);
		break;
	case NODE_TEST:
		write_test(w, n->test);
		break;
	case NODE_TRUE:
	default:
		buf_add_str(w->out, "true");
	}
}

size_t
selector_sql(const struct selector *s, int64_t now_us, size_t first,
    struct arena *arena, struct buf *out, const char **params)
{
	struct writer w = {.arena = arena,
	    .out = out,
	    .now_us = now_us,
	    .first = first,
	    .params = params};

	buf_add_str(out, "(");
	write_node(&w, s->root);
	buf_add_str(out, ")");
	return w.n;
}
