/*
 * published.h - what the TAM tells everybody, signed:
 * GET /published/{domain}/revocations and /published/{domain}/audit-head,
 * a tagged COSE_Sign1 over what admin/notices.h describes, by the key that
 * signs to devices.
 *
 * The control thread makes the payloads and hands them to the workers; a
 * worker signs when it is asked, as often as it may open sessions.
 */
#ifndef SERVER_TEEP_PUBLISHED_H
#define SERVER_TEEP_PUBLISHED_H

#include <stdatomic.h>

#include "lib/base/slice.h"

struct http_exchange;

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

/* The handler. */
void published_transport(struct http_exchange *);

#endif
