#include "config.h"

#include "admin/learn.h"
#include "lib/base/hex.h"
#include "lib/codec/crypto.h"
#include "storage/admin_statements.h"

/* Binaries that devices fetch from the TAM itself. */

enum tam_err
api_payload_list(struct api_request *r)
{
	struct api_paging page;
	enum tam_err err = api_paging_read(r, "", &page);

	return err != TAM_OK ? err
	                     : API_LIST(r, page.limit, SQL_PAYLOAD_LIST,
	                           page.after, page.limit_text, r->domain);
}

enum tam_err
api_payload_upload(struct api_request *r)
{
	const char *note = api_query(r, "note");
	uint8_t digest[SHA256_SIZE];
	const char *sql;
	enum tam_err err;

	if (r->body.n == 0)
		return api_problem(r, 422, "empty", NULL,
		    "there is nothing in it");
	crypto_sha256(r->body, digest);
	sql = sql_bytea(r->arena, SLICE_OF(digest));
	err = API_EXEC(r, NULL, SQL_PAYLOAD_ADD, r->domain_text, sql,
	    sql_bytea(r->arena, r->body), note == NULL ? "" : note,
	    r->principal);
	if (err == TAM_OK)
		err = api_audit(r, hex_dup(r->arena, SLICE_OF(digest)), note,
		    NULL, NULL);
	return err == TAM_OK ? API_ONE(r, SQL_PAYLOAD_GET, sql, r->domain)
	                     : err;
}

enum tam_err
api_payload_delete(struct api_request *r)
{
	const char *missing = "there is no such payload";
	struct slice digest;
	const char *sql = "";
	enum tam_err err;

	if (!api_digest(r, r->params[0], &sql, &digest))
		return api_problem(r, 404, "not_found", NULL, "%s", missing);
	err = api_delete(r, SQL_PAYLOAD_DELETE, sql, missing);
	return err == TAM_OK ? api_changed(r) : err;
}
