#include "config.h"

#include "storage/sql.h"

#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/hex.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"

/*
 * libpq's asynchronous calls under a poll() with a deadline: a server that
 * was stopped, or a network that swallows packets, cannot hold the thread.
 */

struct sql {
	char *conninfo, *role;
	int timeout_ms, stop_fd;
	PGconn *conn;
	char error[512];
	char state[8];
};

struct sql_result {
	PGresult *res;
};

struct sql *
sql_new(const char *conninfo, const char *role, int timeout_ms, int stop_fd)
{
	struct sql *s = mem_new(struct sql);

	s->conninfo = mem_strdup(conninfo);
	s->role = role == NULL ? NULL : mem_strdup(role);
	s->timeout_ms = timeout_ms;
	s->stop_fd = stop_fd;
	return s;
}

void
sql_drop(struct sql *s)
{
	PQfinish(s->conn);
	s->conn = NULL;
}

void
sql_free(struct sql *s)
{
	if (s == NULL)
		return;
	sql_drop(s);
	free(s->conninfo);
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

/* Keeps the first line: the rest is context that may quote data. */
static void
remember(struct sql *s, const char *message)
{
	size_t n = strcspn(message, "\n");

	if (n >= sizeof(s->error))
		n = sizeof(s->error) - 1;
	memcpy(s->error, message, n);
	s->error[n] = '\0';
}

static void
ignore_notice(void *arg, const PGresult *res)
{
	(void)arg;
	(void)res;
}

static enum tam_err
wait_for(struct sql *s, short events, int64_t deadline_us)
{
	struct pollfd fds[2] = {{.fd = PQsocket(s->conn), .events = events},
	    {.fd = s->stop_fd, .events = POLLIN}};

	for (;;) {
		int64_t left = (deadline_us - clock_mono_us()) / 1000;
		int n;

		if (left <= 0)
			return TAM_TIMED_OUT;
		n = poll(fds, s->stop_fd < 0 ? 1 : 2, (int)left + 1);
		if (n < 0 && errno != EINTR)
			return TAM_NO_DATABASE;
		if (n > 0 && s->stop_fd >= 0 && fds[1].revents != 0)
			return TAM_STOPPING;
		if (n > 0 && fds[0].revents != 0)
			return TAM_OK;
	}
}

static enum tam_err
lost(struct sql *s, enum tam_err err)
{
	if (s->conn != NULL)
		remember(s, PQerrorMessage(s->conn));
	if (err == TAM_TIMED_OUT)
		remember(s, "timed out");
	(void)strncpy(s->state, "08006", sizeof(s->state) - 1);
	sql_drop(s);
	return err;
}

static enum tam_err send_and_wait(struct sql *, const char *, size_t,
    const char *const *, bool script, PGresult **);

static enum tam_err
connect_now(struct sql *s)
{
	int64_t deadline = clock_mono_us() + (int64_t)s->timeout_ms * 1000;
	PostgresPollingStatusType status = PGRES_POLLING_WRITING;
	char set_role[128];
	PGresult *res = NULL;
	enum tam_err err;

	s->conn = PQconnectStart(s->conninfo);
	if (s->conn == NULL)
		abort();
	while (status != PGRES_POLLING_OK) {
		if (PQstatus(s->conn) == CONNECTION_BAD ||
		    status == PGRES_POLLING_FAILED)
			return lost(s, TAM_NO_DATABASE);
		err = wait_for(s,
		    status == PGRES_POLLING_READING ? POLLIN : POLLOUT,
		    deadline);
		if (err != TAM_OK)
			return lost(s, err);
		status = PQconnectPoll(s->conn);
	}
	(void)PQsetNoticeReceiver(s->conn, ignore_notice, NULL);
	if (s->role == NULL)
		return TAM_OK;
	(void)snprintf(set_role, sizeof(set_role), "SET ROLE %s", s->role);
	err = send_and_wait(s, set_role, 0, NULL, true, &res);
	PQclear(res);
	if (err != TAM_OK)
		sql_drop(s);
	return err;
}

/* Collects results until the command is over; keeps the last one. */
static enum tam_err
collect(struct sql *s, int64_t deadline_us, PGresult **out)
{
	PGresult *res, *last = NULL;
	enum tam_err err = TAM_OK;

	for (;;) {
		while (PQisBusy(s->conn)) {
			err = wait_for(s, POLLIN, deadline_us);
			if (err == TAM_OK && PQconsumeInput(s->conn) != 1)
				err = TAM_NO_DATABASE;
			if (err != TAM_OK) {
				PQclear(last);
				return lost(s, err);
			}
		}
		res = PQgetResult(s->conn);
		if (res == NULL)
			break;
		if (last != NULL && PQresultStatus(last) == PGRES_FATAL_ERROR) {
			PQclear(res);
			continue;
		}
		PQclear(last);
		last = res;
	}
	*out = last;
	return TAM_OK;
}

static enum tam_err
send_and_wait(struct sql *s, const char *statement, size_t n,
    const char *const *params, bool script, PGresult **out)
{
	int64_t deadline = clock_mono_us() + (int64_t)s->timeout_ms * 1000;
	ExecStatusType status;
	const char *state;
	enum tam_err err;
	int ok;

	ok = script ? PQsendQuery(s->conn, statement)
	            : PQsendQueryParams(s->conn, statement, (int)n, NULL,
	                  params, NULL, NULL, 0);
	if (ok != 1)
		return lost(s, TAM_NO_DATABASE);
	err = collect(s, deadline, out);
	if (err != TAM_OK)
		return err;
	if (*out == NULL || PQstatus(s->conn) == CONNECTION_BAD) {
		PQclear(*out);
		*out = NULL;
		return lost(s, TAM_NO_DATABASE);
	}
	status = PQresultStatus(*out);
	if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK ||
	    status == PGRES_EMPTY_QUERY)
		return TAM_OK;
	remember(s, PQresultErrorMessage(*out));
	state = PQresultErrorField(*out, PG_DIAG_SQLSTATE);
	(void)snprintf(s->state, sizeof(s->state), "%s",
	    state == NULL ? "" : state);
	PQclear(*out);
	*out = NULL;
	return TAM_DATABASE_ERROR;
}

static enum tam_err
run(struct sql *s, const char *statement, size_t n, const char *const *params,
    bool script, struct sql_result **out)
{
	PGresult *res = NULL;
	enum tam_err err = TAM_OK;

	if (out != NULL)
		*out = NULL;
	if (s->conn == NULL)
		err = connect_now(s);
	if (err == TAM_OK)
		err = send_and_wait(s, statement, n, params, script, &res);
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
