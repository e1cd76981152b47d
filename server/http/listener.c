#include "config.h"

#include <errno.h>
#include <event2/event.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "server/http/conn.h"

/* Accepting, and the server that owns the connections. */

enum {
	ACCEPTS_PER_TURN = 16, /* a handshake costs a fraction of a ms */
	BACKLOG = 1024
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

static bool
accept_one(struct http_listener *l)
{
	struct http_server *server = l->server;
	struct sockaddr_storage from = {0};
	socklen_t from_n = sizeof(from);
	uint8_t source[HTTP_SOURCE_SIZE];
	int fd = accept4(l->fd, (struct sockaddr *)&from, &from_n,
	    SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			log_peer(LOG_LEVEL_WARN, "accept", "error=\"%s\"",
			    strerror(errno));
		return false;
	}
	if (server->n_conns >= (size_t)server->limits->connections_max) {
		COUNT(server->counters, connections_refused);
		(void)close(fd);
		return true;
	}
	source_of(&from, source);
	conn_start(server, fd, source);
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
	server->flush = evtimer_new(server->base, on_flush, server);
}

void
http_server_fini(struct http_server *server)
{
	struct http_conn *c;

	http_server_unlisten(server);
	while ((c = TAILQ_FIRST(&server->conns)) != NULL)
		conn_abort(c);
	event_free(server->flush);
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
	tell_connections(server);
}
