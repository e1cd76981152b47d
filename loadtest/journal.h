/*
 * journal.h - the simulator's own account, for tests that kill the server.
 *
 * A line is on the disk before the simulator goes on: U for an Update it
 * received, S for a 204 that followed a Success.  What is written here the
 * TAM must still know afterwards.
 */
#ifndef LOADTEST_JOURNAL_H
#define LOADTEST_JOURNAL_H

#include "lib/base/slice.h"

struct journal;

/* Appends; NULL with errno. */
struct journal *journal_open(const char *path);
void journal_close(struct journal *);

/* kind, the agent's thumbprint, the Update's id from its token. */
void journal_add(struct journal *, char kind, struct slice thumbprint,
    struct slice token);

#endif
