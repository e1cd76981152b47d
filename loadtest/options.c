#include "config.h"

#include "loadtest/options.h"

#include <err.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/hex.h"
#include "lib/base/number.h"
#include "lib/codec/cose_encrypt.h"

enum {
	DECIMAL_MAX = 1000000000
};

const char options_usage[] =
    "usage: tamfleet keys --agents N [--seed S] [--keys p256|ed25519|mix]\n"
    "           [--class NAME] [--prefix NAME]\n"
    "       tamfleet run --server HOST:PORT --ca FILE --tam-key PEM...\n"
    "           --signer PEM... [--uri PATH=final|legacy]... [--agents N]\n"
    "           [--seed S] [--keys p256|ed25519|mix] [--http 1|2|mix]\n"
    "           [--concurrency N] [--streams N] [--rate PER-SECOND]\n"
    "           [--rounds N] [--interval S] [--duration S] [--tries N]\n"
    "           [--timeout S]\n"
    "           [--payload URI=FILE]... [--vendor-id HEX] [--class-id HEX]\n"
    "           [--expect COMPONENT]... [--absent COMPONENT]...\n"
    "           [--request COMPONENT [--have-binary SEQUENCE]]\n"
    "           [--journal FILE] [--account FILE] [--sources N]\n"
    "           [--deprecated-algs] [-o json]\n"
    "           [--attest eat|ear|ear-cwt|evidence --verifier-key PEM]\n"
    "           [--attest-fault nonce|key|expired|forged|worthless|absent]\n"
    "           [--encrypt-to PEM] [--encrypt ctr|gcm|chacha] [--whole-key]\n"
    "           [--play WHAT[=N]]... [--outcome NAME]\n"
    "           [--device-key PEM]... [--lenient] [--ueid-of SEED] [--tam-verifier PEM]\n"
    "           [--x5chain CERT:KEY[:DAYS]] [--report-key PEM]\n"
    "           [--report-to PEM]\n";

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

static int64_t
whole(const char *name, const char *text, int64_t min, int64_t max)
{
	int64_t v;

	if (!number_parse(text, min, max, &v))
		errx(2, "--%s wants a whole number from %lld to %lld, not '%s'",
		    name, (long long)min, (long long)max, text);
	return v;
}

static double
decimal(const char *name, const char *text)
{
	double v;

	if (!number_parse_decimal(text, 0, DECIMAL_MAX, &v))
		errx(2, "--%s wants a number from 0 to %d, like 0.5, not '%s'",
		    name, DECIMAL_MAX, text);
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
	o->plan.port = (int)whole("server", colon + 1, 1, 65535);
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
	O_TIMEOUT,
	O_PAYLOAD,
	O_VENDOR_ID,
	O_CLASS_ID,
	O_EXPECT,
	O_ABSENT,
	O_JOURNAL,
	O_ACCOUNT,
	O_SOURCES,
	O_DEPRECATED,
	O_ATTEST,
	O_VERIFIER_KEY,
	O_FAULT,
	O_ENCRYPT_TO,
	O_ENCRYPT,
	O_WHOLE_KEY,
	O_PLAY,
	O_OUTCOME,
	O_DEVICE_KEY,
	O_UEID_OF,
	O_REPORT_KEY,
	O_REQUEST,
	O_HAVE_BINARY,
	O_REPORT_TO,
	O_X5CHAIN,
	O_TAM_VERIFIER,
	O_LENIENT
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
    {"timeout", required_argument, NULL, O_TIMEOUT},
    {"payload", required_argument, NULL, O_PAYLOAD},
    {"vendor-id", required_argument, NULL, O_VENDOR_ID},
    {"class-id", required_argument, NULL, O_CLASS_ID},
    {"expect", required_argument, NULL, O_EXPECT},
    {"absent", required_argument, NULL, O_ABSENT},
    {"journal", required_argument, NULL, O_JOURNAL},
    {"account", required_argument, NULL, O_ACCOUNT},
    {"sources", required_argument, NULL, O_SOURCES},
    {"deprecated-algs", no_argument, NULL, O_DEPRECATED},
    {"attest", required_argument, NULL, O_ATTEST},
    {"verifier-key", required_argument, NULL, O_VERIFIER_KEY},
    {"attest-fault", required_argument, NULL, O_FAULT},
    {"encrypt-to", required_argument, NULL, O_ENCRYPT_TO},
    {"encrypt", required_argument, NULL, O_ENCRYPT},
    {"whole-key", no_argument, NULL, O_WHOLE_KEY},
    {"play", required_argument, NULL, O_PLAY},
    {"ueid-of", required_argument, NULL, O_UEID_OF},
    {"tam-verifier", required_argument, NULL, O_TAM_VERIFIER},
    {"x5chain", required_argument, NULL, O_X5CHAIN},
    {"have-binary", required_argument, NULL, O_HAVE_BINARY},
    {"request", required_argument, NULL, O_REQUEST},
    {"report-key", required_argument, NULL, O_REPORT_KEY},
    {"report-to", required_argument, NULL, O_REPORT_TO},
    {"device-key", required_argument, NULL, O_DEVICE_KEY},
    {"lenient", no_argument, NULL, O_LENIENT},
    {"outcome", required_argument, NULL, O_OUTCOME}, {NULL, 0, NULL, 0}};

static int
one_of(const char *name, const char *text, const char *const *names)
{
	for (int i = 0; names[i] != NULL; i++) {
		if (strcmp(text, names[i]) == 0)
			return i;
	}
	errx(2, "--%s does not know '%s'", name, text);
}

static struct cose_signer *
read_signer(struct options *o, const char *path)
{
	struct cose_private priv;
	struct cose_signer *signer;

	if (cose_private_from_pem(read_file(o->arena, path), &priv) != TAM_OK)
		errx(2, "%s: not a private key in PEM", path);
	signer = cose_signer_new(&priv);
	cose_private_wipe(&priv);
	return signer;
}

static void
set_encrypt_to(struct options *o, const char *path)
{
	struct attest_plan *p = &o->world.attest;

	if (ecdh_key_from_pem(read_file(o->arena, path), &p->encrypt_to) !=
	    TAM_OK)
		errx(2, "%s: not a P-256 or X25519 key in PEM", path);
	p->encrypted = true;
	if (p->encrypt_alg == 0)
		p->encrypt_alg = COSE_ALG_A128GCM;
}

/* CERT:KEY[:DAYS] */
static void
set_ca(struct options *o, char *text)
{
	char *key = strchr(text, ':'), *days = NULL;

	if (key != NULL) {
		*key++ = '\0';
		days = strchr(key, ':');
	}
	if (days != NULL)
		*days++ = '\0';
	o->world.ca = key == NULL
	    ? NULL
	    : agent_ca_new(text, key,
	          days == NULL ? 30
	                       : (int)whole("x5chain", days, -1000, 36500));
	if (o->world.ca == NULL)
		errx(2, "--x5chain wants CERT:KEY[:DAYS], both in PEM");
}

/* What payloads are encrypted to; every agent of the fleet has it. */
static void
add_device_key(struct options *o, const char *path)
{
	struct suit_world *w = &o->world.suit;

	if (w->n_agree == 2 ||
	    ecdh_private_from_pem(read_file(o->arena, path),
	        &w->agree[w->n_agree]) != TAM_OK)
		errx(2, "%s: not a P-256 or X25519 private key in PEM", path);
	w->n_agree++;
}

/* CONFORMANCE A22. */
static void
set_play(struct agent_play *p, char *text)
{
	char *equals = strchr(text, '=');
	unsigned n = 0;

	if (equals != NULL) {
		*equals = '\0';
		n = (unsigned)whole("play", equals + 1, 0, UINT32_MAX);
	}
	if (strcmp(text, "error") == 0)
		p->query_error = n;
	else if (strcmp(text, "no-kid") == 0)
		p->no_kid = true;
	else if (strcmp(text, "unsolicited") == 0)
		p->unsolicited = true;
	else if (strcmp(text, "duplicate") == 0)
		p->duplicate = true;
	else if (strcmp(text, "replay") == 0)
		p->replay = true;
	else if (strcmp(text, "extra") == 0)
		p->extra = n;
	else if (strcmp(text, "slow") == 0)
		p->slow_ms = n;
	else if (strcmp(text, "fail-section") == 0)
		p->fail_section = n;
	else if (strcmp(text, "fail-from") == 0)
		p->fail_from = n;
	else
		errx(2, "--play does not know '%s'", text);
}

static void
set_attest(struct options *o, int c, char *arg)
{
	static const char *const forms[] = {"none", "eat", "ear", "ear-cwt",
	    "evidence", NULL};
	static const char *const faults[] = {"sound", "nonce", "key", "expired",
	    "forged", "worthless", "absent", NULL};
	static const char *const algs[] = {"ctr", "gcm", "chacha", NULL};
	static const int alg_of[] = {COSE_ALG_A128CTR, COSE_ALG_A128GCM,
	    COSE_ALG_CHACHA20_POLY1305};
	struct attest_plan *p = &o->world.attest;

	switch (c) {
	case O_ATTEST:
		p->form = (enum attest_form)one_of("attest", arg, forms);
		break;
	case O_VERIFIER_KEY:
		p->signer = read_signer(o, arg);
		break;
	case O_FAULT:
		p->fault =
		    (enum attest_fault)one_of("attest-fault", arg, faults);
		break;
	case O_ENCRYPT_TO:
		set_encrypt_to(o, arg);
		break;
	case O_ENCRYPT:
		p->encrypt_alg = alg_of[one_of("encrypt", arg, algs)];
		break;
	case O_WHOLE_KEY:
		o->world.whole_key = true;
		break;
	case O_PLAY:
		set_play(&o->world.play, arg);
		break;
	case O_TAM_VERIFIER:
		o->world.has_tam_verifier = true;
		if (cose_key_from_pem(read_file(o->arena, arg),
		        &o->world.tam_verifier) != TAM_OK)
			errx(2, "%s: not a public key in PEM", arg);
		break;
	case O_X5CHAIN:
		set_ca(o, arg);
		break;
	case O_REPORT_KEY:
		o->world.report_signer = read_signer(o, arg);
		break;
	case O_REQUEST:
		if (!suit_component_parse(o->arena, arg, &o->world.wanted))
			errx(2, "--request does not know '%s'", arg);
		break;
	case O_HAVE_BINARY:
		o->world.have_binary = true;
		o->world.have_sequence =
		    (uint64_t)whole("have-binary", arg, 0, INT64_MAX);
		break;
	case O_REPORT_TO:
		o->world.encrypts_reports = true;
		if (ecdh_key_from_pem(read_file(o->arena, arg),
		        &o->world.report_to) != TAM_OK)
			errx(2, "%s: not a P-256 or X25519 key in PEM", arg);
		break;
	case O_UEID_OF:
		o->world.ueid_seed = slice_str(arg);
		break;
	case O_DEVICE_KEY:
		add_device_key(o, arg);
		break;
	case O_LENIENT:
		o->world.suit.lenient = true;
		break;
	case O_OUTCOME:
		if (!report_outcome(arg, &o->plan.wanted))
			errx(2, "--outcome does not know '%s'", arg);
		break;
	default:
		(void)fputs(options_usage, stderr);
		exit(2);
	}
}

static void
set_plan(struct options *o, int c, char *arg)
{
	struct fleet_plan *p = &o->plan;

	switch (c) {
	case O_AGENTS:
		p->agents = (uint32_t)whole("agents", arg, 1, UINT32_MAX);
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
		p->concurrency =
		    (uint32_t)whole("concurrency", arg, 1, UINT32_MAX);
		break;
	case O_STREAMS:
		p->streams = (uint32_t)whole("streams", arg, 1, UINT32_MAX);
		break;
	case O_RATE:
		p->rate = decimal("rate", arg);
		break;
	case O_ROUNDS:
		p->rounds = (uint32_t)whole("rounds", arg, 0, UINT32_MAX);
		break;
	case O_INTERVAL:
		p->interval_s = decimal("interval", arg);
		break;
	case O_DURATION:
		p->duration_s = decimal("duration", arg);
		break;
	case O_TRIES:
		p->tries = (unsigned)whole("tries", arg, 1, UINT32_MAX);
		break;
	case O_TIMEOUT:
		p->timeout_s = decimal("timeout", arg);
		if (p->timeout_s <= 0)
			errx(2, "--timeout wants more than 0 seconds");
		break;
	case O_SOURCES:
		p->sources = (unsigned)whole("sources", arg, 1, 65534);
		break;
	default:
		set_attest(o, c, arg);
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
	case O_ACCOUNT:
		o->account = arg;
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

void
options_parse(struct options *o, int argc, char **argv)
{
	int c;

	while ((c = getopt_long(argc, argv, "o:", long_options, NULL)) != -1)
		set_option(o, c, optarg);
	if (o->plan.n_uris == 0) {
		o->plan.n_uris = 1;
		o->plan.uris[0] = (struct fleet_uri){"/tam", TEEP_FINAL};
	}
	o->command = optind < argc ? argv[optind] : "";
}
