#include "config.h"

#include "admin/retries.h"

#include "admin/learn.h"
#include "lib/codec/crypto.h"
#include "storage/admin_statements.h"

enum {
	KEY_MAX = 255
};

/* A quoted string, as the draft has it, or the same without quotes. */
static bool
is_key(struct slice s)
{
	if (s.n >= 2 && s.p[0] == '"' && s.p[s.n - 1] == '"')
		s = (struct slice){s.p + 1, s.n - 2};
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '!' || s.p[i] > '~' || s.p[i] == '"' ||
		    s.p[i] == '\\' || s.p[i] == ',')
			return false;
	}
	return s.n > 0 && s.n <= KEY_MAX;
}

static void
add(struct buf *b, const char *text)
{
	if (text != NULL)
		buf_add(b, text, strlen(text) + 1);
	buf_add_byte(b, text == NULL ? 0 : 1);
}

/* What makes two requests the same one. */
static const char *
fingerprint(struct api_request *r)
{
	uint8_t parts[2 * SHA256_SIZE], hash[SHA256_SIZE];
	struct buf b;

	buf_init(&b, 1 << 20);
	add(&b, r->route->name);
	for (size_t i = 0; i < API_PARAMS_MAX; i++)
		add(&b, r->params[i]);
	add(&b, r->if_match);
	add(&b, r->if_none_match);
	buf_add_slice(&b, r->query);
	crypto_sha256(buf_slice(&b), parts);
	buf_fini(&b);
	crypto_sha256(r->body, parts + SHA256_SIZE);
	crypto_sha256(SLICE_OF(parts), hash);
	return sql_bytea(r->arena, SLICE_OF(hash));
}

/* The answer of the first request; none when there was no first one. */
static enum tam_err
take_answer(struct api_request *r, const char *request)
{
	struct sql_result *rows;
	const char *etag;
	bool same;
	enum tam_err err = API_EXEC(r, &rows, SQL_REQUEST_KEY_FIND,
	    r->domain_text, r->principal, r->idempotency_key, request);

	if (err != TAM_OK)
		return err;
	same = sql_rows(rows) > 0 && sql_int(rows, 0, 0) != 0;
	if (same) {
		r->status = (int)sql_int(rows, 0, 1);
		r->content_type =
		    arena_strdup(r->arena, slice_str(sql_text(rows, 0, 2)));
		etag = sql_text(rows, 0, 3);
		r->etag = etag == NULL
		    ? NULL
		    : arena_strdup(r->arena, slice_str(etag));
		buf_add_slice(&r->response, sql_bytes(rows, 0, 4, r->arena));
		r->replayed = true;
	}
	sql_result_free(rows);
	return same ? TAM_OK
	            : api_problem(r, 422, "idempotency_key_reused", NULL,
	                  "this Idempotency-Key was used for another request");
}

enum tam_err
retries_begin(struct api_request *r, bool *done)
{
	const char *request;
	struct sql_result *rows;
	enum tam_err err;

	*done = false;
	if (r->idempotency_key == NULL)
		return TAM_OK;
	if (!is_key(slice_str(r->idempotency_key)))
		return api_problem(r, 400, "malformed_idempotency_key", NULL,
		    "Idempotency-Key must be 1 to %d visible characters",
		    KEY_MAX);
	request = fingerprint(r);
	err = API_EXEC(r, NULL, SQL_REQUEST_KEY_FORGET, r->domain_text,
	    r->principal, r->idempotency_key);
	if (err == TAM_OK)
		err = API_EXEC(r, &rows, SQL_REQUEST_KEY_TAKE, r->domain_text,
		    r->principal, r->idempotency_key, request);
	if (err != TAM_OK)
		return err;
	*done = sql_changed(rows) == 0;
	sql_result_free(rows);
	r->key_owner = r->principal; /* an approval acts in another's name */
	return *done ? take_answer(r, request) : TAM_OK;
}

enum tam_err
retries_keep(struct api_request *r)
{
	if (r->idempotency_key == NULL || r->replayed)
		return TAM_OK;
	return API_EXEC(r, NULL, SQL_REQUEST_KEY_KEEP, r->domain_text,
	    r->key_owner, r->idempotency_key, api_number(r, r->status),
	    r->content_type, r->etag,
	    sql_bytea(r->arena, buf_slice(&r->response)));
}
