/*
 * ctl.h - tamctl's commands besides those of the API's table.
 *
 * Exit statuses, in tamctl(1) too: 0 done, 1 refused or failed, 2 misuse,
 * 3 the server or the database cannot be reached.
 */
#ifndef ADMIN_CTL_CTL_H
#define ADMIN_CTL_CTL_H

#include "lib/base/buf.h"

struct client_options;
struct cose_private;

enum {
	CTL_OK = 0,
	CTL_FAILED = 1,
	CTL_USAGE = 2,
	CTL_UNREACHABLE = 3
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
/* What waits for a noun ("revocation", "rollout"), NULL when nothing does.  It
 * takes what follows "wait"; 1 when the deadline came first, or what is waited
 * for cannot come any more. */
typedef int (*ctl_wait)(const struct client_options *, int argc, char **argv);
ctl_wait ctl_wait_for(const char *noun);

/* A whole file, "-" being standard input; false after complaining. */
bool ctl_read_file(const char *path, struct buf *);
/* A private key in PEM, whose text is wiped; the caller wipes the key. */
bool ctl_read_private(const char *path, struct cose_private *);
/* Created anew, readable by its owner alone; false after complaining. */
bool ctl_write_secret(const char *path, struct slice);

#endif
