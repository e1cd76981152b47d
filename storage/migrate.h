/*
 * migrate.h - migrations in order, once, under an advisory lock.
 *
 * Behind `tamctl db status|plan|migrate|verify`.  Files are NNNN_name.sql in
 * one directory; what was applied is a row with the file's SHA-256.
 */
#ifndef STORAGE_MIGRATE_H
#define STORAGE_MIGRATE_H

#include <stdio.h>

#include "lib/base/err.h"

struct sql;

enum {
	/* What this release's statements need, and the newest it has been
	 * tried with: tamd runs on a schema one ahead (a rolling upgrade). */
	SCHEMA_VERSION = 43
};

enum migrate_state {
	MIGRATE_APPLIED,
	MIGRATE_PENDING,
	MIGRATE_CHANGED, /* the file is not what was applied */
	MIGRATE_MISSING  /* applied, but there is no such file */
};

typedef void (
    *migrate_cb)(int version, const char *name, enum migrate_state, void *);

/* Reports each file and each row; nothing is changed. */
enum tam_err migrate_list(struct sql *, const char *dir, migrate_cb, void *);

/* Applies what is pending, each file in a transaction of its own. */
enum tam_err migrate_apply(struct sql *, const char *dir, migrate_cb, void *);

/* The schema's version; 0 for an empty database. */
enum tam_err migrate_version(struct sql *, int *version);

#endif
