/*
 * ctl_sql.h - what tamctl's commands that speak to the database share.
 */
#ifndef ADMIN_CTL_CTL_SQL_H
#define ADMIN_CTL_CTL_SQL_H

#include "admin/ctl/ctl.h"
#include "storage/sql.h"

enum {
	CTL_SQL_TIMEOUT_MS = 600000 /* a migration may rewrite a table */
};

/* Complains; the exit status. */
int ctl_sql_failed(const struct sql *, enum tam_err);

/* A key of a domain, to be made. */
struct ctl_key {
	struct sql *sql;
	struct arena *arena;
	const char *domain_id;
	const char *use;    /* sign, next, agree or verify */
	const char *curve;  /* p256 or ed25519; of agree p256 or x25519 */
	const char *where;  /* the file its private half goes to, or the URI
	                    * of a token's key, which has a curve already */
	const char *module; /* for it; NULL: those registered */
};

/* Makes it and keeps its private half in the file, or finds it in the token,
 * and has it in the database when the transaction commits. */
enum tam_err ctl_key_make(struct ctl_key *);

#endif
