/*
 * account.h - counts the bytes that a process holds for its peers.
 *
 * Requests that arrive, answers that leave, what is decoded for them and what
 * waits for the database are charged before they are allocated.  A pool is
 * the budget of a process (memory_mb).  A thread's account borrows from the
 * pool in steps, so that nearly every charge touches memory of the thread
 * only.  Charges of connections and of their sources are in conn.h.
 */
#ifndef SERVER_HTTP_ACCOUNT_H
#define SERVER_HTTP_ACCOUNT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct counters;

/* Shared by threads; it outlives their accounts. */
struct http_pool {
	size_t max;
	_Atomic size_t lent; /* to all accounts together */
};

/* The account of one thread; only this thread touches it. */
struct http_account {
	struct http_pool *pool;    /* NULL: no limit */
	struct counters *counters; /* the gauge held_bytes */
	size_t held, lent;
};

void http_account_init(struct http_account *, struct http_pool *,
    struct counters *);
/* Gives back what was borrowed; nothing is held any more. */
void http_account_fini(struct http_account *);

/* Charges n bytes; false, and nothing is charged, when the pool is spent. */
bool http_account_charge(struct http_account *, size_t n);
/* Charges bytes that exist already; the pool may be overdrawn. */
void http_account_force(struct http_account *, size_t n);
void http_account_release(struct http_account *, size_t n);

#endif
