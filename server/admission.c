#include "config.h"

#include "server/admission.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/hex.h"
#include "lib/base/log.h"
#include "storage/sql.h"
#include "storage/statements.h"

enum {
	KEEP_EVERY_S = 10
};

const char *
admission_text(enum admission_state state)
{
	switch (state) {
	case ADMISSION_OK:
		return NULL;
	case ADMISSION_RESTORED:
		return "database was restored";
	case ADMISSION_NO_MEMORY:
		return "no memory of earlier epochs, and no other node serves";
	case ADMISSION_UNKNOWN:
	default:
		return "database was not checked yet";
	}
}

static enum tam_err
settle(const struct admission *a, enum admission_state state)
{
	atomic_store(a->state, (int)state);
	return state == ADMISSION_OK ? TAM_OK : TAM_CONFLICT;
}

/* --- questions to the database -------------------------------------------------- */

static enum tam_err
ask(struct sql *sql, const char *statement, size_t n, const char *const *params,
    int64_t *answer)
{
	struct sql_result *rows;
	enum tam_err err = sql_exec(sql, statement, n, params, &rows);

	if (err != TAM_OK)
		return err;
	*answer = sql_rows(rows) > 0 ? sql_int(rows, 0, 0) : 0;
	sql_result_free(rows);
	return TAM_OK;
}

/* Whether the incarnation that is there came from another by accept-restore. */
static enum tam_err
follows(struct sql *sql, const struct served_epoch *has,
    const struct served_epoch *had, bool *yes)
{
	char domain[16], incarnation[24], before[24];
	const char *params[] = {domain, incarnation, before};
	int64_t answer = 0;
	enum tam_err err;

	(void)snprintf(domain, sizeof(domain), "%d", has->domain_id);
	(void)snprintf(incarnation, sizeof(incarnation), "%lld",
	    (long long)has->incarnation);
	(void)snprintf(before, sizeof(before), "%lld",
	    (long long)had->incarnation);
	err = ask(sql, SQL_INCARNATION_FOLLOWS, 3, params, &answer);
	*yes = err == TAM_OK && answer != 0;
	return err;
}

/* Whether the event that was the head of the chain is still in it: an epoch
 * can be raised past the one remembered, a hash cannot be made. */
static enum tam_err
has_head(struct sql *sql, const struct served_epoch *had, bool *yes)
{
	char domain[16], seq[24], hash[2 * EPOCH_HASH_SIZE + 1];
	const char *params[] = {domain, seq, hash};
	int64_t lost = 0;
	enum tam_err err;

	*yes = true;
	if (had->audit_seq == 0)
		return TAM_OK;
	(void)snprintf(domain, sizeof(domain), "%d", had->domain_id);
	(void)snprintf(seq, sizeof(seq), "%lld", (long long)had->audit_seq);
	hex_encode(SLICE_OF(had->audit_hash), hash);
	err = ask(sql, SQL_HEAD_LOST, 3, params, &lost);
	*yes = err == TAM_OK && lost == 0;
	return err;
}

/* --- a node with memory ----------------------------------------------------------- */

static void
log_lost(const struct served_epoch *had, const struct served_epoch *has)
{
	log_error("database_restored",
	    "domain_id=%d served_epoch=%lld epoch=%lld served_event=%lld "
	    "event=%lld hint=\"tamctl db accept-restore\"",
	    had->domain_id, (long long)had->epoch,
	    has == NULL ? 0 : (long long)has->epoch, (long long)had->audit_seq,
	    has == NULL ? 0 : (long long)has->audit_seq);
}

static enum tam_err
is_ahead(struct sql *sql, const struct epoch_list *now,
    const struct served_epoch *had, bool *yes)
{
	const struct served_epoch *has = epoch_list_find(now, had->domain_id);
	enum tam_err err = TAM_OK;

	*yes = false;
	if (has != NULL && has->incarnation != had->incarnation)
		err = follows(sql, has, had, yes);
	else if (has != NULL && has->epoch >= had->epoch)
		err = has_head(sql, had, yes);
	if (err == TAM_OK && !*yes)
		log_lost(had, has);
	return err;
}

static enum tam_err
compare(struct admission *a, struct sql *sql, const struct epoch_list *now,
    const struct epoch_list *memory)
{
	bool all = now->n > 0;
	enum tam_err err = TAM_OK;

	for (size_t i = 0; err == TAM_OK && i < memory->n; i++) {
		bool one = false;

		err = is_ahead(sql, now, &memory->of[i], &one);
		all &= one;
	}
	if (err != TAM_OK || all)
		return err == TAM_OK ? settle(a, ADMISSION_OK) : err;
	(void)settle(a, ADMISSION_RESTORED);
	err = epoch_file_write(a->state_dir, EPOCH_FILE_REFUSED, now);
	return err == TAM_OK ? TAM_CONFLICT : err;
}

/* Every domain that was there when the database was refused has a newer
 * incarnation. */
static enum tam_err
check_refusal(struct admission *a, struct sql *sql,
    const struct epoch_list *now, const struct epoch_list *refused)
{
	bool all = now->n > 0;
	enum tam_err err = TAM_OK;

	for (size_t i = 0; err == TAM_OK && i < refused->n; i++) {
		const struct served_epoch *was = &refused->of[i];
		const struct served_epoch *has =
		    epoch_list_find(now, was->domain_id);
		bool one = false;

		if (has != NULL)
			err = follows(sql, has, was, &one);
		all &= one;
	}
	if (err != TAM_OK)
		return err;
	return settle(a, all ? ADMISSION_OK : ADMISSION_RESTORED);
}

/* --- a node without ------------------------------------------------------------------ */

static enum tam_err
check_others(struct admission *a, struct sql *sql)
{
	struct sql_result *rows;
	enum tam_err err = SQL_EXEC(sql, &rows, SQL_ADMISSION, a->node_id);
	bool granted, renewed;
	int64_t lease_us;

	if (err != TAM_OK)
		return err;
	granted = sql_int(rows, 0, 0) != 0;
	lease_us = sql_int(rows, 0, 1);
	sql_result_free(rows);
	/* A lease out of a backup is never renewed. */
	renewed = a->others_lease_us > 0 && lease_us > a->others_lease_us;
	a->others_lease_us = lease_us;
	if (!granted && !renewed &&
	    atomic_load(a->state) != ADMISSION_NO_MEMORY)
		log_warn("no_memory",
		    "state_dir=%s hint=\"start beside a node that serves, or "
		    "tamctl db accept-restore\"",
		    a->state_dir);
	return settle(a,
	    granted || renewed ? ADMISSION_OK : ADMISSION_NO_MEMORY);
}

/* --- both ------------------------------------------------------------------------------- */

/* Nothing moved, and no chain of events became shorter. */
static bool
as_before(const struct admission *a, const struct epoch_list *now)
{
	if (atomic_load(a->state) != ADMISSION_OK || a->last.n == 0 ||
	    !epoch_list_same(now, &a->last))
		return false;
	for (size_t i = 0; i < now->n; i++) {
		if (now->of[i].audit_seq < a->last.of[i].audit_seq)
			return false;
	}
	return true;
}

static enum tam_err
check_files(struct admission *a, struct sql *sql, const struct epoch_list *now)
{
	struct epoch_list memory = {0}, refused = {0};
	enum tam_err err =
	    epoch_file_read(a->state_dir, EPOCH_FILE_SERVED, &memory);

	if (err == TAM_OK)
		err =
		    epoch_file_read(a->state_dir, EPOCH_FILE_REFUSED, &refused);
	if (err == TAM_OK && refused.n > 0)
		err = check_refusal(a, sql, now, &refused);
	else if (err == TAM_OK && a->last.n > 0)
		err = compare(a, sql, now, &a->last);
	else if (err == TAM_OK && memory.n > 0)
		err = compare(a, sql, now, &memory);
	else if (err == TAM_OK)
		err = check_others(a, sql);
	epoch_list_free(&memory);
	epoch_list_free(&refused);
	return err;
}

enum tam_err
admission_check(struct admission *a, struct sql *sql,
    const struct epoch_list *now)
{
	enum tam_err err = TAM_OK;

	if (!as_before(a, now))
		err = check_files(a, sql, now);
	if (err == TAM_OK && now->n > 0)
		epoch_list_copy(&a->last, now);
	return err;
}

enum tam_err
admission_remember(struct admission *a, const struct epoch_list *epochs)
{
	enum tam_err err =
	    epoch_file_write(a->state_dir, EPOCH_FILE_SERVED, epochs);

	if (err == TAM_OK)
		err = epoch_file_remove(a->state_dir, EPOCH_FILE_REFUSED);
	if (err == TAM_OK)
		a->kept_us = clock_mono_us();
	return err;
}

void
admission_refresh(struct admission *a, int64_t now_us)
{
	if (now_us - a->kept_us < KEEP_EVERY_S * CLOCK_SECOND)
		return;
	a->kept_us = now_us;
	if (epoch_file_write(a->state_dir, EPOCH_FILE_SERVED, &a->last) !=
	    TAM_OK)
		log_warn("state_dir", "dir=%s error=\"%s\"", a->state_dir,
		    strerror(errno));
}

void
admission_fini(struct admission *a)
{
	epoch_list_free(&a->last);
}

enum tam_err
admission_close(struct sql *sql)
{
	return sql_exec(sql, SQL_ADMISSION_CLOSE, 0, NULL, NULL);
}
