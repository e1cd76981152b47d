#include "config.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/ctl/ctl.h"
#include "lib/base/hex.h"
#include "lib/base/mem.h"
#include "lib/codec/cose.h"
#include "lib/codec/crypto.h"
#include "lib/codec/ecdh.h"
#include "storage/admin_statements.h"
#include "storage/migrate.h"
#include "storage/sql.h"

/* tamctl db ... and tamctl bootstrap: with the database, not the API. */

enum {
	TIMEOUT_MS = 600000 /* a migration may rewrite a table */
};

struct db_options {
	const char *database, *dir, *state_dir;
};

static int
db_usage(void)
{
	(void)fputs("usage: tamctl db status|plan|migrate|verify "
	            "--database CONNINFO [--migrations DIR]\n"
	            "       tamctl db accept-restore --state-dir DIR\n",
	    stderr);
	return CTL_USAGE;
}

static int
failed(const struct sql *sql, enum tam_err err)
{
	(void)fprintf(stderr, "tamctl: %s: %s\n", tam_err_text(err),
	    sql_error(sql));
	return err == TAM_DATABASE_ERROR || err == TAM_CONFLICT
	    ? CTL_FAILED
	    : CTL_UNREACHABLE;
}

struct listing {
	const char *command;
	size_t pending, wrong;
};

static void
on_migration(int version, const char *name, enum migrate_state state, void *arg)
{
	static const char *const states[] = {"applied", "pending", "CHANGED",
	    "MISSING"};
	struct listing *l = arg;

	l->pending += state == MIGRATE_PENDING;
	l->wrong += state == MIGRATE_CHANGED || state == MIGRATE_MISSING;
	if (strcmp(l->command, "plan") == 0 && state != MIGRATE_PENDING)
		return;
	(void)printf("%04d %s %s\n", version,
	    strcmp(l->command, "migrate") == 0 ? "done" : states[state], name);
}

/* A database that was restored from a backup is behind what this node has
 * served; only a person may say that this is wanted. */
static int
accept_restore(const struct db_options *o)
{
	char path[600];

	if (o->state_dir == NULL)
		return db_usage();
	(void)snprintf(path, sizeof(path), "%s/epochs", o->state_dir);
	if (unlink(path) == 0) {
		(void)puts("accepted: what was revoked since the backup must "
		           "be revoked again");
		return CTL_OK;
	}
	(void)fprintf(stderr, "tamctl: %s: nothing to accept\n", path);
	return CTL_FAILED;
}

static int
run_command(const char *command, const struct db_options *o)
{
	struct sql *sql = sql_new(o->database, NULL, TIMEOUT_MS, -1);
	struct listing l = {.command = command};
	int status = CTL_OK;
	enum tam_err err;

	if (strcmp(command, "migrate") == 0)
		err = migrate_apply(sql, o->dir, on_migration, &l);
	else
		err = migrate_list(sql, o->dir, on_migration, &l);
	if (err != TAM_OK)
		status = failed(sql, err);
	else if (l.wrong > 0 ||
	    (strcmp(command, "status") == 0 && l.pending > 0))
		status = CTL_FAILED;
	sql_free(sql);
	return status;
}

int
ctl_db(int argc, char **argv)
{
	static const struct option options[] = {{"database", required_argument,
	                                            NULL, 'd'},
	    {"migrations", required_argument, NULL, 'm'},
	    {"state-dir", required_argument, NULL, 's'}, {NULL, 0, NULL, 0}};
	struct db_options o = {getenv("TAMCTL_DATABASE"), MIGRATIONS_DIR, NULL};
	const char *command = argc > 1 ? argv[1] : "";
	int c;

	optind = 2;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'd')
			o.database = optarg;
		else if (c == 'm')
			o.dir = optarg;
		else if (c == 's')
			o.state_dir = optarg;
		else
			return db_usage();
	}
	if (strcmp(command, "accept-restore") == 0)
		return accept_restore(&o);
	if (o.database == NULL ||
	    (strcmp(command, "status") != 0 && strcmp(command, "plan") != 0 &&
	        strcmp(command, "migrate") != 0 &&
	        strcmp(command, "verify") != 0))
		return db_usage();
	return run_command(command, &o);
}

/* --- bootstrap --------------------------------------------------------------------- */

struct bootstrap {
	struct sql *sql;
	struct arena *arena;
	const char *key_dir, *master_key, *domain;
	const char *domain_id;
};

static int
bootstrap_usage(void)
{
	(void)fputs("usage: tamctl bootstrap --database CONNINFO --key-dir DIR "
	            "[--master-key FILE] [--domain NAME]\n",
	    stderr);
	return CTL_USAGE;
}

static bool
make_domain(struct bootstrap *b, enum tam_err *err)
{
	struct sql_result *rows;
	uint64_t incarnation;

	crypto_random(&incarnation, sizeof(incarnation));
	*err = SQL_EXEC(b->sql, &rows, SQL_BOOTSTRAP_DOMAIN, b->domain,
	    arena_printf(b->arena, "%lld", (long long)(incarnation >> 1)));
	if (*err != TAM_OK)
		return false;
	if (sql_rows(rows) == 0) {
		sql_result_free(rows);
		(void)fprintf(stderr, "tamctl: domain '%s' exists already\n",
		    b->domain);
		*err = TAM_CONFLICT;
		return false;
	}
	b->domain_id = arena_strdup(b->arena, slice_str(sql_text(rows, 0, 0)));
	sql_result_free(rows);
	*err = SQL_EXEC(b->sql, NULL, SQL_BOOTSTRAP_PROFILES, b->domain_id);
	if (*err == TAM_OK)
		*err =
		    SQL_EXEC(b->sql, NULL, SQL_BOOTSTRAP_PEERS, b->domain_id);
	return *err == TAM_OK;
}

static bool
make_key(struct bootstrap *b, enum cose_curve curve, const char *use,
    enum tam_err *err)
{
	const char *name = curve == COSE_P256 ? "p256" : "ed25519";
	const char *path = strcmp(use, "sign") == 0
	    ? arena_printf(b->arena, "%s/%s-%s.pem", b->key_dir, b->domain,
	          name)
	    : arena_printf(b->arena, "%s/%s-%s.pem", b->key_dir, b->domain,
	          use);
	struct cose_private priv;
	struct buf pem;
	bool ok;

	buf_init(&pem, 8192);
	cose_private_generate(&priv, curve);
	cose_private_to_pem(&priv, &pem);
	ok = ctl_write_secret(path, buf_slice(&pem));
	crypto_zero(pem.p, pem.n);
	buf_fini(&pem);
	*err = TAM_BAD_FILE;
	if (ok)
		*err = SQL_EXEC(b->sql, NULL, SQL_BOOTSTRAP_KEY, b->domain_id,
		    sql_bytea(b->arena, SLICE_OF(priv.key.thumbprint)), name,
		    sql_bytea(b->arena, cose_key_pub(&priv.key)),
		    arena_printf(b->arena, "file:%s", path), use);
	if (*err == TAM_OK)
		(void)fprintf(stderr, "TAM key to %s, %s %s\n", use, name,
		    hex_dup(b->arena, SLICE_OF(priv.key.thumbprint)));
	cose_private_wipe(&priv);
	return *err == TAM_OK;
}

/* What devices encrypt to; never the key that signs. */
static bool
make_agreement_key(struct bootstrap *b, enum ecdh_curve curve,
    enum tam_err *err)
{
	const char *name = curve == ECDH_P256 ? "p256" : "x25519";
	const char *path = arena_printf(b->arena, "%s/%s-agree-%s.pem",
	    b->key_dir, b->domain, name);
	struct ecdh_private priv;
	struct buf pem;
	bool ok;

	buf_init(&pem, 8192);
	ecdh_private_generate(&priv, curve);
	ecdh_private_to_pem(&priv, &pem);
	ok = ctl_write_secret(path, buf_slice(&pem));
	crypto_zero(pem.p, pem.n);
	buf_fini(&pem);
	*err = TAM_BAD_FILE;
	if (ok)
		*err = SQL_EXEC(b->sql, NULL, SQL_BOOTSTRAP_KEY, b->domain_id,
		    sql_bytea(b->arena, SLICE_OF(priv.key.thumbprint)), name,
		    sql_bytea(b->arena, ecdh_key_pub(&priv.key)),
		    arena_printf(b->arena, "file:%s", path), "agree");
	ecdh_private_wipe(&priv);
	return *err == TAM_OK;
}

/* The token is shown once, here; the database has its hash. */
static bool
make_administrator(struct bootstrap *b, char token[69], enum tam_err *err)
{
	uint8_t secret[32], hash[SHA256_SIZE];

	crypto_random(secret, sizeof(secret));
	(void)snprintf(token, 69, "tam_");
	hex_encode(SLICE_OF(secret), token + 4);
	crypto_sha256(slice_str(token), hash);
	*err = SQL_EXEC(b->sql, NULL, SQL_BOOTSTRAP_PRINCIPAL, b->domain_id,
	    "admin", sql_bytea(b->arena, SLICE_OF(hash)));
	return *err == TAM_OK;
}

static bool
make_master_key(const char *path)
{
	uint8_t key[32];
	char text[66];

	if (path == NULL || access(path, F_OK) == 0)
		return true;
	crypto_random(key, sizeof(key));
	hex_encode(SLICE_OF(key), text);
	text[64] = '\n';
	return ctl_write_secret(path, (struct slice){(uint8_t *)text, 65});
}

static int
bootstrap(struct bootstrap *b)
{
	char token[69] = "";
	enum tam_err err = TAM_BAD_FILE;

	if (!make_master_key(b->master_key))
		return CTL_FAILED;
	err = sql_script(b->sql, "BEGIN");
	if (err == TAM_OK && make_domain(b, &err) &&
	    make_key(b, COSE_P256, "sign", &err) &&
	    make_key(b, COSE_ED25519, "sign", &err) &&
	    make_key(b, COSE_P256, "verify", &err) &&
	    make_agreement_key(b, ECDH_P256, &err) &&
	    make_agreement_key(b, ECDH_X25519, &err) &&
	    make_administrator(b, token, &err))
		err = sql_script(b->sql, "COMMIT");
	if (err == TAM_OK) {
		(void)puts(token);
		return CTL_OK;
	}
	return failed(b->sql, err);
}

int
ctl_bootstrap(int argc, char **argv)
{
	static const struct option options[] = {{"database", required_argument,
	                                            NULL, 'd'},
	    {"key-dir", required_argument, NULL, 'k'},
	    {"master-key", required_argument, NULL, 'm'},
	    {"domain", required_argument, NULL, 'n'}, {NULL, 0, NULL, 0}};
	struct bootstrap b = {.domain = "default"};
	const char *database = getenv("TAMCTL_DATABASE");
	int c, status;

	optind = 1;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'd')
			database = optarg;
		else if (c == 'k')
			b.key_dir = optarg;
		else if (c == 'm')
			b.master_key = optarg;
		else if (c == 'n')
			b.domain = optarg;
		else
			return bootstrap_usage();
	}
	if (database == NULL || b.key_dir == NULL)
		return bootstrap_usage();
	b.arena = arena_new_in(NULL);
	b.sql = sql_new(database, NULL, TIMEOUT_MS, -1);
	status = bootstrap(&b);
	sql_free(b.sql);
	arena_free(b.arena);
	return status;
}
