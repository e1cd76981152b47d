/*
 * publish.h - what every domain tells everybody, from the rows: payloads for
 * server/teep/published.h.  The control thread's.
 */
#ifndef SERVER_PUBLISH_H
#define SERVER_PUBLISH_H

#include <stdint.h>

#include "lib/base/err.h"

struct published;
struct sql;
struct tam_snapshot;

enum {
	PUBLISH_LIVES =
	    10 /* what is told is good for so many times `every_s` */
};

/* Of the domains of the snapshot; one reference. */
enum tam_err publish_make(struct sql *, const struct tam_snapshot *,
    int64_t now_s, int64_t every_s, struct published **out);

#endif
