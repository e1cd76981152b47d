#include "config.h"

#include <stdlib.h>

#include "admin/learn.h"
#include "admin/manifest_facts.h"
#include "admin/request.h"
#include "lib/base/hex.h"
#include "lib/base/mem.h"
#include "lib/codec/cose_encrypt.h"
#include "lib/codec/suit.h"
#include "storage/admin_statements.h"

/* Manifests: SUIT envelopes that passed every check before they are kept. */

bool
api_digest(struct api_request *r, const char *hex, const char **sql,
    struct slice *digest)
{
	uint8_t *bytes = arena_alloc(r->arena, 32);
	size_t n = 0;

	if (!hex_decode(hex, strlen(hex), bytes, 32, &n) || n != 32)
		return false;
	*digest = (struct slice){bytes, n};
	*sql = sql_bytea(r->arena, *digest);
	return true;
}

enum tam_err
api_manifest_list(struct api_request *r)
{
	return api_page(r, SQL_MANIFEST_LIST, "");
}

static enum tam_err
bad_digest(struct api_request *r)
{
	return api_problem(r, 404, "not_found", NULL,
	    "there is no such manifest: a digest is 64 hexadecimal digits");
}

enum tam_err
api_manifest_get(struct api_request *r)
{
	struct slice digest;
	const char *sql;

	if (!api_digest(r, r->params[0], &sql, &digest))
		return bad_digest(r);
	return API_ONE(r, SQL_MANIFEST_GET, sql);
}

enum tam_err
api_manifest_download(struct api_request *r)
{
	struct sql_result *rows;
	struct slice digest;
	const char *sql;
	enum tam_err err;

	if (!api_digest(r, r->params[0], &sql, &digest))
		return bad_digest(r);
	err = API_EXEC(r, &rows, SQL_MANIFEST_ENVELOPE, sql);
	if (err != TAM_OK)
		return err;
	if (sql_rows(rows) == 0)
		err = bad_digest(r);
	else
		buf_add_slice(&r->response, sql_bytes(rows, 0, 0, r->arena));
	if (err == TAM_OK)
		r->content_type = "application/suit-envelope+cose";
	sql_result_free(rows);
	return err;
}

/* --- upload --------------------------------------------------------------------- */

struct signers {
	size_t n;
	struct cose_key *keys;
	const char **names;
	json_t **prefixes;
};

static enum tam_err
load_signers(struct api_request *r, struct signers *s)
{
	struct sql_result *rows;
	enum tam_err err = api_exec(r, &rows, SQL_ANCHOR_KEYS, 0, NULL);

	if (err != TAM_OK)
		return err;
	s->keys = arena_new_n(r->arena, sql_rows(rows), struct cose_key);
	s->names = (const char **)arena_alloc(r->arena,
	    sql_rows(rows) * sizeof(char *));
	s->prefixes =
	    (json_t **)arena_alloc(r->arena, sql_rows(rows) * sizeof(json_t *));
	for (size_t i = 0; i < sql_rows(rows); i++) {
		if (cose_key_make(&s->keys[s->n],
		        strcmp(sql_text(rows, i, 1), "p256") == 0
		            ? COSE_P256
		            : COSE_ED25519,
		        sql_bytes(rows, i, 2, r->arena)) != TAM_OK)
			continue;
		s->names[s->n] =
		    arena_strdup(r->arena, slice_str(sql_text(rows, i, 0)));
		s->prefixes[s->n++] = json_loads(sql_text(rows, i, 3), 0, NULL);
	}
	sql_result_free(rows);
	return TAM_OK;
}

static void
free_signers(struct signers *s)
{
	for (size_t i = 0; i < s->n; i++)
		json_decref(s->prefixes[i]);
}

/* A prefix ends where a segment ends: "a/b" covers "a/b/c", not "a/bc". */
static bool
covers(const char *prefix, const char *id)
{
	size_t n = strlen(prefix);

	return strncmp(prefix, id, n) == 0 && (id[n] == '\0' || id[n] == '/');
}

static bool
may_write(const json_t *prefixes, const char *id)
{
	size_t i;
	json_t *p;

	if (json_array_size(prefixes) == 0)
		return true;
	json_array_foreach(prefixes, i, p)
	{
		if (covers(json_string_value(p), id))
			return true;
	}
	return false;
}

static enum tam_err
check_prefixes(struct api_request *r, const struct signers *s, size_t signer,
    const struct suit_info *info)
{
	const char *id =
	    suit_component_text(r->arena, info->manifest.component_id);

	for (size_t i = 0; i <= info->n; i++) {
		if (!may_write(s->prefixes[signer], id))
			return api_problem(r, 422, "suit_prefix", NULL,
			    "signer %s may not write %s", s->names[signer], id);
		if (i < info->n)
			id = suit_component_text(r->arena,
			    info->components[i].id);
	}
	for (size_t i = 0; i < info->n_nested; i++) {
		size_t by = info->nested_signer[i];

		id = suit_component_text(r->arena, info->nested[i].id);
		if (!may_write(s->prefixes[by], id))
			return api_problem(r, 422, "suit_prefix", NULL,
			    "signer %s may not write %s", s->names[by], id);
	}
	return TAM_OK;
}

/* CONFORMANCE U11: forward only; again only the very same. */
static enum tam_err
check_sequence(struct api_request *r, const char *component,
    const char *digest_sql, uint64_t sequence)
{
	struct sql_result *rows;
	enum tam_err err =
	    API_EXEC(r, &rows, SQL_MANIFEST_NEWEST, component, digest_sql);

	if (err != TAM_OK)
		return err;
	if (sql_rows(rows) > 0 && strcmp(sql_text(rows, 0, 1), "t") != 0 &&
	    (uint64_t)sql_int(rows, 0, 0) >= sequence)
		err = api_problem(r, 409, "suit_sequence", NULL,
		    "%s has sequence number %lld already; another manifest "
		    "must have a higher one than that, not %llu",
		    component, (long long)sql_int(rows, 0, 0),
		    (unsigned long long)sequence);
	sql_result_free(rows);
	return err;
}

/* U13: by which algorithm, and for whose keys. */
static json_t *
encryption_json(struct api_request *r, struct slice bytes)
{
	struct cose_encrypted *m = arena_new(r->arena, struct cose_encrypted);
	json_t *kids = json_array();

	if (cose_encrypt_decode(bytes, r->arena, m) != TAM_OK)
		m->n = 0; /* it was read when the manifest was checked */
	for (size_t i = 0; i < m->n; i++)
		(void)json_array_append_new(kids,
		    json_string(hex_dup(r->arena, m->recipients[i].kid)));
	return json_pack("{s:s, s:o}", "algorithm",
	    m->alg == COSE_ALG_A128GCM                 ? "A128GCM"
	        : m->alg == COSE_ALG_CHACHA20_POLY1305 ? "ChaCha20/Poly1305"
	                                               : "A128CTR",
	    "recipients", kids);
}

static json_t *
components_json(struct api_request *r, const struct suit_info *info)
{
	json_t *list = json_array();

	for (size_t i = 0; i < info->n; i++) {
		const struct suit_component *c = &info->components[i];
		json_t *o = json_pack("{s:s, s:b}", "component",
		    suit_component_text(r->arena, c->id), "encrypted",
		    (int)(c->encryption.n > 0));

		if (c->encryption.n > 0)
			(void)json_object_set_new(o, "encryption",
			    encryption_json(r, c->encryption));
		if (c->digest.n > 0 && !c->many_digests)
			(void)json_object_set_new(o, "digest",
			    json_string(hex_dup(r->arena, c->digest)));
		if (c->has_size)
			(void)json_object_set_new(o, "bytes",
			    json_integer((json_int_t)c->size));
		if (c->uri.n > 0)
			(void)json_object_set_new(o, "uri",
			    json_stringn((const char *)c->uri.p, c->uri.n));
		(void)json_array_append_new(list, o);
	}
	return list;
}

/* What it brings, for who asks which devices hold what. */
static enum tam_err
keep_components(struct api_request *r, const struct suit_info *info,
    struct slice digest)
{
	struct manifest_facts facts;
	const struct policy_manifest *m = &facts.manifest;
	struct slice ids[SUIT_BROUGHT_MAX], images[SUIT_BROUGHT_MAX];

	manifest_facts_of(info, digest, &facts);
	for (size_t i = 0; i < m->n_components; i++) {
		ids[i] = m->components[i].id;
		images[i] = m->components[i].digest;
	}
	return API_EXEC(r, NULL, SQL_MANIFEST_COMPONENTS, r->domain_text,
	    sql_bytea(r->arena, digest),
	    api_bytea_array(r, ids, m->n_components),
	    api_bytea_array(r, images, m->n_components),
	    arena_printf(r->arena, "%llu", (unsigned long long)m->sequence));
}

static enum tam_err
keep(struct api_request *r, const struct suit_info *info, struct slice digest,
    const char *signer)
{
	const char *component =
	    suit_component_text(r->arena, info->manifest.component_id);
	json_t *components = components_json(r, info);
	char *text = json_dumps(components, JSON_COMPACT);
	const char *hex = hex_dup(r->arena, digest);
	enum tam_err err;

	err = API_EXEC(r, NULL, SQL_MANIFEST_ADD, r->domain_text,
	    sql_bytea(r->arena, digest), component,
	    sql_bytea(r->arena, info->manifest.component_id),
	    arena_printf(r->arena, "%llu",
	        (unsigned long long)info->manifest.sequence),
	    signer, sql_bytea(r->arena, r->body), text, r->principal);
	free(text);
	json_decref(components);
	if (err == TAM_OK)
		err = keep_components(r, info, digest);
	if (err == TAM_OK)
		err = api_raise_epoch(r, NULL);
	if (err == TAM_OK)
		err = api_audit(r, hex, "", NULL, NULL);
	if (err == TAM_OK)
		err = API_ONE(r, SQL_MANIFEST_GET, sql_bytea(r->arena, digest));
	if (err == TAM_OK)
		r->status = 201;
	return err;
}

static enum tam_err
check_and_keep(struct api_request *r, const struct signers *s)
{
	struct suit_info *info = arena_new(r->arena, struct suit_info);
	struct suit_envelope e;
	const char *why = NULL;
	size_t signer = 0;
	enum tam_err err;

	err = suit_check(r->crypto, r->body, r->arena, s->keys, s->n, info,
	    &signer, &why);
	if (err != TAM_OK)
		return api_problem(r, 422, tam_err_name(err), NULL, "%s",
		    why == NULL ? tam_err_text(err) : why);
	(void)suit_envelope_decode(r->body, r->arena, &e);
	err = check_prefixes(r, s, signer, info);
	if (err == TAM_OK)
		err = learn_check_revoked(r, SLICE_OF(e.digest), info,
		    s->names[signer]);
	if (err == TAM_OK)
		err = check_sequence(r,
		    suit_component_text(r->arena, info->manifest.component_id),
		    sql_bytea(r->arena, SLICE_OF(e.digest)),
		    info->manifest.sequence);
	if (err == TAM_OK)
		err = keep(r, info, arena_dup(r->arena, SLICE_OF(e.digest)),
		    s->names[signer]);
	return err;
}

enum tam_err
api_manifest_upload(struct api_request *r)
{
	struct signers *s = arena_new(r->arena, struct signers);
	enum tam_err err = load_signers(r, s);

	if (err == TAM_OK)
		err = check_and_keep(r, s);
	free_signers(s);
	return err;
}
