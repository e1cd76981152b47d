#include "config.h"

#include "storage/db.h"

#include <assert.h>
#include <event2/event.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/readiness.h"
#include "storage/statements.h"

/*
 * The life of a connection, in the order of this file:
 *
 *	connect_start   PQconnectStart, then on_connecting until libpq is done
 *	prepare         pipeline mode; SET ROLE and every statement at once
 *	db_send         a statement and a sync; the call waits in `calls`
 *	on_io           results in order: one call's result, its NULL, its sync
 *	lose            every call fails, a timer starts over
 */

enum {
	BACKOFF_MIN_MS = 50,
	BACKOFF_MAX_MS = 2000
};

static const char *const statement_texts[DB_STATEMENTS] = {
    [DB_LOAD] = SQL_WIRE_LOAD,
    [DB_CANDIDATES] = SQL_WIRE_CANDIDATES,
    [DB_OBSERVE] = SQL_WIRE_OBSERVE,
    [DB_ANSWER_QUERY] = SQL_WIRE_ANSWER_QUERY,
    [DB_ANSWER_UPDATE] = SQL_WIRE_ANSWER_UPDATE,
    [DB_ATTESTED] = SQL_WIRE_ATTESTED,
    [DB_CAME_BY] = SQL_WIRE_CAME_BY,
    [DB_PAYLOAD] = SQL_WIRE_PAYLOAD,
    [DB_ENROL] = SQL_WIRE_ENROL,
};

static const char *const statement_names[DB_STATEMENTS] = {
    [DB_LOAD] = "load",
    [DB_CANDIDATES] = "candidates",
    [DB_OBSERVE] = "observe",
    [DB_ANSWER_QUERY] = "answer_query",
    [DB_ANSWER_UPDATE] = "answer_update",
    [DB_ATTESTED] = "attested",
    [DB_CAME_BY] = "came_by",
    [DB_PAYLOAD] = "payload",
    [DB_ENROL] = "enrol",
};

enum state {
	DOWN,
	CONNECTING,
	PREPARING,
	READY
};

struct call {
	STAILQ_ENTRY(call) link;
	db_cb cb;
	void *arg;
	PGresult *result; /* arrived, not yet committed */
	bool failed;
};

STAILQ_HEAD(calls, call);

struct db {
	struct event_base *base;
	struct readiness_part *part; /* NULL: nobody asks */
	char *conninfo;
	enum state state;
	PGconn *conn;
	struct event *io;    /* reading, and writing when wanted */
	struct event *timer; /* the next attempt */
	int backoff_ms;
	struct calls calls; /* sent, oldest first */
	bool warned;        /* the server doubted a commit */
	bool data_error;
	bool unprepared; /* a statement was refused: the schema is another */
	char error[256];
	void (*on_ready)(void *);
	void *on_ready_arg;
};

struct db_rows {
	const PGresult *res;
};

static void on_connecting(evutil_socket_t, short, void *);
static void on_io(evutil_socket_t, short, void *);
static void on_timer(evutil_socket_t, short, void *);

static void
remember(struct db *db, const char *message)
{
	size_t n = strcspn(message, "\n");

	if (n >= sizeof(db->error))
		n = sizeof(db->error) - 1;
	memcpy(db->error, message, n);
	db->error[n] = '\0';
}

/* Synchronous replication given up is a warning at commit: no promise. */
static void
on_notice(void *arg, const PGresult *res)
{
	struct db *db = arg;
	const char *severity =
	    PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);

	if (severity == NULL || strcmp(severity, "WARNING") != 0)
		return;
	db->warned = true;
	log_warn("database_warning", "text=\"%.200s\"",
	    PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY));
}

static void
finish_call(struct call *call, enum tam_err err)
{
	struct db_rows rows = {call->result};

	call->cb(err, err == TAM_OK ? &rows : NULL, call->arg);
	PQclear(call->result);
	free(call);
}

static void
say(struct db *db, bool usable)
{
	if (db->part != NULL)
		readiness_say(db->part, NOT_READY_worker_link, !usable);
}

static void
retry_later(struct db *db)
{
	struct timeval tv = {db->backoff_ms / 1000,
	    (db->backoff_ms % 1000) * 1000L};

	(void)event_add(db->timer, &tv);
	db->backoff_ms *= 2;
	if (db->backoff_ms > BACKOFF_MAX_MS)
		db->backoff_ms = BACKOFF_MAX_MS;
}

static void
drop_conn(struct db *db)
{
	if (db->io != NULL)
		event_free(db->io);
	db->io = NULL;
	PQfinish(db->conn);
	db->conn = NULL;
	db->state = DOWN;
	say(db, false);
}

static void
lose(struct db *db)
{
	struct calls calls = STAILQ_HEAD_INITIALIZER(calls);
	struct call *call;

	if (db->conn != NULL)
		remember(db, PQerrorMessage(db->conn));
	log_warn("database_lost", "error=\"%s\" calls=%d", db->error,
	    !STAILQ_EMPTY(&db->calls));
	drop_conn(db);
	STAILQ_CONCAT(&calls, &db->calls);
	while ((call = STAILQ_FIRST(&calls)) != NULL) {
		STAILQ_REMOVE_HEAD(&calls, link);
		finish_call(call, TAM_NO_DATABASE);
	}
	retry_later(db);
}

/* --- connecting --------------------------------------------------------------- */

static void
watch(struct db *db, short events, event_callback_fn cb)
{
	if (db->io != NULL)
		event_free(db->io);
	db->io = event_new(db->base, PQsocket(db->conn), events, cb, db);
	(void)event_add(db->io, NULL);
}

static void
connect_start(struct db *db)
{
	assert(db->state == DOWN);
	db->conn = PQconnectStart(db->conninfo);
	if (db->conn == NULL)
		abort();
	db->state = CONNECTING;
	if (PQstatus(db->conn) == CONNECTION_BAD) {
		lose(db);
		return;
	}
	(void)PQsetNoticeReceiver(db->conn, on_notice, db);
	watch(db, EV_WRITE, on_connecting);
}

static void
want_io(struct db *db)
{
	int left = PQflush(db->conn);

	watch(db, (short)(EV_READ | EV_PERSIST | (left == 1 ? EV_WRITE : 0)),
	    on_io);
}

static void
on_prepared(enum tam_err err, const struct db_rows *rows, void *arg)
{
	struct db *db = arg;

	(void)rows;
	if (err == TAM_OK || db->state != PREPARING)
		return;
	log_error("database_prepare", "error=\"%s\"", db->error);
	db->unprepared = true;
}

static void
on_last_prepared(enum tam_err err, const struct db_rows *rows, void *arg)
{
	struct db *db = arg;

	on_prepared(err, rows, arg);
	if (db->unprepared || db->state != PREPARING)
		return; /* a schema we do not know: never ready, control says */
	db->state = READY;
	db->backoff_ms = BACKOFF_MIN_MS;
	say(db, true);
	log_info("database_ready", "pid=%d", PQbackendPID(db->conn));
	if (db->on_ready != NULL)
		db->on_ready(db->on_ready_arg);
}

static void
push_call(struct db *db, db_cb cb, void *arg)
{
	struct call *call = mem_new(struct call);

	call->cb = cb;
	call->arg = arg;
	STAILQ_INSERT_TAIL(&db->calls, call, link);
}

static void
prepare(struct db *db)
{
	bool ok;

	db->state = PREPARING;
	db->unprepared = false;
	ok = PQsetnonblocking(db->conn, 1) == 0 &&
	    PQenterPipelineMode(db->conn) == 1 &&
	    PQsendQueryParams(db->conn, "SET ROLE tam_wire", 0, NULL, NULL,
	        NULL, NULL, 0) == 1 &&
	    PQpipelineSync(db->conn) == 1;
	push_call(db, on_prepared, db);
	/* Arrays of unknown length: the plan must not depend on them. */
	ok = ok &&
	    PQsendQueryParams(db->conn,
	        "SET plan_cache_mode = force_generic_plan", 0, NULL, NULL, NULL,
	        NULL, 0) == 1 &&
	    PQpipelineSync(db->conn) == 1;
	push_call(db, on_prepared, db);
	for (int i = 0; i < DB_STATEMENTS; i++) {
		ok = ok &&
		    PQsendPrepare(db->conn, statement_names[i],
		        statement_texts[i], 0, NULL) == 1 &&
		    PQpipelineSync(db->conn) == 1;
		push_call(db,
		    i == DB_STATEMENTS - 1 ? on_last_prepared : on_prepared,
		    db);
	}
	if (!ok) {
		lose(db);
		return;
	}
	want_io(db);
}

static void
on_connecting(evutil_socket_t fd, short events, void *arg)
{
	struct db *db = arg;

	(void)fd;
	(void)events;
	switch (PQconnectPoll(db->conn)) {
	case PGRES_POLLING_READING:
		watch(db, EV_READ, on_connecting);
		break;
	case PGRES_POLLING_WRITING:
		watch(db, EV_WRITE, on_connecting);
		break;
	case PGRES_POLLING_OK:
		prepare(db);
		break;
	case PGRES_POLLING_FAILED:
	case PGRES_POLLING_ACTIVE:
	default:
		lose(db);
	}
}

static void
on_timer(evutil_socket_t fd, short events, void *arg)
{
	(void)fd;
	(void)events;
	connect_start(arg);
}

/* --- results ------------------------------------------------------------------ */

static void
note_error(struct db *db, const PGresult *res)
{
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);

	remember(db, PQresultErrorMessage(res));
	/* Classes 22, 23 (data, constraints) and P0 (raised by a function);
	 * see the PostgreSQL manual, appendix A. */
	db->data_error = state != NULL &&
	    (strncmp(state, "22", 2) == 0 || strncmp(state, "23", 2) == 0 ||
	        strncmp(state, "P0", 2) == 0);
}

/* The sync is the commit: only now was anything promised. */
static void
on_sync(struct db *db)
{
	struct call *call = STAILQ_FIRST(&db->calls);
	bool warned = db->warned;

	assert(call != NULL);
	db->warned = false;
	STAILQ_REMOVE_HEAD(&db->calls, link);
	finish_call(call, call->failed || warned ? TAM_DATABASE_ERROR : TAM_OK);
}

static void
on_result(struct db *db, PGresult *res)
{
	struct call *call = STAILQ_FIRST(&db->calls);
	ExecStatusType status = PQresultStatus(res);

	if (status == PGRES_PIPELINE_SYNC) {
		PQclear(res);
		on_sync(db);
		return;
	}
	if (call == NULL) { /* the server ends the session by itself */
		PQclear(res);
		return;
	}
	if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
		call->failed = true;
		if (status == PGRES_FATAL_ERROR)
			note_error(db, res);
	}
	PQclear(call->result);
	call->result = res;
}

/*
 * A NULL from PQgetResult() is the end of one command in the pipeline; two in
 * a row mean that nothing more has arrived.
 */
static void
read_results(struct db *db)
{
	unsigned nulls = 0;

	while (db->state >= PREPARING && nulls < 2 && !PQisBusy(db->conn)) {
		PGresult *res = PQgetResult(db->conn);

		if (res == NULL) {
			nulls++;
			continue;
		}
		nulls = 0;
		on_result(db, res);
	}
}

static void
on_io(evutil_socket_t fd, short events, void *arg)
{
	struct db *db = arg;

	(void)fd;
	if ((events & EV_READ) != 0) {
		if (PQconsumeInput(db->conn) != 1) {
			lose(db);
			return;
		}
		read_results(db);
	}
	if (db->state < PREPARING)
		return;
	if (PQstatus(db->conn) == CONNECTION_BAD) {
		lose(db);
		return;
	}
	if ((events & EV_WRITE) != 0 && PQflush(db->conn) != 1)
		watch(db, EV_READ | EV_PERSIST, on_io);
}

/* --- the caller's side --------------------------------------------------------- */

struct db *
db_open(struct event_base *base, const char *conninfo,
    struct readiness_part *part)
{
	struct db *db = mem_new(struct db);

	db->base = base;
	db->part = part;
	say(db, false);
	db->conninfo = mem_strdup(conninfo);
	db->backoff_ms = BACKOFF_MIN_MS;
	STAILQ_INIT(&db->calls);
	db->timer = evtimer_new(base, on_timer, db);
	(void)event_add(db->timer, &(struct timeval){0, 0});
	return db;
}

void
db_close(struct db *db)
{
	struct call *call;

	if (db == NULL)
		return;
	drop_conn(db);
	while ((call = STAILQ_FIRST(&db->calls)) != NULL) {
		STAILQ_REMOVE_HEAD(&db->calls, link);
		finish_call(call, TAM_NO_DATABASE);
	}
	event_free(db->timer);
	free(db->conninfo);
	free(db);
}

bool
db_ready(const struct db *db)
{
	return db->state == READY;
}

void
db_on_ready(struct db *db, void (*cb)(void *), void *arg)
{
	db->on_ready = cb;
	db->on_ready_arg = arg;
}

void
db_send(struct db *db, enum db_statement statement, const struct slice *params,
    size_t n, db_cb cb, void *arg)
{
	const char *values[DB_PARAMS_MAX];
	int lengths[DB_PARAMS_MAX], formats[DB_PARAMS_MAX];

	assert(db->state == READY && n <= DB_PARAMS_MAX);
	for (size_t i = 0; i < n; i++) {
		values[i] = (const char *)params[i].p;
		lengths[i] = (int)params[i].n;
		formats[i] = 1;
	}
	push_call(db, cb, arg);
	if (PQsendQueryPrepared(db->conn, statement_names[statement], (int)n,
	        values, lengths, formats, 1) != 1 ||
	    PQpipelineSync(db->conn) != 1)
		remember(db, PQerrorMessage(db->conn));
	/* A connection that broke is noticed by on_io, never from in here. */
	if (PQflush(db->conn) != 0)
		watch(db, EV_READ | EV_WRITE | EV_PERSIST, on_io);
}

bool
db_error_is_data(const struct db *db)
{
	return db->data_error;
}

const char *
db_error(const struct db *db)
{
	return db->error;
}

size_t
db_rows_n(const struct db_rows *rows)
{
	return (size_t)PQntuples(rows->res);
}

bool
db_is_null(const struct db_rows *rows, size_t row, int column)
{
	return PQgetisnull(rows->res, (int)row, column) == 1;
}

static uint64_t
big_endian(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v = v << 8 | p[i];
	return v;
}

int64_t
db_int(const struct db_rows *rows, size_t row, int column)
{
	struct slice v = db_bytes(rows, row, column);

	if (v.n == 4)
		return (int32_t)big_endian(v.p, 4);
	assert(v.n == 8 || v.n == 0);
	return (int64_t)big_endian(v.p, v.n);
}

struct slice
db_bytes(const struct db_rows *rows, size_t row, int column)
{
	return (struct slice){(const uint8_t *)PQgetvalue(rows->res, (int)row,
	                          column),
	    (size_t)PQgetlength(rows->res, (int)row, column)};
}

/* The binary form: dimensions, flags, element type, then per dimension its
 * size and lower bound, then each element with its length. */
struct db_array
db_array(const struct db_rows *rows, size_t row, int column)
{
	struct slice v = db_bytes(rows, row, column);
	struct db_array a = {0};

	if (v.n < 20 || big_endian(v.p, 4) != 1)
		return a;
	a.left = big_endian(v.p + 12, 4);
	a.rest = (struct slice){v.p + 20, v.n - 20};
	return a;
}

bool
db_array_next(struct db_array *a, struct slice *out)
{
	size_t n;

	if (a->left == 0 || a->rest.n < 4)
		return false;
	n = big_endian(a->rest.p, 4);
	if (n > a->rest.n - 4)
		return false;
	*out = (struct slice){a->rest.p + 4, n};
	a->rest.p += 4 + n;
	a->rest.n -= 4 + n;
	a->left--;
	return true;
}
