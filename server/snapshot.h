/*
 * snapshot.h - rows into an immutable tam_snapshot.
 */
#ifndef SERVER_SNAPSHOT_H
#define SERVER_SNAPSHOT_H

#include "server/teep/domain.h"

struct config;
struct sql;

/*
 * Reads everything in one REPEATABLE READ transaction, so that what is read
 * and the epochs belong together.  Logs what is wrong.
 */
enum tam_err snapshot_load(struct sql *, const struct config *,
    const uint8_t master_key[32], struct tam_snapshot **out);

#endif
