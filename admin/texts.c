#include "config.h"

#include "admin/request.h"
#include "lib/base/text.h"
#include "lib/base/utf8.h"

/* Every text of a JSON document is one that may be kept (lib/base/text.h). */

enum {
	DEPTH_MAX = 64,
	SHOWN_MAX = 64 /* bytes of a name, in a problem */
};

/* Members whose value may have several lines. */
static bool
has_lines(const char *name)
{
	static const char *const names[] = {"public_key", "certificates", "crl",
	    "ca", "selector", "description"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(names[i], name) == 0)
			return true;
	}
	return false;
}

static const char *
fault_of_text(const char *text, size_t n, const char *name)
{
	return text_fault((struct slice){(const uint8_t *)text, n},
	    has_lines(name) ? TEXT_LINES : TEXT_LINE);
}

static const char *
fault_below(json_t *value, const char *name, unsigned depth)
{
	const char *key, *fault = NULL;
	json_t *item;
	size_t i;

	if (depth == DEPTH_MAX)
		return "is nested too deeply";
	if (json_is_string(value))
		return fault_of_text(json_string_value(value),
		    json_string_length(value), name);
	json_array_foreach(value, i, item)
	{
		fault = fault_below(item, name, depth + 1);
		if (fault != NULL)
			return fault;
	}
	json_object_foreach(value, key, item)
	{
		fault = fault_of_text(key, strlen(key), "");
		if (fault == NULL)
			fault = fault_below(item, key, depth + 1);
		if (fault != NULL)
			return fault;
	}
	return NULL;
}

const char *
api_text_fault(json_t *document)
{
	return fault_below(document, "", 0);
}

enum tam_err
api_check_texts(struct api_request *r, json_t *document)
{
	const char *key, *fault;
	json_t *value;

	if (!json_is_object(document))
		return TAM_OK;
	json_object_foreach(document, key, value)
	{
		fault = fault_of_text(key, strlen(key), "");
		if (fault != NULL)
			return api_problem(r, 422, "invalid_value", NULL,
			    "the name of a field %s", fault);
		fault = fault_below(value, key, 0);
		if (fault != NULL)
			return api_problem(r, 422, "invalid_value",
			    arena_printf(r->arena, "/%s", key), "%s %s",
			    arena_strdup(r->arena,
			        utf8_cut(slice_str(key), SHOWN_MAX)),
			    fault);
	}
	return TAM_OK;
}
