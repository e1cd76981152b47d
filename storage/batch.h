/*
 * batch.h - many devices in one statement, each caller its own verdict.
 *
 * A batch is what queued while the last one was on the way, at most BATCH_MAX
 * devices, in key order, at most one call of a key.  There is no timer, but
 * for observations, for which nobody waits: they gather for up to 50 ms.  A caller's
 * callback runs once, from the loop: with its own row when the transaction is
 * committed.  When the data of one call is refused the batch is cut in halves
 * until only that call fails.  When the connection is lost the calls are sent
 * again; the statements recognise what was done already by its exchange id.
 * After any other error they are sent again with a back-off that grows.
 *
 * A deadline ends the caller's wait, never the write: what was sent goes on.
 */
#ifndef STORAGE_BATCH_H
#define STORAGE_BATCH_H

#include "storage/db.h"

enum {
	BATCH_MAX = 256,
	BATCH_QUEUE_MAX = 8192
};

struct arena;
struct batch;
struct batch_call;
struct event_base;

/* Who waits for a call; kept in the call, so that forgetting it is enough. */
struct batch_caller {
	void (*cb)(void); /* of the type the store in between gave it */
	void (*other_cb)(void);
	void *arg;
	struct arena *arena;
	int32_t domain_id;
};

/* `rows` is NULL when the statement had no row for this call. */
typedef void (*batch_cb)(enum tam_err, const struct db_rows *rows, size_t row,
    const struct batch_caller *);

struct batch *batch_open(struct event_base *, struct db *);
/* Fails every caller with TAM_STOPPING. */
void batch_close(struct batch *);

/*
 * Queues one device's share of a statement.  The values are copied; one whose
 * p is NULL is an SQL NULL.  NULL when the queue is full, by
 * its number of calls or the bytes of all: TAM_DATABASE_BUSY to the caller.
 */
struct batch_call *batch_add(struct batch *, enum db_statement, int64_t key,
    const struct slice *values, int64_t deadline_us, batch_cb,
    struct batch_caller);

/* The caller is gone: its callback will not run. */
void batch_forget(struct batch_call *);

/* Calls queued or on the way. */
size_t batch_pending(const struct batch *);

/* How many statements were sent, and calls in them; for metrics. */
struct batch_stats {
	uint64_t statements, calls, retries, refused;
};
const struct batch_stats *batch_stats(const struct batch *);

/* The eight big-endian bytes of an int8 value. */
static inline void
batch_int(uint8_t out[8], int64_t v)
{
	for (int i = 0; i < 8; i++)
		out[i] = (uint8_t)((uint64_t)v >> (56 - 8 * i));
}

#endif
