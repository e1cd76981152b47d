#include "config.h"

#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/api.h"
#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/codec/crypto.h"
#include "server/admission.h"
#include "server/control.h"
#include "server/hsm/hsm.h"
#include "server/keys.h"
#include "server/limits.h"
#include "server/routes.h"
#include "server/settings.h"
#include "server/worker_thread.h"

/*
 * tamd: options, start in order, signals, stop in the reverse order.
 *
 *	start   configuration, sockets, TLS; workers; control; admin; wait
 *	stop    readyz says no; every response says that its connection ends;
 *	        after drain_delay the sockets close; what is being answered is
 *	        answered, batches are flushed; the lease is given back
 */

struct tamd {
	struct config config;
	const char *config_path;
	const struct config_override *overrides;
	struct listener_limits listeners;
	struct teep_limits teep_limits;
	struct ssl_ctx_st *tls;
	struct hsm_pool *hsm;
	size_t n_workers;
	struct worker_thread *workers;
	const struct counters **counters;
	struct control_status status;
	struct readiness_part readiness;
	struct control *control;
	int admin_fds[8];
	size_t n_admin_fds;
	struct admin *admin;
};

static void
usage(FILE *to)
{
	(void)fputs("usage: tamd -c FILE [-o KEY=VALUE]... [-t] "
	            "[--dump-config]\n",
	    to);
}

/* --- readiness ------------------------------------------------------------------ */

static bool
all_open(const struct tamd *d)
{
	for (size_t i = 0; i < d->n_workers; i++) {
		if (!atomic_load(&d->workers[i].open))
			return false;
	}
	return true;
}

/* Why the admin API takes no change; NULL when it does. */
static const char *
refusal(void *arg)
{
	struct tamd *d = arg;

	return admission_text(
	    (enum admission_state)atomic_load(&d->status.admission));
}

/* Notes in the registry what only a reader can know: the time, and what other
 * threads left in their status.  The admin loop's. */
static void
look_around(void *arg)
{
	struct tamd *d = arg;
	struct control_status *s = &d->status;
	struct readiness_part *p = &d->readiness;
	int admission = atomic_load(&s->admission);

	readiness_say(p, NOT_READY_stopping, atomic_load(&s->stopping));
	readiness_say(p, NOT_READY_schema, atomic_load(&s->schema_wrong));
	readiness_say(p, NOT_READY_unchecked, admission == ADMISSION_UNKNOWN);
	readiness_say(p, NOT_READY_restored, admission == ADMISSION_RESTORED);
	readiness_say(p, NOT_READY_memory, admission == ADMISSION_NO_MEMORY);
	readiness_say(p, NOT_READY_clock, atomic_load(&s->clock_off));
	readiness_say(p, NOT_READY_state_dir, atomic_load(&s->memory_broken));
	readiness_say(p, NOT_READY_lease,
	    clock_mono_us() >= atomic_load(&s->lease_until_us));
	readiness_say(p, NOT_READY_sockets, !all_open(d));
}

static void
metrics(void *arg, struct buf *out)
{
	const struct tamd *d = arg;

	buf_printf(out,
	    "# HELP tam_seal_lag_seconds Age of the oldest device events that "
	    "cannot be sealed yet\n# TYPE tam_seal_lag_seconds gauge\n"
	    "tam_seal_lag_seconds %lld\n",
	    (long long)(atomic_load(&d->status.seal_lag_us) / CLOCK_SECOND));
	buf_printf(out,
	    "# HELP tam_clock_offset_seconds Wall clock of this node less the "
	    "database's clock\n# TYPE tam_clock_offset_seconds gauge\n"
	    "tam_clock_offset_seconds %.3f\n",
	    (double)atomic_load(&d->status.clock_offset_us) / 1e6);
	chores_metrics(d->status.chores, out);
}

/* --- sockets ------------------------------------------------------------------------ */

static bool
open_sockets(const char *what, const char *list, bool reuse, int fds[8],
    size_t *n)
{
	char address[128];
	int port;

	*n = 0;
	while (config_next_address(&list, address, sizeof(address), &port)) {
		if (*n == 8) {
			log_error("listen", "key=%s error=\"more than 8\"",
			    what);
			return false;
		}
		fds[*n] = http_listen_socket(address, port, reuse);
		if (fds[*n] < 0) {
			log_error("listen",
			    "key=%s address=%s port=%d error=\"%s\"", what,
			    address, port, strerror(errno));
			return false;
		}
		log_info("bound", "key=%s address=%s port=%d", what, address,
		    port);
		++*n;
	}
	return true;
}

static void
set_limits(struct tamd *d)
{
	const struct config *c = &d->config;

	limits_init(&d->listeners, c, d->n_workers);
	d->teep_limits =
	    (struct teep_limits){.deadline_us = c->session_deadline_ms * 1000,
	        .update_life_us = c->update_life_s * CLOCK_SECOND,
	        .hsm_us = c->hsm_timeout_ms * 1000,
	        .verifier_us = c->verifier_timeout_ms * 1000,
	        .verifier_calls = (size_t)c->verifier_calls,
	        .openers_per_second =
	            (double)c->openers_per_second / (double)d->n_workers,
	        .failures_per_second =
	            (double)c->failures_per_second / (double)d->n_workers};
	/* Keys are in memory: no core file shows them. */
	(void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
}

/* --- starting ------------------------------------------------------------------------- */

/* The admin sockets first: they listen at once, so that a port given to both
 * is refused here and not shared. */
static bool
open_admin(struct tamd *d)
{
	return open_sockets("admin_listen", d->config.admin_listen, false,
	    d->admin_fds, &d->n_admin_fds);
}

static bool
start_workers(struct tamd *d)
{
	const struct config *c = &d->config;

	d->workers = mem_new_n(d->n_workers, struct worker_thread);
	d->counters = (const struct counters **)mem_calloc(d->n_workers,
	    sizeof(struct counters *));
	for (size_t i = 0; i < d->n_workers; i++) {
		struct worker_thread *t = &d->workers[i];

		t->worker.index = (int)i;
		t->worker.lease_until_us = &d->status.lease_until_us;
		t->config = c;
		t->readiness.shared = &d->status.readiness;
		t->http_limits = &d->listeners.device;
		t->teep_limits = &d->teep_limits;
		t->tls = d->tls;
		d->counters[i] = &t->worker.counters;
		if (!open_sockets("listen", c->listen, true, t->fds,
		        &t->n_fds) ||
		    !open_sockets("cleartext_listen", c->cleartext_listen, true,
		        t->clear_fds, &t->n_clear_fds))
			return false;
	}
	d->hsm = hsm_pool_new(c->hsm_module, (size_t)c->hsm_threads,
	    (size_t)c->hsm_queue);
	for (size_t i = 0; i < d->n_workers; i++) {
		d->workers[i].hsm = d->hsm;
		worker_thread_start(&d->workers[i]);
	}
	return true;
}

static void
start_admin(struct tamd *d)
{
	d->readiness.shared = &d->status.readiness;
	d->admin =
	    admin_start(&(struct admin_options){.database = d->config.database,
	        .fds = d->admin_fds,
	        .n_fds = d->n_admin_fds,
	        .tls = d->tls,
	        .limits = &d->listeners.admin,
	        .upload_max = (size_t)d->config.upload_max,
	        .counters = d->counters,
	        .n_counters = d->n_workers,
	        .readiness = &d->status.readiness,
	        .look_around = look_around,
	        .refusal = refusal,
	        .metrics = metrics,
	        .ready_arg = d});
}

/* What -t checks: everything that can be known without starting. */
static bool
prepare(struct tamd *d)
{
	uint8_t key[32];
	struct stat st;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (stat(d->config.state_dir, &st) != 0 || !S_ISDIR(st.st_mode) ||
	    access(d->config.state_dir, W_OK) != 0) {
		log_error("state_dir", "dir=%s error=\"%s\"",
		    d->config.state_dir,
		    "must be a directory tamd may write to");
		return false;
	}
	if (master_key_read(d->config.master_key, key) != TAM_OK)
		return false;
	crypto_zero(key, sizeof(key));
	d->tls = http_tls_new(d->config.tls_certificate, d->config.tls_key);
	d->n_workers = d->config.workers > 0 ? (size_t)d->config.workers
	    : cpus > 0                       ? (size_t)cpus
	                                     : 1;
	return d->tls != NULL;
}

/* --- reloading -------------------------------------------------------------------------- */

/* SIGHUP: the log level and the TLS files.  Connections keep what they have. */
static void
reload(struct tamd *d)
{
	struct config fresh;
	struct ssl_ctx_st *tls;
	enum log_level level;

	if (!config_load(d->config_path, d->overrides, &fresh)) {
		log_error("reload", "result=\"kept the old configuration\"");
		return;
	}
	if (log_level_parse(fresh.log_level, &level))
		log_set_level(level);
	tls = http_tls_new(fresh.tls_certificate, fresh.tls_key);
	if (tls == NULL)
		return;
	for (size_t i = 0; i < d->n_workers; i++)
		mailbox_send(d->workers[i].mail,
		    &(struct mail){.kind = MAIL_TLS, .tls = http_tls_ref(tls)});
	admin_set_tls(d->admin, tls);
	log_info("reloaded", "keys=log_level,tls_certificate,tls_key");
}

/* --- stopping --------------------------------------------------------------------------- */

static void
tell_workers(struct tamd *d, enum mail_kind kind, int64_t deadline_us)
{
	for (size_t i = 0; i < d->n_workers; i++)
		mailbox_send(d->workers[i].mail,
		    &(struct mail){.kind = kind, .deadline_us = deadline_us});
}

static void
wait_signal(const sigset_t *set, int64_t ms)
{
	struct timespec ts = {ms / 1000, ms % 1000 * 1000000};

	/* A second signal means now. */
	if (sigtimedwait(set, NULL, &ts) > 0) {
		log_warn("stopping_now", "reason=\"second signal\"");
		_exit(1);
	}
}

static int
stop(struct tamd *d, const sigset_t *set)
{
	int64_t left = 0;

	log_info("stopping", "drain_delay_ms=%lld",
	    (long long)d->config.drain_delay_ms);
	atomic_store(&d->status.stopping, true);
	tell_workers(d, MAIL_DRAIN, 0);
	wait_signal(set, d->config.drain_delay_ms);
	tell_workers(d, MAIL_CLOSE, 0);
	tell_workers(d, MAIL_STOP,
	    clock_mono_us() + d->config.drain_deadline_ms * 1000);
	for (size_t i = 0; i < d->n_workers; i++) {
		worker_thread_join(&d->workers[i]);
		left += atomic_load(&d->workers[i].left_over);
	}
	control_stop(d->control); /* the last that sends mail */
	for (size_t i = 0; i < d->n_workers; i++)
		mailbox_free(d->workers[i].mail);
	admin_stop(d->admin);
	hsm_pool_free(d->hsm);
	http_tls_free(d->tls);
	free(d->workers);
	free(d->counters);
	log_info("stopped", "left_over=%lld", (long long)left);
	return left == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int
run(struct tamd *d)
{
	sigset_t set;
	int sig;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGHUP);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	routes_init(&d->config);
	set_limits(d);
	if (!open_admin(d) || !start_workers(d))
		return EXIT_FAILURE;
	d->control =
	    control_start(&d->config, d->workers, d->n_workers, &d->status);
	if (d->control == NULL)
		return EXIT_FAILURE;
	start_admin(d);
	log_info("started", "version=%s node=%s workers=%zu", PACKAGE_VERSION,
	    d->config.node_id, d->n_workers);
	for (;;) {
		if (sigwait(&set, &sig) != 0)
			continue;
		if (sig != SIGHUP)
			return stop(d, &set);
		reload(d);
	}
}

static int
start(struct tamd *d, bool test)
{
	enum log_level level;
	int status = EXIT_SUCCESS;

	if (!config_load(d->config_path, d->overrides, &d->config))
		return EXIT_FAILURE;
	if (log_level_parse(d->config.log_level, &level))
		log_set_level(level);
	if (!prepare(d))
		status = EXIT_FAILURE;
	else if (test)
		(void)puts("configuration ok");
	else
		return run(d);
	http_tls_free(d->tls);
	return status;
}

static void
free_overrides(struct config_override *o)
{
	struct config_override *next;

	for (; o != NULL; o = next) {
		next = o->next;
		free(o);
	}
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {{"config", required_argument,
	                                            NULL, 'c'},
	    {"option", required_argument, NULL, 'o'},
	    {"test", no_argument, NULL, 't'},
	    {"dump-config", no_argument, NULL, 'd'},
	    {"help", no_argument, NULL, 'h'},
	    {"version", no_argument, NULL, 'v'}, {NULL, 0, NULL, 0}};
	struct tamd d = {0};
	struct config_override *overrides = NULL, **last = &overrides;
	bool test = false, dump = false;
	int c, status;

	while ((c = getopt_long(argc, argv, "c:o:thv", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			d.config_path = optarg;
			break;
		case 'o':
			*last = mem_new(struct config_override);
			(*last)->text = optarg;
			last = &(*last)->next;
			break;
		case 't':
			test = true;
			break;
		case 'd':
			dump = true;
			break;
		case 'v':
			(void)puts("tamd " PACKAGE_VERSION);
			return EXIT_SUCCESS;
		case 'h':
			usage(stdout);
			return EXIT_SUCCESS;
		default:
			usage(stderr);
			return 2;
		}
	}
	if (optind < argc) {
		usage(stderr);
		return 2;
	}
	crypto_init();
	d.overrides = overrides;
	if (dump)
		status = config_dump(d.config_path, overrides, stdout)
		    ? EXIT_SUCCESS
		    : EXIT_FAILURE;
	else
		status = start(&d, test);
	free_overrides(overrides);
	return status;
}
