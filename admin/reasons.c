#include "config.h"

#include "admin/request.h"
#include "lib/base/utf8.h"

/* Why something is done: a text that says something, from the body or from
 * the query. */

static bool
has_control(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < 0x20 || s.p[i] == 0x7f)
			return true;
	}
	return false;
}

static enum tam_err
clean(struct api_request *r, const char *name, const char *text,
    const char **out)
{
	const char *pointer = arena_printf(r->arena, "/%s", name);
	struct slice s = slice_str(text);

	if (!utf8_valid(s))
		return api_problem(r, 422, "invalid_value", pointer,
		    "a reason must be UTF-8 text");
	s = utf8_trim(s);
	if (s.n == 0)
		return api_problem(r, 422, "invalid_value", pointer,
		    "a reason must not be blank");
	if (s.n > API_REASON_MAX)
		return api_problem(r, 422, "invalid_value", pointer,
		    "a reason must not be longer than %d bytes",
		    API_REASON_MAX);
	if (has_control(s))
		return api_problem(r, 422, "invalid_value", pointer,
		    "a reason must be one line without control characters");
	*out = arena_strdup(r->arena, s);
	return TAM_OK;
}

static enum tam_err
clean_query(struct api_request *r, const char *name, const char **out)
{
	const char *text = api_query_field(r->route, name, strlen(name)) == NULL
	    ? NULL
	    : api_query(r, name);

	return text == NULL ? TAM_OK : clean(r, name, text, out);
}

enum tam_err
api_read_reasons(struct api_request *r)
{
	const char *text = api_string(r, "reason");
	enum tam_err err;

	r->reason = "";
	r->alone = NULL;
	err = text != NULL ? clean(r, "reason", text, &r->reason)
	                   : clean_query(r, "reason", &r->reason);
	if (err == TAM_OK && text != NULL)
		(void)json_object_set_new(r->json, "reason",
		    json_string(r->reason));
	return err == TAM_OK ? clean_query(r, "alone", &r->alone) : err;
}
