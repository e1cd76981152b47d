#include "config.h"

#include "admin/jobs.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "admin/api.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/readiness.h"
#include "lib/codec/crypto.h"
#include "storage/sql.h"

enum {
	THREADS = 4,
	WAITING_MAX = 256, /* of a lane */
	WAITING_OF_SOURCE = WAITING_MAX / 4,
	THREADS_OF_SOURCE = THREADS - 1,
	STATEMENT_TIMEOUT_MS = 60000,
	PING_EVERY_S = 1,
	PING_TIMEOUT_MS = 2000
};

enum lane_kind {
	READS,
	CHANGES,
	LANES
};

/* Together more than THREADS: either may use what the other leaves. */
static const size_t running_max[LANES] = {[READS] = THREADS - 1, [CHANGES] = 2};

struct queue {
	struct job *first, **last;
	size_t n;
};

struct lane {
	struct queue queue;
	size_t running;
};

struct job_thread {
	struct jobs *jobs;
	pthread_t thread;
	int stop_fd;         /* ends a wait for the database */
	struct job *running; /* under the lock; NULL: none */
};

struct jobs {
	const struct admin_options *options;
	int wake_fd;
	pthread_mutex_t lock;
	pthread_cond_t work, ping;
	bool stopping;
	struct lane lanes[LANES];
	enum lane_kind turn; /* the lane that is looked at first */
	struct queue done;
	struct job_thread threads[THREADS];
	pthread_t ping_thread;
	struct readiness_part readiness; /* the ping thread's */
};

/* --- queues ------------------------------------------------------------------------ */

static void
push(struct queue *q, struct job *job)
{
	job->next = NULL;
	*q->last = job;
	q->last = &job->next;
	q->n++;
}

static struct job *
pop(struct queue *q)
{
	struct job *job = q->first;

	if (job == NULL)
		return NULL;
	q->first = job->next;
	if (q->first == NULL)
		q->last = &q->first;
	q->n--;
	return job;
}

static struct lane *
lane_of(struct jobs *jobs, const struct job *job)
{
	bool reads =
	    job->head || strcmp(job->request.route->method, "GET") == 0;

	return &jobs->lanes[reads ? READS : CHANGES];
}

static bool
is_of(const struct job *job, const uint8_t source[HTTP_SOURCE_SIZE])
{
	return memcmp(job->source, source, HTTP_SOURCE_SIZE) == 0;
}

static size_t
count_of(const struct queue *q, const uint8_t source[HTTP_SOURCE_SIZE])
{
	size_t n = 0;

	for (const struct job *job = q->first; job != NULL; job = job->next)
		n += is_of(job, source);
	return n;
}

static size_t
threads_of(const struct jobs *jobs, const uint8_t source[HTTP_SOURCE_SIZE])
{
	size_t n = 0;

	for (int i = 0; i < THREADS; i++)
		n += jobs->threads[i].running != NULL &&
		    is_of(jobs->threads[i].running, source);
	return n;
}

/* The next one of a source that has not its share of threads already; NULL:
 * there is none.  One source never holds up all others. */
static struct job *
pop_fair(struct jobs *jobs, struct queue *q)
{
	for (struct job **p = &q->first; *p != NULL; p = &(*p)->next) {
		struct job *job = *p;

		if (threads_of(jobs, job->source) >= THREADS_OF_SOURCE)
			continue;
		*p = job->next;
		if (*p == NULL)
			q->last = p;
		q->n--;
		return job;
	}
	return NULL;
}

void
job_free(struct job *job)
{
	buf_fini(&job->request.response);
	arena_free(job->request.arena); /* the job itself is in it */
}

/* --- the threads --------------------------------------------------------------------- */

/* The lanes take turns. */
static struct job *
next_allowed(struct jobs *jobs)
{
	for (int i = 0; i < LANES; i++) {
		enum lane_kind kind =
		    (enum lane_kind)(((int)jobs->turn + i) % LANES);
		struct lane *lane = &jobs->lanes[kind];
		struct job *job;

		if (lane->running >= running_max[kind])
			continue;
		while ((job = pop_fair(jobs, &lane->queue)) != NULL &&
		    job->given_up)
			push(&jobs->done, job);
		if (job == NULL)
			continue;
		lane->running++;
		jobs->turn = kind == READS ? CHANGES : READS;
		return job;
	}
	return NULL;
}

static struct job *
begin(struct job_thread *t)
{
	struct jobs *jobs = t->jobs;
	struct job *job;
	uint64_t n;

	(void)pthread_mutex_lock(&jobs->lock);
	while ((job = next_allowed(jobs)) == NULL && !jobs->stopping)
		(void)pthread_cond_wait(&jobs->work, &jobs->lock);
	t->running = job;
	/* A wait that was ended after its job concerns no other. */
	if (read(t->stop_fd, &n, sizeof(n)) < 0)
		n = 0;
	(void)pthread_mutex_unlock(&jobs->lock);
	return job;
}

static void
finish(struct job_thread *t, struct job *job)
{
	struct jobs *jobs = t->jobs;
	uint64_t one = 1;

	(void)pthread_mutex_lock(&jobs->lock);
	t->running = NULL;
	lane_of(jobs, job)->running--;
	push(&jobs->done, job);
	(void)pthread_cond_broadcast(&jobs->work); /* a lane has room */
	(void)pthread_mutex_unlock(&jobs->lock);
	if (write(jobs->wake_fd, &one, sizeof(one)) < 0)
		return; /* the counter is full: the loop is awake */
}

static void *
work(void *arg)
{
	struct job_thread *t = arg;
	const struct admin_options *options = t->jobs->options;
	struct sql *sql = sql_new(options->database, "tam_admin",
	    STATEMENT_TIMEOUT_MS, t->stop_fd);
	struct cose_crypto *crypto = cose_crypto_new();
	struct job *job;

	log_set_thread("admin-job");
	while ((job = begin(t)) != NULL) {
		job->request.sql = sql;
		job->request.crypto = crypto;
		job->request.refusal = options->refusal(options->ready_arg);
		if (job->head)
			api_sign_in(&job->request, job->authorization);
		else
			api_run(&job->request, job->authorization);
		finish(t, job);
	}
	sql_free(sql);
	cose_crypto_free(crypto);
	return NULL;
}

static bool
pause_or_stop(struct jobs *jobs)
{
	struct timespec until;
	bool stopping;

	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += PING_EVERY_S;
	(void)pthread_mutex_lock(&jobs->lock);
	if (!jobs->stopping)
		(void)pthread_cond_timedwait(&jobs->ping, &jobs->lock, &until);
	stopping = jobs->stopping;
	(void)pthread_mutex_unlock(&jobs->lock);
	return stopping;
}

static void *
ping(void *arg)
{
	struct jobs *jobs = arg;
	struct sql *sql =
	    sql_new(jobs->options->database, "tam_admin", PING_TIMEOUT_MS, -1);

	log_set_thread("admin-ping");
	do {
		enum tam_err err = sql_exec(sql,
		    "SELECT EXISTS (SELECT FROM domain)", 0, NULL, NULL);

		if (err == TAM_NO_DATABASE) /* the old connection: once more */
			err =
			    sql_exec(sql, "SELECT EXISTS (SELECT FROM domain)",
			        0, NULL, NULL);
		readiness_say(&jobs->readiness, NOT_READY_admin_database,
		    err != TAM_OK);
	} while (!pause_or_stop(jobs));
	readiness_leave(&jobs->readiness);
	sql_free(sql);
	return NULL;
}

/* --- the loop's side --------------------------------------------------------------------- */

struct jobs *
jobs_start(const struct admin_options *options, int wake_fd)
{
	struct jobs *jobs = mem_new(struct jobs);

	jobs->options = options;
	jobs->wake_fd = wake_fd;
	jobs->readiness.shared = options->readiness;
	(void)pthread_mutex_init(&jobs->lock, NULL);
	(void)pthread_cond_init(&jobs->work, NULL);
	(void)pthread_cond_init(&jobs->ping, NULL);
	jobs->done.last = &jobs->done.first;
	for (int i = 0; i < LANES; i++)
		jobs->lanes[i].queue.last = &jobs->lanes[i].queue.first;
	for (int i = 0; i < THREADS; i++) {
		struct job_thread *t = &jobs->threads[i];

		t->jobs = jobs;
		t->stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		if (pthread_create(&t->thread, NULL, work, t) != 0)
			abort();
	}
	if (pthread_create(&jobs->ping_thread, NULL, ping, jobs) != 0)
		abort();
	return jobs;
}

void
jobs_stop(struct jobs *jobs)
{
	(void)pthread_mutex_lock(&jobs->lock);
	jobs->stopping = true;
	(void)pthread_cond_broadcast(&jobs->work);
	(void)pthread_cond_broadcast(&jobs->ping);
	(void)pthread_mutex_unlock(&jobs->lock);
	(void)pthread_join(jobs->ping_thread, NULL);
	for (int i = 0; i < THREADS; i++) {
		(void)pthread_join(jobs->threads[i].thread, NULL);
		(void)close(jobs->threads[i].stop_fd);
	}
}

void
jobs_free(struct jobs *jobs)
{
	struct job *job;

	for (int i = 0; i < LANES; i++) {
		while ((job = pop(&jobs->lanes[i].queue)) != NULL)
			job_free(job);
	}
	while ((job = pop(&jobs->done)) != NULL)
		job_free(job);
	(void)pthread_cond_destroy(&jobs->work);
	(void)pthread_cond_destroy(&jobs->ping);
	(void)pthread_mutex_destroy(&jobs->lock);
	free(jobs);
}

int
jobs_put(struct jobs *jobs, struct job *job)
{
	struct queue *q = &lane_of(jobs, job)->queue;
	int status = 0;

	job->since_us = clock_mono_us();
	(void)pthread_mutex_lock(&jobs->lock);
	if (q->n >= WAITING_MAX || jobs->stopping)
		status = 503;
	else if (count_of(q, job->source) >= WAITING_OF_SOURCE)
		status = 429;
	else
		push(q, job);
	(void)pthread_cond_broadcast(&jobs->work);
	(void)pthread_mutex_unlock(&jobs->lock);
	return status;
}

struct job *
jobs_take(struct jobs *jobs)
{
	struct job *job;

	(void)pthread_mutex_lock(&jobs->lock);
	job = pop(&jobs->done);
	(void)pthread_mutex_unlock(&jobs->lock);
	return job;
}

static void
give_up(struct job *job, int64_t before_us,
    void (*tell)(struct http_exchange *))
{
	struct http_exchange *x = job->exchange;

	if (x == NULL || job->since_us >= before_us)
		return;
	job->exchange = NULL;
	tell(x);
}

void
jobs_give_up(struct jobs *jobs, int64_t before_us,
    void (*tell)(struct http_exchange *))
{
	const uint64_t one = 1;

	(void)pthread_mutex_lock(&jobs->lock);
	for (int i = 0; i < LANES; i++) {
		for (struct job *job = jobs->lanes[i].queue.first; job != NULL;
		     job = job->next) {
			give_up(job, before_us, tell);
			job->given_up |= job->since_us < before_us;
		}
	}
	for (int i = 0; i < THREADS; i++) {
		struct job *job = jobs->threads[i].running;

		if (job == NULL || job->since_us >= before_us)
			continue;
		give_up(job, before_us, tell);
		if (write(jobs->threads[i].stop_fd, &one, sizeof(one)) < 0)
			continue; /* it is told already */
	}
	(void)pthread_mutex_unlock(&jobs->lock);
}
