#include "config.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/ctl/ctl_sql.h"
#include "admin/ctl/output.h"
#include "lib/base/hex.h"
#include "lib/codec/cose.h"
#include "lib/codec/crypto.h"
#include "lib/codec/ecdh.h"
#include "lib/codec/pkcs11.h"
#include "storage/owner_statements.h"

/*
 * tamctl key add|use|retire: the TAM's own keys, where the key files are, or
 * the token that keeps them.  A key to sign with is added as the next one, published by the API, and used
 * when devices had time to learn it; the one before is kept until it is
 * retired.
 */

enum {
	PEM_MAX = 8192,
	AGREE_KEYS_MAX = 8, /* of a domain */
	SHORT_THUMBPRINT = 8
};

/* --- making one ------------------------------------------------------------------- */

struct made {
	struct buf pem;
	uint8_t thumbprint[32];
	uint8_t pub[64];
	size_t pub_n;
};

static bool
make_signing(const char *curve, struct made *m)
{
	struct cose_private priv;
	bool p256 = strcmp(curve, "p256") == 0;

	if (!p256 && strcmp(curve, "ed25519") != 0)
		return false;
	cose_private_generate(&priv, p256 ? COSE_P256 : COSE_ED25519);
	cose_private_to_pem(&priv, &m->pem);
	memcpy(m->thumbprint, priv.key.thumbprint, sizeof(m->thumbprint));
	m->pub_n = cose_key_pub(&priv.key).n;
	memcpy(m->pub, priv.key.pub, m->pub_n);
	cose_private_wipe(&priv);
	return true;
}

static bool
make_agreeing(const char *curve, struct made *m)
{
	struct ecdh_private priv;
	bool p256 = strcmp(curve, "p256") == 0;

	if (!p256 && strcmp(curve, "x25519") != 0)
		return false;
	ecdh_private_generate(&priv, p256 ? ECDH_P256 : ECDH_X25519);
	ecdh_private_to_pem(&priv, &m->pem);
	memcpy(m->thumbprint, priv.key.thumbprint, sizeof(m->thumbprint));
	m->pub_n = ecdh_key_pub(&priv.key).n;
	memcpy(m->pub, priv.key.pub, m->pub_n);
	ecdh_private_wipe(&priv);
	return true;
}

static enum tam_err
keep(const struct ctl_key *k, struct made *m)
{
	const char *uri = k->where;

	if (!pkcs11_is_uri(uri)) {
		if (!ctl_write_secret(k->where, buf_slice(&m->pem)))
			return TAM_BAD_FILE;
		uri = arena_printf(k->arena, "file:%s", k->where);
	}
	(void)fprintf(stderr, "TAM key to %s, %s %s\n", k->use, k->curve,
	    hex_dup(k->arena, SLICE_OF(m->thumbprint)));
	return SQL_EXEC(k->sql, NULL, SQL_BOOTSTRAP_KEY, k->domain_id,
	    sql_bytea(k->arena, SLICE_OF(m->thumbprint)), k->curve,
	    sql_bytea(k->arena, (struct slice){m->pub, m->pub_n}), uri, k->use);
}

/* A key that a token keeps was made there; it signs once, to show that it
 * can, and that its public half is its own. */
static enum tam_err
find_in_token(struct ctl_key *k, struct made *m)
{
	struct pkcs11 *p = pkcs11_new(k->module == NULL ? "" : k->module);
	uint8_t signature[COSE_SIGNATURE_SIZE];
	struct cose_key key;
	enum tam_err err = pkcs11_public(p, k->where, &key);

	if (err == TAM_OK)
		err = pkcs11_sign(p, k->where, &key,
		    SLICE_LIT("tamctl key add"), signature);
	if (err == TAM_OK) {
		k->curve = key.curve == COSE_P256 ? "p256" : "ed25519";
		memcpy(m->thumbprint, key.thumbprint, sizeof(m->thumbprint));
		m->pub_n = cose_key_pub(&key).n;
		memcpy(m->pub, key.pub, m->pub_n);
	} else {
		/* Not the URI: it may hold what has no place in it. */
		ctl_complain("key: %s", pkcs11_why(p));
		err = TAM_BAD_FILE;
	}
	pkcs11_free(p);
	return err;
}

enum tam_err
ctl_key_make(struct ctl_key *k)
{
	struct made m = {.pub_n = 0};
	bool agrees = strcmp(k->use, "agree") == 0;
	enum tam_err err = TAM_BAD_INPUT;

	buf_init(&m.pem, PEM_MAX);
	if (pkcs11_is_uri(k->where)) {
		err = find_in_token(k, &m);
		if (err == TAM_OK)
			err = keep(k, &m);
	} else if (agrees ? make_agreeing(k->curve, &m)
	                  : make_signing(k->curve, &m))
		err = keep(k, &m);
	if (m.pem.n > 0)
		crypto_zero(m.pem.p, m.pem.n);
	buf_fini(&m.pem);
	return err;
}

/* --- the commands ------------------------------------------------------------------- */

struct key_options {
	const char *database, *domain, *key_file, *use, *curve, *thumbprint;
	const char *module;
};

static int
usage(void)
{
	(void)fputs(
	    "usage: tamctl key add --database CONNINFO --key FILE|pkcs11:URI\n"
	    "           [--curve CURVE] [--use next|agree|verify] [--domain NAME]\n"
	    "           [--module FILE]\n"
	    "       tamctl key use|retire --database CONNINFO THUMBPRINT "
	    "[--domain NAME]\n",
	    stderr);
	return CTL_USAGE;
}

static enum tam_err
find_domain(struct sql *sql, struct arena *arena, const char *name,
    const char **id)
{
	struct sql_result *rows;
	enum tam_err err = SQL_EXEC(sql, &rows, SQL_KEY_DOMAIN, name);

	if (err != TAM_OK)
		return err;
	if (sql_rows(rows) == 0) {
		ctl_complain("no domain '%s'", name);
		err = TAM_NOT_FOUND;
	} else {
		*id = arena_strdup(arena, slice_str(sql_text(rows, 0, 0)));
	}
	sql_result_free(rows);
	return err;
}

static enum tam_err
change(struct sql *sql, const char *statement, const char *domain_id,
    const char *thumbprint)
{
	struct sql_result *rows;
	size_t n;
	enum tam_err err =
	    SQL_EXEC(sql, &rows, statement, domain_id, thumbprint);

	if (err != TAM_OK)
		return err;
	n = sql_changed(rows);
	sql_result_free(rows);
	if (n == 1)
		return TAM_OK;
	ctl_complain("%s: no such key, or the last that signs on its curve",
	    thumbprint);
	return TAM_NOT_FOUND;
}

/* Before anything is made. */
static enum tam_err
check_room(struct sql *sql, const char *domain_id, const char *use)
{
	struct sql_result *rows;
	int64_t n;
	enum tam_err err;

	if (strcmp(use, "agree") != 0)
		return TAM_OK;
	err = SQL_EXEC(sql, &rows, SQL_KEYS_TO_AGREE, domain_id);
	if (err != TAM_OK)
		return err;
	n = sql_int(rows, 0, 0);
	sql_result_free(rows);
	if (n < AGREE_KEYS_MAX)
		return TAM_OK;
	(void)fprintf(stderr,
	    "tamctl: a domain has at most %d keys to agree with; retire one "
	    "first\n",
	    AGREE_KEYS_MAX);
	return TAM_NOT_FOUND;
}

static enum tam_err
run(const char *verb, const struct key_options *o, struct sql *sql,
    struct arena *arena)
{
	const char *domain_id = NULL, *object = o->thumbprint;
	enum tam_err err = find_domain(sql, arena, o->domain, &domain_id);

	if (err != TAM_OK)
		return err;
	if (strcmp(verb, "add") == 0) {
		object = o->key_file;
		err = check_room(sql, domain_id, o->use);
		if (err == TAM_OK)
			err = ctl_key_make(
			    &(struct ctl_key){sql, arena, domain_id, o->use,
			        o->curve, o->key_file, o->module});
	} else {
		err = change(sql,
		    strcmp(verb, "use") == 0 ? SQL_KEY_USE : SQL_KEY_RETIRE,
		    domain_id, o->thumbprint);
	}
	/* Nodes read their keys anew. */
	if (err == TAM_OK)
		err = SQL_EXEC(sql, NULL, SQL_KEY_EPOCH, domain_id);
	if (err == TAM_OK)
		err = SQL_EXEC(sql, NULL, SQL_KEY_AUDIT, domain_id,
		    arena_printf(arena, "tam_key_%s", verb), object);
	return err;
}

static int
run_in_transaction(const char *verb, const struct key_options *o)
{
	struct arena *arena = arena_new_in(NULL);
	struct sql *sql = sql_new(o->database, NULL, CTL_SQL_TIMEOUT_MS, -1);
	enum tam_err err = sql_script(sql, "BEGIN");
	int status = CTL_OK;

	if (err == TAM_OK)
		err = run(verb, o, sql, arena);
	if (err == TAM_OK)
		err = sql_script(sql, "COMMIT");
	if (err == TAM_NOT_FOUND || err == TAM_BAD_FILE)
		status = CTL_FAILED;
	else if (err == TAM_BAD_INPUT)
		status = usage();
	else if (err != TAM_OK)
		status = ctl_sql_failed(sql, err);
	sql_free(sql);
	arena_free(arena);
	return status;
}

static bool
is_use(const char *use)
{
	return strcmp(use, "next") == 0 || strcmp(use, "agree") == 0 ||
	    strcmp(use, "verify") == 0;
}

int
ctl_key(int argc, char **argv)
{
	static const struct option options[] = {{"database", required_argument,
	                                            NULL, 'd'},
	    {"domain", required_argument, NULL, 'n'},
	    {"key", required_argument, NULL, 'k'},
	    {"use", required_argument, NULL, 'u'},
	    {"curve", required_argument, NULL, 'c'},
	    {"module", required_argument, NULL, 'm'}, {NULL, 0, NULL, 0}};
	struct key_options o = {.database = getenv("TAMCTL_DATABASE"),
	    .domain = "default",
	    .use = "next",
	    .curve = "p256"};
	const char *verb = argc > 1 ? argv[1] : "";
	int c;

	optind = 2;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		const char **to = c == 'd' ? &o.database
		    : c == 'n'             ? &o.domain
		    : c == 'k'             ? &o.key_file
		    : c == 'u'             ? &o.use
		    : c == 'c'             ? &o.curve
		    : c == 'm'             ? &o.module
		                           : NULL;

		if (to == NULL)
			return usage();
		*to = optarg;
	}
	if (optind < argc)
		o.thumbprint = argv[optind];
	if (o.database == NULL || !is_use(o.use))
		return usage();
	if (o.key_file != NULL && pkcs11_is_uri(o.key_file) &&
	    strcmp(o.use, "next") != 0) {
		ctl_complain("a key in a token can only sign messages; "
		             "keys to agree or verify with are files");
		return CTL_USAGE;
	}
	if (strcmp(verb, "add") == 0 ? o.key_file == NULL
	                             : o.thumbprint == NULL ||
	            (strcmp(verb, "use") != 0 && strcmp(verb, "retire") != 0))
		return usage();
	return run_in_transaction(verb, &o);
}
