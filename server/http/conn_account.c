#include "config.h"

#include <assert.h>

#include "lib/base/mem.h"
#include "server/http/conn.h"

/*
 * What a connection holds, charged before it is allocated.  Each byte counts
 * three times: for the connection, for its source, for the process.
 */

static bool
beyond(size_t held, size_t n, size_t share)
{
	return share > 0 && (held > share || n > share - held);
}

static void
hold(struct http_conn *c, size_t n)
{
	c->held += n;
	c->share->held += n;
}

int
conn_charge(struct http_conn *c, size_t n)
{
	const struct http_limits *limits = c->server->limits;

	if (beyond(c->held, n, limits->connection_share) ||
	    (!c->share->trusted &&
	        beyond(c->share->held, n, limits->source_share))) {
		COUNT(c->server->counters, requests_limited);
		return 429;
	}
	if (!http_account_charge(&c->server->account, n)) {
		COUNT(c->server->counters, requests_shed);
		return 503;
	}
	hold(c, n);
	return 0;
}

void
conn_release(struct http_conn *c, size_t n)
{
	if (n == 0)
		return;
	assert(n <= c->held);
	c->held -= n;
	c->share->held -= n;
	http_account_release(&c->server->account, n);
}

/* --- exchanges ------------------------------------------------------------------------ */

struct http_exchange *
conn_new_exchange(struct http_conn *c, int *status)
{
	struct arena *arena;
	struct http_exchange *x;

	*status = conn_charge(c, CONN_EXCHANGE_COST);
	if (*status != 0)
		return NULL;
	arena = arena_new_in(&c->server->arenas);
	x = arena_new(arena, struct http_exchange);
	x->arena = arena;
	x->server = c->server;
	x->conn = c;
	x->held = CONN_EXCHANGE_COST;
	x->id = ++c->server->next_id;
	c->server->n_exchanges++;
	GAUGE(c->server->counters, exchanges, 1);
	return x;
}

void
conn_free_exchange(struct http_exchange *x)
{
	if (x->conn != NULL)
		conn_release(x->conn, x->held);
	x->server->n_exchanges--;
	GAUGE(x->server->counters, exchanges, -1);
	arena_free(x->arena);
}

void
conn_abandon_exchange(struct http_exchange *x)
{
	conn_release(x->conn, x->held);
	x->conn = NULL;
	if (x->on_abandon != NULL)
		x->on_abandon(x, x->handler_data);
	conn_free_exchange(x);
}

int
exchange_charge(struct http_exchange *x, size_t n)
{
	int status = conn_charge(x->conn, n);

	if (status == 0)
		x->held += n;
	return status;
}

int
exchange_add(struct http_exchange *x, struct buf *body, const void *bytes,
    size_t n)
{
	size_t room = body->room == 0 ? 256 : body->room;
	int status = 0;

	if (n > body->max - body->n)
		return 413;
	while (room - body->n < n)
		room *= 2;
	if (room > body->room)
		status = exchange_charge(x, room - body->room);
	if (status == 0)
		buf_add(body, bytes, n);
	return status;
}

void
exchange_park(struct http_exchange *x)
{
	/* The queues of the database hold copies of parts of the body. */
	size_t size = arena_size(x->arena) + x->body.n;
	size_t n = size > CONN_EXCHANGE_COST ? size - CONN_EXCHANGE_COST : 0;

	http_account_force(&x->server->account, n);
	hold(x->conn, n);
	x->held += n;
}

void
exchange_drop_body(struct http_exchange *x, struct buf *body)
{
	x->held -= body->room;
	conn_release(x->conn, body->room);
	buf_fini(body);
}
