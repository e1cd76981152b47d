/*
 * mailbox.h - how the control thread speaks to a worker: mail, read between
 * two turns of the worker's loop.
 */
#ifndef SERVER_MAILBOX_H
#define SERVER_MAILBOX_H

#include <stdint.h>

struct mailbox;
struct published;
struct ssl_ctx_st;
struct tam_snapshot;

enum mail_kind {
	MAIL_SNAPSHOT, /* serve this one; acknowledged */
	MAIL_PUBLISH,  /* tell this to who asks */
	MAIL_OPEN,     /* the lease is there: begin to listen */
	MAIL_DEVICE,   /* forget what you know of this device, or of all */
	MAIL_TLS,      /* for connections from now on */
	MAIL_DRAIN,    /* say that connections will close */
	MAIL_CLOSE,    /* accept what is queued, then no more */
	MAIL_STOP      /* end when there is nothing left, or at the deadline */
};

enum {
	MAIL_EVERY_DEVICE = 0 /* no device has this id */
};

struct mail {
	enum mail_kind kind;
	struct tam_snapshot *snapshot; /* a reference goes along */
	struct published *published;   /* the same */
	uint64_t snapshot_no;
	struct ssl_ctx_st *tls; /* a reference goes along */
	int32_t domain_id;
	int64_t device_id;
	int64_t deadline_us;
	struct mail *next;
};

struct mailbox *mailbox_new(void);
void mailbox_free(struct mailbox *);

/* Readable when there is mail. */
int mailbox_fd(const struct mailbox *);

/* Any thread; copies. */
void mailbox_send(struct mailbox *, const struct mail *);
/* The reader's: everything that came, oldest first; free() each. */
struct mail *mailbox_take(struct mailbox *);

#endif
