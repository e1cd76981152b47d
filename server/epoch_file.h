/*
 * epoch_file.h - the memory of a node outside the database: the newest epoch
 * of every domain that the node served, in the file "epochs" of state_dir.
 *
 * A database that is behind this memory was restored from a backup.  The
 * control thread writes the file before it hands an epoch to the workers.
 * Each line is: domain id, incarnation, epoch, and the head of the domain's
 * chain of events (its number and its hash) when the epoch was read.  A file
 * of an earlier release has the first three numbers only.
 */
#ifndef SERVER_EPOCH_FILE_H
#define SERVER_EPOCH_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

#define EPOCH_FILE_SERVED  "epochs"
#define EPOCH_FILE_REFUSED "refused" /* the database that was, admission.h */

enum {
	EPOCH_HASH_SIZE = 32
};

struct served_epoch {
	int32_t domain_id;
	int64_t incarnation, epoch;
	int64_t audit_seq; /* 0: not known */
	uint8_t audit_hash[EPOCH_HASH_SIZE];
};

struct epoch_list {
	size_t n;
	struct served_epoch *of; /* by domain id; the owner's */
};

void epoch_list_free(struct epoch_list *);
void epoch_list_copy(struct epoch_list *to, const struct epoch_list *from);
/* The same domains, incarnations and epochs; the heads do not matter. */
bool epoch_list_same(const struct epoch_list *, const struct epoch_list *);
const struct served_epoch *epoch_list_find(const struct epoch_list *,
    int32_t domain_id);

/* An empty list when there is no file.  TAM_BAD_FILE when the file cannot be
 * read or is damaged: that is not the same as no memory. */
enum tam_err epoch_file_read(const char *state_dir, const char *name,
    struct epoch_list *out);

/* TAM_OK when the list is on disk; errno has the reason of a failure. */
enum tam_err epoch_file_write(const char *state_dir, const char *name,
    const struct epoch_list *);
/* The same when there was none. */
enum tam_err epoch_file_remove(const char *state_dir, const char *name);

#endif
