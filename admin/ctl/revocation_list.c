#include "config.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admin/ctl/ctl_sql.h"
#include "lib/codec/cbor_diag.h"
#include "lib/codec/cbor_out.h"
#include "lib/codec/cose.h"
#include "lib/codec/crypto.h"
#include "storage/owner_statements.h"

/*
 * tamctl revocation-list: what a domain has revoked, for others to consume.
 * A tagged COSE_Sign1 whose payload is
 *
 *	{1: domain, 2: epoch, 3: seconds since 1970, 4: seconds when the next
 *	 one will be there, 5: [{1: id, 2: target, 3: label, 4: component id,
 *	 5: manifest digest, 6: first sequence, 7: last, 8: reason,
 *	 9: advisory, 10: suspended, 11: since, seconds, 12: its devices are
 *	 in quarantine}, ...]}
 *
 * with map keys in order; 4 to 7 of an entry only where they belong.
 */

enum {
	LIST_MAX = 16 << 20,
	WEEK_S = 604800
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

enum column {
	V_ID,
	V_TARGET,
	V_LABEL,
	V_COMPONENT,
	V_DIGEST,
	V_FIRST,
	V_LAST,
	V_REASON,
	V_ADVISORY,
	V_SUSPENDED,
	V_SINCE,
	V_QUARANTINE
};

static bool
is_there(const struct sql_result *rows, size_t r, enum column c)
{
	return sql_text(rows, r, (int)c) != NULL;
}

static void
write_entry(const struct sql_result *rows, size_t r, struct arena *arena,
    struct buf *b)
{
	size_t n = 8;

	for (int c = V_COMPONENT; c <= V_LAST; c++)
		n += is_there(rows, r, (enum column)c);
	cbor_out_map(b, n);
	for (int c = V_ID; c <= V_QUARANTINE; c++) {
		if (!is_there(rows, r, (enum column)c))
			continue;
		cbor_out_uint(b, (uint64_t)c + 1);
		switch ((enum column)c) {
		case V_COMPONENT:
		case V_DIGEST:
			cbor_out_bytes(b, sql_bytes(rows, r, c, arena));
			break;
		case V_TARGET:
		case V_LABEL:
		case V_REASON:
		case V_ADVISORY:
			cbor_out_text(b, slice_str(sql_text(rows, r, c)));
			break;
		case V_SUSPENDED:
		case V_QUARANTINE:
			cbor_out_bool(b, sql_int(rows, r, c) != 0);
			break;
		case V_ID:
		case V_FIRST:
		case V_LAST:
		case V_SINCE:
		default:
			cbor_out_uint(b, (uint64_t)sql_int(rows, r, c));
		}
	}
}

static void
write_list(const struct list_options *o, const struct sql_result *domain,
    const struct sql_result *rows, struct arena *arena, struct buf *b)
{
	uint64_t now = (uint64_t)time(NULL);

	cbor_out_map(b, 5);
	cbor_out_uint(b, 1);
	cbor_out_text(b, slice_str(o->domain));
	cbor_out_uint(b, 2);
	cbor_out_uint(b, (uint64_t)sql_int(domain, 0, 0));
	cbor_out_uint(b, 3);
	cbor_out_uint(b, now);
	cbor_out_uint(b, 4);
	cbor_out_uint(b, now + (uint64_t)o->life_s);
	cbor_out_uint(b, 5);
	cbor_out_array(b, sql_rows(rows));
	for (size_t r = 0; r < sql_rows(rows); r++)
		write_entry(rows, r, arena, b);
}

/* The domain's epoch and what is revoked belong together. */
static enum tam_err
read_list(struct sql *sql, const struct list_options *o, struct arena *arena,
    struct buf *payload, bool *found)
{
	struct sql_result *domain, *rows;
	enum tam_err err =
	    sql_script(sql, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");

	if (err == TAM_OK)
		err = SQL_EXEC(sql, &domain, SQL_LIST_DOMAIN, o->domain);
	if (err != TAM_OK)
		return err;
	*found = sql_rows(domain) == 1;
	err = SQL_EXEC(sql, &rows, SQL_LIST_REVOCATIONS, o->domain);
	if (err == TAM_OK) {
		if (*found)
			write_list(o, domain, rows, arena, payload);
		sql_result_free(rows);
	}
	sql_result_free(domain);
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
		(void)fprintf(stderr, "tamctl: %s: cannot be written\n",
		    o->out);
	buf_fini(&out);
	cose_signer_free(signer);
	cose_crypto_free(crypto);
	return ok;
}

static int
publish(const struct list_options *o)
{
	struct arena *arena = arena_new_in(NULL);
	struct sql *sql = sql_new(o->database, NULL, CTL_SQL_TIMEOUT_MS, -1);
	struct cose_private key;
	struct buf payload;
	bool found = false;
	int status = CTL_FAILED;
	enum tam_err err;

	buf_init(&payload, LIST_MAX);
	err = read_list(sql, o, arena, &payload, &found);
	if (err != TAM_OK)
		status = ctl_sql_failed(sql, err);
	else if (!found)
		(void)fprintf(stderr, "tamctl: no domain %s\n", o->domain);
	else if (ctl_read_private(o->key, &key)) {
		if (write_signed(o, &key, buf_slice(&payload)))
			status = CTL_OK;
		crypto_zero(&key, sizeof(key));
	}
	buf_fini(&payload);
	sql_free(sql);
	arena_free(arena);
	return status;
}

/* --- showing ------------------------------------------------------------------------ */

/* What it says, if this key signed it. */
static bool
verify(struct slice list, struct slice pem, struct arena *arena,
    struct slice *payload)
{
	struct cose_crypto *crypto = cose_crypto_new();
	struct cose_message m;
	struct cose_key key;
	bool ok = cose_key_from_pem(pem, &key) == TAM_OK &&
	    cose_decode(list, arena, &m) == TAM_OK && !m.multi &&
	    cose_verify(crypto, &m, 0, &key, slice_none()) == TAM_OK;

	if (ok)
		*payload = m.payload;
	cose_crypto_free(crypto);
	return ok;
}

static int
show(const struct list_options *o, const char *file)
{
	struct arena *arena = arena_new_in(NULL);
	struct slice payload = slice_none();
	struct buf list, pem, text;
	int status = CTL_FAILED;

	buf_init(&list, LIST_MAX);
	buf_init(&pem, 8192);
	buf_init(&text, (size_t)8 * LIST_MAX);
	if (!ctl_read_file(file, &list) || !ctl_read_file(o->key, &pem)) {
		status = CTL_USAGE;
	} else if (!verify(buf_slice(&list), buf_slice(&pem), arena,
	               &payload)) {
		(void)fprintf(stderr, "tamctl: %s: not signed by this key\n",
		    file);
	} else {
		status = cbor_diag(payload, arena, &text) == TAM_OK
		    ? CTL_OK
		    : CTL_FAILED;
		(void)puts(buf_cstr(&text));
	}
	buf_fini(&list);
	buf_fini(&pem);
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

		if (c == 'l')
			o.life_s = strtoll(optarg, NULL, 10);
		else if (to == NULL)
			return usage();
		else
			*to = optarg;
	}
	if (o.key == NULL || o.life_s <= 0)
		return usage();
	if (strcmp(verb, "publish") == 0 && o.database != NULL &&
	    o.out != NULL && optind == argc)
		return publish(&o);
	if (strcmp(verb, "show") == 0 && optind + 1 == argc)
		return show(&o, argv[optind]);
	return usage();
}
