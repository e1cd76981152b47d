#include "config.h"

#include "storage/db.h"

#include <assert.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/random.h"
#include "lib/base/readiness.h"
#include "storage/db_link.h"
#include "storage/db_rows.h"

/*
 * The life of a link, in the order of this file:
 *
 *	CONNECTING  libpq connects to one host
 *	PREPARING   pipeline mode; settings and statements (db_prepare.c)
 *	CLAIMING    waits until the session before it has ended
 *	READY       a statement and a sync for each call; results in order
 *	lose        every call fails; the next host, or a timer starts over
 *
 * A state that makes no progress within its deadline is lost.
 *
 * A session is over for the server only when its backend has ended, and a
 * backend that waits for a standby does not notice that we dropped it.  So
 * each session of a struct db holds the same advisory lock: the next one waits
 * for it.  At most two backends exist, and what is sent again is sent when the
 * outcome of the first time is certain.
 */

enum {
	BACKOFF_MIN_MS = 50,
	BACKOFF_MAX_MS = 2000,
	TICK_MS = 250,
	CONNECT_MS = 3000, /* one host */
	PREPARE_MS = 5000,
	CLAIM_EVERY_MS = 250,
	PROBE_MS = 1000, /* an idle link is asked whether it is there */
	STALL_MS = 5000, /* without any answer while one is due */
	ASLEEP_MS = 2000 /* between two ticks: it was us who did not run */
};

static void on_connecting(evutil_socket_t, short, void *);
static void on_io(evutil_socket_t, short, void *);

static void
first_line(char *out, size_t room, const char *message)
{
	(void)snprintf(out, room, "%.*s", (int)strcspn(message, "\n"), message);
}

void
link_say(struct db *db, bool usable)
{
	if (db->part != NULL)
		readiness_say(db->part, NOT_READY_worker_link, !usable);
}

void
link_enter(struct link *l, enum state state)
{
	l->state = state;
	l->state_us = l->progress_us = clock_mono_us();
}

static void
finish_call(struct db *db, struct call *call)
{
	struct db_rows rows = {call->result};

	db->failing = call;
	if (call->cb != NULL)
		call->cb(call->err, call->err == TAM_OK ? &rows : NULL,
		    call->arg);
	db->failing = NULL;
	PQclear(call->result);
	free(call);
}

/* --- losing a link ------------------------------------------------------------ */

/* The next host at once; when each was tried, after a while, so that workers
 * do not come back all at once. */
static void
try_again(struct db *db)
{
	int ms = 0;

	if (++db->hosts_tried >= pg_hosts_n(db->hosts)) {
		ms = random_pause_ms(db->backoff_ms);
		db->hosts_tried = 0;
		db->backoff_ms *= 2;
		if (db->backoff_ms > BACKOFF_MAX_MS)
			db->backoff_ms = BACKOFF_MAX_MS;
	}
	(void)event_add(db->timer,
	    &(struct timeval){ms / 1000, (ms % 1000) * 1000L});
}

static void
fail_calls(struct db *db, struct calls *calls)
{
	struct call *call;

	while ((call = STAILQ_FIRST(calls)) != NULL) {
		STAILQ_REMOVE_HEAD(calls, link);
		call->err = TAM_NO_DATABASE;
		finish_call(db, call);
	}
}

static void
free_link(struct db *db, struct calls *calls)
{
	struct link *l = db->link;

	if (l == NULL)
		return;
	db->link = NULL;
	STAILQ_CONCAT(calls, &l->calls);
	if (l->io != NULL)
		event_free(l->io);
	PQfinish(l->conn);
	free(l);
}

/* `why` NULL: libpq knows. */
void
link_lose(struct db *db, const char *why)
{
	struct calls calls = STAILQ_HEAD_INITIALIZER(calls);
	struct link *l = db->link;
	char text[200];

	first_line(text, sizeof(text),
	    why != NULL ? why : PQerrorMessage(l->conn));
	log_peer(LOG_LEVEL_WARN, "database_lost",
	    "error=\"%s\" host=%zu state=%d calls=%d", text, db->host,
	    (int)l->state, !STAILQ_EMPTY(&l->calls));
	link_say(db, false);
	free_link(db, &calls);
	db->host = (db->host + 1) % pg_hosts_n(db->hosts);
	try_again(db);
	fail_calls(db, &calls);
}

/* --- notices and errors -------------------------------------------------------- */

/* Synchronous replication given up is a warning at commit: no promise.  It is
 * the oldest call's, whose answer is being read. */
static void
on_notice(void *arg, const PGresult *res)
{
	struct link *l = arg;
	struct call *call = STAILQ_FIRST(&l->calls);
	const char *severity =
	    PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);
	const char *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);

	if (severity == NULL || strcmp(severity, "WARNING") != 0)
		return;
	log_peer(LOG_LEVEL_WARN, "database_warning", "text=\"%.200s\"",
	    text == NULL ? "" : text);
	if (call == NULL || call->err != TAM_OK || l->state < READY)
		return;
	call->err = TAM_DATABASE_ERROR;
	first_line(call->message, sizeof(call->message),
	    text == NULL ? "" : text);
}

static void
note_error(struct link *l, struct call *call, const PGresult *res)
{
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);

	(void)snprintf(call->sqlstate, sizeof(call->sqlstate), "%s",
	    state == NULL ? "" : state);
	first_line(call->message, sizeof(call->message),
	    PQresultErrorMessage(res));
	call->err = pg_state_is_data(call->sqlstate) ? TAM_BAD_INPUT
	                                             : TAM_DATABASE_ERROR;
	if (pg_state_is_unfit(call->sqlstate)) {
		l->unfit = true;
		(void)snprintf(l->why, sizeof(l->why), "%s", call->message);
	}
}

/* --- sending --------------------------------------------------------------------- */

static void
watch(struct db *db, short events, event_callback_fn cb)
{
	struct link *l = db->link;

	if (l->io != NULL)
		event_free(l->io);
	l->io = event_new(db->base, PQsocket(l->conn), events, cb, db);
	(void)event_add(l->io, NULL);
}

void
link_push(struct link *l, db_cb cb, void *arg)
{
	struct call *call = mem_new(struct call);

	call->cb = cb;
	call->arg = arg;
	if (STAILQ_EMPTY(&l->calls))
		l->progress_us = clock_mono_us();
	STAILQ_INSERT_TAIL(&l->calls, call, link);
}

/* A connection that broke is noticed by on_io, never from in here. */
void
link_flush(struct db *db)
{
	if (PQflush(db->link->conn) != 0)
		watch(db, EV_READ | EV_WRITE | EV_PERSIST, on_io);
}

void
link_listen(struct db *db)
{
	watch(db, EV_READ | EV_PERSIST, on_io);
	link_flush(db);
}

void
link_ready(struct db *db)
{
	struct link *l = db->link;

	link_enter(l, READY);
	db->backoff_ms = BACKOFF_MIN_MS;
	db->hosts_tried = 0;
	link_say(db, true);
	log_info("database_ready", "pid=%d host=%zu", PQbackendPID(l->conn),
	    db->host);
	if (db->on_ready != NULL)
		db->on_ready(db->on_ready_arg);
}

/* --- connecting -------------------------------------------------------------------- */

static void
on_connecting(evutil_socket_t fd, short events, void *arg)
{
	struct db *db = arg;

	(void)fd;
	(void)events;
	switch (PQconnectPoll(db->link->conn)) {
	case PGRES_POLLING_READING:
		watch(db, EV_READ, on_connecting);
		break;
	case PGRES_POLLING_WRITING:
		watch(db, EV_WRITE, on_connecting);
		break;
	case PGRES_POLLING_OK:
		link_prepare(db);
		break;
	case PGRES_POLLING_FAILED:
	case PGRES_POLLING_ACTIVE:
	default:
		link_lose(db, NULL);
	}
}

static void
link_start(evutil_socket_t fd, short events, void *arg)
{
	struct db *db = arg;
	struct link *l = mem_new(struct link);

	(void)fd;
	(void)events;
	assert(db->link == NULL);
	STAILQ_INIT(&l->calls);
	l->conn = pg_hosts_connect(db->hosts, db->host);
	db->link = l;
	link_enter(l, CONNECTING);
	if (PQstatus(l->conn) == CONNECTION_BAD) {
		link_lose(db, NULL);
		return;
	}
	(void)PQsetNoticeReceiver(l->conn, on_notice, l);
	watch(db, EV_WRITE, on_connecting);
}

/* --- results ------------------------------------------------------------------ */

/* The sync is the commit: only now was anything promised. */
static void
on_sync(struct db *db)
{
	struct call *call = STAILQ_FIRST(&db->link->calls);

	assert(call != NULL);
	STAILQ_REMOVE_HEAD(&db->link->calls, link);
	finish_call(db, call);
}

static void
on_result(struct db *db, PGresult *res)
{
	struct link *l = db->link;
	struct call *call = STAILQ_FIRST(&l->calls);
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
	if (status == PGRES_FATAL_ERROR)
		note_error(l, call, res);
	else if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK &&
	    call->err == TAM_OK)
		call->err = TAM_DATABASE_ERROR;
	PQclear(call->result);
	call->result = res;
}

/*
 * A NULL from PQgetResult() is the end of one command in the pipeline; two in
 * a row mean that nothing more has arrived.  False: the link is lost.
 */
static bool
read_results(struct db *db)
{
	struct link *l = db->link;
	unsigned nulls = 0;

	if (PQconsumeInput(l->conn) != 1) {
		link_lose(db, NULL);
		return false;
	}
	while (nulls < 2 && !PQisBusy(l->conn)) {
		PGresult *res = PQgetResult(l->conn);

		if (res == NULL) {
			nulls++;
			continue;
		}
		nulls = 0;
		on_result(db, res);
		if (l->unfit && STAILQ_EMPTY(&l->calls))
			break;
	}
	if (l->unfit || PQstatus(l->conn) == CONNECTION_BAD) {
		link_lose(db, l->unfit ? l->why : NULL);
		return false;
	}
	return true;
}

static void
on_io(evutil_socket_t fd, short events, void *arg)
{
	struct db *db = arg;

	(void)fd;
	/* Bytes move, also those of a large answer that is not complete. */
	db->link->progress_us = clock_mono_us();
	if ((events & EV_READ) != 0 && !read_results(db))
		return;
	if ((events & EV_WRITE) != 0 && PQflush(db->link->conn) != 1)
		watch(db, EV_READ | EV_PERSIST, on_io);
}

/* --- deadlines ------------------------------------------------------------------- */

/* Sent over an idle link: whether the server answers. */
static void
probe(struct db *db)
{
	link_push(db->link, NULL, NULL);
	(void)PQpipelineSync(db->link->conn);
	link_flush(db);
}

static void
check_stall(struct db *db, int64_t now_us)
{
	struct link *l = db->link;

	if (STAILQ_EMPTY(&l->calls)) {
		if (l->state == CLAIMING) {
			(void)link_claim(db);
			link_flush(db);
		} else if (now_us - l->progress_us >=
		    PROBE_MS * INT64_C(1000)) {
			probe(db);
		}
		return;
	}
	/* The answer may be here already, if this thread was late. */
	if (now_us - l->progress_us < STALL_MS * INT64_C(1000) ||
	    !read_results(db))
		return;
	if (!STAILQ_EMPTY(&l->calls) &&
	    now_us - l->progress_us >= STALL_MS * INT64_C(1000))
		link_lose(db, "no answer");
}

static void
on_tick(evutil_socket_t fd, short events, void *arg)
{
	struct db *db = arg;
	struct link *l = db->link;
	int64_t now_us = clock_mono_us(), slept = now_us - db->ticked_us;

	(void)fd;
	(void)events;
	db->ticked_us = now_us;
	if (l == NULL)
		return;
	if (slept > ASLEEP_MS * INT64_C(1000)) {
		l->state_us += slept;
		l->progress_us += slept;
	}
	if (l->state >= CLAIMING)
		check_stall(db, now_us);
	else if (now_us - l->state_us >=
	    (l->state == CONNECTING ? CONNECT_MS : PREPARE_MS) * INT64_C(1000))
		link_lose(db,
		    l->state == CONNECTING ? "timed out connecting"
		                           : "timed out preparing");
}

/* --- the caller's side --------------------------------------------------------- */

struct db *
db_open(struct event_base *base, const char *conninfo,
    struct readiness_part *part)
{
	struct db *db = mem_new(struct db);
	int64_t claim;

	db->base = base;
	db->part = part;
	link_say(db, false);
	db->hosts = pg_hosts_new(conninfo);
	random_bytes(&claim, sizeof(claim));
	(void)snprintf(db->claim, sizeof(db->claim), "%lld", (long long)claim);
	db->backoff_ms = BACKOFF_MIN_MS;
	db->ticked_us = clock_mono_us();
	db->timer = evtimer_new(base, link_start, db);
	db->tick = event_new(base, -1, EV_PERSIST, on_tick, db);
	(void)event_add(db->timer, &(struct timeval){0, 0});
	(void)event_add(db->tick, &(struct timeval){0, TICK_MS * 1000L});
	return db;
}

void
db_close(struct db *db)
{
	struct calls calls = STAILQ_HEAD_INITIALIZER(calls);

	if (db == NULL)
		return;
	free_link(db, &calls);
	fail_calls(db, &calls);
	event_free(db->timer);
	event_free(db->tick);
	pg_hosts_free(db->hosts);
	free(db);
}

bool
db_ready(const struct db *db)
{
	return db->link != NULL && db->link->state == READY;
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
	PGconn *conn = db->link->conn;

	assert(db_ready(db) && n <= DB_PARAMS_MAX);
	for (size_t i = 0; i < n; i++) {
		values[i] = (const char *)params[i].p;
		lengths[i] = (int)params[i].n;
		formats[i] = 1;
	}
	link_push(db->link, cb, arg);
	if (PQsendQueryPrepared(conn, db_statement_names[statement], (int)n,
	        values, lengths, formats, 1) == 1)
		(void)PQpipelineSync(conn);
	link_flush(db);
}

const char *
db_error(const struct db *db)
{
	return db->failing == NULL ? "" : db->failing->message;
}
