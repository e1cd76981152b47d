/*
 * admission.h - whether this node may serve the database that it is connected
 * to.
 *
 * A database that is behind what the node has served (epoch_file.h) was
 * restored from a backup, or is another one: in it a revocation may never have
 * been.  The node refuses it: no lease, no chore, no change by its admin API.
 * The refusal is written to the file "refused" in state_dir and holds, also
 * after a restart and whatever becomes of the epoch, until the database has a
 * newer incarnation than the one refused (`tamctl db accept-restore`).
 *
 * A node without memory cannot tell.  It serves only beside another node whose
 * lease it sees renewed, or while the database says that a node without memory
 * may begin: after bootstrap and after accept-restore.
 *
 * The control thread's.
 */
#ifndef SERVER_ADMISSION_H
#define SERVER_ADMISSION_H

#include <stdatomic.h>

#include "server/epoch_file.h"

struct sql;

/* Why a node serves nothing and takes no change; any thread reads it. */
enum admission_state {
	ADMISSION_UNKNOWN, /* has not looked at the database yet */
	ADMISSION_OK,
	ADMISSION_RESTORED,
	ADMISSION_NO_MEMORY
};

struct admission {
	const char *state_dir, *node_id;
	_Atomic int *state;      /* an enum admission_state */
	int64_t others_lease_us; /* the newest lease of another node; 0: none */
	struct epoch_list last;  /* the newest that was admitted */
	int64_t kept_us; /* when the heads were last written, monotonic */
};

void admission_fini(struct admission *);

/*
 * TAM_OK when a snapshot with these epochs may be served.  TAM_CONFLICT when
 * not: *state says why.  TAM_BAD_FILE when the memory cannot be read or the
 * refusal cannot be written.
 */
enum tam_err admission_check(struct admission *, struct sql *,
    const struct epoch_list *now);

/* Writes the epochs to disk, before they are handed out.  A refusal that was
 * lifted is over then. */
enum tam_err admission_remember(struct admission *, const struct epoch_list *);

/* Writes the heads of the chains to disk now and then, so that a database is
 * known to be restored also when its epochs did not change. */
void admission_refresh(struct admission *, int64_t now_us);

/* After the first lease: a node without memory may not begin any more. */
enum tam_err admission_close(struct sql *);

/* For /readyz and for problems; NULL when the node is admitted. */
const char *admission_text(enum admission_state);

#endif
