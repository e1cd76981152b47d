/*
 * request.h - one admin request, on the thread that may wait for it.
 *
 * A handler runs inside a transaction that is bound to the principal's
 * domain; it fills the response and says what happened.  TAM_OK commits;
 * anything else rolls back, so that a refused request changed nothing.
 */
#ifndef ADMIN_REQUEST_H
#define ADMIN_REQUEST_H

#include <jansson.h>

#include "admin/table.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/codec/cose.h"
#include "storage/sql.h"

enum {
	API_PARAMS_MAX = 2,
	API_RESPONSE_MAX = 64 << 20
};

/* A parameter of the query, of its field's type. */
struct api_parameter {
	const struct api_field *field;
	const char *text;
};

struct api_request {
	struct arena *arena;
	const struct api_route *route;
	const char *params[API_PARAMS_MAX];
	struct slice query, body;
	struct api_parameter parameters[API_QUERY_MAX];
	size_t n_parameters;
	/* Fields of the head; NULL when absent. */
	const char *if_match, *if_none_match, *idempotency_key;
	char id[24];  /* of the request */
	json_t *json; /* BODY_JSON: validated against the fields */
	/* Why: trimmed, of 1 to API_REASON_MAX bytes; "" when none was given. */
	const char *reason;
	const char *alone; /* why it is done alone; NULL: it is not */

	/* Who asks. */
	int32_t domain_id;
	char domain_text[16]; /* the same, as an SQL parameter */
	char *principal, *domain;
	const char *token_hash; /* an SQL parameter */
	int role;
	bool approved;       /* by a second person */
	const char *refusal; /* why this node takes no change; NULL: it does */

	struct sql *sql;
	struct cose_crypto *crypto;

	size_t answer_max; /* bytes; 0: API_RESPONSE_MAX */
	int status;
	const char *content_type;
	const char *etag;      /* NULL: none */
	bool replayed;         /* the answer is that of an earlier request */
	const char *key_owner; /* who took the Idempotency-Key */
	struct buf response;
};

/* The handler of a route; in the order of the table. */
typedef enum tam_err (*api_handler)(struct api_request *);
extern const api_handler api_handlers[API_ROUTE_COUNT];

#define X(id, ...) enum tam_err api_##id(struct api_request *);
API_ROUTES(X)
#undef X

/* A parameter of the query; NULL when absent. */
const char *api_query(const struct api_request *, const char *name);
/* The same of the types TYPE_INTEGER and TYPE_BOOLEAN. */
int64_t api_query_int(const struct api_request *, const char *name,
    int64_t initial);
bool api_query_true(const struct api_request *, const char *name);
/* A member of the JSON body; NULL when absent. */
const char *api_string(const struct api_request *, const char *name);

/*
 * Answers with RFC 9457 problem+json; returns an error, so that a handler can
 * return it.  `pointer` is a JSON pointer to the field at fault, or NULL.
 */
enum tam_err api_problem(struct api_request *, int status, const char *code,
    const char *pointer, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* The same for a database error, read from its SQLSTATE. */
enum tam_err api_sql_problem(struct api_request *, enum tam_err);

/* Statements; every failure has been answered when they return an error. */
enum tam_err api_exec(struct api_request *, struct sql_result **,
    const char *statement, size_t n, const char *const *params);
#define API_EXEC(r, out, statement, ...)                            \
	api_exec((r), (out), (statement),                           \
	    sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), \
	    (const char *[]){__VA_ARGS__})

/* Answers 200 with column 0 of the only row; 404 when there is none. */
enum tam_err api_one(struct api_request *, const char *statement, size_t n,
    const char *const *params);
/* Answers 200 with {"items": [column 0 of each row]}; column 1 of the last,
 * when there are `limit` rows or 4 MiB of items, becomes the cursor. */
enum tam_err api_list(struct api_request *, int64_t limit,
    const char *statement, size_t n, const char *const *params);
#define API_ONE(r, statement, ...)                                  \
	api_one((r), (statement),                                   \
	    sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), \
	    (const char *[]){__VA_ARGS__})
#define API_LIST(r, limit, statement, ...)                          \
	api_list((r), (limit), (statement),                         \
	    sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), \
	    (const char *[]){__VA_ARGS__})

/* The bit of a role by its name; 0 for NULL and for a name there is not. */
int api_role(const char *name);

/* Read and check query and body; again, of a request that was kept. */
enum tam_err api_read_query(struct api_request *);
enum tam_err api_read_body(struct api_request *);
/* Reads the reasons in body and query; 422 for one that is blank, too long,
 * not text, or more than a line. */
enum tam_err api_read_reasons(struct api_request *);

/* Refuses a document that has a text which may not be kept. */
enum tam_err api_check_texts(struct api_request *, json_t *document);
/* NULL, or the reason why a text in this document may not be kept. */
const char *api_text_fault(json_t *document);

/* Writes the audit event of this request; before and after are JSON or NULL. */
enum tam_err api_audit(struct api_request *, const char *object,
    const char *reason, const char *before, const char *after);
/* Nodes must serve another snapshot; the new epoch in *epoch, if not NULL. */
enum tam_err api_raise_epoch(struct api_request *, int64_t *epoch);

/* Signs in alone: status 200, or the problem that is the answer. */
void api_sign_in(struct api_request *, const char *authorization);
/* Runs the whole request: sign in, transaction, handler, commit. */
void api_run(struct api_request *, const char *authorization);

#endif
