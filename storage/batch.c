#include "config.h"

#include "storage/batch.h"

#include <assert.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/random.h"

enum {
	TICK_MS = 50,
	/* Nobody waits for an observation: they are sent when so many are
	 * there, or with the next tick. */
	OBSERVE_MIN = 128,
	TRIES_MAX = 20,
	BACKOFF_MIN_MS = 20, /* after an error that is not the data's */
	BACKOFF_MAX_MS = 2000,
	PAYLOADS_MAX = 2,
	/* Bytes of all calls, and of one statement; one call may have more.
	 * The buffer has room for their arrays, and for the largest call. */
	CALLS_MAX_BYTES = 64 << 20,
	SENT_MAX_BYTES = 16 << 20,
	PARAMS_MAX_BYTES = 96 << 20,
	OID_BYTEA = 17, /* pg_type.dat */
	OID_INT8 = 20,
	OID_TEXT = 25
};

/* The columns after the ordinal: i int8, b bytea, t text. */
static const char *const columns[DB_STATEMENTS] = {
    [DB_LOAD] = "ib",
    [DB_CANDIDATES] = "i",
    [DB_OBSERVE] = "iiiiiib",
    [DB_ANSWER_QUERY] = "iiiiiiiiibttttiibbttttiittttit",
    [DB_ANSWER_UPDATE] = "iiiiiiiiit",
    [DB_ATTESTED] = "iiiiitttibbbt",
    [DB_CAME_BY] = "iii",
    [DB_PAYLOAD] = "ib",
    [DB_ENROL] = "ittbtbbbi",
};

struct batch_call {
	TAILQ_ENTRY(batch_call) link;
	int64_t key;
	int64_t deadline_us;
	unsigned tries;
	size_t bytes; /* of its values */
	batch_cb cb;
	struct batch_caller caller;
	bool answered; /* a row came: this one */
	size_t row;
	struct slice values[]; /* and their bytes behind them */
};

TAILQ_HEAD(batch_calls, batch_call);

/* One statement: its queue, and the batch of it that is on the way. */
struct lane {
	struct batch *batch;
	enum db_statement statement;
	struct batch_calls queue;
	size_t queued;
	struct batch_call *sent[BATCH_MAX];
	size_t n_sent;
	size_t limit;    /* smaller than BATCH_MAX while a culprit is sought */
	size_t suspects; /* calls left among which it must be */
	int backoff_ms;  /* the next wait; 0: none since the last success */
	int64_t wait_until_us;
};

struct batch {
	struct db *db;
	struct event *tick, *kick;
	struct lane lanes[DB_STATEMENTS];
	struct buf params;
	size_t bytes; /* of all calls */
	struct batch_stats stats;
	bool closing;
};

/* Payloads are large: a few at a time. */
static size_t
lane_max(enum db_statement s)
{
	return s == DB_PAYLOAD ? PAYLOADS_MAX : BATCH_MAX;
}

static size_t
columns_n(enum db_statement s)
{
	return strlen(columns[s]);
}

/* --- parameters: PostgreSQL's binary arrays ------------------------------------ */

static void
put32(struct buf *b, uint32_t v)
{
	uint8_t bytes[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16),
	    (uint8_t)(v >> 8), (uint8_t)v};

	buf_add(b, bytes, 4);
}

static void
put_array_head(struct buf *b, uint32_t oid, size_t n)
{
	put32(b, 1); /* dimensions */
	put32(b, 1); /* there may be NULLs */
	put32(b, oid);
	put32(b, (uint32_t)n);
	put32(b, 1); /* lower bound */
}

static void
put_element(struct buf *b, struct slice v)
{
	if (v.p == NULL) {
		put32(b, UINT32_MAX);
		return;
	}
	put32(b, (uint32_t)v.n);
	buf_add_slice(b, v);
}

static uint32_t
oid_of(char column)
{
	return column == 'i' ? OID_INT8 : column == 'b' ? OID_BYTEA : OID_TEXT;
}

static void
write_params(struct lane *lane, struct slice *params)
{
	struct buf *b = &lane->batch->params;
	size_t n_columns = columns_n(lane->statement);
	size_t starts[DB_PARAMS_MAX + 1];

	buf_clear(b);
	starts[0] = 0;
	put_array_head(b, OID_INT8, lane->n_sent);
	for (size_t i = 0; i < lane->n_sent; i++) {
		uint8_t ordinal[8];

		batch_int(ordinal, (int64_t)i);
		put_element(b, SLICE_OF(ordinal));
	}
	for (size_t c = 0; c < n_columns; c++) {
		starts[c + 1] = b->n;
		put_array_head(b, oid_of(columns[lane->statement][c]),
		    lane->n_sent);
		for (size_t i = 0; i < lane->n_sent; i++)
			put_element(b, lane->sent[i]->values[c]);
	}
	assert(!b->full);
	for (size_t c = 0; c <= n_columns; c++) {
		size_t end = c == n_columns ? b->n : starts[c + 1];

		params[c] = (struct slice){b->p + starts[c], end - starts[c]};
	}
}

/* --- answers ---------------------------------------------------------------------- */

static void
tell(struct batch_call *call, enum tam_err err, const struct db_rows *rows)
{
	batch_cb cb = call->cb;

	call->cb = NULL;
	if (cb != NULL)
		cb(err, call->answered ? rows : NULL, call->row, &call->caller);
}

static void
call_free(struct batch *batch, struct batch_call *call)
{
	batch->bytes -= call->bytes;
	free(call);
}

static void
put_back(struct lane *lane)
{
	for (size_t i = lane->n_sent; i-- > 0;) {
		TAILQ_INSERT_HEAD(&lane->queue, lane->sent[i], link);
		lane->queued++;
	}
	lane->n_sent = 0;
}

static void
take_rows(struct lane *lane, const struct db_rows *rows)
{
	for (size_t r = 0; r < db_rows_n(rows); r++) {
		size_t i = (size_t)db_int(rows, r, 0);

		assert(i < lane->n_sent);
		lane->sent[i]->answered = true;
		lane->sent[i]->row = r;
	}
}

static void
complete(struct lane *lane, enum tam_err err, const struct db_rows *rows)
{
	struct batch_call *calls[BATCH_MAX];
	size_t n = lane->n_sent;

	/* A callback may queue more: the lane is free before the first. */
	memcpy(calls, lane->sent, n * sizeof(struct batch_call *));
	lane->n_sent = 0;
	for (size_t i = 0; i < n; i++) {
		tell(calls[i], err, rows);
		call_free(lane->batch, calls[i]);
	}
}

/* A refused batch is cut in halves; alone, a call is refused itself. */
static void
seek_culprit(struct lane *lane)
{
	struct batch_stats *stats = &lane->batch->stats;

	if (lane->n_sent == 1) {
		stats->refused++;
		log_error("statement_refused", "error=\"%s\"",
		    db_error(lane->batch->db));
		complete(lane, TAM_DATABASE_ERROR, NULL);
		return;
	}
	lane->limit = (lane->n_sent + 1) / 2;
	lane->suspects = lane->n_sent;
	put_back(lane);
}

/* The database refused, and not for the data: all lanes of all workers would
 * fail again at once. */
static void
rest(struct lane *lane)
{
	int ms = lane->backoff_ms > 0 ? lane->backoff_ms : BACKOFF_MIN_MS;

	lane->wait_until_us =
	    clock_mono_us() + random_pause_ms(ms) * INT64_C(1000);
	lane->backoff_ms = 2 * ms < BACKOFF_MAX_MS ? 2 * ms : BACKOFF_MAX_MS;
}

static void
drop_tired(struct lane *lane)
{
	size_t kept = 0;

	for (size_t i = 0; i < lane->n_sent; i++) {
		struct batch_call *call = lane->sent[i];

		if (++call->tries < TRIES_MAX) {
			lane->sent[kept++] = call;
			continue;
		}
		tell(call, TAM_NO_DATABASE, NULL);
		call_free(lane->batch, call);
	}
	lane->n_sent = kept;
}

static void
on_answer(enum tam_err err, const struct db_rows *rows, void *arg)
{
	struct lane *lane = arg;
	struct batch *batch = lane->batch;
	size_t n = lane->n_sent;

	if (batch->closing) {
		complete(lane, TAM_STOPPING, NULL);
		return;
	}
	if (err == TAM_OK || err == TAM_BAD_INPUT)
		lane->backoff_ms = 0;
	if (err == TAM_OK) {
		take_rows(lane, rows);
		complete(lane, TAM_OK, rows);
	} else if (err == TAM_BAD_INPUT) {
		seek_culprit(lane);
	} else {
		batch->stats.retries += n;
		if (err == TAM_DATABASE_ERROR) {
			log_peer(LOG_LEVEL_WARN, "statement_failed",
			    "error=\"%s\"", db_error(batch->db));
			rest(lane);
		}
		drop_tired(lane);
		put_back(lane);
	}
	if (lane->n_sent == 0 && lane->suspects > 0 && err == TAM_OK) {
		lane->suspects -= n < lane->suspects ? n : lane->suspects;
		if (lane->suspects == 0)
			lane->limit = lane_max(lane->statement);
	}
	(void)event_add(batch->kick, &(struct timeval){0, 0});
}

/* --- sending ------------------------------------------------------------------------ */

static int
by_key(const void *a, const void *b)
{
	const struct batch_call *const *x = a, *const *y = b;

	return (*x)->key < (*y)->key ? -1 : (*x)->key > (*y)->key;
}

/* Takes what is queued, one call of a key; the others wait their turn. */
static void
gather(struct lane *lane)
{
	struct batch_call *call, *next;
	size_t n = 0, bytes = 0;

	for (call = TAILQ_FIRST(&lane->queue); call != NULL && n < lane->limit;
	     call = next) {
		if (n > 0 && bytes + call->bytes > SENT_MAX_BYTES)
			break;
		bytes += call->bytes;
		next = TAILQ_NEXT(call, link);
		TAILQ_REMOVE(&lane->queue, call, link);
		lane->queued--;
		lane->sent[n++] = call;
	}
	qsort(lane->sent, n, sizeof(struct batch_call *), by_key);
	lane->n_sent = 0;
	for (size_t i = 0; i < n; i++) {
		call = lane->sent[i];
		if (lane->n_sent > 0 &&
		    lane->sent[lane->n_sent - 1]->key == call->key) {
			TAILQ_INSERT_TAIL(&lane->queue, call, link);
			lane->queued++;
			continue;
		}
		lane->sent[lane->n_sent++] = call;
	}
}

static void
send_lane(struct lane *lane)
{
	struct slice params[DB_PARAMS_MAX];

	if (lane->n_sent > 0 || TAILQ_EMPTY(&lane->queue) ||
	    !db_ready(lane->batch->db) ||
	    (lane->backoff_ms > 0 && clock_mono_us() < lane->wait_until_us))
		return;
	gather(lane);
	write_params(lane, params);
	lane->batch->stats.statements++;
	lane->batch->stats.calls += lane->n_sent;
	db_send(lane->batch->db, lane->statement, params,
	    1 + columns_n(lane->statement), on_answer, lane);
}

static void
send_all(struct batch *batch, bool tick)
{
	for (int i = 0; i < DB_STATEMENTS; i++) {
		if (tick || i != DB_OBSERVE ||
		    batch->lanes[i].queued >= OBSERVE_MIN)
			send_lane(&batch->lanes[i]);
	}
}

static void
on_kick(evutil_socket_t fd, short events, void *arg)
{
	(void)fd;
	(void)events;
	send_all(arg, false);
}

static void
on_db_ready(void *arg)
{
	send_all(arg, true);
}

static void
expire_lane(struct lane *lane, int64_t now_us)
{
	struct batch_call *call, *next;

	for (call = TAILQ_FIRST(&lane->queue); call != NULL; call = next) {
		next = TAILQ_NEXT(call, link);
		if (call->deadline_us > now_us)
			continue;
		/* Tried before: its outcome is unknown, so it stays. */
		if (call->tries == 0 || call->cb == NULL) {
			TAILQ_REMOVE(&lane->queue, call, link);
			lane->queued--;
			tell(call, TAM_TIMED_OUT, NULL);
			call_free(lane->batch, call);
			continue;
		}
		tell(call, TAM_TIMED_OUT, NULL);
	}
	for (size_t i = 0; i < lane->n_sent; i++) {
		if (lane->sent[i]->deadline_us <= now_us)
			tell(lane->sent[i], TAM_TIMED_OUT, NULL);
	}
}

static void
on_tick(evutil_socket_t fd, short events, void *arg)
{
	struct batch *batch = arg;
	int64_t now_us = clock_mono_us();

	(void)fd;
	(void)events;
	for (int i = 0; i < DB_STATEMENTS; i++)
		expire_lane(&batch->lanes[i], now_us);
	send_all(batch, true);
}

/* --- the caller's side ----------------------------------------------------------------- */

struct batch *
batch_open(struct event_base *base, struct db *db)
{
	struct batch *batch = mem_new(struct batch);

	batch->db = db;
	buf_init(&batch->params, PARAMS_MAX_BYTES);
	for (int i = 0; i < DB_STATEMENTS; i++) {
		struct lane *lane = &batch->lanes[i];

		lane->batch = batch;
		lane->statement = (enum db_statement)i;
		lane->limit = lane_max(lane->statement);
		TAILQ_INIT(&lane->queue);
	}
	batch->kick = evtimer_new(base, on_kick, batch);
	batch->tick = event_new(base, -1, EV_PERSIST, on_tick, batch);
	(void)event_add(batch->tick, &(struct timeval){0, TICK_MS * 1000L});
	db_on_ready(db, on_db_ready, batch);
	return batch;
}

static void
close_lane(struct lane *lane)
{
	struct batch_call *call;

	while ((call = TAILQ_FIRST(&lane->queue)) != NULL) {
		TAILQ_REMOVE(&lane->queue, call, link);
		tell(call, TAM_STOPPING, NULL);
		call_free(lane->batch, call);
	}
	lane->queued = 0;
	complete(lane, TAM_STOPPING, NULL);
}

void
batch_close(struct batch *batch)
{
	if (batch == NULL)
		return;
	batch->closing = true;
	for (int i = 0; i < DB_STATEMENTS; i++)
		close_lane(&batch->lanes[i]);
	event_free(batch->tick);
	event_free(batch->kick);
	buf_fini(&batch->params);
	free(batch);
}

static size_t
bytes_of(const struct slice *values, size_t n)
{
	size_t bytes = 0;

	for (size_t i = 0; i < n; i++)
		bytes += values[i].n;
	return bytes;
}

static struct batch_call *
new_call(size_t n, const struct slice *values, size_t bytes)
{
	struct batch_call *call =
	    mem_calloc(1, sizeof(*call) + n * sizeof(struct slice) + bytes + 1);
	uint8_t *to = (uint8_t *)(call->values + n);

	call->bytes = bytes;
	for (size_t i = 0; i < n; i++) {
		if (values[i].p == NULL)
			continue;
		if (values[i].n > 0)
			memcpy(to, values[i].p, values[i].n);
		call->values[i] = (struct slice){to, values[i].n};
		to += values[i].n;
	}
	return call;
}

struct batch_call *
batch_add(struct batch *batch, enum db_statement statement, int64_t key,
    const struct slice *values, int64_t deadline_us, batch_cb cb,
    struct batch_caller caller)
{
	struct lane *lane = &batch->lanes[statement];
	size_t n = columns_n(statement), bytes = bytes_of(values, n);
	struct batch_call *call;

	if (lane->queued >= BATCH_QUEUE_MAX || batch->closing ||
	    bytes > CALLS_MAX_BYTES - batch->bytes)
		return NULL;
	call = new_call(n, values, bytes);
	batch->bytes += bytes;
	call->key = key;
	call->deadline_us = deadline_us;
	call->cb = cb;
	call->caller = caller;
	TAILQ_INSERT_TAIL(&lane->queue, call, link);
	lane->queued++;
	/* Sent at the end of this turn of the loop, with what else it brings. */
	if (lane->n_sent == 0 &&
	    (statement != DB_OBSERVE || lane->queued >= OBSERVE_MIN))
		(void)event_add(batch->kick, &(struct timeval){0, 0});
	return call;
}

void
batch_forget(struct batch_call *call)
{
	call->cb = NULL;
}

size_t
batch_pending(const struct batch *batch)
{
	size_t n = 0;

	for (int i = 0; i < DB_STATEMENTS; i++)
		n += batch->lanes[i].queued + batch->lanes[i].n_sent;
	return n;
}

const struct batch_stats *
batch_stats(const struct batch *batch)
{
	return &batch->stats;
}
