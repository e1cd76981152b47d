/*
 * account.h - the simulator's own account of what became of its agents, for
 * comparing with what the TAM says of them.
 *
 * A line is the wall clock in microseconds, what happened, the agent's
 * thumbprint and a component, as SQL reads them:
 *
 *	+	it holds this image now: component id and digest, CBOR and bytes
 *	-	it holds the component no more
 *	.	an answer that showed what it holds since was taken (204)
 *	=	at the end: what it holds, like +
 */
#ifndef LOADTEST_ACCOUNT_H
#define LOADTEST_ACCOUNT_H

#include "lib/base/slice.h"

struct account;

/* NULL with errno. */
struct account *account_open(const char *path);
/* False when not all of it could be written. */
bool account_close(struct account *);

/* With NULL nothing is written down. */
void account_add(struct account *, char kind, struct slice thumbprint,
    struct slice component, struct slice digest);

#endif
