#include "config.h"

#include <err.h>
#include <errno.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "lib/base/hex.h"
#include "lib/base/mem.h"
#include "lib/codec/crypto.h"
#include "loadtest/options.h"

/*
 * tamfleet keys: the fleet's public keys, a line each, for the TAM to enrol.
 * tamfleet run:  the fleet calls the TAM.
 */

static atomic_int stop, mended;

/* --- keys ------------------------------------------------------------------------------- */

static char *
base64url(struct arena *arena, const uint8_t *p)
{
	char *text = base64_dup(arena, (struct slice){p, 32});

	for (char *q = text; *q != '\0'; q++)
		*q = (char)(*q == '+' ? '-' : *q == '/' ? '_' : *q);
	text[strcspn(text, "=")] = '\0';
	return text;
}

static int
print_keys(const struct options *o)
{
	struct agent *agents = fleet_agents(&o->plan);

	for (uint32_t i = 0; i < o->plan.agents; i++) {
		struct arena *arena = arena_new_in(NULL);
		struct cose_private priv;
		bool p256 = agents[i].curve == COSE_P256;

		(void)cose_private_from_secret(&priv, agents[i].curve,
		    agents[i].secret);
		(void)printf("{\"name\":\"%s-%06u\",\"class\":\"%s\","
		             "\"labels\":{\"shard\":\"%u\"},\"key\":{\"kty\":"
		             "\"%s\",\"crv\":\"%s\",\"x\":\"%s\"",
		    o->prefix, i, o->class_name, i % 16, p256 ? "EC" : "OKP",
		    p256 ? "P-256" : "Ed25519", base64url(arena, priv.key.pub));
		if (p256)
			(void)printf(",\"y\":\"%s\"",
			    base64url(arena, priv.key.pub + 32));
		(void)puts("}}");
		cose_private_wipe(&priv);
		arena_free(arena);
	}
	free(agents);
	return fflush(stdout) == 0 ? 0 : 1;
}

/* --- run --------------------------------------------------------------------------------- */

static void
on_signal(int sig)
{
	if (sig == SIGUSR1)
		atomic_store(&mended, 1);
	else
		atomic_store(&stop, 1);
}

static SSL_CTX *
client_tls(const char *ca_file)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	if (ctx == NULL)
		abort();
	(void)SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	(void)SSL_CTX_set_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
	(void)SSL_CTX_set_mode(ctx,
	    SSL_MODE_ENABLE_PARTIAL_WRITE |
	        SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	if (ca_file == NULL ||
	    SSL_CTX_load_verify_locations(ctx, ca_file, NULL) != 1)
		errx(2, "--ca wants a file with the server's CA");
	return ctx;
}

/* The devices' own state, not what the TAM believes. */
static bool
check_components(const struct options *o, const struct agent *agents)
{
	bool good = true;

	for (size_t k = 0; k < o->n_expect + o->n_absent; k++) {
		bool want = k < o->n_expect;
		const char *text =
		    want ? o->expect[k] : o->absent[k - o->n_expect];
		struct slice id;
		uint32_t holds = 0;

		if (!suit_component_parse(o->arena, text, &id))
			errx(2, "%s: not a component id", text);
		for (uint32_t i = 0; i < o->plan.agents; i++)
			holds += agent_holds(&agents[i], id);
		(void)fprintf(stderr, "%u of %u agents hold %s\n", holds,
		    o->plan.agents, text);
		good &= holds == (want ? o->plan.agents : 0);
	}
	return good;
}

static int
run(struct options *o)
{
	struct fleet_result *result = mem_new(struct fleet_result);
	struct agent *agents;
	SSL_CTX *tls = client_tls(o->ca_file);
	int status;

	if (o->plan.host == NULL || o->world.n_tam_keys == 0 ||
	    o->world.n_signers == 0 ||
	    (o->world.attest.form != ATTEST_NONE &&
	        o->world.attest.signer == NULL)) {
		(void)fputs(options_usage, stderr);
		return 2;
	}
	(void)signal(SIGTERM, on_signal);
	(void)signal(SIGINT, on_signal);
	(void)signal(SIGUSR1, on_signal);
	(void)signal(SIGPIPE, SIG_IGN);
	if (o->journal != NULL &&
	    (o->world.journal = journal_open(o->journal)) == NULL)
		err(2, "%s", o->journal);
	if (o->account != NULL &&
	    (o->world.account = account_open(o->account)) == NULL)
		err(2, "%s", o->account);
	o->plan.tls = tls;
	o->plan.mended = &mended;
	fleet_world_init(&o->world);
	agents = fleet_agents(&o->plan);
	fleet_run(&o->plan, &o->world, agents, &stop, result);
	if (o->json)
		report_json(&o->plan, result, stdout);
	else
		report_text(&o->plan, result, stdout);
	status = report_status(&o->plan, result);
	if (!check_components(o, agents) && status == REPORT_GOOD)
		status = REPORT_BAD;
	for (uint32_t i = 0; i < o->plan.agents; i++) {
		agent_account(&o->world, &agents[i]);
		agent_fini(&agents[i]);
	}
	if (!account_close(o->world.account))
		err(EXIT_FAILURE, "%s", o->account);
	free(agents);
	free(result);
	agent_ca_free(o->world.ca);
	cose_signer_free(o->world.report_signer);
	cose_signer_free(o->world.attest.signer);
	fleet_world_fini(&o->world);
	journal_close(o->world.journal);
	SSL_CTX_free(tls);
	return status;
}

int
main(int argc, char **argv)
{
	struct options o = {.plan = {.agents = 100,
	                        .concurrency = 32,
	                        .streams = 50,
	                        .curves = 2,
	                        .tries = 3,
	                        .timeout_s = 30,
	                        .rounds = 1,
	                        .progress = true,
	                        .wanted = OUTCOME_COUNT,
	                        .seed = SLICE_LIT("tamfleet")},
	    .class_name = "cam",
	    .prefix = "agent"};
	struct rlimit files;
	int status = 2;

	crypto_init();
	o.arena = arena_new_in(NULL);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	options_parse(&o, argc, argv);
	if (strcmp(o.command, "keys") == 0)
		status = print_keys(&o);
	else if (strcmp(o.command, "run") == 0)
		status = run(&o);
	else
		(void)fputs(options_usage, stderr);
	arena_free(o.arena);
	return status;
}
