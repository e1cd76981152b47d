#include "config.h"

#include <err.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/hex.h"
#include "lib/codec/crypto.h"
#include "loadtest/device.h"

/*
 * peer - a scripted agent: reads one message of the TAM, writes the answer.
 *
 *	peer [--seed S] --agent N [--ed25519] [OPTIONS] KIND IN OUT
 *
 * KIND is query-response, success or error; the answer carries IN's token, or
 * that of --token-of FILE.  --tc ID=DIGEST adds to the tc-list, --request ID
 * asks for a component.
 * --no-token, --bad-signature, --no-kid, --nonce make it odd in one way.
 */

enum {
	MESSAGE_MAX = 1 << 20
};

static struct arena *arena;

static struct slice
read_file(const char *path)
{
	uint8_t *bytes = arena_alloc(arena, MESSAGE_MAX);
	FILE *f = fopen(path, "rb");
	size_t n;

	if (f == NULL)
		err(2, "%s", path);
	n = fread(bytes, 1, MESSAGE_MAX, f);
	(void)fclose(f);
	return (struct slice){bytes, n};
}

static struct teep_message
open_message(const char *path)
{
	struct cose_message cose;
	struct teep_message m;

	if (cose_decode(read_file(path), arena, &cose) != TAM_OK ||
	    teep_decode(cose.payload, arena, TEEP_FINAL, &m) != TAM_OK)
		errx(2, "%s: not a TEEP message", path);
	return m;
}

static void
add_tc(struct teep_message *m, struct teep_tc *tc, const char *text)
{
	const char *equals = strchr(text, '=');
	uint8_t *digest = arena_alloc(arena, 32);
	size_t n = 0;

	if (equals == NULL ||
	    !suit_component_parse(arena,
	        arena_strdup(arena,
	            (struct slice){(const uint8_t *)text,
	                (size_t)(equals - text)}),
	        &tc[m->n_tc].component_id) ||
	    !hex_decode(equals + 1, strlen(equals + 1), digest, 32, &n))
		errx(2, "--tc wants ID=DIGEST");
	tc[m->n_tc++].digest = (struct slice){digest, n};
}

static void
write_signed(const struct teep_message *m, enum cose_curve curve, int agent,
    const char *seed, bool spoil, bool no_kid, const char *path)
{
	struct cose_crypto *crypto = cose_crypto_new();
	struct agent a;
	struct cose_private priv;
	struct cose_signer *signer;
	struct buf payload, out;
	FILE *f = fopen(path, "wb");

	if (f == NULL)
		err(2, "%s", path);
	agent_init(&a, (uint32_t)agent, curve, slice_str(seed));
	(void)cose_private_from_secret(&priv, curve, a.secret);
	signer = cose_signer_new(&priv);
	buf_init(&payload, MESSAGE_MAX);
	buf_init(&out, MESSAGE_MAX);
	teep_encode(m, &payload);
	cose_sign1(crypto, signer,
	    curve == COSE_P256 ? COSE_ALG_ESP256 : COSE_ALG_ED25519,
	    no_kid ? slice_none() : SLICE_OF(a.thumbprint), buf_slice(&payload),
	    &out);
	if (spoil)
		out.p[out.n - 1] ^= 1;
	(void)fwrite(out.p, 1, out.n, f);
	if (fclose(f) != 0)
		err(2, "%s", path);
	buf_fini(&payload);
	buf_fini(&out);
	cose_signer_free(signer);
	cose_crypto_free(crypto);
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {{"agent", required_argument,
	                                            NULL, 'a'},
	    {"seed", required_argument, NULL, 's'},
	    {"ed25519", no_argument, NULL, 'e'},
	    {"tc", required_argument, NULL, 't'},
	    {"token-of", required_argument, NULL, 'o'},
	    {"no-token", no_argument, NULL, 'n'},
	    {"bad-signature", no_argument, NULL, 'b'},
	    {"no-kid", no_argument, NULL, 'k'},
	    {"selected-version", required_argument, NULL, 'v'},
	    {"request", required_argument, NULL, 'q'},
	    {"nonce", required_argument, NULL, 'r'}, {NULL, 0, NULL, 0}};
	struct teep_message m = {0}, in;
	struct teep_tc tc[16] = {{{0}, {0}}};
	struct teep_requested request = {0};
	struct slice report;
	const char *seed = "tamfleet", *token_of = NULL, *nonce = NULL;
	enum cose_curve curve = COSE_P256;
	int agent = 0, c;
	bool no_token = false, spoil = false, no_kid = false;

	crypto_init();
	arena = arena_new_in(NULL);
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'a':
			agent = (int)strtol(optarg, NULL, 10);
			break;
		case 's':
			seed = optarg;
			break;
		case 'e':
			curve = COSE_ED25519;
			break;
		case 't':
			add_tc(&m, tc, optarg);
			break;
		case 'o':
			token_of = optarg;
			break;
		case 'n':
			no_token = true;
			break;
		case 'b':
			spoil = true;
			break;
		case 'k':
			no_kid = true;
			break;
		case 'v':
			m.present |= 1u << TEEP_OPT_SELECTED_VERSION;
			m.selected_version = strtoull(optarg, NULL, 10);
			break;
		case 'q':
			if (!suit_component_parse(arena, optarg,
			        &request.component_id))
				errx(2, "--request wants a component id");
			m.present |= 1u << TEEP_OPT_REQUESTED;
			m.requested = &request;
			m.n_requested = 1;
			break;
		case 'r':
			nonce = optarg;
			break;
		default:
			return 2;
		}
	}
	if (argc - optind != 3)
		errx(2, "usage: peer [OPTIONS] KIND IN OUT");
	in = open_message(argv[optind + 1]);
	m.numbering = in.numbering;
	m.token = token_of == NULL ? in.token : open_message(token_of).token;
	if (!no_token)
		m.present |= 1u << TEEP_OPT_TOKEN;
	m.tc = tc;
	if (strcmp(argv[optind], "query-response") == 0) {
		m.kind = TEEP_QUERY_RESPONSE;
		m.present |= 1u << TEEP_OPT_TC_LIST;
	} else {
		m.kind = strcmp(argv[optind], "success") == 0 ? TEEP_SUCCESS
		                                              : TEEP_ERROR;
		m.err_code = TEEP_ERR_TEMPORARY;
	}
	if (nonce != NULL) {
		static const uint8_t digest[32];
		struct suit_report r = {.nonce = slice_str(nonce),
		    .manifest_digest = SLICE_OF(digest),
		    .success = true};
		struct buf b;

		buf_init(&b, 1024);
		suit_report_encode(&r, (struct slice){0}, &b);
		report = arena_dup(arena, buf_slice(&b));
		buf_fini(&b);
		m.present |= 1u << TEEP_OPT_REPORTS;
		m.reports = &report;
		m.n_reports = 1;
	}
	write_signed(&m, curve, agent, seed, spoil, no_kid, argv[optind + 2]);
	arena_free(arena);
	return 0;
}
