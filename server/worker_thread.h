/*
 * worker_thread.h - starts, runs and stops a worker; for main.c and
 * control.c, which never touch what is inside its struct worker.
 */
#ifndef SERVER_WORKER_THREAD_H
#define SERVER_WORKER_THREAD_H

#include <pthread.h>

#include "lib/base/readiness.h"
#include "server/http/server.h"
#include "server/mailbox.h"
#include "server/teep/domain.h"
#include "server/teep/session.h"
#include "server/worker.h"

struct config;
struct hsm_pool;

struct worker_thread {
	pthread_t thread;
	char name[16];
	struct worker worker; /* the thread's own */
	struct http_server http, clear;
	struct mailbox *mail;
	const struct config *config;
	const struct http_limits *http_limits;
	const struct teep_limits *teep_limits;
	struct ssl_ctx_st *tls;
	struct hsm_pool *hsm;
	int fds[8], clear_fds[8]; /* bound; they listen from MAIL_OPEN on */
	size_t n_fds, n_clear_fds;
	_Atomic uint64_t snapshot_no; /* the last one it serves */
	struct readiness_part readiness;
	bool opened;      /* was told to listen */
	atomic_bool open; /* it listens, or did */
	struct event *mail_event, *stop_event;
	int64_t stop_deadline_us;
	_Atomic int64_t left_over; /* objects still alive at its end */
};

void worker_thread_start(struct worker_thread *);
/* The mailbox stays: others may still send. */
void worker_thread_join(struct worker_thread *);

#endif
