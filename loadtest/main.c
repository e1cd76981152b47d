#include "config.h"

#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "lib/base/hex.h"
#include "lib/base/mem.h"
#include "lib/codec/crypto.h"
#include "loadtest/report.h"

/*
 * tamfleet keys: the fleet's public keys, a line each, for the TAM to enrol.
 * tamfleet run:  the fleet calls the TAM.
 */

static volatile int stop;

struct options {
	struct fleet_plan plan;
	struct fleet_world world;
	const char *command, *ca_file, *class_name, *journal, *prefix;
	bool json;
	size_t n_expect, n_absent;
	const char *expect[8], *absent[8];
	struct arena *arena;
};

static const char usage_text[] =
    "usage: tamfleet keys --agents N [--seed S] [--keys p256|ed25519|mix]\n"
    "           [--class NAME] [--prefix NAME]\n"
    "       tamfleet run --server HOST:PORT --ca FILE --tam-key PEM...\n"
    "           --signer PEM... [--uri PATH=final|legacy]... [--agents N]\n"
    "           [--seed S] [--keys p256|ed25519|mix] [--http 1|2|mix]\n"
    "           [--concurrency N] [--streams N] [--rate PER-SECOND]\n"
    "           [--rounds N] [--interval S] [--duration S] [--tries N]\n"
    "           [--payload URI=FILE]... [--vendor-id HEX] [--class-id HEX]\n"
    "           [--expect COMPONENT]... [--absent COMPONENT]...\n"
    "           [--journal FILE] [--deprecated-algs] [-o json]\n";

/* --- arguments ---------------------------------------------------------------------- */

static struct slice
read_file(struct arena *arena, const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *bytes = arena_alloc(arena, 1 << 20);
	size_t n;

	if (f == NULL)
		err(2, "%s", path);
	n = fread(bytes, 1, 1 << 20, f);
	if (ferror(f) != 0 || fclose(f) != 0)
		err(2, "%s", path);
	return (struct slice){bytes, n};
}

static void
add_key(struct options *o, const char *path, struct cose_key *keys, size_t *n)
{
	if (*n == FLEET_KEYS_MAX)
		errx(2, "more than %d keys", FLEET_KEYS_MAX);
	if (cose_key_from_pem(read_file(o->arena, path), &keys[*n]) != TAM_OK)
		errx(2, "%s: not a public key in PEM", path);
	++*n;
}

static double
number(const char *name, const char *text, double min)
{
	char *end;
	double v = strtod(text, &end);

	if (end == text || *end != '\0' || !(v >= min))
		errx(2, "--%s wants a number from %g, not '%s'", name, min,
		    text);
	return v;
}

static void
set_server(struct options *o, char *text)
{
	char *colon = strrchr(text, ':');

	if (colon == NULL)
		errx(2, "--server wants HOST:PORT");
	*colon = '\0';
	o->plan.host = strcmp(text, "localhost") == 0 ? "127.0.0.1" : text;
	o->plan.port = (int)number("server", colon + 1, 1);
}

static void
add_uri(struct options *o, char *text)
{
	char *equals = strrchr(text, '=');
	struct fleet_uri *uri;

	if (o->plan.n_uris == 4)
		errx(2, "more than 4 --uri");
	uri = &o->plan.uris[o->plan.n_uris++];
	uri->numbering = TEEP_FINAL;
	if (equals != NULL) {
		*equals = '\0';
		if (strcmp(equals + 1, "legacy") == 0)
			uri->numbering = TEEP_LEGACY;
		else if (strcmp(equals + 1, "final") != 0)
			errx(2, "--uri wants PATH=final or PATH=legacy");
	}
	uri->path = text;
}

static void
add_payload(struct options *o, const char *text)
{
	const char *equals = strrchr(text, '=');
	struct suit_world *w = &o->world.suit;

	if (equals == NULL || w->n_payloads == 16)
		errx(2, "--payload wants URI=FILE, at most 16 times");
	w->payloads[w->n_payloads].uri =
	    (struct slice){(const uint8_t *)text, (size_t)(equals - text)};
	w->payloads[w->n_payloads++].bytes = read_file(o->arena, equals + 1);
}

static void
set_uuid(const char *name, const char *text, uint8_t out[16])
{
	size_t n = 0;

	if (!hex_decode(text, strlen(text), out, 16, &n) || n != 16)
		errx(2, "--%s wants 32 hexadecimal digits", name);
}

static int
choice(const char *name, const char *text, const char *zero, const char *one,
    const char *two)
{
	const char *const all[] = {zero, one, two};

	for (int i = 0; i < 3; i++) {
		if (strcmp(text, all[i]) == 0)
			return i;
	}
	errx(2, "--%s wants %s, %s or %s, not '%s'", name, zero, one, two,
	    text);
}

enum option_id {
	O_AGENTS = 256,
	O_SEED,
	O_KEYS,
	O_CLASS,
	O_PREFIX,
	O_SERVER,
	O_CA,
	O_TAM_KEY,
	O_SIGNER,
	O_URI,
	O_HTTP,
	O_CONCURRENCY,
	O_STREAMS,
	O_RATE,
	O_ROUNDS,
	O_INTERVAL,
	O_DURATION,
	O_TRIES,
	O_PAYLOAD,
	O_VENDOR_ID,
	O_CLASS_ID,
	O_EXPECT,
	O_ABSENT,
	O_JOURNAL,
	O_DEPRECATED
};

static const struct option long_options[] = {{"agents", required_argument, NULL,
                                                 O_AGENTS},
    {"seed", required_argument, NULL, O_SEED},
    {"keys", required_argument, NULL, O_KEYS},
    {"class", required_argument, NULL, O_CLASS},
    {"prefix", required_argument, NULL, O_PREFIX},
    {"server", required_argument, NULL, O_SERVER},
    {"ca", required_argument, NULL, O_CA},
    {"tam-key", required_argument, NULL, O_TAM_KEY},
    {"signer", required_argument, NULL, O_SIGNER},
    {"uri", required_argument, NULL, O_URI},
    {"http", required_argument, NULL, O_HTTP},
    {"concurrency", required_argument, NULL, O_CONCURRENCY},
    {"streams", required_argument, NULL, O_STREAMS},
    {"rate", required_argument, NULL, O_RATE},
    {"rounds", required_argument, NULL, O_ROUNDS},
    {"interval", required_argument, NULL, O_INTERVAL},
    {"duration", required_argument, NULL, O_DURATION},
    {"tries", required_argument, NULL, O_TRIES},
    {"payload", required_argument, NULL, O_PAYLOAD},
    {"vendor-id", required_argument, NULL, O_VENDOR_ID},
    {"class-id", required_argument, NULL, O_CLASS_ID},
    {"expect", required_argument, NULL, O_EXPECT},
    {"absent", required_argument, NULL, O_ABSENT},
    {"journal", required_argument, NULL, O_JOURNAL},
    {"deprecated-algs", no_argument, NULL, O_DEPRECATED}, {NULL, 0, NULL, 0}};

static void
set_plan(struct options *o, int c, char *arg)
{
	struct fleet_plan *p = &o->plan;

	switch (c) {
	case O_AGENTS:
		p->agents = (uint32_t)number("agents", arg, 1);
		break;
	case O_SEED:
		p->seed = slice_str(arg);
		break;
	case O_KEYS:
		p->curves = choice("keys", arg, "p256", "ed25519", "mix");
		break;
	case O_SERVER:
		set_server(o, arg);
		break;
	case O_URI:
		add_uri(o, arg);
		break;
	case O_HTTP:
		p->http = choice("http", arg, "mix", "1", "2");
		break;
	case O_CONCURRENCY:
		p->concurrency = (uint32_t)number("concurrency", arg, 1);
		break;
	case O_STREAMS:
		p->streams = (uint32_t)number("streams", arg, 1);
		break;
	case O_RATE:
		p->rate = number("rate", arg, 0);
		break;
	case O_ROUNDS:
		p->rounds = (uint32_t)number("rounds", arg, 0);
		break;
	case O_INTERVAL:
		p->interval_s = number("interval", arg, 0);
		break;
	case O_DURATION:
		p->duration_s = number("duration", arg, 0);
		break;
	case O_TRIES:
		p->tries = (unsigned)number("tries", arg, 1);
		break;
	default:
		(void)fputs(usage_text, stderr);
		exit(2);
	}
}

static void
set_option(struct options *o, int c, char *arg)
{
	struct fleet_world *w = &o->world;

	switch (c) {
	case O_CLASS:
		o->class_name = arg;
		break;
	case O_PREFIX:
		o->prefix = arg;
		break;
	case O_CA:
		o->ca_file = arg;
		break;
	case O_TAM_KEY:
		add_key(o, arg, w->tam_keys, &w->n_tam_keys);
		break;
	case O_SIGNER:
		add_key(o, arg, w->signers, &w->n_signers);
		break;
	case O_PAYLOAD:
		add_payload(o, arg);
		break;
	case O_VENDOR_ID:
		set_uuid("vendor-id", arg, w->suit.vendor_id);
		break;
	case O_CLASS_ID:
		set_uuid("class-id", arg, w->suit.class_id);
		break;
	case O_EXPECT:
		if (o->n_expect < 8)
			o->expect[o->n_expect++] = arg;
		break;
	case O_ABSENT:
		if (o->n_absent < 8)
			o->absent[o->n_absent++] = arg;
		break;
	case O_JOURNAL:
		o->journal = arg;
		break;
	case O_DEPRECATED:
		w->deprecated_algs = true;
		break;
	case 'o':
		o->json = strcmp(arg, "json") == 0;
		break;
	default:
		set_plan(o, c, arg);
	}
}

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
	(void)sig;
	stop = 1;
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
	bool good;

	if (o->plan.host == NULL || o->world.n_tam_keys == 0 ||
	    o->world.n_signers == 0) {
		(void)fputs(usage_text, stderr);
		return 2;
	}
	(void)signal(SIGTERM, on_signal);
	(void)signal(SIGINT, on_signal);
	(void)signal(SIGPIPE, SIG_IGN);
	if (o->journal != NULL &&
	    (o->world.journal = journal_open(o->journal)) == NULL)
		err(2, "%s", o->journal);
	o->plan.tls = tls;
	o->world.crypto = cose_crypto_new();
	agents = fleet_agents(&o->plan);
	fleet_run(&o->plan, &o->world, agents, &stop, result);
	if (o->json)
		report_json(&o->plan, result, stdout);
	else
		report_text(&o->plan, result, stdout);
	good = report_good(result);
	good &= check_components(o, agents);
	for (uint32_t i = 0; i < o->plan.agents; i++)
		agent_fini(&agents[i]);
	free(agents);
	free(result);
	fleet_world_fini(&o->world);
	journal_close(o->world.journal);
	SSL_CTX_free(tls);
	return good ? 0 : 1;
}

int
main(int argc, char **argv)
{
	struct options o = {.plan = {.agents = 100,
	                        .concurrency = 32,
	                        .streams = 50,
	                        .curves = 2,
	                        .tries = 3,
	                        .rounds = 1,
	                        .progress = true,
	                        .seed = SLICE_LIT("tamfleet")},
	    .class_name = "cam",
	    .prefix = "agent"};
	struct rlimit files;
	int c, status = 2;

	crypto_init();
	o.arena = arena_new_in(NULL);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	while ((c = getopt_long(argc, argv, "o:", long_options, NULL)) != -1)
		set_option(&o, c, optarg);
	if (o.plan.n_uris == 0) {
		o.plan.n_uris = 1;
		o.plan.uris[0] = (struct fleet_uri){"/tam", TEEP_FINAL};
	}
	o.command = optind < argc ? argv[optind] : "";
	if (strcmp(o.command, "keys") == 0)
		status = print_keys(&o);
	else if (strcmp(o.command, "run") == 0)
		status = run(&o);
	else
		(void)fputs(usage_text, stderr);
	arena_free(o.arena);
	return status;
}
