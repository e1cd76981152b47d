#include "config.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/ctl/ctl_sql.h"
#include "admin/ctl/output.h"
#include "storage/owner_statements.h"

/* tamctl suspend|resume: a whole domain, by who runs the service. */

struct suspend_options {
	const char *database, *domain, *reason;
};

static int
usage(void)
{
	(void)fputs("usage: tamctl suspend --database CONNINFO --domain NAME "
	            "--reason TEXT\n"
	            "       tamctl resume --database CONNINFO --domain NAME "
	            "--reason TEXT\n",
	    stderr);
	return CTL_USAGE;
}

/* One transaction: what nodes serve, and the record. */
static enum tam_err
run_in_transaction(struct sql *sql, const char *verb,
    const struct suspend_options *o, bool *found)
{
	struct sql_result *rows;
	enum tam_err err = sql_script(sql, "BEGIN");

	if (err == TAM_OK)
		err = SQL_EXEC(sql, &rows, SQL_DOMAIN_SUSPEND, o->domain,
		    strcmp(verb, "suspend") == 0 ? o->reason : NULL, verb,
		    o->reason);
	if (err != TAM_OK)
		return err;
	*found = sql_rows(rows) == 1;
	sql_result_free(rows);
	return sql_script(sql, "COMMIT");
}

int
ctl_suspend(int argc, char **argv)
{
	static const struct option options[] = {{"database", required_argument,
	                                            NULL, 'd'},
	    {"domain", required_argument, NULL, 'n'},
	    {"reason", required_argument, NULL, 'r'}, {NULL, 0, NULL, 0}};
	struct suspend_options o = {getenv("TAMCTL_DATABASE"), NULL, NULL};
	struct sql *sql;
	bool found = false;
	enum tam_err err;
	int c, status = CTL_OK;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		const char **to = c == 'd' ? &o.database
		    : c == 'n'             ? &o.domain
		    : c == 'r'             ? &o.reason
		                           : NULL;

		if (to == NULL)
			return usage();
		*to = optarg;
	}
	if (o.database == NULL || o.domain == NULL || o.reason == NULL ||
	    o.reason[0] == '\0' || optind < argc)
		return usage();
	sql = sql_new(o.database, NULL, CTL_SQL_TIMEOUT_MS, -1);
	err = run_in_transaction(sql, argv[0], &o, &found);
	if (err != TAM_OK)
		status = ctl_sql_failed(sql, err);
	else if (!found)
		status = CTL_FAILED;
	if (err == TAM_OK && !found)
		ctl_complain("no domain %s", o.domain);
	sql_free(sql);
	return status;
}
