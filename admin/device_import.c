#include "config.h"

#include <stdlib.h>

#include "admin/learn.h"
#include "lib/base/hex.h"
#include "lib/base/text.h"
#include "lib/codec/crypto.h"
#include "storage/admin_statements.h"

/* Devices by the file: one document per line, a result per line. */

enum {
	IMPORT_CHUNK = 500, /* lines of one statement */
	SHOWN_MAX = 100     /* devices that the audit names */
};

struct import {
	struct api_request *r;
	size_t line;
	json_t *docs; /* of this chunk, as device_import() takes them */
	size_t lines[IMPORT_CHUNK];
	char *names[IMPORT_CHUNK];
	const char *keys[IMPORT_CHUNK];
	size_t created, updated, rekeyed, pending, failed;

	/* For the audit: what was done to whom, some of it, and a hash of all. */
	json_t *done;
	struct buf all;
};

static void
report(struct import *in, size_t line, const char *name, const char *status,
    const char *detail)
{
	json_t *o =
	    json_pack("{s:I, s:s}", "line", (json_int_t)line, "status", status);
	char *text;

	if (name != NULL)
		(void)json_object_set_new(o, "name", json_string(name));
	if (detail != NULL)
		(void)json_object_set_new(o, "detail", json_string(detail));
	text = json_dumps(o, JSON_COMPACT);
	buf_add_str(&in->r->response, text);
	buf_add_str(&in->r->response, "\n");
	free(text);
	json_decref(o);
	in->failed += strcmp(status, "error") == 0;
	in->created += strcmp(status, "created") == 0;
	in->updated += strcmp(status, "updated") == 0;
	in->rekeyed += strcmp(status, "rekeyed") == 0;
	in->pending += strcmp(status, "pending") == 0;
}

static void
note_done(struct import *in, size_t n, const char *status)
{
	buf_printf(&in->all, "%s %s %s\n", status, in->names[n], in->keys[n]);
	if (json_array_size(in->done) < SHOWN_MAX)
		(void)json_array_append_new(in->done,
		    json_pack("{s:s, s:s, s:s}", "name", in->names[n], "key",
		        in->keys[n], "status", status));
}

static bool
coordinate(struct import *in, const json_t *jwk, const char *name,
    uint8_t out[32])
{
	const char *text = json_string_value(json_object_get(jwk, name));
	struct slice raw;

	if (text == NULL ||
	    !base64_decode(in->r->arena, slice_str(text), &raw) || raw.n != 32)
		return false;
	memcpy(out, raw.p, 32);
	return true;
}

/* RFC 7517 with EC P-256 or OKP Ed25519. */
static const char *
read_jwk(struct import *in, const json_t *jwk, struct cose_key *key)
{
	const char *kty = json_string_value(json_object_get(jwk, "kty"));
	const char *crv = json_string_value(json_object_get(jwk, "crv"));
	uint8_t xy[64];

	if (!json_is_object(jwk) || kty == NULL || crv == NULL)
		return "key must be a JWK";
	if (strcmp(kty, "OKP") == 0 && strcmp(crv, "Ed25519") == 0)
		return coordinate(in, jwk, "x", xy) &&
		        cose_key_ed25519(key, xy) == TAM_OK
		    ? NULL
		    : "key is not a point of Ed25519";
	if (strcmp(kty, "EC") == 0 && strcmp(crv, "P-256") == 0)
		return coordinate(in, jwk, "x", xy) &&
		        coordinate(in, jwk, "y", xy + 32) &&
		        cose_key_p256(key, xy) == TAM_OK
		    ? NULL
		    : "key is not a point of P-256";
	return "key must be EC P-256 or OKP Ed25519";
}

static const char *
check_labels(json_t *labels)
{
	const char *key;
	json_t *value;

	if (labels == NULL)
		return NULL;
	if (!json_is_object(labels))
		return "labels must be an object of strings";
	json_object_foreach(labels, key, value)
	{
		if (!json_is_string(value) || key[0] == '\0')
			return "labels must be an object of strings";
		if (strlen(key) > API_TEXT_MAX ||
		    strlen(json_string_value(value)) > API_TEXT_MAX)
			return "a label must not be longer than 1024 bytes";
	}
	return NULL;
}

static const char *
check_limits(const json_t *status, const json_t *bytes)
{
	static const char *const known[] = {"pending", "active", "quarantined",
	    "decommissioned"};
	const char *text = json_string_value(status);

	if (bytes != NULL &&
	    (!json_is_integer(bytes) ||
	        json_integer_value(bytes) < UPDATE_BYTES_MIN ||
	        json_integer_value(bytes) > UPDATE_BYTES_MAX))
		return "update_bytes must be from 512 to 16777216";
	for (size_t i = 0; text != NULL && i < 4; i++) {
		if (strcmp(known[i], text) == 0)
			return NULL;
	}
	return status == NULL
	    ? NULL
	    : "status must be pending, active, quarantined or decommissioned";
}

static const char *
check_members(struct import *in, json_t *doc)
{
	const char *name;
	json_t *value;

	json_object_foreach(doc, name, value)
	{
		const struct api_field *f = api_import_fields;

		while (f->name != NULL && strcmp(f->name, name) != 0)
			f++;
		if (f->name == NULL)
			return arena_printf(in->r->arena,
			    "there is no member '%.64s'", name);
	}
	return NULL;
}

static const char *
read_document(struct import *in, json_t *doc, json_t **out)
{
	json_t *class_name = json_object_get(doc, "class");
	json_t *status = json_object_get(doc, "status");
	json_t *bytes = json_object_get(doc, "update_bytes");
	json_t *labels = json_object_get(doc, "labels");
	const char *name = json_string_value(json_object_get(doc, "name"));
	struct cose_key key;
	const char *error;

	if (!json_is_object(doc))
		return "a line must be a JSON object";
	error = api_text_fault(doc);
	if (error != NULL)
		return arena_printf(in->r->arena, "a text in it %s", error);
	error = check_members(in, doc);
	if (error != NULL)
		return error;
	error = read_jwk(in, json_object_get(doc, "key"), &key);
	if (error == NULL)
		error = check_labels(labels);
	if (error == NULL && class_name != NULL && !json_is_string(class_name))
		error = "class must be a string";
	if (error == NULL && class_name != NULL &&
	    strlen(json_string_value(class_name)) > API_TEXT_MAX)
		error = "class must not be longer than 1024 bytes";
	if (error == NULL)
		error = check_limits(status, bytes);
	if (error != NULL)
		return error;
	if (name == NULL)
		name = hex_dup(in->r->arena, SLICE_OF(key.thumbprint));
	if (strlen(name) > 255)
		return "name must be 1 to 255 bytes";
	error = text_fault(slice_str(name), TEXT_NAME);
	if (error != NULL)
		return arena_printf(in->r->arena, "name %s", error);
	*out = json_pack("{s:s, s:s, s:s, s:s, s:O*, s:O*, s:O*, s:O*}", "name",
	    name, "thumbprint", hex_dup(in->r->arena, SLICE_OF(key.thumbprint)),
	    "curve", key.curve == COSE_P256 ? "p256" : "ed25519", "public_key",
	    hex_dup(in->r->arena, cose_key_pub(&key)), "class", class_name,
	    "labels", labels, "status", status, "update_bytes", bytes);
	return *out == NULL ? "not valid" : NULL;
}

static enum tam_err
send_chunk(struct import *in)
{
	struct sql_result *rows;
	char *text;
	enum tam_err err;

	if (json_array_size(in->docs) == 0)
		return TAM_OK;
	text = json_dumps(in->docs, JSON_COMPACT);
	err =
	    API_EXEC(in->r, &rows, SQL_DEVICE_IMPORT, in->r->domain_text, text);
	free(text);
	for (size_t i = 0; err == TAM_OK && i < sql_rows(rows); i++) {
		size_t n = (size_t)sql_int(rows, i, 0) - 1;

		report(in, in->lines[n], in->names[n], sql_text(rows, i, 1),
		    sql_text(rows, i, 2));
		if (strcmp(sql_text(rows, i, 1), "error") != 0)
			note_done(in, n, sql_text(rows, i, 1));
	}
	if (err == TAM_OK)
		sql_result_free(rows);
	(void)json_array_clear(in->docs);
	return err;
}

static enum tam_err
import_line(struct import *in, struct slice line)
{
	json_error_t where;
	json_t *doc, *ready = NULL;
	const char *error;
	size_t n = json_array_size(in->docs);

	in->line++;
	if (line.n == 0)
		return TAM_OK;
	doc = json_loadb((const char *)line.p, line.n, JSON_REJECT_DUPLICATES,
	    &where);
	error = doc == NULL ? "not JSON" : read_document(in, doc, &ready);
	json_decref(doc);
	if (error != NULL) {
		report(in, in->line, NULL, "error", error);
		return TAM_OK;
	}
	in->lines[n] = in->line;
	in->names[n] = arena_strdup(in->r->arena,
	    slice_str(json_string_value(json_object_get(ready, "name"))));
	in->keys[n] = arena_strdup(in->r->arena,
	    slice_str(json_string_value(json_object_get(ready, "thumbprint"))));
	(void)json_array_append_new(in->docs, ready);
	return n + 1 == IMPORT_CHUNK ? send_chunk(in) : TAM_OK;
}

/* Devices and keys, up to SHOWN_MAX of them, and the SHA-256 of a line "STATUS
 * NAME KEY" for each that was changed. */
static enum tam_err
audit(struct import *in)
{
	uint8_t hash[SHA256_SIZE];
	enum tam_err err;
	json_t *after;
	char *text;

	crypto_sha256(buf_slice(&in->all), hash);
	after = json_pack("{s:I, s:I, s:I, s:I, s:I, s:O, s:s}", "created",
	    (json_int_t)in->created, "updated", (json_int_t)in->updated,
	    "rekeyed", (json_int_t)in->rekeyed, "pending",
	    (json_int_t)in->pending, "failed", (json_int_t)in->failed,
	    "devices", in->done, "sha256",
	    hex_dup(in->r->arena, SLICE_OF(hash)));
	text = json_dumps(after, JSON_COMPACT);
	err = api_audit(in->r, "devices", in->r->reason, NULL, text);
	free(text);
	json_decref(after);
	return err;
}

enum tam_err
api_device_import(struct api_request *r)
{
	struct import *in = arena_new(r->arena, struct import);
	struct slice rest = r->body;
	enum tam_err err = TAM_OK;

	in->r = r;
	in->docs = json_array();
	in->done = json_array();
	buf_init(&in->all, 4 * r->body.n + 4096);
	while (err == TAM_OK && rest.n > 0) {
		const uint8_t *end = memchr(rest.p, '\n', rest.n);
		size_t n = end == NULL ? rest.n : (size_t)(end - rest.p);

		err = import_line(in, (struct slice){rest.p, n});
		rest.p += n + (end != NULL);
		rest.n -= n + (end != NULL);
	}
	if (err == TAM_OK)
		err = send_chunk(in);
	if (err == TAM_OK)
		err = audit(in);
	json_decref(in->docs);
	json_decref(in->done);
	buf_fini(&in->all);
	r->content_type =
	    err == TAM_OK ? "application/x-ndjson" : r->content_type;
	return err;
}
