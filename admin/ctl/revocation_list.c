#include "config.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admin/ctl/ctl_sql.h"
#include "admin/ctl/output.h"
#include "admin/notices.h"
#include "lib/base/number.h"
#include "lib/codec/cbor_diag.h"
#include "lib/codec/cose.h"
#include "lib/codec/crypto.h"

/*
 * tamctl revocation-list: what a domain has revoked (admin/notices.h), in a
 * tagged COSE_Sign1, for others to consume; also away from the nodes, which
 * publish the same.
 */

enum {
	LIST_MAX = 16 << 20,
	WEEK_S = 604800,
	LIFE_MAX_S = 100 * 366 * 86400LL
};

struct list_options {
	const char *database, *domain, *key, *out;
	int64_t life_s;
};

static int
usage(void)
{
	(void)fputs("usage: tamctl revocation-list publish --database "
	            "CONNINFO --key FILE --out FILE\n"
	            "           [--domain NAME] [--life SECONDS]\n"
	            "       tamctl revocation-list show --key FILE LIST\n",
	    stderr);
	return CTL_USAGE;
}

/* --- publishing ----------------------------------------------------------------- */

/* Nothing when there is no such domain. */
static enum tam_err
read_list(struct sql *sql, const struct list_options *o, struct buf *payload)
{
	enum tam_err err =
	    sql_script(sql, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");

	if (err == TAM_OK)
		err = notice_make(sql, NOTICE_REVOCATIONS, o->domain,
		    (int64_t)time(NULL), o->life_s, payload);
	return err == TAM_OK ? sql_script(sql, "COMMIT") : err;
}

static bool
write_signed(const struct list_options *o, const struct cose_private *key,
    struct slice payload)
{
	struct cose_crypto *crypto = cose_crypto_new();
	struct cose_signer *signer = cose_signer_new(key);
	struct buf out;
	FILE *f;
	bool ok;

	buf_init(&out, LIST_MAX);
	cose_sign1(crypto, signer,
	    key->key.curve == COSE_P256 ? COSE_ALG_ESP256 : COSE_ALG_ED25519,
	    SLICE_OF(key->key.thumbprint), payload, &out);
	f = fopen(o->out, "we");
	ok = f != NULL && !out.full && fwrite(out.p, 1, out.n, f) == out.n;
	if (f != NULL)
		ok &= fclose(f) == 0;
	if (!ok)
		ctl_complain("%s: cannot be written", o->out);
	buf_fini(&out);
	cose_signer_free(signer);
	cose_crypto_free(crypto);
	return ok;
}

static int
publish(const struct list_options *o)
{
	struct sql *sql = sql_new(o->database, NULL, CTL_SQL_TIMEOUT_MS, -1);
	struct cose_private key;
	struct buf payload;
	int status = CTL_FAILED;
	enum tam_err err;

	buf_init(&payload, LIST_MAX);
	err = read_list(sql, o, &payload);
	if (err != TAM_OK)
		status = ctl_sql_failed(sql, err);
	else if (payload.n == 0)
		ctl_complain("no domain %s", o->domain);
	else if (ctl_read_private(o->key, &key)) {
		if (write_signed(o, &key, buf_slice(&payload)))
			status = CTL_OK;
		crypto_zero(&key, sizeof(key));
	}
	buf_fini(&payload);
	sql_free(sql);
	return status;
}

/* --- showing ------------------------------------------------------------------------ */

static int
show(const struct list_options *o, const char *file)
{
	struct arena *arena = arena_new_in(NULL);
	struct slice payload;
	struct buf text;
	int status = ctl_read_signed(file, LIST_MAX, o->key, arena, &payload);

	buf_init(&text, (size_t)8 * LIST_MAX);
	if (status == CTL_OK) {
		status = cbor_diag(payload, arena, &text) == TAM_OK
		    ? CTL_OK
		    : CTL_FAILED;
		(void)puts(buf_cstr(&text));
	} else if (status == CTL_FAILED) {
		ctl_complain("%s: not signed by this key", file);
	}
	buf_fini(&text);
	arena_free(arena);
	return status;
}

int
ctl_revocation_list(int argc, char **argv)
{
	static const struct option options[] = {{"database", required_argument,
	                                            NULL, 'd'},
	    {"domain", required_argument, NULL, 'n'},
	    {"key", required_argument, NULL, 'k'},
	    {"out", required_argument, NULL, 'o'},
	    {"life", required_argument, NULL, 'l'}, {NULL, 0, NULL, 0}};
	struct list_options o = {.database = getenv("TAMCTL_DATABASE"),
	    .domain = "default",
	    .life_s = WEEK_S};
	const char *verb = argc > 1 ? argv[1] : "";
	int c;

	optind = 2;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		const char **to = c == 'd' ? &o.database
		    : c == 'n'             ? &o.domain
		    : c == 'k'             ? &o.key
		    : c == 'o'             ? &o.out
		                           : NULL;

		if (c == 'l' && number_parse(optarg, 1, LIFE_MAX_S, &o.life_s))
			continue;
		if (to == NULL)
			return usage();
		else
			*to = optarg;
	}
	if (o.key == NULL)
		return usage();
	if (strcmp(verb, "publish") == 0 && o.database != NULL &&
	    o.out != NULL && optind == argc)
		return publish(&o);
	if (strcmp(verb, "show") == 0 && optind + 1 == argc)
		return show(&o, argv[optind]);
	return usage();
}
