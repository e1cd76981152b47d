#include "config.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/ctl/ctl_sql.h"
#include "admin/ctl/output.h"
#include "lib/base/hex.h"
#include "lib/codec/crypto.h"
#include "storage/owner_statements.h"

/* tamctl bootstrap: a domain, its wire profiles and keys, an administrator. */

struct bootstrap {
	struct sql *sql;
	struct arena *arena;
	const char *key_dir, *master_key, *domain, *token_file;
	const char *domain_id;
};

static int
bootstrap_usage(void)
{
	(void)fputs("usage: tamctl bootstrap --database CONNINFO --key-dir DIR "
	            "[--master-key FILE] [--domain NAME]\n"
	            "           [--token-file FILE]\n",
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
		ctl_complain("domain '%s' exists already", b->domain);
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

/* The token is shown once, here; the database has its hash. */
static bool
make_administrator(struct bootstrap *b, char token[70], enum tam_err *err)
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

static bool
make_keys(struct bootstrap *b, enum tam_err *err)
{
	static const struct {
		const char *use, *curve, *name;
	} keys[] = {{"sign", "p256", "p256"}, {"sign", "ed25519", "ed25519"},
	    {"verify", "p256", "verify"}, {"agree", "p256", "agree-p256"},
	    {"agree", "x25519", "agree-x25519"}};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const char *path = arena_printf(b->arena, "%s/%s-%s.pem",
		    b->key_dir, b->domain, keys[i].name);

		*err = ctl_key_make(&(struct ctl_key){b->sql, b->arena,
		    b->domain_id, keys[i].use, keys[i].curve, path, NULL});
		if (*err != TAM_OK)
			return false;
	}
	return true;
}

/* Before the commit: a token that nobody got opens nothing. */
static int
give_token(const struct bootstrap *b, char token[70])
{
	size_t n = strlen(token);

	token[n++] = '\n';
	if (b->token_file != NULL)
		return ctl_write_secret(b->token_file,
		           (struct slice){(const uint8_t *)token, n})
		    ? CTL_OK
		    : CTL_OUTPUT;
	(void)fwrite(token, 1, n, stdout);
	return output_finish(CTL_OK);
}

static int
bootstrap(struct bootstrap *b)
{
	char token[70] = "";
	enum tam_err err = TAM_BAD_FILE;
	int status = CTL_OK;

	if (!make_master_key(b->master_key))
		return CTL_FAILED;
	err = sql_script(b->sql, "BEGIN");
	if (err == TAM_OK && make_domain(b, &err) && make_keys(b, &err) &&
	    make_administrator(b, token, &err))
		status = give_token(b, token);
	if (err == TAM_OK && status == CTL_OK)
		err = sql_script(b->sql, "COMMIT");
	crypto_zero(token, sizeof(token));
	return err == TAM_OK ? status : ctl_sql_failed(b->sql, err);
}

int
ctl_bootstrap(int argc, char **argv)
{
	static const struct option options[] = {{"database", required_argument,
	                                            NULL, 'd'},
	    {"key-dir", required_argument, NULL, 'k'},
	    {"master-key", required_argument, NULL, 'm'},
	    {"domain", required_argument, NULL, 'n'},
	    {"token-file", required_argument, NULL, 't'}, {NULL, 0, NULL, 0}};
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
		else if (c == 't')
			b.token_file = optarg;
		else
			return bootstrap_usage();
	}
	if (database == NULL || b.key_dir == NULL)
		return bootstrap_usage();
	b.arena = arena_new_in(NULL);
	b.sql = sql_new(database, NULL, CTL_SQL_TIMEOUT_MS, -1);
	status = bootstrap(&b);
	sql_free(b.sql);
	arena_free(b.arena);
	return status;
}
