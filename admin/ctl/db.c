#include "config.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/ctl/ctl_sql.h"
#include "storage/migrate.h"

/* tamctl db ...: with the database, not the API. */

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

int
ctl_sql_failed(const struct sql *sql, enum tam_err err)
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
