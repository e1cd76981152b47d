#include "config.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/ctl/ctl_sql.h"
#include "admin/ctl/output.h"
#include "admin/notices.h"
#include "lib/base/hex.h"
#include "storage/owner_statements.h"

/*
 * tamctl audit verify: whether what people and controllers did, and what
 * happened to devices, is still all there, as it was written down; audit
 * retain: for how many months.
 */

enum {
	HEAD_FILE_MAX = 8192
};

struct audit_options {
	const char *database, *domain;
	const char *seq, *hash;      /* a head kept elsewhere */
	const char *head_file, *key; /* such a head, signed, and by whom */
	char text[160];              /* of that head */
	const char *months;          /* to keep; NULL: as it is */
};

static int
audit_usage(void)
{
	(void)fputs("usage: tamctl audit verify --database CONNINFO "
	            "[--domain NAME] [--head SEQ:HASH]\n"
	            "       tamctl audit verify --database CONNINFO --head "
	            "@FILE --key FILE\n"
	            "       tamctl audit retain --database CONNINFO "
	            "[--months NUMBER|all]\n",
	    stderr);
	return CTL_USAGE;
}

/* "SEQ:HASH" in two; the text is the caller's. */
static bool
split_head(char *text, struct audit_options *o)
{
	char *colon = strchr(text, ':');

	if (colon == NULL || colon == text ||
	    strspn(text, "0123456789") != (size_t)(colon - text) ||
	    strlen(colon + 1) != 64 ||
	    strspn(colon + 1, "0123456789abcdef") != 64)
		return false;
	*colon = '\0';
	o->seq = text;
	o->hash = colon + 1;
	return true;
}

/* Takes the head and its domain into the options. */
static void
take_head(struct audit_options *o, const struct notice_head *head)
{
	int n = snprintf(o->text, sizeof(o->text), "%.*s", (int)head->domain.n,
	    (const char *)head->domain.p);

	o->domain = o->text;
	o->seq = o->text + n + 1;
	n += 1 +
	    snprintf(o->text + n + 1, 24, "%llu",
	        (unsigned long long)head->seq);
	hex_encode(head->hash, o->text + n + 1);
	o->hash = o->text + n + 1;
}

/* Reads a signed head that a node published (admin/notices.h). */
static bool
read_signed_head(struct audit_options *o)
{
	struct arena *arena = arena_new_in(NULL);
	struct notice_head head;
	struct slice payload;
	int status = ctl_read_signed(o->head_file, HEAD_FILE_MAX, o->key, arena,
	    &payload);
	bool ok = status == CTL_OK && notice_read_head(payload, arena, &head) &&
	    head.domain.n < 65;

	if (ok)
		take_head(o, &head);
	else if (status != CTL_USAGE)
		ctl_complain("%s: not a head of a chain of events that this "
		             "key signed",
		    o->head_file);
	arena_free(arena);
	return ok;
}

static size_t
print_problems(const struct sql_result *rows, const char *domain)
{
	for (size_t r = 0; r < sql_rows(rows); r++)
		ctl_complain("%s: event %s: %s", domain, sql_text(rows, r, 0),
		    sql_text(rows, r, 1));
	return sql_rows(rows);
}

/* One domain; how many problems it has. */
static enum tam_err
verify_domain(struct sql *sql, const struct audit_options *o, const char *id,
    const char *name, size_t *problems)
{
	struct sql_result *rows;
	enum tam_err err =
	    SQL_EXEC(sql, &rows, SQL_AUDIT_VERIFY, id, o->seq, o->hash);

	if (err != TAM_OK)
		return err;
	*problems += print_problems(rows, name);
	sql_result_free(rows);
	return TAM_OK;
}

static int
verify(const struct audit_options *o)
{
	struct sql *sql = sql_new(o->database, NULL, CTL_SQL_TIMEOUT_MS, -1);
	struct sql_result *heads;
	size_t problems = 0, n = 0;
	enum tam_err err = SQL_EXEC(sql, &heads, SQL_AUDIT_HEADS, o->domain);
	int status;

	if (err == TAM_OK) {
		n = sql_rows(heads);
		for (size_t r = 0; err == TAM_OK && r < n; r++) {
			(void)printf("%s %s:%s\n", sql_text(heads, r, 1),
			    sql_text(heads, r, 2), sql_text(heads, r, 3));
			err = verify_domain(sql, o, sql_text(heads, r, 0),
			    sql_text(heads, r, 1), &problems);
		}
		sql_result_free(heads);
	}
	if (err == TAM_OK && n == 0)
		ctl_complain("no domain %s", o->domain);
	status = err != TAM_OK       ? ctl_sql_failed(sql, err)
	    : n > 0 && problems == 0 ? CTL_OK
	                             : CTL_FAILED;
	sql_free(sql);
	return status;
}

/* --- months ------------------------------------------------------------------------ */

static bool
is_months(const char *s)
{
	size_t n = strlen(s);

	return strcmp(s, "all") == 0 ||
	    (n > 0 && n < 5 && strspn(s, "0123456789") == n && s[0] != '0');
}

static int
retain(const struct audit_options *o)
{
	struct sql *sql = sql_new(o->database, NULL, CTL_SQL_TIMEOUT_MS, -1);
	struct sql_result *rows;
	enum tam_err err = TAM_OK;
	int status = CTL_OK;

	if (o->months != NULL)
		err = SQL_EXEC(sql, NULL, SQL_AUDIT_RETAIN, o->months);
	if (err == TAM_OK)
		err = sql_exec(sql, SQL_AUDIT_RETENTION, 0, NULL, &rows);
	if (err == TAM_OK) {
		(void)printf("%s months are kept\n", sql_text(rows, 0, 0));
		sql_result_free(rows);
	} else {
		status = ctl_sql_failed(sql, err);
	}
	sql_free(sql);
	return status;
}

static bool
is_empty(const char *s)
{
	return s == NULL || s[0] == '\0';
}

static bool
is_verify(const struct audit_options *o, const char *verb)
{
	/* A head belongs to one domain. */
	return strcmp(verb, "verify") == 0 && o->months == NULL &&
	    (is_empty(o->hash) || !is_empty(o->domain));
}

static bool
is_retain(const struct audit_options *o, const char *verb)
{
	return strcmp(verb, "retain") == 0 && is_empty(o->hash) &&
	    is_empty(o->domain) && (o->months == NULL || is_months(o->months));
}

int
ctl_audit(int argc, char **argv)
{
	static const struct option options[] = {{"database", required_argument,
	                                            NULL, 'd'},
	    {"domain", required_argument, NULL, 'n'},
	    {"head", required_argument, NULL, 'h'},
	    {"key", required_argument, NULL, 'k'},
	    {"months", required_argument, NULL, 'm'}, {NULL, 0, NULL, 0}};
	struct audit_options o = {.database = getenv("TAMCTL_DATABASE"),
	    .domain = "",
	    .seq = "0",
	    .hash = ""};
	const char *verb = argc > 1 ? argv[1] : "";
	int c;

	optind = 2;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'd')
			o.database = optarg;
		else if (c == 'n')
			o.domain = optarg;
		else if (c == 'm')
			o.months = optarg;
		else if (c == 'k')
			o.key = optarg;
		else if (c == 'h' && optarg[0] == '@')
			o.head_file = optarg + 1;
		else if (c != 'h' || !split_head(optarg, &o))
			return audit_usage();
	}
	if (argc < 2 || optind < argc || o.database == NULL ||
	    (o.head_file == NULL) != (o.key == NULL))
		return audit_usage();
	if (o.head_file != NULL && !read_signed_head(&o))
		return CTL_FAILED;
	if (is_verify(&o, verb))
		return verify(&o);
	return is_retain(&o, verb) ? retain(&o) : audit_usage();
}
