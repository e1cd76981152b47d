/*
 * hsm.h - signatures by keys in a token, without waiting for them.
 *
 * A token answers in milliseconds, or never.  So the threads of a pool speak
 * to it, and a worker's requests wait in the pool's bounded queue; what is
 * done comes back through the worker's port, in the worker's loop.  The pool
 * outlives the workers; a port is its worker's own.
 *
 *	hsm_pool_new     main, before the workers
 *	hsm_port_open    a worker, in its loop
 *	hsm_sign         a worker; later its callback, in the loop
 *	hsm_port_close   the worker; callbacks do not run any more
 *	hsm_pool_free    main, after the workers
 */
#ifndef SERVER_HSM_HSM_H
#define SERVER_HSM_HSM_H

#include "lib/codec/cose.h"

struct event_base;
struct hsm_call;
struct hsm_pool;
struct hsm_port;

enum {
	HSM_SIGNATURES_MAX = 2 /* of one request: a key of each curve */
};

/* `module` as in pkcs11.h; kept. */
struct hsm_pool *hsm_pool_new(const char *module, size_t threads,
    size_t queue_max);
/* Waits for what a token is doing just now. */
void hsm_pool_free(struct hsm_pool *);
/* Any thread: logs whether the key is there, once it has been looked for. */
void hsm_pool_try(struct hsm_pool *, const char *uri, const struct cose_key *);

struct hsm_port *hsm_port_open(struct hsm_pool *, struct event_base *);
void hsm_port_close(struct hsm_port *);

/* One signature: by the key that the URI names, over the bytes; copied. */
struct hsm_ask {
	const char *uri;
	const struct cose_key *key;
	struct slice message;
};

/* TAM_OK and as many signatures as were asked for, until the callback ends;
 * TAM_HSM_DOWN when a token did not sign within the time. */
typedef void (
    *hsm_cb)(enum tam_err, uint8_t (*signatures)[COSE_SIGNATURE_SIZE], void *);

/*
 * NULL: the queue is full, or for what can wait (`shed`) half full, or the
 * key failed a moment ago.
 */
struct hsm_call *hsm_sign(struct hsm_port *, const struct hsm_ask *, size_t n,
    bool shed, int64_t deadline_us, hsm_cb, void *);
/* The callback will not run. */
void hsm_forget(struct hsm_call *);
/* Whether hsm_sign() would take a request by this key now. */
bool hsm_accepts(struct hsm_port *, const char *uri);

#endif
