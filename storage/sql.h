/*
 * sql.h - PostgreSQL for threads that may wait: one statement at a time, with
 * a deadline.
 *
 * The control thread, the admin threads and tamctl use it; the device path
 * never does (db.h).  A connection that failed is opened again by the next
 * call, to the next host of the connection string when one does not answer
 * within 3 seconds.  A result is the caller's until sql_result_free().
 *
 * With a role the server itself ends a statement a little before the deadline,
 * and sooner one that waits for a lock; a commit with a WARNING (replication
 * was given up) is TAM_DATABASE_ERROR.  A pooler in transaction mode and a
 * read-only server are TAM_NO_DATABASE, see sql_refusal().
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

/* Why the last connection was not used although the server answered. */
enum sql_refusal {
	SQL_FINE,
	SQL_POOLER,
	SQL_STANDBY
};

/*
 * Does not connect yet.  `role` is SET after connecting, NULL for none.
 * `stop_fd`, when not negative, ends any wait as soon as it is readable.
 */
struct sql *sql_new(const char *conninfo, const char *role, int timeout_ms,
    int stop_fd);
void sql_free(struct sql *);

/*
 * A statement that passed its deadline may still be at work, for example in a
 * commit that waits for a standby.  The next connection waits until it is
 * over; after this call it ends it instead.  Only for statements that may be
 * committed in part of the cluster only: the lease and chores.
 */
void sql_end_left(struct sql *);
/* From now on stop_fd ends no wait. */
void sql_ignore_stop(struct sql *);
enum sql_refusal sql_refusal(const struct sql *);

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
