#include "config.h"

#include "admin/request.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "admin/conditions.h"
#include "admin/learn.h"
#include "admin/proposals.h"
#include "admin/retries.h"
#include "lib/base/hex.h"
#include "lib/base/log.h"
#include "lib/base/nearest.h"
#include "lib/base/utf8.h"
#include "lib/codec/crypto.h"
#include "storage/admin_statements.h"

/*
 * A request from sign-in to commit.  The handlers are in the files named
 * after their resources; nothing here knows one from the other.
 */

/* --- what handlers ask ------------------------------------------------------------ */

const char *
api_string(const struct api_request *r, const char *name)
{
	return json_string_value(json_object_get(r->json, name));
}

/* --- answers ------------------------------------------------------------------------ */

enum tam_err
api_problem(struct api_request *r, int status, const char *code,
    const char *pointer, const char *format, ...)
{
	char detail[512];
	va_list ap;
	json_t *doc, *where;
	char *text;

	va_start(ap, format);
	(void)vsnprintf(detail, sizeof(detail), format, ap);
	va_end(ap);
	utf8_repair(detail); /* it may be cut inside a character */
	doc = json_pack("{s:s, s:s, s:i, s:s, s:s}", "type", "about:blank",
	    "code", code, "status", status, "detail", detail, "request_id",
	    r->id);
	if (pointer != NULL) {
		where = json_pack("[{s:s, s:s}]", "pointer", pointer, "detail",
		    detail);
		(void)json_object_set_new(doc, "errors", where);
	}
	text = json_dumps(doc, JSON_COMPACT);
	buf_clear(&r->response);
	buf_add_str(&r->response, text == NULL ? "{}" : text);
	free(text);
	json_decref(doc);
	r->status = status;
	r->content_type = "application/problem+json";
	r->etag = NULL;
	return TAM_BAD_INPUT;
}

/* The message of an error, without its severity. */
static const char *
sentence_of(const char *error)
{
	const char *message = strstr(error, ":  ");

	return message == NULL ? error : message + 3;
}

/* What passes by itself or by an operator: each SQLSTATE, or its class. */
static bool
temporary_problem(struct api_request *r, const char *state)
{
	static const struct {
		const char *state, *code, *detail;
	} problems[] = {
	    {"40", "try_again", "another change was made at the same time"},
	    {"55P03", "locked", "something else holds a lock on it; try again"},
	    {"57014", "timed_out", "the database took too long; ask for less"},
	    {"25006", "read_only", "the database is read-only"},
	    {"01000", "not_replicated",
	        "the change was made, but no standby has it; look before you "
	        "try again"},
	    {"53", "database_unavailable",
	        "the database has no room, memory or connection left"},
	    {"57", "database_unavailable", "the database is stopping"},
	    {"58", "database_unavailable", "the database's system failed"},
	};

	for (size_t i = 0; i < sizeof(problems) / sizeof(problems[0]); i++) {
		if (strncmp(state, problems[i].state,
		        strlen(problems[i].state)) != 0)
			continue;
		(void)api_problem(r, 503, problems[i].code, NULL, "%s",
		    problems[i].detail);
		return true;
	}
	return false;
}

enum tam_err
api_sql_problem(struct api_request *r, enum tam_err err)
{
	const char *state = sql_state(r->sql);

	if (err != TAM_DATABASE_ERROR) {
		if (sql_refusal(r->sql) == SQL_STANDBY)
			(void)api_problem(r, 503, "read_only", NULL,
			    "the database is read-only: a standby, or a "
			    "primary that takes no changes");
		else
			(void)api_problem(r, 503, "database_unavailable", NULL,
			    "the database cannot be reached just now");
		return err;
	}
	log_warn("admin_sql", "state=%s error=\"%s\"", state,
	    sql_error(r->sql));
	if (strncmp(state, "23505", 5) == 0)
		(void)api_problem(r, 409, "conflict", NULL,
		    "it conflicts with something that is there");
	else if (strncmp(state, "23503", 5) == 0)
		(void)api_problem(r, 409, "in_use", NULL,
		    "something else still refers to it");
	else if (strncmp(state, "23", 2) == 0 || strncmp(state, "22", 2) == 0)
		(void)api_problem(r, 422, "invalid_value", NULL,
		    "a value is not one of those allowed");
	else if (strncmp(state, "54", 2) == 0)
		(void)api_problem(r, 422, "too_large", NULL,
		    "a value is larger than the database takes");
	else if (strcmp(state, "42501") == 0)
		(void)api_problem(r, 403, "forbidden", NULL, "%s",
		    sentence_of(sql_error(r->sql)));
	else if (!temporary_problem(r, state))
		(void)api_problem(r, 500, "internal", NULL,
		    "the database refused a statement");
	return err;
}

const api_handler api_handlers[API_ROUTE_COUNT] = {
#define X(id, ...) [API_##id] = api_##id,
    API_ROUTES(X)
#undef X
};

enum tam_err
api_exec(struct api_request *r, struct sql_result **out, const char *statement,
    size_t n, const char *const *params)
{
	enum tam_err err = sql_exec(r->sql, statement, n, params, out);

	return err == TAM_OK ? TAM_OK : api_sql_problem(r, err);
}

enum tam_err
api_one(struct api_request *r, const char *statement, size_t n,
    const char *const *params)
{
	struct sql_result *rows;
	enum tam_err err = api_exec(r, &rows, statement, n, params);

	if (err != TAM_OK)
		return err;
	if (sql_rows(rows) == 0) {
		sql_result_free(rows);
		return api_problem(r, 404, "not_found", NULL,
		    "there is no such object");
	}
	buf_add_str(&r->response, sql_text(rows, 0, 0));
	sql_result_free(rows);
	return TAM_OK;
}

enum {
	PAGE_BYTES = 4 << 20 /* a page ends behind the item that reaches them */
};

enum tam_err
api_list(struct api_request *r, int64_t limit, const char *statement, size_t n,
    const char *const *params)
{
	struct sql_result *rows;
	enum tam_err err = api_exec(r, &rows, statement, n, params);
	size_t count;
	bool more;

	if (err != TAM_OK)
		return err;
	count = sql_rows(rows);
	buf_add_str(&r->response, "{\"items\":[");
	more = count > 0 && count == (size_t)limit;
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			buf_add_str(&r->response, ",\n");
		buf_add_str(&r->response, sql_text(rows, i, 0));
		if (i + 1 < count && buf_slice(&r->response).n > PAGE_BYTES) {
			count = i + 1;
			more = true;
		}
	}
	buf_add_str(&r->response, "]");
	if (more)
		buf_printf(&r->response, ",\"cursor\":\"%s\"",
		    api_cursor_text(r, sql_text(rows, count - 1, 1)));
	buf_add_str(&r->response, "}");
	sql_result_free(rows);
	return TAM_OK;
}

enum tam_err
api_audit(struct api_request *r, const char *object, const char *reason,
    const char *before, const char *after)
{
	return API_EXEC(r, NULL, SQL_AUDIT, r->domain_text, r->principal,
	    r->route->name, object, reason == NULL ? "" : reason, r->id, before,
	    after);
}

enum tam_err
api_raise_epoch(struct api_request *r, int64_t *epoch)
{
	struct sql_result *rows;
	enum tam_err err = API_EXEC(r, &rows, SQL_RAISE_EPOCH, r->domain_text);

	if (err != TAM_OK)
		return err;
	if (epoch != NULL)
		*epoch = sql_int(rows, 0, 0);
	sql_result_free(rows);
	return TAM_OK;
}

/* --- the body ------------------------------------------------------------------------- */

enum {
	NAME_SHOWN_MAX = 64 /* bytes of a field's name, in a problem */
};

static bool
has_type(json_t *v, enum api_type type)
{
	size_t i;
	json_t *item;
	const char *key;

	switch (type) {
	case TYPE_STRING:
		return json_is_string(v);
	case TYPE_INTEGER:
		return json_is_integer(v);
	case TYPE_BOOLEAN:
		return json_is_boolean(v);
	case TYPE_STRINGS:
		if (!json_is_array(v))
			return false;
		json_array_foreach(v, i, item)
		{
			if (!json_is_string(item))
				return false;
		}
		return true;
	case TYPE_OBJECT:
	case TYPE_PATCH:
	default:
		if (!json_is_object(v))
			return false;
		json_object_foreach(v, key, item)
		{
			if (!json_is_string(item) &&
			    !(type == TYPE_PATCH && json_is_null(item)))
				return false;
		}
		return true;
	}
}

static const char *
type_name(enum api_type type)
{
	static const char *const names[] = {"a string", "a whole number",
	    "true or false", "an object of strings", "an array of strings",
	    "an object of strings and nulls"};

	return names[type];
}

static const struct api_field *
field_named(const struct api_field *fields, const char *name)
{
	for (; fields->name != NULL; fields++) {
		if (strcmp(fields->name, name) == 0)
			return fields;
	}
	return NULL;
}

/* A text of a field, and the name of a member. */
static bool
fits(const struct api_field *f, const char *text)
{
	return strlen(text) <= api_field_max(f);
}

static bool
all_fit(const struct api_field *f, json_t *value)
{
	const char *key;
	json_t *item;
	size_t i;

	if (json_is_string(value))
		return fits(f, json_string_value(value));
	json_array_foreach(value, i, item)
	{
		if (!fits(f, json_string_value(item)))
			return false;
	}
	json_object_foreach(value, key, item)
	{
		if (key[0] == '\0' || !fits(f, key) ||
		    (json_is_string(item) && !fits(f, json_string_value(item))))
			return false;
	}
	return true;
}

static enum tam_err
unknown_field(struct api_request *r, const char *name, const char *pointer)
{
	struct nearest near = {.name = name};

	for (const struct api_field *f = r->route->fields; f->name != NULL; f++)
		nearest_offer(&near, f->name);
	return near.found == NULL
	    ? api_problem(r, 422, "unknown_field", pointer,
	          "there is no field '%s'", name)
	    : api_problem(r, 422, "unknown_field", pointer,
	          "there is no field '%s'; the nearest is '%s'", name,
	          near.found);
}

static enum tam_err
check_field(struct api_request *r, const char *key, json_t *value)
{
	const struct api_field *f = field_named(r->route->fields, key);
	const char *name =
	    arena_strdup(r->arena, utf8_cut(slice_str(key), NAME_SHOWN_MAX));
	const char *pointer = arena_printf(r->arena, "/%s", name);

	if (f == NULL)
		return unknown_field(r, name, pointer);
	if (!has_type(value, f->type))
		return api_problem(r, 422, "wrong_type", pointer,
		    "%s must be %s", f->name, type_name(f->type));
	if (!all_fit(f, value))
		return api_problem(r, 422, "too_large", pointer,
		    "each text in %s must be of 1 to %zu bytes", f->name,
		    api_field_max(f));
	return TAM_OK;
}

static enum tam_err
check_fields(struct api_request *r)
{
	const struct api_field *f;
	const char *key;
	json_t *value;

	json_object_foreach(r->json, key, value)
	{
		enum tam_err err = check_field(r, key, value);

		if (err != TAM_OK)
			return err;
	}
	for (f = r->route->fields; f->name != NULL; f++) {
		if (f->required && json_object_get(r->json, f->name) == NULL)
			return api_problem(r, 422, "missing_field",
			    arena_printf(r->arena, "/%s", f->name),
			    "%s is missing: %s", f->name, f->help);
	}
	return TAM_OK;
}

/* What else is wrong with the document, its handler says. */
static enum tam_err
check_raw(struct api_request *r)
{
	json_t *document =
	    json_loadb((const char *)r->body.p, r->body.n, 0, NULL);
	enum tam_err err = api_check_texts(r, document);

	json_decref(document);
	return err;
}

enum tam_err
api_read_body(struct api_request *r)
{
	json_error_t where;
	enum tam_err err;

	if (r->route->body == BODY_RAW)
		return check_raw(r);
	if (r->route->body != BODY_JSON)
		return TAM_OK;
	r->json = json_loadb((const char *)r->body.p, r->body.n,
	    JSON_REJECT_DUPLICATES, &where);
	if (r->json == NULL)
		return api_problem(r, 400, "malformed_json", NULL,
		    "line %d, column %d: %s", where.line, where.column,
		    where.text);
	if (!json_is_object(r->json))
		return api_problem(r, 422, "wrong_type", "",
		    "the body must be a JSON object");
	err = api_check_texts(r, r->json);
	return err == TAM_OK ? check_fields(r) : err;
}

/* --- signing in -------------------------------------------------------------------------- */

int
api_role(const char *name)
{
	static const struct {
		const char *name;
		int role;
	} roles[] = {
	    {"viewer", ROLE_VIEWER},
	    {"operator", ROLE_OPERATOR},
	    {"policy-admin", ROLE_POLICY},
	    {"security", ROLE_SECURITY},
	    {"auditor", ROLE_AUDITOR},
	    {"admin", ROLE_ADMIN},
	};

	for (size_t i = 0; name != NULL && i < sizeof(roles) / sizeof(roles[0]);
	     i++) {
		if (strcmp(roles[i].name, name) == 0)
			return roles[i].role;
	}
	return 0;
}

/* Only the token's hash is compared, and only by an index: nothing to time. */
static enum tam_err
sign_in(struct api_request *r, const char *authorization)
{
	static const char scheme[] = "Bearer ";
	uint8_t hash[SHA256_SIZE];
	struct sql_result *rows;
	enum tam_err err;

	if (authorization == NULL ||
	    strncasecmp(authorization, scheme, sizeof(scheme) - 1) != 0)
		return api_problem(r, 401, "unauthenticated", NULL,
		    "a bearer token is needed");
	crypto_sha256(slice_str(authorization + sizeof(scheme) - 1), hash);
	r->token_hash = sql_bytea(r->arena, SLICE_OF(hash));
	err = API_EXEC(r, &rows, SQL_SIGN_IN, r->token_hash);
	if (err != TAM_OK)
		return err;
	if (sql_rows(rows) == 0) {
		sql_result_free(rows);
		return api_problem(r, 401, "unauthenticated", NULL,
		    "the token is unknown or has expired");
	}
	r->domain_id = (int32_t)sql_int(rows, 0, 0);
	(void)snprintf(r->domain_text, sizeof(r->domain_text), "%d",
	    r->domain_id);
	r->domain = arena_strdup(r->arena, slice_str(sql_text(rows, 0, 1)));
	r->principal = arena_strdup(r->arena, slice_str(sql_text(rows, 0, 2)));
	r->role = api_role(sql_text(rows, 0, 3));
	sql_result_free(rows);
	if ((r->role & r->route->roles) == 0)
		return api_problem(r, 403, "forbidden", NULL,
		    "this token's role may not do that");
	return TAM_OK;
}

/* --- the whole ------------------------------------------------------------------------------ */

/* Who acts is known to the database; in a domain that is suspended nobody
 * does. */
static enum tam_err
bind_actor(struct api_request *r)
{
	const char *why;
	enum tam_err err = API_EXEC(r, NULL, SQL_BIND_ACTOR, r->token_hash);

	if (err == TAM_OK)
		err = API_TEXT(r, &why, SQL_DOMAIN_SUSPENDED, r->domain_text);
	if (err != TAM_OK || why == NULL)
		return err;
	return api_problem(r, 403, "domain_suspended", NULL,
	    "this domain is suspended: %s", why);
}

/* Before the commit: what is refused was not done. */
static enum tam_err
check_answer(struct api_request *r)
{
	if (!r->response.full)
		return TAM_OK;
	if (strcmp(r->route->method, "GET") == 0)
		return api_problem(r, 500, "too_large", NULL,
		    "the answer is too large; ask for less");
	return api_problem(r, 413, "too_large", NULL,
	    "the answer would be too large, and nothing was changed; send "
	    "less at once");
}

/* What stands before every change; *done: there is an answer already. */
static enum tam_err
begin_change(struct api_request *r, bool *done)
{
	enum tam_err err = bind_actor(r);

	if (err == TAM_OK)
		err = retries_begin(r, done);
	if (err == TAM_OK && !*done)
		err = conditions_check(r);
	if (err == TAM_OK && !*done)
		err = proposal_stop(r, done);
	return err;
}

static enum tam_err
in_transaction(struct api_request *r)
{
	bool done = false;
	enum tam_err err = sql_script(r->sql, "BEGIN");

	if (err == TAM_OK)
		err = SQL_EXEC(r->sql, NULL, SQL_BIND_DOMAIN, r->domain_text);
	if (err != TAM_OK)
		return api_sql_problem(r, err);
	if (strcmp(r->route->method, "GET") != 0)
		err = begin_change(r, &done);
	if (err == TAM_OK && !done)
		err = api_handlers[r->route - api_routes](r);
	if (err == TAM_OK)
		err = check_answer(r);
	if (err == TAM_OK && !r->replayed)
		err = conditions_tag(r);
	if (err == TAM_OK && strcmp(r->route->method, "GET") != 0)
		err = retries_keep(r);
	if (err == TAM_OK) {
		err = sql_script(r->sql, "COMMIT");
		return err == TAM_OK ? TAM_OK : api_sql_problem(r, err);
	}
	if (sql_script(r->sql, "ROLLBACK") != TAM_OK)
		sql_drop(r->sql);
	return err;
}

/* A node that may not serve the database does not change it either: a change
 * raises the epoch, and would hide that the database was restored. */
static enum tam_err
may_change(struct api_request *r)
{
	if (r->refusal == NULL || strcmp(r->route->method, "GET") == 0)
		return TAM_OK;
	return api_problem(r, 503, "not_admitted", NULL,
	    "this node takes no change: %s; see tamctl db accept-restore",
	    r->refusal);
}

static void
begin_answer(struct api_request *r)
{
	r->status = 200;
	r->content_type = "application/json";
	buf_init(&r->response, API_RESPONSE_MAX);
}

static void
begin_again(struct api_request *r)
{
	r->status = 200;
	r->content_type = "application/json";
	r->etag = NULL;
	buf_clear(&r->response);
}

/* A connection that died unused is noticed only now. */
static enum tam_err
sign_in_once_more(struct api_request *r, const char *authorization)
{
	enum tam_err err = sign_in(r, authorization);

	if (err != TAM_NO_DATABASE)
		return err;
	begin_again(r);
	return sign_in(r, authorization);
}

void
api_sign_in(struct api_request *r, const char *authorization)
{
	begin_answer(r);
	(void)sign_in_once_more(r, authorization);
}

void
api_run(struct api_request *r, const char *authorization)
{
	enum tam_err err;

	r->status = 200;
	r->content_type = "application/json";
	buf_init(&r->response,
	    r->answer_max == 0 ? API_RESPONSE_MAX : r->answer_max);
	err = sign_in_once_more(r, authorization);
	if (err == TAM_OK)
		err = may_change(r);
	if (err == TAM_OK)
		err = api_read_query(r);
	if (err == TAM_OK)
		err = api_read_body(r);
	if (err == TAM_OK)
		err = api_read_reasons(r);
	if (err == TAM_OK)
		err = in_transaction(r);
	if (err == TAM_NO_DATABASE && strcmp(r->route->method, "GET") == 0) {
		begin_again(r); /* a read may be done twice */
		err = in_transaction(r);
	}
	if (err == TAM_OK && strcmp(r->route->method, "GET") != 0)
		log_info("admin", "request=%s actor=%s domain=%s action=%s",
		    r->id, r->principal, r->domain, r->route->name);
	json_decref(r->json);
}
