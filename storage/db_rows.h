/*
 * db_rows.h - what is behind a struct db_rows; for db.c and db_rows.c.
 */
#ifndef STORAGE_DB_ROWS_H
#define STORAGE_DB_ROWS_H

#include <libpq-fe.h>

#include "storage/db.h"

struct db_rows {
	const PGresult *res;
};

#endif
