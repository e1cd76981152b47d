#include "config.h"

#include "server/limits.h"

#include <sys/resource.h>

#include "lib/base/log.h"
#include "server/settings.h"

enum {
	ADMIN_CONNECTIONS = 512,
	ADMIN_RESERVED = 16,    /* beside them, for health and metrics */
	ADMIN_SOURCE_SHARE = 4, /* of the connections, of one source */
	ADMIN_REQUEST_MS = 60000,
	ADMIN_UPLOADS = 8, /* that fit into the admin listener's budget */
	/* Descriptors beside connections: of the process, of a worker. */
	PROCESS_FILES = 128,
	WORKER_FILES = 32,
	STREAM_SHARE = 24 << 10,  /* bytes of a stream with a small message */
	MESSAGE_SLACK = 64 << 10, /* around a message of message_max */
	/* Parts of the budget: one connection, one source. */
	CONNECTION_SHARE = 32,
	SOURCE_SHARE = 4
};

static size_t
larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

/* What one connection may hold: a part of the budget, but always two messages,
 * and all its streams with small ones. */
static size_t
connection_share(const struct config *c)
{
	size_t messages = 2 * ((size_t)c->message_max + MESSAGE_SLACK);
	size_t streams = (size_t)c->streams_max * STREAM_SHARE;

	return larger(((size_t)c->memory_mb << 20) / CONNECTION_SHARE,
	    larger(messages, streams));
}

/* Connections that the descriptors suffice for. */
static int64_t
connections_max(const struct config *c, size_t n_workers)
{
	int64_t beside = PROCESS_FILES + ADMIN_CONNECTIONS + ADMIN_RESERVED +
	    (int64_t)n_workers * (WORKER_FILES + c->verifier_calls);
	int64_t limit, fit;
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) != 0)
		return c->connections_max;
	files.rlim_cur = files.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &files);
	if (files.rlim_cur == RLIM_INFINITY ||
	    (int64_t)files.rlim_cur >= c->connections_max + beside)
		return c->connections_max;
	limit = (int64_t)files.rlim_cur;
	fit = limit - beside > limit / 4 ? limit - beside : limit / 4;
	log_warn("descriptors",
	    "limit=%lld needed=%lld connections_max=%lld lowered_to=%lld "
	    "hint=\"raise LimitNOFILE= or ulimit -n\"",
	    (long long)limit, (long long)(c->connections_max + beside),
	    (long long)c->connections_max, (long long)fit);
	return fit;
}

static void
init_admin(struct listener_limits *l, const struct config *c)
{
	l->admin = l->device;
	l->admin_pool.max =
	    ADMIN_UPLOADS * larger((size_t)c->upload_max, 1 << 20);
	l->admin.pool = &l->admin_pool;
	l->admin.connection_share = l->admin_pool.max / 2;
	l->admin.source_share = 0;
	l->admin.connections_max = ADMIN_CONNECTIONS;
	l->admin.source_connections_max =
	    ADMIN_CONNECTIONS / ADMIN_SOURCE_SHARE;
	l->admin.reserved_max = ADMIN_RESERVED;
	l->admin.request_time_ms = ADMIN_REQUEST_MS;
	l->admin.source_rate = 0;
	l->admin.trusted = NULL;
}

void
limits_init(struct listener_limits *l, const struct config *c, size_t n_workers)
{
	int connections =
	    (int)(connections_max(c, n_workers) / (int64_t)n_workers);
	size_t share = connection_share(c);

	if (connections == 0)
		connections = 1;
	(void)http_trusted_parse(c->trusted_sources, &l->trusted);
	l->device_pool.max = (size_t)c->memory_mb << 20;
	l->device = (struct http_limits){.head_max = (int)c->head_max,
	    .streams_max = (int)c->streams_max,
	    .connections_max = connections,
	    .source_connections_max = connections / 2 + 1,
	    .pool = &l->device_pool,
	    .connection_share = share,
	    .source_share = larger(2 * share,
	        l->device_pool.max / SOURCE_SHARE / n_workers),
	    .source_rate = (double)c->source_rate / (double)n_workers,
	    .trusted = &l->trusted,
	    .request_time_ms = (int)c->request_time_ms,
	    .send_progress_ms = (int)c->send_progress_ms,
	    .idle_http1_ms = (int)c->idle_http1_ms,
	    .idle_http2_ms = (int)c->idle_http2_ms};
	init_admin(l, c);
}
