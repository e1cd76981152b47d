/*
 * ctl.h - tamctl's commands besides those of the API's table.
 */
#ifndef ADMIN_CTL_CTL_H
#define ADMIN_CTL_CTL_H

#include <stdio.h>

#include "lib/base/arena.h"
#include "lib/base/buf.h"

struct client;
struct cose_private;

/* Exit statuses; tamctl(1) has the table for users. */
enum {
	CTL_OK = 0,
	CTL_FAILED = 1,      /* refused, or failed, in part or whole */
	CTL_USAGE = 2,       /* misuse: nothing was sent */
	CTL_UNREACHABLE = 3, /* server or database; nothing was sent */
	CTL_NO_ANSWER = 4,   /* no whole answer: it may have been done */
	CTL_OUTPUT = 5,      /* done, and standard output lacks something */
	CTL_PROPOSED = 6,    /* waits for a second person */
	CTL_LATE = 7         /* the deadline came before what is waited for */
};

/* Each takes what follows its own name. */
int ctl_db(int argc, char **argv);
int ctl_bootstrap(int argc, char **argv);
int ctl_key(int argc, char **argv);
int ctl_suit(int argc, char **argv);
/* 0 accepted, 1 rejected, 2 not decodable. */
int ctl_inspect(int argc, char **argv);
int ctl_completion(int argc, char **argv);
int ctl_audit(int argc, char **argv);
int ctl_revocation_list(int argc, char **argv);
/* With its own name, which says what is done. */
int ctl_suspend(int argc, char **argv);
/* Verbs of the API's nouns that take more than one request. */
struct ctl_verb {
	const char *noun, *verb, *summary;
	/* With what follows the verb. */
	int (*run)(struct client *, int argc, char **argv);
};
const struct ctl_verb *ctl_verb_named(const char *noun, const char *verb);
void ctl_print_verbs(FILE *);          /* as lines of the usage */
void ctl_list_verbs(const char *noun); /* as words, on standard output */

/* CTL_LATE when the deadline came first, CTL_FAILED when what is waited for
 * cannot come any more. */
int ctl_wait_revocation(struct client *, int argc, char **argv);
int ctl_wait_rollout(struct client *, int argc, char **argv);
/* CTL_FAILED when there was no such device, or none in such a state. */
int ctl_device_approve(struct client *, int argc, char **argv);
int ctl_device_quarantine(struct client *, int argc, char **argv);
int ctl_device_release(struct client *, int argc, char **argv);
int ctl_device_decommission(struct client *, int argc, char **argv);
/* CTL_FAILED when one differs, or is refused. */
int ctl_policy_diff(struct client *, int argc, char **argv);
int ctl_policy_apply(struct client *, int argc, char **argv);

/* A whole file, "-" being standard input; false after complaining. */
bool ctl_read_file(const char *path, struct buf *);
/* Reads a COSE_Sign1 of at most `max` bytes from a file, into the arena.  Returns
 * CTL_FAILED if the public key in PEM did not sign it, which the caller tells, and
 * CTL_USAGE after it said which file cannot be read. */
int ctl_read_signed(const char *path, size_t max, const char *key_path,
    struct arena *, struct slice *payload);
/* A secret; a file that others may read is refused.  The caller wipes it. */
bool ctl_read_secret(const char *path, struct buf *);
/* A private key in PEM, whose text is wiped; the caller wipes the key. */
bool ctl_read_private(const char *path, struct cose_private *);
/* Created anew, readable by its owner alone; false after complaining. */
bool ctl_write_secret(const char *path, struct slice);

#endif
