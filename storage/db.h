/*
 * db.h - one worker's PostgreSQL: a connection in pipeline mode, prepared
 * statements, nothing that waits.
 *
 * The connection is made, kept and made again with back-off by the worker's
 * loop, to the next host of the connection string when one does not answer.
 * Everything about one connection dies with it.  A connection that is not
 * ready in time, or does not answer for some seconds while an answer is due,
 * is dropped; a statement is never cancelled.  Poolers that share a session
 * between transactions and servers that are read-only are refused.
 *
 * A call is one statement and its own transaction; several are on the way at
 * once.  A call's callback runs once, from the loop, never from inside
 * db_send(): with the result when the transaction is committed, or with the
 * error:
 *
 *	TAM_NO_DATABASE     the outcome is unknown
 *	TAM_BAD_INPUT       the server refuses the data: again is refused again
 *	TAM_DATABASE_ERROR  nothing is promised: try again after a while.  The
 *	                    server may have committed, with a warning.
 *
 * Who wants many devices in one statement, a bounded queue and deadlines uses
 * batch.h, which is made of this.
 */
#ifndef STORAGE_DB_H
#define STORAGE_DB_H

#include "lib/base/err.h"
#include "lib/base/slice.h"

struct db;
struct db_rows;
struct event_base;
struct readiness_part;

enum db_statement {
	DB_LOAD,
	DB_CANDIDATES,
	DB_OBSERVE,
	DB_ANSWER_QUERY,
	DB_ANSWER_UPDATE,
	DB_ATTESTED,
	DB_CAME_BY,
	DB_PAYLOAD,
	DB_ENROL,
	DB_STATEMENTS
};

enum {
	DB_PARAMS_MAX = 32
};

/* `rows` is borrowed until the callback returns; NULL unless TAM_OK. */
typedef void (*db_cb)(enum tam_err, const struct db_rows *rows, void *);

/* Makes the first connection attempt at once.  `part`, if not NULL, holds
 * NOT_READY_worker_link while there is no usable connection. */
struct db *db_open(struct event_base *, const char *conninfo,
    struct readiness_part *part);
/* Fails what is still on the way. */
void db_close(struct db *);

bool db_ready(const struct db *);
/* Called, once each time, when the connection becomes ready. */
void db_on_ready(struct db *, void (*)(void *), void *);

/* Binary parameters; only when db_ready(). */
void db_send(struct db *, enum db_statement, const struct slice *params,
    size_t n, db_cb, void *);

/* The server's words on the call whose callback runs now. */
const char *db_error(const struct db *);

/* --- results ---------------------------------------------------------------- */

size_t db_rows_n(const struct db_rows *);
bool db_is_null(const struct db_rows *, size_t row, int column);
int64_t db_int(const struct db_rows *, size_t row, int column);
struct slice db_bytes(const struct db_rows *, size_t row, int column);

/* Steps through a one-dimensional array of text or bytea. */
struct db_array {
	struct slice rest;
	size_t left;
};

struct db_array db_array(const struct db_rows *, size_t row, int column);
bool db_array_next(struct db_array *, struct slice *);

#endif
