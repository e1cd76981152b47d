#include "config.h"

#include "server/http/account.h"

#include <assert.h>

#include "lib/base/counters.h"

enum {
	STEP = 64 << 10 /* what an account borrows at once */
};

void
http_account_init(struct http_account *a, struct http_pool *pool,
    struct counters *counters)
{
	*a = (struct http_account){.pool = pool, .counters = counters};
}

void
http_account_fini(struct http_account *a)
{
	assert(a->held == 0);
	if (a->pool != NULL)
		atomic_fetch_sub(&a->pool->lent, a->lent);
	a->lent = 0;
}

static bool
borrow(struct http_account *a, size_t n)
{
	size_t lent = atomic_load(&a->pool->lent);

	do {
		if (lent > a->pool->max || n > a->pool->max - lent)
			return false;
	} while (
	    !atomic_compare_exchange_weak(&a->pool->lent, &lent, lent + n));
	a->lent += n;
	return true;
}

static void
add(struct http_account *a, size_t n)
{
	a->held += n;
	GAUGE(a->counters, held_bytes, (int64_t)n);
}

bool
http_account_charge(struct http_account *a, size_t n)
{
	size_t missing;

	if (a->pool != NULL && n > a->lent - a->held) {
		missing = n - (a->lent - a->held);
		/* The last bytes of a pool are less than a step. */
		if (!borrow(a, (missing + STEP - 1) / STEP * STEP) &&
		    !borrow(a, missing))
			return false;
	}
	add(a, n);
	return true;
}

void
http_account_force(struct http_account *a, size_t n)
{
	size_t missing;

	if (http_account_charge(a, n))
		return;
	missing = n - (a->lent - a->held);
	atomic_fetch_add(&a->pool->lent, missing);
	a->lent += missing;
	add(a, n);
}

void
http_account_release(struct http_account *a, size_t n)
{
	size_t spare;

	assert(n <= a->held);
	a->held -= n;
	GAUGE(a->counters, held_bytes, -(int64_t)n);
	if (a->pool == NULL)
		return;
	spare = a->lent - a->held;
	if (spare / STEP < 3)
		return;
	/* One step stays, so that a single request does not borrow anew. */
	atomic_fetch_sub(&a->pool->lent, spare - STEP);
	a->lent -= spare - STEP;
}
