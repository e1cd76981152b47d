/*
 * db_link.h - what is inside a struct db; for db.c and db_prepare.c.
 *
 * A link is one connection and all that is known of it: made by link_start(),
 * freed by link_lose(), so that nothing of it outlives it.
 */
#ifndef STORAGE_DB_LINK_H
#define STORAGE_DB_LINK_H

#include <libpq-fe.h>
#include <sys/queue.h>

#include "storage/db.h"
#include "storage/pg_conn.h"

struct event;

enum state {
	CONNECTING,
	PREPARING,
	CLAIMING,
	READY
};

struct call {
	STAILQ_ENTRY(call) link;
	db_cb cb; /* NULL: a probe */
	void *arg;
	PGresult *result;  /* arrived, not yet committed */
	enum tam_err err;  /* what the caller will be told */
	char sqlstate[6];  /* of the error */
	char message[200]; /* the error's first line */
};

STAILQ_HEAD(calls, call);

struct link {
	enum state state;
	PGconn *conn;
	struct event *io;   /* reading, and writing when wanted */
	struct calls calls; /* sent, oldest first */
	char nonce[PG_NONCE_MAX];
	bool usable;         /* no statement was refused while preparing */
	bool unfit;          /* an answer says so; lost after its turn */
	int64_t state_us;    /* since when it is in its state */
	int64_t progress_us; /* bytes moved, or the first call after none */
	char why[200];
};

struct db {
	struct event_base *base;
	struct readiness_part *part; /* NULL: nobody asks */
	struct pg_hosts *hosts;
	size_t host;        /* the one that is used, or tried next */
	size_t hosts_tried; /* since the last one that was ready */
	char claim[24];     /* the advisory lock of all its sessions */
	struct link *link;  /* NULL: none */
	struct event *timer, *tick;
	int64_t ticked_us;
	int backoff_ms;
	const struct call *failing; /* while its callback runs */
	void (*on_ready)(void *);
	void *on_ready_arg;
};

extern const char *const db_statement_names[DB_STATEMENTS];

/* db.c */
void link_enter(struct link *, enum state);
void link_say(struct db *, bool usable);
void link_ready(struct db *);
/* `why` NULL: libpq knows. */
void link_lose(struct db *, const char *why);
void link_push(struct link *, db_cb, void *arg);
/* A connection that broke is noticed when it is read, never from in here. */
void link_flush(struct db *);
/* Flushes, and reads from now on. */
void link_listen(struct db *);

/* db_prepare.c: from CONNECTING to READY. */
void link_prepare(struct db *);
bool link_claim(struct db *);

#endif
