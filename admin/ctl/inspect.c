#include "config.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "admin/ctl/ctl.h"
#include "admin/ctl/inspect.h"
#include "admin/ctl/output.h"
#include "lib/base/clock.h"
#include "lib/base/hex.h"
#include "lib/base/mem.h"
#include "lib/base/number.h"
#include "lib/codec/cbor_diag.h"

/* tamctl inspect, the command; what it finds out is inspect_bytes.c's. */

static int
usage(void)
{
	(void)fputs(
	    "usage: tamctl inspect [--key FILE]... [--nonce HEX] [--token HEX]\n"
	    "           [--numbering auto|final|legacy] [--upload-checks]\n"
	    "           [--unsigned] [--external-aad HEX] [--detached FILE]\n"
	    "           [--now SECONDS] [--profile URI] [-o json|diag] FILE|-\n",
	    stderr);
	return CTL_USAGE;
}

static bool
set_hex_option(struct inspect *x, const char *text, struct slice *out)
{
	size_t n = strlen(text);
	uint8_t *bytes = arena_alloc(x->arena, n / 2 + 1);

	out->p = bytes;
	return hex_decode(text, n, bytes, n / 2, &out->n);
}

static bool
set_numbering(struct inspect *x, const char *text)
{
	x->numbering_fixed = strcmp(text, "auto") != 0;
	x->numbering = strcmp(text, "legacy") == 0 ? TEEP_LEGACY : TEEP_FINAL;
	return !x->numbering_fixed || x->numbering == TEEP_LEGACY ||
	    strcmp(text, "final") == 0;
}

static bool
read_whole(struct inspect *x, const char *path, struct slice *out)
{
	struct buf file;
	bool ok;

	buf_init(&file, INSPECT_FILE_MAX);
	ok = ctl_read_file(path, &file);
	if (ok)
		*out = arena_dup(x->arena, buf_slice(&file));
	buf_fini(&file);
	return ok;
}

static bool
set_option(struct inspect *x, int c, char *arg)
{
	switch (c) {
	case 'k':
		return inspect_add_key(x, arg);
	case 'n':
		return set_hex_option(x, arg, &x->nonce);
	case 't':
		return set_hex_option(x, arg, &x->token);
	case 'e':
		return set_hex_option(x, arg, &x->external_aad);
	case 'd':
		return read_whole(x, arg, &x->detached);
	case 'm':
		return set_numbering(x, arg);
	case 'u':
		x->upload_checks = true;
		return true;
	case 's':
		x->unsigned_ok = true;
		return true;
	case 'p':
		x->profile = arg;
		return true;
	case 'w':
		return number_parse(arg, 1, INT64_MAX / CLOCK_SECOND,
		    &x->now_s);
	default:
		return false;
	}
}

static void
print(struct inspect *x, struct slice file, const char *output,
    enum tam_err err)
{
	struct buf b;
	char *text;

	if (strcmp(output, "diag") == 0) {
		buf_init(&b, 64 << 20);
		if (cbor_diag(file, x->arena, &b) == TAM_OK) {
			output_json(buf_slice(&b));
			(void)putchar('\n');
		}
		buf_fini(&b);
		(void)printf("/ %s: %s /\n", tam_err_name(err),
		    tam_err_text(err));
		return;
	}
	inspect_set(x, "accepted", json_boolean(err == TAM_OK));
	inspect_set(x, "reason", json_string(tam_err_name(err)));
	inspect_set(x, "explanation", json_string(tam_err_text(err)));
	text = json_dumps(x->out, JSON_INDENT(2));
	output_json(slice_str(text));
	(void)putchar('\n');
	free(text);
}

/* 2 for what is nothing we know, and for misuse. */
static int
status_of(const struct inspect *x, enum tam_err err)
{
	const char *kind = json_string_value(json_object_get(x->out, "kind"));

	if (err == TAM_OK)
		return CTL_OK;
	return kind == NULL || strcmp(kind, "not CBOR") == 0 ? CTL_USAGE
	                                                     : CTL_FAILED;
}

static int
inspect_file(struct inspect *x, const char *path, const char *output)
{
	struct slice file;
	enum tam_err err;

	if (!read_whole(x, path, &file))
		return CTL_USAGE;
	err = inspect_bytes(x, file);
	print(x, file, output, err);
	return status_of(x, err);
}

int
ctl_inspect(int argc, char **argv)
{
	static const struct option options[] = {{"key", required_argument, NULL,
	                                            'k'},
	    {"nonce", required_argument, NULL, 'n'},
	    {"token", required_argument, NULL, 't'},
	    {"external-aad", required_argument, NULL, 'e'},
	    {"detached", required_argument, NULL, 'd'},
	    {"numbering", required_argument, NULL, 'm'},
	    {"upload-checks", no_argument, NULL, 'u'},
	    {"unsigned", no_argument, NULL, 's'},
	    {"profile", required_argument, NULL, 'p'},
	    {"now", required_argument, NULL, 'w'}, {NULL, 0, NULL, 0}};
	struct inspect *x = mem_new(struct inspect);
	const char *output = "json";
	bool ok = true;
	int c, status;

	x->arena = arena_new_in(NULL);
	x->crypto = cose_crypto_new();
	x->out = json_object();
	x->numbering = TEEP_FINAL;
	x->profile = EAT_TEEP_PROFILE;
	x->now_s = clock_wall_us() / CLOCK_SECOND;
	optind = 1;
	while (ok && (c = getopt_long(argc, argv, "o:", options, NULL)) != -1) {
		if (c == 'o')
			output = optarg;
		else
			ok = set_option(x, c, optarg);
	}
	if (ok && optind == argc - 1)
		status = inspect_file(x, argv[optind], output);
	else
		status = x->complained ? CTL_USAGE : usage();
	json_decref(x->out);
	for (size_t i = 0; i < x->n_keys; i++)
		ecdh_private_wipe(&x->keys[i].agree);
	cose_crypto_free(x->crypto);
	arena_free(x->arena);
	free(x);
	return status;
}
