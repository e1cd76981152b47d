#include "config.h"

#include "server/hsm/hsm.h"

#include <event2/event.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/codec/pkcs11.h"

/*
 * A call goes round: its worker makes it and puts it in the pool's queue, a
 * thread takes it and signs, puts it in the `done` list of the port it came
 * from and wakes that worker, who runs the callback and frees it.
 *
 * Under the pool's lock: the queue, every port's `done`, a call's `state`, and
 * which keys rest after a failure, so that a token that is gone costs other
 * keys no time.  A call that is being signed cannot be taken back: it is
 * orphaned, and freed by the thread that has it.
 */

enum {
	TICK_MS = 50,     /* how late a deadline is noticed */
	REST_US = 1000000 /* after a failure, before the next attempt */
};

enum call_state {
	CALL_QUEUED,
	CALL_TAKEN,
	CALL_DONE,
	CALL_ORPHANED
};

struct part {
	char uri[PKCS11_URI_MAX];
	struct cose_key key;
	uint8_t *message;
	size_t message_n;
};

struct hsm_call {
	enum call_state state;
	struct hsm_port *port; /* NULL: only to see whether the key is there */
	size_t n;
	struct part parts[HSM_SIGNATURES_MAX];
	uint8_t signatures[HSM_SIGNATURES_MAX][COSE_SIGNATURE_SIZE];
	enum tam_err err;
	size_t failed;         /* which part */
	struct hsm_call *next; /* in the queue, or in `done` */

	/* The worker's: */
	struct hsm_call *newer, *older;
	int64_t deadline_us;
	hsm_cb cb;
	void *arg;
};

/* What is known of a key. */
struct known {
	char uri[PKCS11_URI_MAX];
	uint8_t thumbprint[COSE_THUMBPRINT_SIZE]; /* looked for */
	int64_t rest_until_us;
	struct known *next;
};

struct hsm_port {
	struct hsm_pool *pool;
	int fd; /* wakes the worker */
	struct hsm_call *done;
	struct hsm_port *next; /* of the pool */

	/* The worker's: */
	struct event *wake, *tick;
	struct hsm_call *oldest, *newest;
};

struct hsm_pool {
	pthread_mutex_t lock;
	pthread_cond_t work;
	bool stopping;
	struct hsm_call *first, **last;
	size_t n, max;
	struct known *known;
	struct hsm_port *ports;
	const char *module;
	size_t n_threads;
	pthread_t *threads;
};

static void
free_call(struct hsm_call *c)
{
	for (size_t i = 0; i < c->n; i++)
		free(c->parts[i].message);
	free(c);
}

static struct known *
find_known(const struct hsm_pool *pool, const char *uri)
{
	struct known *k = pool->known;

	while (k != NULL && strcmp(k->uri, uri) != 0)
		k = k->next;
	return k;
}

static struct known *
make_known(struct hsm_pool *pool, const char *uri)
{
	struct known *k = find_known(pool, uri);

	if (k != NULL)
		return k;
	k = mem_new(struct known);
	(void)snprintf(k->uri, sizeof(k->uri), "%s", uri);
	k->next = pool->known;
	pool->known = k;
	return k;
}

/* --- the threads of the pool ------------------------------------------------------ */

static struct hsm_call *
take(struct hsm_pool *pool)
{
	struct hsm_call *c = NULL;

	(void)pthread_mutex_lock(&pool->lock);
	while (pool->first == NULL && !pool->stopping)
		(void)pthread_cond_wait(&pool->work, &pool->lock);
	if (!pool->stopping) {
		c = pool->first;
		pool->first = c->next;
		if (pool->first == NULL)
			pool->last = &pool->first;
		pool->n--;
		c->state = CALL_TAKEN;
	}
	(void)pthread_mutex_unlock(&pool->lock);
	return c;
}

static void
give_back(struct hsm_pool *pool, struct hsm_call *c)
{
	const uint64_t one = 1;
	bool orphan;

	(void)pthread_mutex_lock(&pool->lock);
	if (c->err != TAM_OK)
		make_known(pool, c->parts[c->failed].uri)->rest_until_us =
		    clock_mono_us() + REST_US;
	orphan = c->port == NULL || c->state == CALL_ORPHANED;
	if (!orphan) {
		c->state = CALL_DONE;
		c->next = c->port->done;
		c->port->done = c;
		if (write(c->port->fd, &one, sizeof(one)) < 0)
			orphan = false; /* the worker is awake already */
	}
	(void)pthread_mutex_unlock(&pool->lock);
	if (orphan)
		free_call(c);
}

static enum tam_err
look(struct pkcs11 *p, const struct part *part)
{
	struct cose_key key;
	enum tam_err err = pkcs11_public(p, part->uri, &key);

	if (err == TAM_OK && memcmp(&key, &part->key, sizeof(key)) != 0)
		err = TAM_KEY_MISMATCH;
	if (err == TAM_OK)
		log_info("tam_key_found", "uri=\"%s\"", part->uri);
	return err;
}

static void
serve(struct pkcs11 *p, struct hsm_call *c)
{
	for (size_t i = 0; i < c->n && c->err == TAM_OK; i++) {
		const struct part *part = &c->parts[i];
		struct slice message = {part->message, part->message_n};

		c->err = c->port == NULL ? look(p, part)
		                         : pkcs11_sign(p, part->uri, &part->key,
		                               message, c->signatures[i]);
		c->failed = i;
		if (c->err != TAM_OK)
			log_error("tam_key", "uri=\"%s\" error=\"%s\"",
			    part->uri,
			    c->err == TAM_KEY_MISMATCH ? "another key"
			                               : pkcs11_why(p));
	}
}

static void *
run(void *arg)
{
	struct hsm_pool *pool = arg;
	struct pkcs11 *p = NULL;
	struct hsm_call *c;

	log_set_thread("hsm");
	while ((c = take(pool)) != NULL) {
		if (p == NULL) /* no module is loaded for nothing */
			p = pkcs11_new(pool->module);
		serve(p, c);
		give_back(pool, c);
	}
	pkcs11_free(p);
	return NULL;
}

struct hsm_pool *
hsm_pool_new(const char *module, size_t threads, size_t queue_max)
{
	struct hsm_pool *pool = mem_new(struct hsm_pool);

	(void)pthread_mutex_init(&pool->lock, NULL);
	(void)pthread_cond_init(&pool->work, NULL);
	pool->last = &pool->first;
	pool->module = module;
	pool->max = queue_max;
	pool->n_threads = threads;
	pool->threads = mem_new_n(threads, pthread_t);
	for (size_t i = 0; i < threads; i++) {
		if (pthread_create(&pool->threads[i], NULL, run, pool) != 0)
			abort();
	}
	return pool;
}

void
hsm_pool_free(struct hsm_pool *pool)
{
	struct hsm_port *port;
	struct hsm_call *c;
	struct known *k;

	(void)pthread_mutex_lock(&pool->lock);
	pool->stopping = true;
	(void)pthread_cond_broadcast(&pool->work);
	(void)pthread_mutex_unlock(&pool->lock);
	for (size_t i = 0; i < pool->n_threads; i++)
		(void)pthread_join(pool->threads[i], NULL);
	while ((c = pool->first) != NULL) {
		pool->first = c->next;
		free_call(c);
	}
	while ((port = pool->ports) != NULL) {
		pool->ports = port->next;
		free(port);
	}
	while ((k = pool->known) != NULL) {
		pool->known = k->next;
		free(k);
	}
	(void)pthread_cond_destroy(&pool->work);
	(void)pthread_mutex_destroy(&pool->lock);
	free(pool->threads);
	free(pool);
}

/* --- the queue -------------------------------------------------------------------- */

static bool
is_resting(const struct hsm_pool *pool, const char *uri)
{
	const struct known *k = find_known(pool, uri);

	return k != NULL && clock_mono_us() < k->rest_until_us;
}

static bool
has_room(const struct hsm_pool *pool, const struct hsm_ask *asks, size_t n,
    bool shed)
{
	for (size_t i = 0; i < n; i++) {
		if (is_resting(pool, asks[i].uri))
			return false;
	}
	return pool->n < (shed ? (pool->max + 1) / 2 : pool->max);
}

static void
push(struct hsm_pool *pool, struct hsm_call *c)
{
	*pool->last = c;
	pool->last = &c->next;
	pool->n++;
	(void)pthread_cond_signal(&pool->work);
}

/* False: it was not there. */
static bool
unqueue(struct hsm_pool *pool, const struct hsm_call *c)
{
	for (struct hsm_call **at = &pool->first; *at != NULL;
	     at = &(*at)->next) {
		if (*at != c)
			continue;
		*at = c->next;
		if (c->next == NULL)
			pool->last = at;
		pool->n--;
		return true;
	}
	return false;
}

bool
hsm_accepts(struct hsm_port *port, const char *uri)
{
	struct hsm_ask ask = {.uri = uri};
	bool room;

	(void)pthread_mutex_lock(&port->pool->lock);
	room = has_room(port->pool, &ask, 1, false);
	(void)pthread_mutex_unlock(&port->pool->lock);
	return room;
}

static void
fill(struct part *part, const struct hsm_ask *ask)
{
	(void)snprintf(part->uri, sizeof(part->uri), "%s", ask->uri);
	part->key = *ask->key;
	part->message_n = ask->message.n;
	if (ask->message.n == 0)
		return;
	part->message = mem_new_n(ask->message.n, uint8_t);
	memcpy(part->message, ask->message.p, ask->message.n);
}

static struct hsm_call *
make_call(struct hsm_port *port, const struct hsm_ask *asks, size_t n)
{
	struct hsm_call *c = mem_new(struct hsm_call);

	c->port = port;
	c->n = n;
	for (size_t i = 0; i < n; i++)
		fill(&c->parts[i], &asks[i]);
	return c;
}

void
hsm_pool_try(struct hsm_pool *pool, const char *uri, const struct cose_key *key)
{
	struct hsm_ask ask = {.uri = uri, .key = key};
	struct known *k;

	(void)pthread_mutex_lock(&pool->lock);
	k = make_known(pool, uri);
	if (memcmp(k->thumbprint, key->thumbprint, sizeof(k->thumbprint)) !=
	        0 &&
	    has_room(pool, &ask, 1, true)) {
		memcpy(k->thumbprint, key->thumbprint, sizeof(k->thumbprint));
		push(pool, make_call(NULL, &ask, 1));
	}
	(void)pthread_mutex_unlock(&pool->lock);
}

/* --- a worker's side ---------------------------------------------------------------- */

static void
unlink_call(struct hsm_call *c)
{
	struct hsm_port *port = c->port;

	*(c->older != NULL ? &c->older->newer : &port->oldest) = c->newer;
	*(c->newer != NULL ? &c->newer->older : &port->newest) = c->older;
	if (port->oldest == NULL)
		(void)event_del(port->tick);
}

void
hsm_forget(struct hsm_call *c)
{
	struct hsm_pool *pool = c->port->pool;
	bool ours = true;

	unlink_call(c);
	(void)pthread_mutex_lock(&pool->lock);
	if (c->state == CALL_TAKEN) {
		c->state = CALL_ORPHANED;
		ours = false;
	} else if (c->state == CALL_QUEUED) {
		(void)unqueue(pool, c);
	} else { /* done, and not fetched yet */
		for (struct hsm_call **at = &c->port->done; *at != NULL;
		     at = &(*at)->next) {
			if (*at != c)
				continue;
			*at = c->next;
			break;
		}
	}
	(void)pthread_mutex_unlock(&pool->lock);
	if (ours)
		free_call(c);
}

static void
on_wake(evutil_socket_t fd, short events, void *arg)
{
	struct hsm_port *port = arg;
	struct hsm_call *c;
	uint64_t n;

	(void)events;
	if (read(fd, &n, sizeof(n)) < 0)
		n = 0;
	for (;;) {
		(void)pthread_mutex_lock(&port->pool->lock);
		c = port->done;
		if (c != NULL)
			port->done = c->next;
		(void)pthread_mutex_unlock(&port->pool->lock);
		if (c == NULL)
			return;
		unlink_call(c);
		c->cb(c->err == TAM_OK ? TAM_OK : TAM_HSM_DOWN, c->signatures,
		    c->arg);
		free_call(c);
	}
}

/* Deadlines are in the order of the calls. */
static void
on_tick(evutil_socket_t fd, short events, void *arg)
{
	struct hsm_port *port = arg;
	int64_t now_us = clock_mono_us();

	(void)fd;
	(void)events;
	while (port->oldest != NULL && port->oldest->deadline_us <= now_us) {
		struct hsm_call *c = port->oldest;
		hsm_cb cb = c->cb;
		void *cb_arg = c->arg;

		hsm_forget(c);
		cb(TAM_HSM_DOWN, NULL, cb_arg);
	}
}

struct hsm_port *
hsm_port_open(struct hsm_pool *pool, struct event_base *base)
{
	struct hsm_port *port = mem_new(struct hsm_port);

	port->pool = pool;
	port->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (port->fd < 0)
		abort();
	port->wake =
	    event_new(base, port->fd, EV_READ | EV_PERSIST, on_wake, port);
	port->tick = event_new(base, -1, EV_PERSIST, on_tick, port);
	if (port->wake == NULL || port->tick == NULL)
		abort();
	(void)event_add(port->wake, NULL);
	(void)pthread_mutex_lock(&pool->lock);
	port->next = pool->ports;
	pool->ports = port;
	(void)pthread_mutex_unlock(&pool->lock);
	return port;
}

void
hsm_port_close(struct hsm_port *port)
{
	while (port->oldest != NULL)
		hsm_forget(port->oldest);
	event_free(port->tick);
	event_free(port->wake);
	(void)close(port->fd); /* no call of this port is left to be done */
}

struct hsm_call *
hsm_sign(struct hsm_port *port, const struct hsm_ask *asks, size_t n, bool shed,
    int64_t deadline_us, hsm_cb cb, void *arg)
{
	struct hsm_call *c = make_call(port, asks, n);
	bool room;

	c->deadline_us = deadline_us;
	c->cb = cb;
	c->arg = arg;
	(void)pthread_mutex_lock(&port->pool->lock);
	room = has_room(port->pool, asks, n, shed);
	if (room)
		push(port->pool, c);
	(void)pthread_mutex_unlock(&port->pool->lock);
	if (!room) {
		free_call(c);
		return NULL;
	}
	if (port->oldest == NULL) {
		struct timeval tv = {0, TICK_MS * 1000L};

		(void)event_add(port->tick, &tv);
	}
	c->older = port->newest;
	*(port->newest != NULL ? &port->newest->newer : &port->oldest) = c;
	port->newest = c;
	return c;
}
