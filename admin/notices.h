/*
 * notices.h - what a domain tells everybody, to be signed: what is revoked in
 * it, and where its chain of events ends; from the rows.
 *
 * Both are CBOR maps with keys in order, whose members 1 to 4 are the domain's
 * name, its epoch, when the notice was made and when there will be another one
 * (seconds since 1970).
 *
 *	NOTICE_REVOCATIONS  5: [{1: id, 2: target, 3: label, 4: component id,
 *	                    5: manifest digest, 6: first sequence, 7: last,
 *	                    8: reason, 9: advisory, 10: suspended, 11: since,
 *	                    seconds, 12: its devices are in quarantine}, ...];
 *	                    4 to 7 of an entry only where they belong
 *	NOTICE_AUDIT_HEAD   5: the number of the last event, 6: its hash
 *
 * For nodes, which publish them (server/publish.h), and for tamctl.
 */
#ifndef ADMIN_NOTICES_H
#define ADMIN_NOTICES_H

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/err.h"

struct sql;

enum notice_kind {
	NOTICE_REVOCATIONS,
	NOTICE_AUDIT_HEAD,
	NOTICES
};

extern const char *const notice_names[NOTICES]; /* in paths */

/* Appends it; nothing when there is no such domain.  Within a transaction of
 * the caller's, so that the epoch and what is told belong together. */
enum tam_err notice_make(struct sql *, enum notice_kind, const char *domain,
    int64_t now_s, int64_t life_s, struct buf *out);

/* An audit head that was read: false when it is none. */
struct notice_head {
	struct slice domain, hash;
	uint64_t seq;
};
bool notice_read_head(struct slice payload, struct arena *,
    struct notice_head *);

#endif
