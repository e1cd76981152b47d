#include "config.h"

#include "admin/notices.h"

#include "lib/codec/cbor_in.h"
#include "lib/codec/cbor_out.h"
#include "storage/notice_statements.h"
#include "storage/sql.h"

enum {
	NAME_MAX_BYTES = 256,
	HASH_SIZE = 32
};

const char *const notice_names[NOTICES] = {"revocations", "audit-head"};

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

/* --- what is revoked ---------------------------------------------------------------- */

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

static enum tam_err
add_revocations(struct sql *sql, const char *domain, struct buf *out)
{
	struct arena *arena = arena_new_in(NULL);
	struct sql_result *rows;
	enum tam_err err = SQL_EXEC(sql, &rows, SQL_NOTICE_REVOCATIONS, domain);

	if (err == TAM_OK) {
		cbor_out_uint(out, 5);
		cbor_out_array(out, sql_rows(rows));
		for (size_t r = 0; r < sql_rows(rows); r++)
			write_entry(rows, r, arena, out);
		sql_result_free(rows);
	}
	arena_free(arena);
	return err;
}

/* --- the head ------------------------------------------------------------------------- */

static void
add_head(const struct sql_result *domain, struct buf *out)
{
	struct arena *arena = arena_new_in(NULL);

	cbor_out_uint(out, 5);
	cbor_out_uint(out, (uint64_t)sql_int(domain, 0, 1));
	cbor_out_uint(out, 6);
	cbor_out_bytes(out, sql_bytes(domain, 0, 2, arena));
	arena_free(arena);
}

bool
notice_read_head(struct slice payload, struct arena *arena,
    struct notice_head *head)
{
	struct cbor_in in;
	int64_t label;
	size_t n;

	cbor_in_open(&in, payload, arena, CBOR_DETERMINISTIC);
	*head = (struct notice_head){0};
	n = cbor_in_map(&in, 6);
	for (size_t i = 0; i < n; i++) {
		label = 0;
		(void)cbor_in_label(&in, &label);
		if (label == 1)
			head->domain = cbor_in_text(&in, 1, NAME_MAX_BYTES);
		else if (label == 5)
			head->seq = cbor_in_uint(&in, INT64_MAX);
		else if (label == 6)
			head->hash = cbor_in_bytes(&in, HASH_SIZE, HASH_SIZE);
		else
			cbor_in_skip(&in);
	}
	return cbor_in_finish(&in) == TAM_OK && head->domain.n > 0 &&
	    head->hash.n > 0;
}

/* --- both -------------------------------------------------------------------------------- */

enum tam_err
notice_make(struct sql *sql, enum notice_kind kind, const char *domain,
    int64_t now_s, int64_t life_s, struct buf *out)
{
	struct sql_result *row;
	enum tam_err err = SQL_EXEC(sql, &row, SQL_NOTICE_DOMAIN, domain);

	if (err != TAM_OK || sql_rows(row) == 0) {
		if (err == TAM_OK)
			sql_result_free(row);
		return err;
	}
	cbor_out_map(out, kind == NOTICE_AUDIT_HEAD ? 6 : 5);
	cbor_out_uint(out, 1);
	cbor_out_text(out, slice_str(domain));
	cbor_out_uint(out, 2);
	cbor_out_uint(out, (uint64_t)sql_int(row, 0, 0));
	cbor_out_uint(out, 3);
	cbor_out_uint(out, (uint64_t)now_s);
	cbor_out_uint(out, 4);
	cbor_out_uint(out, (uint64_t)(now_s + life_s));
	if (kind == NOTICE_AUDIT_HEAD)
		add_head(row, out);
	else
		err = add_revocations(sql, domain, out);
	sql_result_free(row);
	return err;
}
