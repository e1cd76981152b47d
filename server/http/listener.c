#include "config.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "server/http/conn.h"

/* Accepting, and the server that owns the connections. */

enum {
	ACCEPTS_PER_TURN = 16, /* a handshake costs a fraction of a ms */
	BACKLOG = 1024,
	PAUSE_MS = 100 /* of accepting, when there are no descriptors */
};

struct http_listener {
	struct http_listener *next;
	struct http_server *server;
	int fd;
	struct event *event;
};

int
http_listen_socket(const char *address, int port, bool reuse_port)
{
	struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICHOST,
	                    .ai_socktype = SOCK_STREAM},
	                *info;
	char service[8];
	int fd, on = 1, saved;

	(void)snprintf(service, sizeof(service), "%d", port);
	if (getaddrinfo(address, service, &hints, &info) != 0) {
		errno = EINVAL;
		return -1;
	}
	fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
	    0);
	if (fd >= 0 &&
	    (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
	        (reuse_port &&
	            setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) !=
	                0) ||
	        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) !=
	            0 ||
	        bind(fd, info->ai_addr, info->ai_addrlen) != 0 ||
	        (!reuse_port && listen(fd, BACKLOG) != 0))) {
		saved = errno;
		(void)close(fd);
		errno = saved;
		fd = -1;
	}
	freeaddrinfo(info);
	return fd;
}

static void
source_of(const struct sockaddr_storage *from, uint8_t out[HTTP_SOURCE_SIZE])
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	memset(out, 0, HTTP_SOURCE_SIZE);
	if (from->ss_family == AF_INET6) {
		memcpy(out,
		    &((const struct sockaddr_in6 *)(const void *)from)
		         ->sin6_addr,
		    HTTP_SOURCE_SIZE);
	} else if (from->ss_family == AF_INET) {
		memcpy(out, mapped, sizeof(mapped));
		memcpy(out + 12,
		    &((const struct sockaddr_in *)(const void *)from)->sin_addr,
		    4);
	}
}

/* --- accepting --------------------------------------------------------------------- */

static int
open_reserve(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static bool
no_descriptors(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS ||
	    error == ENOMEM;
}

/* Takes one connection with the reserve and ends it; false: no more. */
static bool
turn_away(struct http_listener *l)
{
	struct http_server *server = l->server;
	struct sockaddr_storage from;
	socklen_t from_n = sizeof(from);
	int fd;

	if (server->reserve_fd >= 0)
		(void)close(server->reserve_fd);
	fd = accept4(l->fd, (struct sockaddr *)&from, &from_n, SOCK_CLOEXEC);
	if (fd >= 0) {
		COUNT(server->counters, connections_refused);
		(void)close(fd);
	}
	server->reserve_fd = open_reserve();
	return fd >= 0 && server->reserve_fd >= 0;
}

/* Without descriptors a connection can be neither taken nor left: it would
 * wake us again at once.  The reserve lets us take a few and end them, so that
 * their peers go elsewhere now; then accepting stops for a while. */
static void
pause_accepting(struct http_server *server, int error)
{
	struct timeval tv = {PAUSE_MS / 1000, (PAUSE_MS % 1000) * 1000L};

	COUNT(server->counters, accept_pauses);
	log_peer(LOG_LEVEL_WARN, "accept_paused", "error=\"%s\" ms=%d",
	    strerror(error), PAUSE_MS);
	for (struct http_listener *l = server->listeners; l != NULL;
	     l = l->next) {
		(void)event_del(l->event);
		for (int i = 0; i < ACCEPTS_PER_TURN && turn_away(l); i++)
			continue;
	}
	(void)event_add(server->accept_again, &tv);
}

static void
on_accept_again(evutil_socket_t fd, short events, void *arg)
{
	struct http_server *server = arg;

	(void)fd;
	(void)events;
	if (server->reserve_fd < 0)
		server->reserve_fd = open_reserve();
	for (struct http_listener *l = server->listeners; l != NULL;
	     l = l->next)
		(void)event_add(l->event, NULL);
}

/* A connection, -1 when there is none now. */
static int
accept_from(struct http_listener *l, uint8_t source[HTTP_SOURCE_SIZE])
{
	struct sockaddr_storage from = {0};
	socklen_t from_n = sizeof(from);
	int fd = accept4(l->fd, (struct sockaddr *)&from, &from_n,
	    SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0)
		source_of(&from, source);
	else if (no_descriptors(errno))
		pause_accepting(l->server, errno);
	else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
		log_peer(LOG_LEVEL_WARN, "accept", "error=\"%s\"",
		    strerror(errno));
	return fd;
}

static bool
accept_one(struct http_listener *l)
{
	struct http_server *server = l->server;
	uint8_t source[HTTP_SOURCE_SIZE];
	int fd = accept_from(l, source);

	if (fd < 0)
		return false;
	if (server->limits->reserved_max == 0 &&
	    server->n_conns >= (size_t)server->limits->connections_max) {
		COUNT(server->counters, connections_refused);
		(void)close(fd);
		return true;
	}
	conn_start(server, fd, source, NULL);
	return true;
}

static void
on_acceptable(evutil_socket_t fd, short events, void *arg)
{
	(void)fd;
	(void)events;
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		if (!accept_one(arg))
			return;
	}
}

/* --- the server -------------------------------------------------------------------- */

static void
on_flush(evutil_socket_t fd, short events, void *arg)
{
	(void)fd;
	(void)events;
	conn_end_turn(arg);
}

void
http_server_init(struct http_server *server)
{
	TAILQ_INIT(&server->conns);
	TAILQ_INIT(&server->dirty);
	arena_pool_init(&server->arenas, 256);
	server->sources = http_sources_new();
	http_account_init(&server->account, server->limits->pool,
	    server->counters);
	server->flush = evtimer_new(server->base, on_flush, server);
	server->accept_again =
	    evtimer_new(server->base, on_accept_again, server);
	server->reserve_fd = open_reserve();
}

void
http_server_fini(struct http_server *server)
{
	struct http_conn *c;

	http_server_unlisten(server);
	while ((c = TAILQ_FIRST(&server->conns)) != NULL)
		conn_abort(c);
	event_free(server->flush);
	event_free(server->accept_again);
	if (server->reserve_fd >= 0)
		(void)close(server->reserve_fd);
	http_account_fini(&server->account);
	http_tls_free(server->tls);
	arena_pool_fini(&server->arenas);
	http_sources_free(server->sources);
}

bool
http_server_listen(struct http_server *server, int fd)
{
	struct http_listener *l;

	if (listen(fd, BACKLOG) != 0) {
		log_error("listen", "error=\"%s\"", strerror(errno));
		(void)close(fd);
		return false;
	}
	l = mem_new(struct http_listener);
	l->server = server;
	l->fd = fd;
	l->event =
	    event_new(server->base, fd, EV_READ | EV_PERSIST, on_acceptable, l);
	(void)event_add(l->event, NULL);
	l->next = server->listeners;
	server->listeners = l;
	return true;
}

void
http_server_unlisten(struct http_server *server)
{
	struct http_listener *l;

	while ((l = server->listeners) != NULL) {
		while (accept_one(l))
			continue;
		server->listeners = l->next;
		event_free(l->event);
		(void)close(l->fd);
		free(l);
	}
}

static void
tell_connections(struct http_server *server)
{
	struct http_conn *c;

	TAILQ_FOREACH (c, &server->conns, link) {
		if (c->state == CONN_OPEN)
			c->proto->drain(c);
		if (server->closing)
			conn_hurry(c);
		conn_touch(c);
	}
}

void
http_server_drain(struct http_server *server)
{
	server->draining = true;
	tell_connections(server);
}

void
http_server_close_idle(struct http_server *server)
{
	server->closing = true;
	server->closing_us = clock_mono_us();
	tell_connections(server);
}
