/*
 * jobs.h - the threads that run requests of the admin API, and may wait for
 * the database.
 *
 * Reads and changes have lanes: at most two changes run at a time, so a lock
 * that changes wait for delays no read, and at most three reads, so reads
 * never keep all changes out.  One source never has all threads.  A thread has
 * one connection.  One more
 * connection asks every second whether the API could use the database, and
 * holds NOT_READY_admin_database while it could not.
 *
 * jobs_put(), jobs_take() and jobs_give_up() are the loop's; `wake_fd` is
 * written to when jobs_take() has something.
 */
#ifndef ADMIN_JOBS_H
#define ADMIN_JOBS_H

#include "admin/request.h"
#include "server/http/server.h"

struct admin_options;
struct http_exchange;
struct jobs;

struct job {
	struct job *next;
	struct http_exchange *exchange; /* the loop's; NULL when abandoned */
	struct api_request request;
	const char *authorization;
	uint8_t source[HTTP_SOURCE_SIZE];
	bool head;        /* only the sign-in: the body is not here yet */
	int64_t since_us; /* when it was put; monotonic */
	bool given_up;    /* before a thread began it: it is not run */
};

struct jobs *jobs_start(const struct admin_options *, int wake_fd);
/* Runs what was put, then ends the threads. */
void jobs_stop(struct jobs *);
/* Frees jobs that nobody took, too. */
void jobs_free(struct jobs *);

/* 0, or the status to refuse with: too many wait, or too many of its source.
 * Then the job is still the caller's. */
int jobs_put(struct jobs *, struct job *);
/* The next job that is done, the caller's from now on; NULL when none is. */
struct job *jobs_take(struct jobs *);

/*
 * The database does not answer: ends the waits of all jobs that were put
 * before `before_us`, running or not.  `tell` is called for each that has an
 * exchange, which is the job's no more.
 */
void jobs_give_up(struct jobs *, int64_t before_us,
    void (*tell)(struct http_exchange *));

void job_free(struct job *);

#endif
