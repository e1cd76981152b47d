/*
 * published.h - what the TAM tells everybody, signed:
 * GET /published/{domain}/revocations and /published/{domain}/audit-head,
 * a tagged COSE_Sign1 over what admin/notices.h describes, by the key that
 * signs to devices.
 *
 * The control thread makes the payloads and hands them to the workers.  A
 * worker signs a payload when it is asked for it first; all who ask afterwards
 * are sent the same bytes, until there is another payload or another key.
 */
#ifndef SERVER_TEEP_PUBLISHED_H
#define SERVER_TEEP_PUBLISHED_H

#include <stdatomic.h>

#include "lib/base/slice.h"

struct http_account;
struct http_exchange;
struct signed_notice;
struct worker;

struct published_notice {
	int32_t domain_id;
	const char *name; /* static; the last part of the path */
	uint8_t *payload;
	size_t n;
};

/* Immutable once it is handed out; reference-counted. */
struct published {
	atomic_int refs;
	int max_age_s; /* for who keeps a copy */
	size_t n;
	struct published_notice notices[];
};

/* With room for so many; none yet. */
struct published *published_new(size_t room, int max_age_s);
/* Copies the payload. */
void published_add(struct published *, int32_t domain_id, const char *name,
    struct slice payload);
struct published *published_ref(struct published *);
void published_unref(struct published *);

/* What a worker has: takes the reference, NULL for none, and drops what was
 * signed.  Who waits for a signature is told to come again. */
void published_take(struct worker *, struct published *);
/* The keys may be others: signs again what is asked for from now on. */
void published_resign(struct worker *);

/* The handler. */
void published_transport(struct http_exchange *);

#endif
