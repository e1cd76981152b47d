/*
 * pg_conn.h - how every connection to PostgreSQL is made; for db.c and sql.c.
 *
 * libpq goes to the next host of a list only when the one before it fails.  A
 * primary that hangs does not fail, so the list is taken apart here: the
 * caller tries one host at a time, each with a deadline of its own.
 *
 * A connection is usable after two statements, each its own transaction.  The
 * first sets what we rely on and begins the session; the second checks that
 * it is still the same session, on a server that can be written to.  The
 * settings are the session's: they replace those of the role, of the database
 * and of the connection string.
 */
#ifndef STORAGE_PG_CONN_H
#define STORAGE_PG_CONN_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

struct pg_hosts;

/* The hosts of a connection string, or of the environment; at least one. */
struct pg_hosts *pg_hosts_new(const char *conninfo);
void pg_hosts_free(struct pg_hosts *);
size_t pg_hosts_n(const struct pg_hosts *);
/* Begins to connect to one host; never NULL. */
PGconn *pg_hosts_connect(const struct pg_hosts *, size_t i);

enum {
	PG_SESSION_PARAMS = 6,
	PG_NONCE_MAX = 40
};

/* What differs between the kinds of connections; text as SET takes it. */
struct pg_session {
	const char *role; /* NULL: none */
	const char *lock_timeout, *statement_timeout, *idle_timeout;
	const char *plan_cache_mode;
};

/* The first statement, its text parameters $1 to $6.  The first column of its
 * row says when the backend started. */
extern const char pg_session_begin[];
void pg_session_params(const struct pg_session *, const char *nonce,
    const char *params[PG_SESSION_PARAMS]);
/* A name for one session that no other has. */
void pg_nonce(char out[PG_NONCE_MAX]);

/*
 * The second; $1 is the nonce.  Its row: 1 when it is the same session, the
 * backend's pid, and 1 when the server cannot be written to.
 */
extern const char pg_session_check[];

/* --- SQLSTATEs: PostgreSQL manual, appendix A -------------------------------- */

/* The data of this statement is the trouble: the same again fails again. */
bool pg_state_is_data(const char *sqlstate);
/* This connection does not fit: a read-only server, a statement or a table
 * that is not there, a plan that is of another schema. */
bool pg_state_is_unfit(const char *sqlstate);

#endif
