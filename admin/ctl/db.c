#include "config.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/ctl/ctl_sql.h"
#include "admin/ctl/output.h"
#include "admin/ctl/restore.h"
#include "storage/migrate.h"

/* tamctl db ...: with the database, not the API. */

struct db_options {
	const char *database, *dir;
	struct restore_head heads[RESTORE_HEADS_MAX];
	size_t n_heads, n_keys;
};

static int
db_usage(void)
{
	(void)fputs("usage: tamctl db status|plan|migrate|verify "
	            "--database CONNINFO [--migrations DIR]\n"
	            "       tamctl db accept-restore --database CONNINFO "
	            "[--head @FILE --key FILE]...\n",
	    stderr);
	return CTL_USAGE;
}

int
ctl_sql_failed(const struct sql *sql, enum tam_err err)
{
	ctl_complain("%s: %s", tam_err_text(err), sql_error(sql));
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

static int
run_command(const char *command, const struct db_options *o)
{
	struct sql *sql = sql_new(o->database, NULL, CTL_SQL_TIMEOUT_MS, -1);
	struct listing l = {.command = command};
	int status = CTL_OK;
	enum tam_err err;

	if (strcmp(command, "migrate") == 0)
		err = migrate_apply(sql, o->dir, on_migration, &l);
	else
		err = migrate_list(sql, o->dir, on_migration, &l);
	if (err != TAM_OK)
		status = ctl_sql_failed(sql, err);
	else if (l.wrong > 0 ||
	    (strcmp(command, "status") == 0 && l.pending > 0))
		status = CTL_FAILED;
	sql_free(sql);
	return status;
}

/* Heads and keys come in pairs, the first with the first. */
static bool
add_head(struct db_options *o, const char *text)
{
	if (o->n_heads == RESTORE_HEADS_MAX || text[0] != '@')
		return false;
	o->heads[o->n_heads++].file = text + 1;
	return true;
}

static bool
add_key(struct db_options *o, const char *text)
{
	if (o->n_keys == RESTORE_HEADS_MAX)
		return false;
	o->heads[o->n_keys++].key = text;
	return true;
}

static bool
read_options(int argc, char **argv, struct db_options *o)
{
	static const struct option options[] = {{"database", required_argument,
	                                            NULL, 'd'},
	    {"migrations", required_argument, NULL, 'm'},
	    {"head", required_argument, NULL, 'h'},
	    {"key", required_argument, NULL, 'k'}, {NULL, 0, NULL, 0}};
	bool ok = true;
	int c;

	optind = 2;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'd')
			o->database = optarg;
		else if (c == 'm')
			o->dir = optarg;
		else
			ok &= (c == 'h' && add_head(o, optarg)) ||
			    (c == 'k' && add_key(o, optarg));
	}
	return ok && optind >= argc && o->database != NULL;
}

int
ctl_db(int argc, char **argv)
{
	struct db_options o = {.database = getenv("TAMCTL_DATABASE"),
	    .dir = MIGRATIONS_DIR};
	const char *command = argc > 1 ? argv[1] : "";

	if (!read_options(argc, argv, &o) || o.n_heads != o.n_keys)
		return db_usage();
	if (strcmp(command, "accept-restore") == 0)
		return ctl_accept_restore(o.database, o.heads, o.n_heads);
	if (o.n_heads > 0 ||
	    (strcmp(command, "status") != 0 && strcmp(command, "plan") != 0 &&
	        strcmp(command, "migrate") != 0 &&
	        strcmp(command, "verify") != 0))
		return db_usage();
	return run_command(command, &o);
}
