#include "config.h"

#include "admin/openapi.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "admin/table.h"

static json_t *
schema_of(enum api_type type)
{
	switch (type) {
	case TYPE_STRING:
		return json_pack("{s:s}", "type", "string");
	case TYPE_INTEGER:
		return json_pack("{s:s}", "type", "integer");
	case TYPE_BOOLEAN:
		return json_pack("{s:s}", "type", "boolean");
	case TYPE_STRINGS:
		return json_pack("{s:s, s:{s:s}}", "type", "array", "items",
		    "type", "string");
	case TYPE_OBJECT:
	case TYPE_PATCH:
	default:
		return json_pack("{s:s, s:{s:s}}", "type", "object",
		    "additionalProperties", "type", "string");
	}
}

static json_t *
fields_schema(const struct api_field *f)
{
	json_t *properties = json_object(), *required = json_array();

	for (; f->name != NULL; f++) {
		json_t *schema = schema_of(f->type);

		(void)json_object_set_new(schema, "description",
		    json_string(f->help));
		(void)json_object_set_new(properties, f->name, schema);
		if (f->required)
			(void)json_array_append_new(required,
			    json_string(f->name));
	}
	return json_pack("{s:s, s:o, s:o, s:b}", "type", "object", "properties",
	    properties, "required", required, "additionalProperties", 0);
}

static json_t *
body_of(const struct api_route *r)
{
	static const char *const types[] = {[BODY_NONE] = "",
	    [BODY_JSON] = "application/json",
	    [BODY_RAW] = "application/json",
	    [BODY_BYTES] = "application/suit-envelope+cose",
	    [BODY_FILE] = "application/octet-stream",
	    [BODY_NDJSON] = "application/x-ndjson"};
	json_t *schema =
	    r->fields != NULL ? fields_schema(r->fields) : json_object();

	return json_pack("{s:b, s:{s:{s:o}}}", "required", 1, "content",
	    types[r->body], "schema", schema);
}

static void
add_query(const struct api_route *r, json_t *list)
{
	static const char *const types[] = {[TYPE_STRING] = "string",
	    [TYPE_INTEGER] = "integer",
	    [TYPE_BOOLEAN] = "boolean"};
	const struct api_field *fields[API_QUERY_MAX];
	size_t n = api_query_fields(r, fields);

	for (size_t i = 0; i < n; i++)
		(void)json_array_append_new(list,
		    json_pack("{s:s, s:s, s:s, s:{s:s}}", "name",
		        fields[i]->name, "in", "query", "description",
		        fields[i]->help, "schema", "type",
		        types[fields[i]->type]));
}

/* Fields of the head that change what is done. */
static void
add_conditions(const struct api_route *r, json_t *list)
{
	static const struct {
		const char *name, *help;
	} fields[] = {
	    {"If-Match", "only if the ETag of the object is one of these"},
	    {"If-None-Match", "* : only if there is no such object"},
	    {"Idempotency-Key",
	        "sent again with the same key within a day, the request is "
	        "answered as it was and changes nothing"},
	};

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (strcmp(r->method, "GET") != 0)
			(void)json_array_append_new(list,
			    json_pack("{s:s, s:s, s:s, s:{s:s}}", "name",
			        fields[i].name, "in", "header", "description",
			        fields[i].help, "schema", "type", "string"));
	}
}

static json_t *
parameters_of(const struct api_route *r)
{
	json_t *list = json_array();
	const char *p = r->path;

	while ((p = strchr(p, '{')) != NULL) {
		size_t n = strcspn(p, "}");
		json_t *name = json_stringn(p + 1, n - 1);

		(void)json_array_append_new(list,
		    json_pack("{s:o, s:s, s:b, s:{s:s}}", "name", name, "in",
		        "path", "required", 1, "schema", "type", "string"));
		p += n;
	}
	add_query(r, list);
	add_conditions(r, list);
	return list;
}

static json_t *
roles_of(const struct api_route *r)
{
	static const struct {
		const char *name;
		int role;
	} roles[] = {{"admin", ROLE_ADMIN}, {"auditor", ROLE_AUDITOR},
	    {"operator", ROLE_OPERATOR}, {"policy-admin", ROLE_POLICY},
	    {"security", ROLE_SECURITY}, {"viewer", ROLE_VIEWER}};
	json_t *list = json_array();

	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
		if ((r->roles & roles[i].role) != 0)
			(void)json_array_append_new(list,
			    json_string(roles[i].name));
	}
	return list;
}

static json_t *
operation_of(const struct api_route *r)
{
	json_t *op = json_pack("{s:s, s:s, s:o, s:{s:{s:s}, s:{s:s}}}",
	    "operationId", r->name, "summary", r->summary, "parameters",
	    parameters_of(r), "responses", "200", "description", "done",
	    "default", "description", "problem+json (RFC 9457)");

	(void)json_object_set_new(op, "x-roles", roles_of(r));
	if ((r->roles & TWO_PERSONS) != 0)
		(void)json_object_set_new(op, "x-two-persons", json_true());
	if (api_two_persons_for(r) != NULL)
		(void)json_object_set_new(op, "x-two-persons-for",
		    json_string(api_two_persons_for(r)));
	if (r->body != BODY_NONE)
		(void)json_object_set_new(op, "requestBody", body_of(r));
	return op;
}

char *
openapi_document(void)
{
	json_t *paths = json_object(), *doc;
	char *text;

	for (size_t i = 0; i < API_ROUTE_COUNT; i++) {
		const struct api_route *r = &api_routes[i];
		json_t *path = json_object_get(paths, r->path);
		char method[16];
		size_t n = 0;

		if (path == NULL) {
			path = json_object();
			(void)json_object_set_new(paths, r->path, path);
		}
		for (; n < sizeof(method) - 1 && r->method[n] != '\0'; n++)
			method[n] = (char)tolower((unsigned char)r->method[n]);
		method[n] = '\0';
		(void)json_object_set_new(path, method, operation_of(r));
	}
	doc = json_pack("{s:s, s:{s:s, s:s}, s:o, s:{s:{s:{s:s, s:s}}}, "
	                "s:[{s:[]}]}",
	    "openapi", "3.1.0", "info", "title", "TAM admin API", "version",
	    PACKAGE_VERSION, "paths", paths, "components", "securitySchemes",
	    "bearer", "type", "http", "scheme", "bearer", "security", "bearer");
	text = json_dumps(doc, JSON_INDENT(1));
	json_decref(doc);
	return text;
}
