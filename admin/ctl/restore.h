/*
 * restore.h - tamctl db accept-restore: accepts a database that was restored
 * from a backup, and says what it lost.
 */
#ifndef ADMIN_CTL_RESTORE_H
#define ADMIN_CTL_RESTORE_H

#include "admin/ctl/ctl_sql.h"

enum {
	RESTORE_HEADS_MAX = 32
};

/* The end of a domain's chain of events as a node published it, in a file,
 * and the public key that signed it. */
struct restore_head {
	const char *file, *key;
};

/* Compares with the heads first; accepts nothing when one cannot be read. */
int ctl_accept_restore(const char *database, const struct restore_head *,
    size_t n);

#endif
