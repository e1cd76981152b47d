#include "config.h"

#include <assert.h>
#include <stdlib.h>

#include "admin/learn.h"
#include "lib/base/hex.h"
#include "lib/base/nearest.h"
#include "lib/base/number.h"
#include "lib/base/percent.h"
#include "lib/base/text.h"
#include "lib/base/utf8.h"

/*
 * The query of a request, as strict as its body: every parameter is one that
 * the route declares (table.c), given once, and of its type.  A mistyped
 * parameter that was passed over would change what is not meant, or list
 * everything.
 */

enum {
	PAGE = 100,
	PAGE_MAX = 500,
	SHOWN_MAX = 64 /* bytes of a name, in a problem */
};

/* --- reading ------------------------------------------------------------------------ */

static enum tam_err
malformed(struct api_request *r, const char *why)
{
	return api_problem(r, 400, "malformed_query", NULL,
	    "the query of this request %s", why);
}

static enum tam_err
unknown(struct api_request *r, const char *name)
{
	const struct api_field *fields[API_QUERY_MAX];
	size_t n = api_query_fields(r->route, fields);
	struct nearest near = {.name = name};

	for (size_t i = 0; i < n; i++)
		nearest_offer(&near, fields[i]->name);
	if (near.found != NULL)
		return api_problem(r, 422, "unknown_parameter", NULL,
		    "there is no parameter '%s'; the nearest is '%s'", name,
		    near.found);
	return api_problem(r, 422, "unknown_parameter", NULL,
	    "there is no parameter '%s' here", name);
}

/* Values that are words of a list; one that no row can have would answer an
 * empty list. */
static const struct {
	const char *name, *words[12];
} words[] = {
    {"status", {"pending", "active", "quarantined", "decommissioned"}},
    {"state",
        {"offered", "acknowledged", "verified", "refused", "manifest_failed",
            "attestation_failed", "no_answer", "not_effective", "retry",
            "away"}},
};

static const char *const *
words_of(const struct api_field *f)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(words[i].name, f->name) == 0)
			return words[i].words;
	}
	return NULL;
}

static enum tam_err
check_word(struct api_request *r, const struct api_field *f, const char *text)
{
	const char *const *list = words_of(f);
	const char *known = "";

	for (; list != NULL && *list != NULL; list++) {
		if (strcmp(*list, text) == 0)
			return TAM_OK;
		known = arena_printf(r->arena, "%s%s%s", known,
		    known[0] == '\0' ? "" : ", ", *list);
	}
	return known[0] == '\0' ? TAM_OK
	                        : api_problem(r, 422, "invalid_value",
	                              arena_printf(r->arena, "/%s", f->name),
	                              "%s must be one of %s", f->name, known);
}

static bool
has_type(const struct api_field *f, const char *text)
{
	int64_t ignored;

	switch (f->type) {
	case TYPE_INTEGER:
		return strcmp(f->name, "limit") == 0
		    ? number_parse(text, 1, PAGE_MAX, &ignored)
		    : number_parse(text, 0, INT64_MAX, &ignored);
	case TYPE_BOOLEAN:
		return strcmp(text, "true") == 0 || strcmp(text, "false") == 0;
	case TYPE_STRING:
	case TYPE_OBJECT:
	case TYPE_STRINGS:
	case TYPE_PATCH:
	default:
		return true;
	}
}

static enum tam_err
check_value(struct api_request *r, const struct api_field *f, struct slice text)
{
	const char *pointer = arena_printf(r->arena, "/%s", f->name);
	const char *fault = text_fault(text,
	    strcmp(f->name, "selector") == 0 ? TEXT_LINES : TEXT_LINE);

	if (fault != NULL)
		return api_problem(r, 422, "invalid_value", pointer, "%s %s",
		    f->name, fault);
	if (has_type(f, arena_strdup(r->arena, text)))
		return check_word(r, f, arena_strdup(r->arena, text));
	if (strcmp(f->name, "limit") == 0)
		return api_problem(r, 422, "wrong_type", pointer,
		    "limit must be a whole number from 1 to %d", PAGE_MAX);
	return api_problem(r, 422, "wrong_type", pointer, "%s must be %s",
	    f->name,
	    f->type == TYPE_BOOLEAN ? "true or false"
	                            : "a whole number from 0 up");
}

static enum tam_err
keep(struct api_request *r, struct slice name, struct slice value)
{
	const struct api_field *f =
	    api_query_field(r->route, (const char *)name.p, name.n);
	enum tam_err err;

	if (f == NULL)
		return unknown(r,
		    arena_strdup(r->arena, utf8_cut(name, SHOWN_MAX)));
	if (api_query(r, f->name) != NULL)
		return api_problem(r, 422, "duplicate_parameter",
		    arena_printf(r->arena, "/%s", f->name),
		    "%s is given more than once", f->name);
	err = check_value(r, f, value);
	if (err != TAM_OK)
		return err;
	assert(r->n_parameters < API_QUERY_MAX);
	r->parameters[r->n_parameters++] =
	    (struct api_parameter){f, arena_strdup(r->arena, value)};
	return TAM_OK;
}

/* Takes what is before the byte, and the byte. */
static struct slice
take_until(struct slice *rest, char byte)
{
	const uint8_t *end =
	    rest->n == 0 ? NULL : memchr(rest->p, byte, rest->n);
	struct slice out = {rest->p,
	    end == NULL ? rest->n : (size_t)(end - rest->p)};
	size_t used = out.n + (end != NULL);

	rest->p += used;
	rest->n -= used;
	return out;
}

enum tam_err
api_read_query(struct api_request *r)
{
	struct slice rest = r->query, pair, name, value;
	enum tam_err err = TAM_OK;

	r->n_parameters = 0;
	while (err == TAM_OK && rest.n > 0) {
		pair = take_until(&rest, '&');
		name = take_until(&pair, '=');
		if (!percent_decode_form(r->arena, name, &name) ||
		    !percent_decode_form(r->arena, pair, &value))
			return malformed(r, "is not well percent-encoded");
		if (text_fault(name, TEXT_LINE) != NULL)
			return malformed(r, "has a name that is no text");
		err = keep(r, name, value);
	}
	return err;
}

/* --- asking ------------------------------------------------------------------------- */

const char *
api_query(const struct api_request *r, const char *name)
{
	for (size_t i = 0; i < r->n_parameters; i++) {
		if (strcmp(r->parameters[i].field->name, name) == 0)
			return r->parameters[i].text;
	}
	return NULL;
}

int64_t
api_query_int(const struct api_request *r, const char *name, int64_t initial)
{
	const char *text = api_query(r, name);
	int64_t v = initial;

	/* Its type was checked when it was read. */
	if (text != NULL && !number_parse(text, 0, INT64_MAX, &v))
		abort();
	return v;
}

bool
api_query_true(const struct api_request *r, const char *name)
{
	const char *text = api_query(r, name);

	return text != NULL && strcmp(text, "true") == 0;
}

/* --- pages -------------------------------------------------------------------------- */

/* A cursor names its list, so that no other text, and no cursor of another
 * list, passes for one. */
const char *
api_cursor_text(const struct api_request *r, const char *key)
{
	return base64_dup(r->arena,
	    slice_str(arena_printf(r->arena, "%s %s", r->route->name, key)));
}

static bool
is_key(const char *key, const char *initial)
{
	int64_t ignored;
	bool numbers = number_parse(initial, 0, INT64_MAX, &ignored);

	return !numbers || number_parse(key, 0, INT64_MAX, &ignored);
}

/* Any text that a list could have given: names of old rows may hold what new
 * ones may not. */
static bool
is_text(struct slice s)
{
	return s.n == 0 || (memchr(s.p, '\0', s.n) == NULL && utf8_valid(s));
}

static bool
take_cursor(struct api_request *r, const char *text, struct api_paging *p)
{
	const char *list = r->route->name, *initial = p->after;
	size_t n = strlen(list);
	struct slice raw;

	if (!base64_decode(r->arena, slice_str(text), &raw) || !is_text(raw) ||
	    raw.n <= n || memcmp(raw.p, list, n) != 0 || raw.p[n] != ' ')
		return false;
	p->after = arena_strdup(r->arena,
	    (struct slice){raw.p + n + 1, raw.n - n - 1});
	return is_key(p->after, initial);
}

enum tam_err
api_paging_read(struct api_request *r, const char *initial,
    struct api_paging *out)
{
	const char *text = api_query(r, "cursor");

	out->limit = api_query_int(r, "limit", PAGE);
	out->limit_text = api_number(r, out->limit);
	out->after = initial;
	if (text == NULL || take_cursor(r, text, out))
		return TAM_OK;
	return api_problem(r, 422, "invalid_value", "/cursor",
	    "this is no cursor of this list: give the one that came with the "
	    "page before");
}

enum tam_err
api_page(struct api_request *r, const char *statement, const char *initial)
{
	struct api_paging page;
	enum tam_err err = api_paging_read(r, initial, &page);

	return err != TAM_OK
	    ? err
	    : API_LIST(r, page.limit, statement, page.after, page.limit_text);
}
