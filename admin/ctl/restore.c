#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/ctl/output.h"
#include "admin/ctl/restore.h"
#include "admin/notices.h"
#include "lib/base/arena.h"
#include "lib/base/hex.h"
#include "storage/owner_statements.h"

enum {
	HEAD_FILE_MAX = 8192,
	DOMAIN_MAX = 65,
	HASH_HEX = 64
};

/* A head as SQL parameters. */
struct head {
	char domain[DOMAIN_MAX], seq[24], hash[HASH_HEX + 1];
	uint64_t number;
};

static int
read_head(const struct restore_head *from, struct head *out)
{
	struct arena *arena = arena_new_in(NULL);
	struct notice_head head;
	struct slice payload;
	int status = ctl_read_signed(from->file, HEAD_FILE_MAX, from->key,
	    arena, &payload);
	bool ok = status == CTL_OK && notice_read_head(payload, arena, &head) &&
	    head.domain.n < sizeof(out->domain);

	if (ok) {
		(void)snprintf(out->domain, sizeof(out->domain), "%.*s",
		    (int)head.domain.n, (const char *)head.domain.p);
		(void)snprintf(out->seq, sizeof(out->seq), "%llu",
		    (unsigned long long)head.seq);
		hex_encode(head.hash, out->hash);
		out->number = head.seq;
	} else if (status != CTL_USAGE) {
		ctl_complain("%s: not a head of a chain of events that this "
		             "key signed",
		    from->file);
	}
	arena_free(arena);
	return ok ? CTL_OK : status == CTL_USAGE ? CTL_USAGE : CTL_FAILED;
}

/* Says what the database does not have of what was published. */
static void
print_lost(const struct sql_result *rows, const struct head *h)
{
	uint64_t has = (uint64_t)sql_int(rows, 0, 0);
	const char *same = sql_text(rows, 0, 1);

	if (has < h->number)
		(void)printf("%s: events %llu to %s are lost\n", h->domain,
		    (unsigned long long)has + 1, h->seq);
	else if (same != NULL && same[0] == '1')
		(void)printf("%s: nothing is lost up to event %s\n", h->domain,
		    h->seq);
	else
		(void)printf("%s: event %s is not the one that was published: "
		             "some events before it are lost\n",
		    h->domain, h->seq);
}

static int
compare(struct sql *sql, const struct restore_head *from)
{
	struct sql_result *rows;
	struct head h;
	enum tam_err err;
	int status = read_head(from, &h);

	if (status != CTL_OK)
		return status;
	err = SQL_EXEC(sql, &rows, SQL_RESTORE_LOST, h.domain, h.seq, h.hash);
	if (err != TAM_OK)
		return ctl_sql_failed(sql, err);
	if (sql_rows(rows) == 1)
		print_lost(rows, &h);
	else
		(void)printf("%s: the domain is lost\n", h.domain);
	sql_result_free(rows);
	return CTL_OK;
}

static int
accept_all(struct sql *sql)
{
	struct sql_result *rows;
	enum tam_err err = sql_exec(sql, SQL_RESTORE_ACCEPT, 0, NULL, &rows);

	if (err != TAM_OK)
		return ctl_sql_failed(sql, err);
	for (size_t r = 0; r < sql_rows(rows); r++)
		(void)printf("%s: accepted at epoch %s, event %s\n",
		    sql_text(rows, r, 0), sql_text(rows, r, 1),
		    sql_text(rows, r, 2));
	sql_result_free(rows);
	(void)puts("what was revoked or changed after the backup must be "
	           "done again");
	return CTL_OK;
}

int
ctl_accept_restore(const char *database, const struct restore_head *heads,
    size_t n)
{
	struct sql *sql = sql_new(database, NULL, CTL_SQL_TIMEOUT_MS, -1);
	int status = CTL_OK;

	for (size_t i = 0; status == CTL_OK && i < n; i++)
		status = compare(sql, &heads[i]);
	if (status == CTL_OK)
		status = accept_all(sql);
	sql_free(sql);
	return status;
}
