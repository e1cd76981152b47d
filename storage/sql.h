/*
 * sql.h - PostgreSQL for threads that may wait: one statement at a time, with
 * a deadline.
 *
 * The control thread, the admin threads and tamctl use it; the device path
 * never does (db.h).  A connection that failed is opened again by the next
 * call.  A result is the caller's until sql_result_free().
 */
#ifndef STORAGE_SQL_H
#define STORAGE_SQL_H

#include "lib/base/arena.h"
#include "lib/base/err.h"

enum {
	SQL_PARAMS_MAX = 512
};

struct sql;
struct sql_result;

/*
 * Does not connect yet.  `role` is SET after connecting, NULL for none.
 * `stop_fd`, when not negative, ends any wait as soon as it is readable.
 */
struct sql *sql_new(const char *conninfo, const char *role, int timeout_ms,
    int stop_fd);
void sql_free(struct sql *);

/* Text parameters, text results.  *out may be NULL. */
enum tam_err sql_exec(struct sql *, const char *statement, size_t n,
    const char *const *params, struct sql_result **out);
#define SQL_EXEC(sql, out, statement, ...)                          \
	sql_exec((sql), (statement),                                \
	    sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), \
	    (const char *[]){__VA_ARGS__}, (out))
/* Several statements, no parameters, no result: for migrations. */
enum tam_err sql_script(struct sql *, const char *script);

/* What the server said last, for a log line; and its SQLSTATE. */
const char *sql_error(const struct sql *);
const char *sql_state(const struct sql *);
/* Whether the last statement left a connection that may go on. */
void sql_drop(struct sql *);

size_t sql_rows(const struct sql_result *);
/* Rows an INSERT, UPDATE or DELETE changed. */
size_t sql_changed(const struct sql_result *);
/* NULL for an SQL NULL. */
const char *sql_text(const struct sql_result *, size_t row, int column);
int64_t sql_int(const struct sql_result *, size_t row, int column);
/* A bytea, decoded into the arena. */
struct slice sql_bytes(const struct sql_result *, size_t row, int column,
    struct arena *);
void sql_result_free(struct sql_result *);

/* A bytea as a text parameter. */
char *sql_bytea(struct arena *, struct slice);

#endif
