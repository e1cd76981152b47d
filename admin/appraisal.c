#include "config.h"

#include <stdlib.h>

#include "admin/learn.h"
#include "lib/base/hex.h"
#include "lib/codec/x509.h"
#include "storage/admin_statements.h"

/* Who vouches for devices: what the TAM's own Verifier goes by, and CAs. */

enum {
	HWMODEL_MAX = 32,
	HWVERSION_MAX = 63, /* bytes; as server/teep/builtin.h has room for */
	DIGEST_SIZE = 32
};

static enum tam_err
check_hex(struct api_request *r, const char *pointer, const char *text,
    size_t least, size_t most)
{
	uint8_t bytes[HWMODEL_MAX];
	size_t n = 0;

	if (text != NULL && hex_decode(text, strlen(text), bytes, most, &n) &&
	    n >= least)
		return TAM_OK;
	return api_problem(r, 422, "invalid_value", pointer,
	    "must be %zu to %zu bytes in hexadecimal digits", least, most);
}

static enum tam_err
drop(struct api_request *r, const char *statement)
{
	enum tam_err err = api_delete(r, statement, r->params[0],
	    "there is nothing of this name");

	return err == TAM_OK ? api_changed(r) : err;
}

/* --- endorsements ---------------------------------------------------------------- */

enum tam_err
api_endorsement_list(struct api_request *r)
{
	return api_page(r, SQL_ENDORSEMENT_LIST, "");
}

enum tam_err
api_endorsement_put(struct api_request *r)
{
	const char *hwmodel = api_string(r, "hwmodel");
	struct cose_key key;
	enum tam_err err = TAM_OK;

	if (hwmodel != NULL)
		err = check_hex(r, "/hwmodel", hwmodel, 1, HWMODEL_MAX);
	if (err == TAM_OK)
		err = api_public_key(r, &key);
	if (err == TAM_OK)
		err = API_EXEC(r, NULL, SQL_ENDORSEMENT_PUT, r->domain_text,
		    r->params[0], key.curve == COSE_P256 ? "p256" : "ed25519",
		    sql_bytea(r->arena, cose_key_pub(&key)),
		    sql_bytea(r->arena, SLICE_OF(key.thumbprint)),
		    hwmodel == NULL ? "" : hwmodel);
	return err == TAM_OK ? api_changed(r) : err;
}

enum tam_err
api_endorsement_delete(struct api_request *r)
{
	return drop(r, SQL_ENDORSEMENT_DELETE);
}

/* --- reference values ---------------------------------------------------------------- */

enum tam_err
api_reference_list(struct api_request *r)
{
	return api_page(r, SQL_REFERENCE_LIST, "");
}

enum tam_err
api_reference_put(struct api_request *r)
{
	enum tam_err err =
	    check_hex(r, "/hwmodel", api_string(r, "hwmodel"), 1, HWMODEL_MAX);
	const char *hwversion = api_string(r, "hwversion");
	char *fields;
	json_t *m;
	size_t i;

	if (err == TAM_OK && hwversion != NULL &&
	    strlen(hwversion) > HWVERSION_MAX)
		err = api_problem(r, 422, "invalid_value", "/hwversion",
		    "must have at most %d bytes", HWVERSION_MAX);
	json_array_foreach(json_object_get(r->json, "manifests"), i, m)
	{
		if (err == TAM_OK)
			err = check_hex(r,
			    arena_printf(r->arena, "/manifests/%zu", i),
			    json_string_value(m), DIGEST_SIZE, DIGEST_SIZE);
	}
	if (err != TAM_OK)
		return err;
	fields = json_dumps(r->json, JSON_COMPACT);
	err = API_EXEC(r, NULL, SQL_REFERENCE_PUT, r->domain_text, r->params[0],
	    fields);
	free(fields);
	return err == TAM_OK ? api_changed(r) : err;
}

enum tam_err
api_reference_delete(struct api_request *r)
{
	return drop(r, SQL_REFERENCE_DELETE);
}

/* --- device CAs ------------------------------------------------------------------------ */

enum tam_err
api_device_ca_list(struct api_request *r)
{
	return api_page(r, SQL_DEVICE_CA_LIST, "");
}

enum tam_err
api_device_ca_put(struct api_request *r)
{
	const char *pem = api_string(r, "certificates");
	const char *crl = api_string(r, "crl");
	const char *purpose = api_string(r, "purpose");
	struct x509_cas *cas = x509_cas_new();
	const char *bad, *bad_list = NULL;
	enum tam_err err;

	if (purpose == NULL)
		purpose = "";
	bad = x509_cas_add(cas, pem, purpose);
	if (crl != NULL && crl[0] != '\0')
		bad_list = x509_cas_add_crl(cas, crl);
	x509_cas_free(cas);
	if (bad != NULL)
		return api_problem(r, 422, "invalid_value",
		    strncmp(bad, "the purpose", 11) == 0 ? "/purpose"
		                                         : "/certificates",
		    "%s", bad);
	if (bad_list != NULL)
		return api_problem(r, 422, "invalid_value", "/crl", "%s",
		    bad_list);
	err = API_EXEC(r, NULL, SQL_DEVICE_CA_PUT, r->domain_text, r->params[0],
	    pem, crl == NULL ? "" : crl, purpose);
	return err == TAM_OK ? api_changed(r) : err;
}

enum tam_err
api_device_ca_delete(struct api_request *r)
{
	return drop(r, SQL_DEVICE_CA_DELETE);
}
