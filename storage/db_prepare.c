#include "config.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/log.h"
#include "storage/db_link.h"
#include "storage/db_rows.h"
#include "storage/statements.h"

/*
 * From a connection to a link that is ready: the session's settings, each
 * statement, and the lock that says that the session before has ended.  What
 * is refused on the way makes the link unfit: db.c drops it.
 */

/* A statement that waits for a lock or runs long ends before the link is
 * taken for dead; neither limit runs while a commit waits for a standby. */
static const struct pg_session session = {.role = "tam_wire",
    .lock_timeout = "2s",
    .statement_timeout = "4s",
    .idle_timeout = "10s",
    /* Arrays of unknown length: the plan must not depend on them. */
    .plan_cache_mode = "force_generic_plan"};

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

const char *const db_statement_names[DB_STATEMENTS] = {
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

static bool
send_text(struct link *l, const char *statement, int n,
    const char *const *params, db_cb cb, void *arg)
{
	link_push(l, cb, arg);
	return PQsendQueryParams(l->conn, statement, n, NULL, params, NULL,
	           NULL, 0) == 1 &&
	    PQpipelineSync(l->conn) == 1;
}

/* What was refused is in db->failing. */
static void
on_prepared(enum tam_err err, const struct db_rows *rows, void *arg)
{
	struct db *db = arg;
	struct link *l = db->link;

	(void)rows;
	if (err == TAM_OK || l == NULL || !l->usable)
		return;
	l->usable = false;
	l->unfit = true;
	(void)snprintf(l->why, sizeof(l->why), "%s", db_error(db));
}

static void
on_checked(enum tam_err err, const struct db_rows *rows, void *arg)
{
	struct db *db = arg;
	struct link *l = db->link;
	const char *why = NULL;

	on_prepared(err, rows, arg);
	if (err != TAM_OK || !l->usable)
		return;
	if (strcmp(PQgetvalue(rows->res, 0, 0), "1") != 0)
		why = "another session answers: a pooler in transaction mode";
	else if (strcmp(PQgetvalue(rows->res, 0, 2), "0") != 0)
		why = "the server is read-only";
	if (why == NULL)
		return;
	l->usable = false;
	l->unfit = true;
	(void)snprintf(l->why, sizeof(l->why), "%s", why);
}

static void
on_claimed(enum tam_err err, const struct db_rows *rows, void *arg)
{
	struct db *db = arg;
	struct link *l = db->link;

	on_prepared(err, rows, arg);
	if (err != TAM_OK || !l->usable)
		return;
	if (strcmp(PQgetvalue(rows->res, 0, 0), "1") != 0) {
		if (l->state == PREPARING) {
			log_warn("database_waits",
			    "text=\"the session before has not ended\"");
			link_enter(l, CLAIMING);
		}
		return;
	}
	link_ready(db);
}

bool
link_claim(struct db *db)
{
	const char *params[] = {db->claim};

	return send_text(db->link, "SELECT pg_try_advisory_lock($1::int8)::int",
	    1, params, on_claimed, db);
}

void
link_prepare(struct db *db)
{
	struct link *l = db->link;
	const char *params[PG_SESSION_PARAMS];
	const char *nonce[] = {l->nonce};
	bool ok;

	link_enter(l, PREPARING);
	l->usable = true;
	pg_nonce(l->nonce);
	pg_session_params(&session, l->nonce, params);
	ok = PQsetnonblocking(l->conn, 1) == 0 &&
	    PQenterPipelineMode(l->conn) == 1 &&
	    send_text(l, pg_session_begin, PG_SESSION_PARAMS, params,
	        on_prepared, db) &&
	    send_text(l, pg_session_check, 1, nonce, on_checked, db);
	for (int i = 0; ok && i < DB_STATEMENTS; i++) {
		link_push(l, on_prepared, db);
		ok = PQsendPrepare(l->conn, db_statement_names[i],
		         statement_texts[i], 0, NULL) == 1 &&
		    PQpipelineSync(l->conn) == 1;
	}
	if (!ok || !link_claim(db)) {
		link_lose(db, NULL);
		return;
	}
	link_listen(db);
}
