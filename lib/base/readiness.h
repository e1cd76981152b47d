/*
 * readiness.h - why this node is not ready: one registry of named reasons.
 *
 * A node is ready when it could, at this moment, sign an opener, load a device
 * and commit an Update.  Each reason below says that one part of this is
 * missing.  /readyz, /readyz?verbose and the metric tam_not_ready print the
 * registry; a new reason is one line in the table.
 *
 * Several threads may hold the same reason, for example two workers without a
 * connection.  Each has a part of its own: readiness_say() changes what this
 * part holds and logs the change.  A reason is over when nobody holds it.
 * Any thread may read the registry at any time, without a lock.
 */
#ifndef LIB_BASE_READINESS_H
#define LIB_BASE_READINESS_H

#include <stdatomic.h>
#include <stdbool.h>

/* name, text: the first reason that is held is the answer of /readyz. */
#define TAM_NOT_READY(X)                                                      \
	X(stopping, "stopping")                                               \
	X(pooler,                                                             \
	    "a connection pooler in transaction mode is in front of the "     \
	    "database; connect to the database or use pool_mode = session")   \
	X(standby,                                                            \
	    "the database is read-only; name the primary or add "             \
	    "target_session_attrs=read-write")                                \
	X(schema, "schema version")                                           \
	X(clock, "clock is off")                                              \
	X(unchecked, "database was not checked yet")                          \
	X(restored, "database was restored")                                  \
	X(memory, "no memory of earlier epochs, and no other node serves")    \
	X(state_dir, "state_dir cannot be written")                           \
	X(database, "the control thread cannot use the database")             \
	X(signing_key,                                                        \
	    "a signing key of a domain is missing or cannot be used; the log" \
	    " says which")                                                    \
	X(token_key, "no token key mints now")                                \
	X(lease, "no lease")                                                  \
	X(worker_link, "a worker has no usable connection to the database")   \
	X(admin_database, "the admin API cannot use the database")            \
	X(sockets, "not listening yet")

enum not_ready {
#define X(name, text) NOT_READY_##name,
	TAM_NOT_READY(X)
#undef X
	NOT_READY_COUNT
};

/* How many parts hold each reason.  All zero is ready. */
struct readiness {
	_Atomic int holders[NOT_READY_COUNT];
};

/* One thread's say.  `shared` may be NULL: then nothing is noted. */
struct readiness_part {
	struct readiness *shared;
	bool holds[NOT_READY_COUNT];
};

void readiness_say(struct readiness_part *, enum not_ready, bool holds);
/* Takes back everything that this part holds. */
void readiness_leave(struct readiness_part *);

bool readiness_held(const struct readiness *, enum not_ready);
/* The first reason that is held; NOT_READY_COUNT when the node is ready. */
enum not_ready readiness_first(const struct readiness *);

/* "worker_link"; and the sentence for people. */
const char *not_ready_name(enum not_ready);
const char *not_ready_text(enum not_ready);

#endif
