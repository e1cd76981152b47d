#include "config.h"

#include "storage/sql.h"

#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/hex.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "storage/pg_conn.h"

/*
 * libpq's asynchronous calls under a poll() with a deadline: a server that
 * was stopped, or a network that swallows packets, cannot hold the thread.
 *
 * A connection, all that is known of it, and a statement that was given up
 * end together in forget().  What remains is the name of the backend that may
 * still be at work (struct backend): the next connection ends it, or waits
 * until it has ended, so that at most one is left behind.
 */

enum {
	CONNECT_MS = 3000, /* one host, from its name to its session */
	LOCK_MS = 2000,
	POOLER_ROUNDS = 3
};

/* A backend by a name that no other has. */
struct backend {
	char pid[16], started[48];
};

struct conn {
	PGconn *pg;
	struct backend backend;
	bool busy;   /* a statement is on its way */
	bool warned; /* during that statement */
};

struct sql {
	struct pg_hosts *hosts;
	size_t host; /* the one that is used, or tried first */
	char *role;
	int timeout_ms, stop_fd;
	bool ends_left;      /* see sql_end_left() */
	struct backend left; /* pid "": none */
	struct conn *conn;   /* NULL: none */
	enum sql_refusal refusal;
	char error[512]; /* of the last statement */
	char state[8];
};

struct sql_result {
	PGresult *res;
};

struct sql *
sql_new(const char *conninfo, const char *role, int timeout_ms, int stop_fd)
{
	struct sql *s = mem_new(struct sql);

	s->hosts = pg_hosts_new(conninfo);
	s->role = role == NULL ? NULL : mem_strdup(role);
	s->timeout_ms = timeout_ms;
	s->stop_fd = stop_fd;
	return s;
}

void
sql_end_left(struct sql *s)
{
	s->ends_left = true;
}

void
sql_ignore_stop(struct sql *s)
{
	s->stop_fd = -1;
}

static void
forget(struct sql *s)
{
	if (s->conn == NULL)
		return;
	if (s->conn->busy && s->conn->backend.pid[0] != '\0')
		s->left = s->conn->backend;
	PQfinish(s->conn->pg);
	free(s->conn);
	s->conn = NULL;
}

void
sql_drop(struct sql *s)
{
	forget(s);
}

void
sql_free(struct sql *s)
{
	if (s == NULL)
		return;
	forget(s);
	pg_hosts_free(s->hosts);
	free(s->role);
	free(s);
}

const char *
sql_error(const struct sql *s)
{
	return s->error;
}

const char *
sql_state(const struct sql *s)
{
	return s->state;
}

enum sql_refusal
sql_refusal(const struct sql *s)
{
	return s->refusal;
}

/* Keeps the first line: the rest is context that may quote data. */
static void
remember(struct sql *s, const char *state, const char *message)
{
	(void)snprintf(s->state, sizeof(s->state), "%s",
	    state == NULL ? "" : state);
	(void)snprintf(s->error, sizeof(s->error), "%.*s",
	    (int)strcspn(message, "\n"), message);
}

static void
on_notice(void *arg, const PGresult *res)
{
	struct conn *c = arg;
	const char *severity =
	    PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);

	c->warned |= severity != NULL && strcmp(severity, "WARNING") == 0;
}

/* --- one statement, waited for --------------------------------------------------- */

static enum tam_err
wait_for(struct sql *s, const struct conn *c, short events, int64_t deadline_us)
{
	struct pollfd fds[2] = {{.fd = PQsocket(c->pg), .events = events},
	    {.fd = s->stop_fd, .events = POLLIN}};

	for (;;) {
		int64_t left = (deadline_us - clock_mono_us()) / 1000;
		int n = poll(fds, s->stop_fd < 0 ? 1 : 2,
		    left < 0 ? 0 : (int)left + 1);

		if (n < 0 && errno != EINTR)
			return TAM_NO_DATABASE;
		if (n > 0 && s->stop_fd >= 0 && fds[1].revents != 0)
			return TAM_STOPPING;
		if (n > 0 && fds[0].revents != 0)
			return TAM_OK;
		if (left <= 0)
			return TAM_TIMED_OUT;
	}
}

static enum tam_err
broken(struct sql *s, const struct conn *c, enum tam_err err)
{
	remember(s, "08006",
	    err == TAM_TIMED_OUT ? "timed out" : PQerrorMessage(c->pg));
	return err;
}

/* Collects results until the command is over; keeps the last one. */
static enum tam_err
collect(struct sql *s, struct conn *c, int64_t deadline_us, PGresult **out)
{
	PGresult *res, *last = NULL;
	enum tam_err err = TAM_OK;

	for (;;) {
		while (PQisBusy(c->pg)) {
			err = wait_for(s, c, POLLIN, deadline_us);
			if (err == TAM_OK && PQconsumeInput(c->pg) != 1)
				err = TAM_NO_DATABASE;
			if (err != TAM_OK) {
				PQclear(last);
				return broken(s, c, err);
			}
		}
		res = PQgetResult(c->pg);
		if (res == NULL)
			break;
		if (last != NULL && PQresultStatus(last) == PGRES_FATAL_ERROR) {
			PQclear(res);
			continue;
		}
		PQclear(last);
		last = res;
	}
	c->busy = false;
	*out = last;
	return TAM_OK;
}

/* A commit that the server doubts, because replication was given up, is none. */
static enum tam_err
doubt(struct sql *s, const struct conn *c)
{
	if (!c->warned || s->role == NULL ||
	    PQtransactionStatus(c->pg) != PQTRANS_IDLE)
		return TAM_OK;
	remember(s, "01000", "the server doubts the commit");
	return TAM_DATABASE_ERROR;
}

/* TAM_DATABASE_ERROR: the connection may go on; any other: it must not. */
static enum tam_err
ask(struct sql *s, struct conn *c, const char *statement, size_t n,
    const char *const *params, bool script, int64_t deadline_us, PGresult **out)
{
	ExecStatusType status;
	enum tam_err err;
	int ok;

	*out = NULL;
	c->busy = true;
	c->warned = false;
	ok = script ? PQsendQuery(c->pg, statement)
	            : PQsendQueryParams(c->pg, statement, (int)n, NULL, params,
	                  NULL, NULL, 0);
	if (ok != 1)
		return broken(s, c, TAM_NO_DATABASE);
	err = collect(s, c, deadline_us, out);
	if (err != TAM_OK)
		return err;
	if (*out == NULL || PQstatus(c->pg) == CONNECTION_BAD) {
		PQclear(*out);
		*out = NULL;
		return broken(s, c, TAM_NO_DATABASE);
	}
	status = PQresultStatus(*out);
	if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK ||
	    status == PGRES_EMPTY_QUERY) {
		err = doubt(s, c);
	} else {
		remember(s, PQresultErrorField(*out, PG_DIAG_SQLSTATE),
		    PQresultErrorMessage(*out));
		err = TAM_DATABASE_ERROR;
	}
	if (err != TAM_OK) {
		PQclear(*out);
		*out = NULL;
	}
	return err;
}

/* --- connecting -------------------------------------------------------------------- */

static enum tam_err
connect_to(struct sql *s, struct conn *c, int64_t deadline_us)
{
	PostgresPollingStatusType status = PGRES_POLLING_WRITING;
	enum tam_err err;

	c->pg = pg_hosts_connect(s->hosts, s->host);
	while (status != PGRES_POLLING_OK) {
		if (PQstatus(c->pg) == CONNECTION_BAD ||
		    status == PGRES_POLLING_FAILED)
			return broken(s, c, TAM_NO_DATABASE);
		err = wait_for(s, c,
		    status == PGRES_POLLING_READING ? POLLIN : POLLOUT,
		    deadline_us);
		if (err != TAM_OK)
			return broken(s, c, err);
		status = PQconnectPoll(c->pg);
	}
	(void)PQsetNoticeReceiver(c->pg, on_notice, c);
	return TAM_OK;
}

/* What a connection before this one left at work is ended, or waited for. */
static enum tam_err
settle_left(struct sql *s, struct conn *c, int64_t deadline_us)
{
	const char *params[] = {s->left.pid, s->left.started};
	PGresult *res;
	enum tam_err err;
	bool works;

	if (s->left.pid[0] == '\0')
		return TAM_OK;
	err = ask(s, c,
	    s->ends_left
	        ? "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
	          "WHERE pid = $1::int AND backend_start = $2::timestamptz"
	        : "SELECT FROM pg_stat_activity "
	          "WHERE pid = $1::int AND backend_start = $2::timestamptz",
	    2, params, false, deadline_us, &res);
	if (err != TAM_OK)
		return err;
	works = PQntuples(res) > 0 && !s->ends_left;
	PQclear(res);
	if (works) {
		remember(s, "55006", "the statement before is still at work");
		return TAM_TIMED_OUT;
	}
	s->left.pid[0] = '\0';
	return TAM_OK;
}

static enum tam_err
refuse(struct sql *s, enum sql_refusal why, const char *text)
{
	s->refusal = why;
	remember(s, "0A000", text);
	return TAM_NO_DATABASE;
}

static enum tam_err
begin_session(struct sql *s, struct conn *c, const char *nonce,
    int64_t deadline_us)
{
	char lock[32] = "0", statement[32] = "0", idle[32] = "0";
	struct pg_session session = {s->role, lock, statement, idle, "auto"};
	const char *params[PG_SESSION_PARAMS];
	PGresult *res;
	enum tam_err err;

	if (s->role != NULL) { /* else a tool, whose steps may take hours */
		int ms = s->timeout_ms;

		(void)snprintf(lock, sizeof(lock), "%dms",
		    ms / 2 < LOCK_MS ? ms / 2 : LOCK_MS);
		(void)snprintf(statement, sizeof(statement), "%dms",
		    ms - ms / 10);
		(void)snprintf(idle, sizeof(idle), "%dms", 2 * ms);
	}
	pg_session_params(&session, nonce, params);
	err = ask(s, c, pg_session_begin, PG_SESSION_PARAMS, params, false,
	    deadline_us, &res);
	if (err != TAM_OK)
		return err;
	(void)snprintf(c->backend.started, sizeof(c->backend.started), "%s",
	    PQgetvalue(res, 0, 0));
	PQclear(res);
	return TAM_OK;
}

/* *pooled: somebody is between us and the server. */
static enum tam_err
check_session(struct sql *s, struct conn *c, const char *nonce,
    int64_t deadline_us, bool *pooled)
{
	const char *params[] = {nonce};
	char named[16]; /* the pid that the connection was told */
	PGresult *res;
	enum tam_err err =
	    ask(s, c, pg_session_check, 1, params, false, deadline_us, &res);

	if (err != TAM_OK)
		return err;
	(void)snprintf(c->backend.pid, sizeof(c->backend.pid), "%s",
	    PQgetvalue(res, 0, 1));
	(void)snprintf(named, sizeof(named), "%d", PQbackendPID(c->pg));
	*pooled = strcmp(c->backend.pid, named) != 0;
	if (strcmp(PQgetvalue(res, 0, 0), "1") != 0)
		err = refuse(s, SQL_POOLER, "another session answers");
	else if (s->role != NULL && strcmp(PQgetvalue(res, 0, 2), "0") != 0)
		err = refuse(s, SQL_STANDBY, "the server is read-only");
	PQclear(res);
	return err;
}

/* --- poolers ------------------------------------------------------------------------- */

/* What a pooler that we did not connect to says of its own backend. */
static enum tam_err
ask_pid(struct sql *s, struct conn *c, int64_t deadline_us, char pid[16])
{
	PGresult *res;
	enum tam_err err = ask(s, c, "SELECT pg_backend_pid()", 0, NULL, false,
	    deadline_us, &res);

	if (err != TAM_OK)
		return err;
	(void)snprintf(pid, 16, "%s", PQgetvalue(res, 0, 0));
	PQclear(res);
	return TAM_OK;
}

/*
 * A pooler in transaction mode gives the backend of our idle session to the
 * next client that begins a transaction.  So another connection begins one:
 * if it gets our backend, or if we get another one meanwhile, sessions are
 * shared.
 */
static enum tam_err
try_to_share(struct sql *s, struct conn *c, struct conn *other,
    int64_t deadline_us)
{
	char theirs[16], ours[16];
	PGresult *res;
	enum tam_err err;

	err = ask(s, other, "BEGIN", 0, NULL, false, deadline_us, &res);
	if (err != TAM_OK)
		return err;
	PQclear(res);
	err = ask_pid(s, other, deadline_us, theirs);
	if (err == TAM_OK && strcmp(theirs, c->backend.pid) == 0)
		return refuse(s, SQL_POOLER, "a pooler shares our session");
	if (err == TAM_OK)
		err = ask_pid(s, c, deadline_us, ours);
	if (err == TAM_OK && strcmp(ours, c->backend.pid) != 0)
		return refuse(s, SQL_POOLER, "a pooler changed our session");
	if (err == TAM_OK)
		err = ask(s, other, "ROLLBACK", 0, NULL, false, deadline_us,
		    &res);
	if (err == TAM_OK)
		PQclear(res);
	return err;
}

static enum tam_err
check_pooler(struct sql *s, struct conn *c, int64_t deadline_us)
{
	struct conn other = {0};
	enum tam_err err = connect_to(s, &other, deadline_us);

	for (int i = 0; err == TAM_OK && i < POOLER_ROUNDS; i++)
		err = try_to_share(s, c, &other, deadline_us);
	PQfinish(other.pg);
	return err;
}

static enum tam_err
open_conn(struct sql *s, struct conn *c)
{
	int ms = s->timeout_ms < CONNECT_MS ? s->timeout_ms : CONNECT_MS;
	int64_t deadline_us = clock_mono_us() + (int64_t)ms * 1000;
	char nonce[PG_NONCE_MAX];
	bool pooled = false;
	enum tam_err err = connect_to(s, c, deadline_us);

	pg_nonce(nonce);
	if (err == TAM_OK)
		err = settle_left(s, c, deadline_us);
	if (err == TAM_OK)
		err = begin_session(s, c, nonce, deadline_us);
	if (err == TAM_OK)
		err = check_session(s, c, nonce, deadline_us, &pooled);
	if (err == TAM_OK && pooled)
		err = check_pooler(s, c, deadline_us);
	return err;
}

/* Each host has its time, the one that was good last comes first. */
static enum tam_err
connect_now(struct sql *s)
{
	enum tam_err err = TAM_NO_DATABASE;

	for (size_t i = 0; i < pg_hosts_n(s->hosts); i++) {
		s->conn = mem_new(struct conn);
		s->refusal = SQL_FINE;
		err = open_conn(s, s->conn);
		if (err == TAM_OK || err == TAM_STOPPING)
			break;
		/* Nothing that this one did is worth to wait for. */
		s->conn->busy = false;
		forget(s);
		s->host = (s->host + 1) % pg_hosts_n(s->hosts);
	}
	if (err != TAM_OK)
		forget(s);
	return err;
}

/* --- the caller's side --------------------------------------------------------------- */

static enum tam_err
run(struct sql *s, const char *statement, size_t n, const char *const *params,
    bool script, struct sql_result **out)
{
	PGresult *res = NULL;
	enum tam_err err = TAM_OK;

	if (out != NULL)
		*out = NULL;
	remember(s, "", "");
	if (s->conn == NULL)
		err = connect_now(s);
	if (err == TAM_OK) {
		err = ask(s, s->conn, statement, n, params, script,
		    clock_mono_us() + (int64_t)s->timeout_ms * 1000, &res);
		if (err != TAM_OK &&
		    (err != TAM_DATABASE_ERROR || pg_state_is_unfit(s->state)))
			forget(s);
	}
	if (err != TAM_OK || out == NULL) {
		PQclear(res);
		return err;
	}
	*out = mem_new(struct sql_result);
	(*out)->res = res;
	return TAM_OK;
}

enum tam_err
sql_exec(struct sql *s, const char *statement, size_t n,
    const char *const *params, struct sql_result **out)
{
	return run(s, statement, n, params, false, out);
}

enum tam_err
sql_script(struct sql *s, const char *script)
{
	return run(s, script, 0, NULL, true, NULL);
}

size_t
sql_rows(const struct sql_result *r)
{
	return (size_t)PQntuples(r->res);
}

size_t
sql_changed(const struct sql_result *r)
{
	return strtoul(PQcmdTuples(r->res), NULL, 10);
}

const char *
sql_text(const struct sql_result *r, size_t row, int column)
{
	if (PQgetisnull(r->res, (int)row, column))
		return NULL;
	return PQgetvalue(r->res, (int)row, column);
}

int64_t
sql_int(const struct sql_result *r, size_t row, int column)
{
	return strtoll(PQgetvalue(r->res, (int)row, column), NULL, 10);
}

struct slice
sql_bytes(const struct sql_result *r, size_t row, int column,
    struct arena *arena)
{
	const char *text = sql_text(r, row, column);
	size_t n = text == NULL ? 0 : strlen(text), out_n = 0;
	uint8_t *out;

	if (n < 2)
		return (struct slice){0};
	out = arena_alloc(arena, n / 2);
	if (!hex_decode(text + 2, n - 2, out, n / 2, &out_n))
		return (struct slice){0};
	return (struct slice){out, out_n};
}

void
sql_result_free(struct sql_result *r)
{
	if (r == NULL)
		return;
	PQclear(r->res);
	free(r);
}

char *
sql_bytea(struct arena *arena, struct slice bytes)
{
	char *out = arena_alloc(arena, 2 * bytes.n + 3);

	out[0] = '\\';
	out[1] = 'x';
	hex_encode(bytes, out + 2);
	return out;
}
