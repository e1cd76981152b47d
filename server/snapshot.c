#include "config.h"

#include "server/snapshot.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/hex.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/codec/suit.h"
#include "server/settings.h"
#include "storage/sql.h"
#include "storage/statements.h"

enum {
	SECRET_FILE_MAX = 8192,
	KEY_FILE_PREFIX = 5 /* "file:" */
};

/* --- secrets in files ---------------------------------------------------------- */

/* A secret that others can read is no secret: refused, not used. */
static enum tam_err
read_secret(const char *path, uint8_t *out, size_t room, size_t *n)
{
	struct stat st;
	ssize_t got;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) != 0) {
		log_error("secret_unreadable", "file=%s", path);
		if (fd >= 0)
			(void)close(fd);
		return TAM_BAD_FILE;
	}
	if ((st.st_mode & (S_IRWXO | S_IWGRP)) != 0) {
		log_error("secret_exposed",
		    "file=%s mode=%o wanted=0600 or 0640", path,
		    (unsigned)st.st_mode & 07777u);
		(void)close(fd);
		return TAM_BAD_FILE;
	}
	got = read(fd, out, room);
	(void)close(fd);
	if (got <= 0 || (size_t)got == room) {
		log_error("secret_unreadable", "file=%s", path);
		return TAM_BAD_FILE;
	}
	*n = (size_t)got;
	return TAM_OK;
}

enum tam_err
master_key_read(const char *path, uint8_t out[32])
{
	uint8_t text[128];
	size_t n = 0, out_n = 0;
	enum tam_err err = read_secret(path, text, sizeof(text), &n);

	while (err == TAM_OK && n > 0 && text[n - 1] <= ' ')
		n--;
	if (err == TAM_OK &&
	    (!hex_decode((const char *)text, n, out, 32, &out_n) ||
	        out_n != 32)) {
		log_error("master_key", "file=%s wanted=\"64 hex digits\"",
		    path);
		err = TAM_BAD_FILE;
	}
	crypto_zero(text, sizeof(text));
	return err;
}

/* The PEM text of a key's URI; the caller wipes it. */
static enum tam_err
read_key_uri(const char *uri, uint8_t pem[SECRET_FILE_MAX], size_t *n)
{
	if (strncmp(uri, "file:", KEY_FILE_PREFIX) == 0)
		return read_secret(uri + KEY_FILE_PREFIX, pem, SECRET_FILE_MAX,
		    n);
	return TAM_BAD_FILE;
}

/* --- the parts of a snapshot ------------------------------------------------------ */

struct loading {
	struct sql *sql;
	const struct config *config;
	const uint8_t *master_key;
	struct arena *arena; /* gone when the snapshot stands */
	struct tam_snapshot *out;
};

static enum tam_err
load_domains(struct loading *l)
{
	struct sql_result *rows;
	enum tam_err err = sql_exec(l->sql, SQL_DOMAINS, 0, NULL, &rows);

	if (err != TAM_OK)
		return err;
	l->out = snapshot_new(sql_rows(rows));
	for (size_t r = 0; r < sql_rows(rows); r++) {
		struct tam_domain *d = &l->out->domains[r];

		d->id = (int32_t)sql_int(rows, r, 0);
		(void)snprintf(d->name, sizeof(d->name), "%s",
		    sql_text(rows, r, 1));
		d->incarnation = sql_int(rows, r, 2);
		d->epoch = sql_int(rows, r, 3);
		(void)snprintf(d->teep_profile, sizeof(d->teep_profile), "%s",
		    sql_text(rows, r, 5));
		d->passport_s = sql_int(rows, r, 7);
		d->enrols_certified = strcmp(sql_text(rows, r, 6), "ca") == 0;
		d->enrols_attested =
		    strcmp(sql_text(rows, r, 6), "attested") == 0;
	}
	sql_result_free(rows);
	return TAM_OK;
}

static struct tam_domain *
domain_by_id(struct loading *l, int64_t id)
{
	for (size_t i = 0; i < l->out->n; i++) {
		if (l->out->domains[i].id == id)
			return &l->out->domains[i];
	}
	return NULL;
}

static void
fill_profile(const struct sql_result *rows, size_t r, struct wire_profile *p)
{
	const char *opener = sql_text(rows, r, 5);
	const char *verify = sql_text(rows, r, 10);
	const char *kid = sql_text(rows, r, 7);

	(void)snprintf(p->name, sizeof(p->name), "%s", sql_text(rows, r, 1));
	p->is_default = sql_int(rows, r, 2) != 0;
	p->wire_id = (uint8_t)sql_int(rows, r, 3);
	p->numbering = strcmp(sql_text(rows, r, 4), "legacy") == 0 ? TEEP_LEGACY
	                                                           : TEEP_FINAL;
	p->opener = strcmp(opener, "sign") == 0    ? OPENER_SIGN
	    : strcmp(opener, "sign1-ed25519") == 0 ? OPENER_SIGN1_ED25519
	                                           : OPENER_SIGN1_ESP256;
	p->deprecated_algs = strcmp(sql_text(rows, r, 6), "deprecated") == 0;
	p->send_kid = strcmp(kid, "none") != 0;
	if (strcmp(kid, "thumbprint") != 0 &&
	    !hex_decode(kid, strlen(kid), p->kid, sizeof(p->kid), &p->kid_n))
		p->kid_n = 0;
	p->two_integers = strcmp(sql_text(rows, r, 12), "two-integers") == 0;
	p->ask_attest = strcmp(sql_text(rows, r, 8), "attest") == 0;
	p->always_token = sql_int(rows, r, 9) != 0;
	p->verify = strcmp(verify, "always") == 0 ? VERIFY_ALWAYS
	    : strcmp(verify, "never") == 0        ? VERIFY_NEVER
	                                          : VERIFY_REVOCATIONS;
	p->update_max = (size_t)sql_int(rows, r, 11);
}

static enum tam_err
load_profiles(struct loading *l)
{
	struct sql_result *rows;
	enum tam_err err = sql_exec(l->sql, SQL_WIRE_PROFILES, 0, NULL, &rows);

	for (size_t r = 0; err == TAM_OK && r < sql_rows(rows); r++) {
		struct tam_domain *d = domain_by_id(l, sql_int(rows, r, 0));

		if (d != NULL && d->n_profiles < DOMAIN_PROFILES_MAX)
			fill_profile(rows, r, &d->profiles[d->n_profiles++]);
	}
	if (err == TAM_OK)
		sql_result_free(rows);
	return err;
}

static bool
is_the_key(const struct slice thumbprint, const uint8_t read[32],
    const char *uri)
{
	if (slice_eq(thumbprint, (struct slice){read, 32}))
		return true;
	log_error("tam_key", "uri=%s error=\"another key\"", uri);
	return false;
}

static enum tam_err
take_signing_key(struct tam_domain *d, struct slice pem,
    struct slice thumbprint, const char *uri)
{
	struct cose_private priv;
	enum tam_err err = cose_private_from_pem(pem, &priv);

	if (err == TAM_OK && is_the_key(thumbprint, priv.key.thumbprint, uri)) {
		d->keys[priv.key.curve] = priv; /* the newest signs */
		d->has_key[priv.key.curve] = true;
	}
	cose_private_wipe(&priv);
	return err;
}

/* Believed like any Verifier's, for as long as its passports are good; the
 * newest key speaks, those before it are believed. */
static void
believe_ourselves(struct tam_domain *d)
{
	struct verifier *v = &d->verifiers[d->n_verifiers];

	if (d->n_verifiers == DOMAIN_VERIFIERS_MAX)
		return;
	(void)snprintf(v->name, sizeof(v->name), "builtin");
	v->key = d->verify_key.key;
	v->worst = EAR_AFFIRMING;
	v->max_age_s = d->passport_s;
	v->ca = mem_strdup("");
	d->n_verifiers++;
}

static enum tam_err
take_verify_key(struct tam_domain *d, struct slice pem, struct slice thumbprint,
    const char *uri)
{
	struct cose_private priv;
	enum tam_err err = cose_private_from_pem(pem, &priv);

	if (err == TAM_OK && is_the_key(thumbprint, priv.key.thumbprint, uri)) {
		d->verify_key = priv;
		d->has_verify_key = true;
		believe_ourselves(d);
	}
	cose_private_wipe(&priv);
	return err;
}

static enum tam_err
take_agreement_key(struct tam_domain *d, struct slice pem,
    struct slice thumbprint, const char *uri)
{
	struct ecdh_private priv;
	enum tam_err err = ecdh_private_from_pem(pem, &priv);

	if (err == TAM_OK && d->n_agree < DOMAIN_AGREE_KEYS_MAX &&
	    is_the_key(thumbprint, priv.key.thumbprint, uri))
		d->agree[d->n_agree++] = priv;
	ecdh_private_wipe(&priv);
	return err;
}

/* A key that cannot be read is logged; the node serves without it. */
static void
load_tam_key(struct loading *l, const struct sql_result *rows, size_t r)
{
	struct tam_domain *d = domain_by_id(l, sql_int(rows, r, 0));
	struct slice thumbprint = sql_bytes(rows, r, 1, l->arena);
	const char *uri = sql_text(rows, r, 2);
	uint8_t pem[SECRET_FILE_MAX];
	size_t n = 0;
	enum tam_err err;

	if (d == NULL)
		return;
	err = read_key_uri(uri, pem, &n);
	if (err == TAM_OK && strcmp(sql_text(rows, r, 3), "agree") == 0)
		err = take_agreement_key(d, (struct slice){pem, n}, thumbprint,
		    uri);
	else if (err == TAM_OK && strcmp(sql_text(rows, r, 3), "verify") == 0)
		err =
		    take_verify_key(d, (struct slice){pem, n}, thumbprint, uri);
	else if (err == TAM_OK)
		err = take_signing_key(d, (struct slice){pem, n}, thumbprint,
		    uri);
	if (err != TAM_OK)
		log_error("tam_key", "uri=%s error=\"%s\"", uri,
		    tam_err_text(err));
	crypto_zero(pem, sizeof(pem));
}

static enum tam_err
load_tam_keys(struct loading *l)
{
	struct sql_result *rows;
	enum tam_err err = sql_exec(l->sql, SQL_TAM_KEYS, 0, NULL, &rows);

	for (size_t r = 0; err == TAM_OK && r < sql_rows(rows); r++)
		load_tam_key(l, rows, r);
	if (err == TAM_OK)
		sql_result_free(rows);
	return err;
}

static void
load_verifier(struct loading *l, const struct sql_result *rows, size_t r)
{
	struct tam_domain *d = domain_by_id(l, sql_int(rows, r, 0));
	struct verifier *v;

	if (d == NULL || d->n_verifiers == DOMAIN_VERIFIERS_MAX)
		return;
	v = &d->verifiers[d->n_verifiers];
	(void)snprintf(v->name, sizeof(v->name), "%s", sql_text(rows, r, 1));
	if (cose_key_make(&v->key,
	        strcmp(sql_text(rows, r, 2), "p256") == 0 ? COSE_P256
	                                                  : COSE_ED25519,
	        sql_bytes(rows, r, 3, l->arena)) != TAM_OK) {
		log_error("verifier", "name=%s error=\"bad key\"", v->name);
		return;
	}
	v->worst = strcmp(sql_text(rows, r, 4), "warning") == 0 ? EAR_WARNING
	                                                        : EAR_AFFIRMING;
	v->unbound = sql_int(rows, r, 5) != 0;
	v->max_age_s = sql_int(rows, r, 6);
	(void)snprintf(v->url, sizeof(v->url), "%s", sql_text(rows, r, 7));
	v->ca = mem_strdup(sql_text(rows, r, 8));
	d->n_verifiers++;
}

static enum tam_err
load_verifiers(struct loading *l)
{
	struct sql_result *rows;
	enum tam_err err = sql_exec(l->sql, SQL_VERIFIERS, 0, NULL, &rows);

	for (size_t r = 0; err == TAM_OK && r < sql_rows(rows); r++)
		load_verifier(l, rows, r);
	if (err == TAM_OK)
		sql_result_free(rows);
	return err;
}

static void
load_ca(struct loading *l, const struct sql_result *rows, size_t r)
{
	struct tam_domain *d = domain_by_id(l, sql_int(rows, r, 0));

	if (d == NULL)
		return;
	if (d->cas == NULL)
		d->cas = x509_cas_new();
	if (x509_cas_add(d->cas, sql_text(rows, r, 2)) == 0)
		log_error("device_ca", "name=%s error=\"no certificate\"",
		    sql_text(rows, r, 1));
	(void)x509_cas_add_crl(d->cas, sql_text(rows, r, 3));
}

static enum tam_err
load_cas(struct loading *l)
{
	struct sql_result *rows;
	enum tam_err err = sql_exec(l->sql, SQL_DEVICE_CAS, 0, NULL, &rows);

	for (size_t r = 0; err == TAM_OK && r < sql_rows(rows); r++)
		load_ca(l, rows, r);
	if (err == TAM_OK)
		sql_result_free(rows);
	return err;
}

/* --- the Verifier of our own ------------------------------------------------------- */

static size_t
copy_bounded(uint8_t *to, size_t room, struct slice from)
{
	size_t n = from.n < room ? from.n : room;

	if (n > 0)
		memcpy(to, from.p, n);
	return n;
}

static enum tam_err
load_endorsements(struct loading *l, struct tam_domain *d, const char *domain)
{
	struct sql_result *rows;
	enum tam_err err = SQL_EXEC(l->sql, &rows, SQL_ENDORSEMENTS, domain);

	if (err != TAM_OK)
		return err;
	d->endorsements =
	    mem_calloc(sql_rows(rows) + 1, sizeof(*d->endorsements));
	for (size_t r = 0; r < sql_rows(rows); r++) {
		struct endorsement *e = &d->endorsements[d->n_endorsements];

		if (cose_key_make(&e->key,
		        strcmp(sql_text(rows, r, 0), "p256") == 0
		            ? COSE_P256
		            : COSE_ED25519,
		        sql_bytes(rows, r, 1, l->arena)) != TAM_OK)
			continue;
		e->hwmodel_n = copy_bounded(e->hwmodel, sizeof(e->hwmodel),
		    sql_bytes(rows, r, 2, l->arena));
		d->n_endorsements++;
	}
	sql_result_free(rows);
	return TAM_OK;
}

static void
load_reference(struct loading *l, const struct sql_result *rows, size_t r,
    struct reference_value *v)
{
	const char *manifests = sql_text(rows, r, 4);
	size_t n = strlen(manifests) / 64, got = 0;

	v->hwmodel_n = copy_bounded(v->hwmodel, sizeof(v->hwmodel),
	    sql_bytes(rows, r, 0, l->arena));
	(void)snprintf(v->hwversion, sizeof(v->hwversion), "%s",
	    sql_text(rows, r, 1));
	v->dbgstat = (uint64_t)sql_int(rows, r, 2);
	v->oemboot = sql_int(rows, r, 3) != 0;
	v->manifests = mem_calloc(n + 1, sizeof(*v->manifests));
	if (hex_decode(manifests, n * 64, v->manifests[0], n * 32, &got))
		v->n_manifests = got / 32;
}

static enum tam_err
load_references(struct loading *l, struct tam_domain *d, const char *domain)
{
	struct sql_result *rows;
	enum tam_err err =
	    SQL_EXEC(l->sql, &rows, SQL_REFERENCE_VALUES, domain);

	if (err != TAM_OK)
		return err;
	d->references = mem_calloc(sql_rows(rows) + 1, sizeof(*d->references));
	for (size_t r = 0; r < sql_rows(rows); r++)
		load_reference(l, rows, r, &d->references[d->n_references++]);
	sql_result_free(rows);
	return TAM_OK;
}

static enum tam_err
load_builtin(struct loading *l, struct tam_domain *d)
{
	char domain[16];
	enum tam_err err;

	(void)snprintf(domain, sizeof(domain), "%d", d->id);
	err = load_endorsements(l, d, domain);
	return err == TAM_OK ? load_references(l, d, domain) : err;
}

static void
aad_of(int64_t key_id, char out[32])
{
	(void)snprintf(out, 32, "token key %lld", (long long)key_id);
}

static enum tam_err
load_token_keys(struct loading *l)
{
	struct token_keys *keys = &l->out->tokens;
	struct sql_result *rows;
	enum tam_err err = sql_exec(l->sql, SQL_TOKEN_KEYS, 0, NULL, &rows);

	for (size_t r = 0; err == TAM_OK && r < sql_rows(rows); r++) {
		struct token_key *k = &keys->keys[keys->n];
		uint8_t secret[MAC_KEY_SIZE];
		struct slice wrapped = sql_bytes(rows, r, 1, l->arena);
		char aad[32];

		if (keys->n == TOKEN_KEYS_MAX)
			break;
		aad_of(sql_int(rows, r, 0), aad);
		if (wrapped.n != MAC_KEY_SIZE + WRAP_OVERHEAD ||
		    !crypto_unwrap(l->master_key, wrapped, slice_str(aad),
		        secret)) {
			log_error("token_key",
			    "id=%lld error=\"not wrapped by this master key\"",
			    (long long)sql_int(rows, r, 0));
			continue;
		}
		k->id = (uint8_t)sql_int(rows, r, 0);
		k->mint_from_us = sql_int(rows, r, 2);
		k->retire_us = sql_int(rows, r, 3);
		crypto_mac_init(&k->mac, secret);
		crypto_zero(secret, sizeof(secret));
		keys->n++;
	}
	if (err == TAM_OK)
		sql_result_free(rows);
	keys->life_us[TOKEN_QUERY] = l->config->query_life_s * CLOCK_SECOND;
	keys->life_us[TOKEN_VERIFY] = l->config->query_life_s * CLOCK_SECOND;
	keys->life_us[TOKEN_CHALLENGE] =
	    l->config->challenge_life_s * CLOCK_SECOND;
	keys->life_us[TOKEN_UPDATE] = l->config->update_life_s * CLOCK_SECOND;
	return err;
}

/* --- a domain's policy -------------------------------------------------------------- */

static void
add_manifest(struct loading *l, struct policy_builder *b,
    const struct sql_result *rows, size_t r)
{
	struct slice envelope = sql_bytes(rows, r, 4, l->arena);
	struct policy_component components[SUIT_BROUGHT_MAX];
	const struct suit_component *brought[SUIT_BROUGHT_MAX];
	struct slice dependencies[SUIT_COMPONENTS_MAX];
	struct suit_info *info = arena_new(l->arena, struct suit_info);
	struct buf bare;
	struct policy_manifest m = {.digest = sql_bytes(rows, r, 1, l->arena),
	    .id = sql_bytes(rows, r, 2, l->arena),
	    .sequence = (uint64_t)sql_int(rows, r, 3),
	    .envelope = envelope,
	    .components = components};

	if (suit_learn(envelope, l->arena, info) != TAM_OK) {
		log_error("manifest_unreadable", "row=%zu", r);
		return;
	}
	m.n_components = suit_brought(info, brought);
	for (size_t i = 0; i < m.n_components; i++)
		components[i] = (struct policy_component){brought[i]->id,
		    brought[i]->many_digests ? slice_none()
		                             : brought[i]->digest};
	m.n_dependencies = suit_dependencies(info, dependencies);
	m.dependencies = dependencies;
	/* A dependency may be integrated too, and is needed. */
	buf_init(&bare, SUIT_ENVELOPE_MAX);
	if (m.n_dependencies == 0)
		suit_envelope_strip(envelope, l->arena, &bare);
	m.bare = buf_slice(&bare);
	policy_add_manifest(b, &m);
	buf_fini(&bare);
}

static enum tam_err
add_manifests(struct loading *l, struct policy_builder *b, const char *domain)
{
	struct sql_result *rows;
	enum tam_err err = SQL_EXEC(l->sql, &rows, SQL_MANIFESTS_OF, domain);

	for (size_t r = 0; err == TAM_OK && r < sql_rows(rows); r++)
		add_manifest(l, b, rows, r);
	if (err == TAM_OK)
		sql_result_free(rows);
	return err;
}

/* A policy that no longer loads is left out, loudly: its manifest is gone. */
static enum tam_err
add_policies(struct loading *l, struct policy_builder *b, const char *domain)
{
	struct sql_result *rows;
	enum tam_err err = SQL_EXEC(l->sql, &rows, SQL_POLICIES, domain);
	char error[POLICY_ERROR_MAX];

	for (size_t r = 0; err == TAM_OK && r < sql_rows(rows); r++) {
		if (!policy_add_policy(b, sql_text(rows, r, 1),
		        sql_text(rows, r, 3), suit_component_parse, error))
			log_error("policy_left_out",
			    "domain=%s policy=%s error=\"%s\"", domain,
			    sql_text(rows, r, 1), error);
	}
	if (err == TAM_OK)
		sql_result_free(rows);
	return err;
}

static enum tam_err
add_revocations(struct loading *l, struct policy_builder *b, const char *domain)
{
	struct sql_result *rows;
	enum tam_err err = SQL_EXEC(l->sql, &rows, SQL_REVOCATIONS, domain);

	for (size_t r = 0; err == TAM_OK && r < sql_rows(rows); r++)
		policy_add_revocation(b, sql_int(rows, r, 0),
		    sql_bytes(rows, r, 2, l->arena),
		    sql_bytes(rows, r, 3, l->arena));
	if (err == TAM_OK)
		sql_result_free(rows);
	return err;
}

static enum tam_err
load_policy(struct loading *l, struct tam_domain *d)
{
	struct policy_builder *b = policy_builder_new();
	char domain[16];
	enum tam_err err;

	(void)snprintf(domain, sizeof(domain), "%d", d->id);
	err = add_manifests(l, b, domain);
	if (err == TAM_OK)
		err = add_policies(l, b, domain);
	if (err == TAM_OK)
		err = add_revocations(l, b, domain);
	if (err == TAM_OK)
		d->policy = policy_build(b);
	else
		policy_builder_free(b);
	return err;
}

static enum tam_err
load_all(struct loading *l)
{
	enum tam_err err = load_domains(l);

	if (err == TAM_OK)
		err = load_profiles(l);
	if (err == TAM_OK)
		err = load_tam_keys(l);
	if (err == TAM_OK)
		err = load_verifiers(l);
	if (err == TAM_OK)
		err = load_cas(l);
	if (err == TAM_OK)
		err = load_token_keys(l);
	for (size_t i = 0; err == TAM_OK && i < l->out->n; i++)
		err = load_builtin(l, &l->out->domains[i]);
	for (size_t i = 0; err == TAM_OK && i < l->out->n; i++)
		err = load_policy(l, &l->out->domains[i]);
	return err;
}

enum tam_err
snapshot_load(struct sql *sql, const struct config *config,
    const uint8_t master_key[32], struct tam_snapshot **out)
{
	struct loading l = {.sql = sql,
	    .config = config,
	    .master_key = master_key,
	    .arena = arena_new_in(NULL)};
	enum tam_err err;

	err =
	    sql_script(sql, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
	if (err == TAM_OK)
		err = load_all(&l);
	if (err == TAM_OK)
		err = sql_script(sql, "COMMIT");
	else
		sql_drop(sql);
	arena_free(l.arena);
	if (err == TAM_OK)
		*out = l.out;
	else
		snapshot_unref(l.out);
	return err;
}

/* --- token keys ----------------------------------------------------------------------- */

static int64_t
longest_life_us(const struct config *c)
{
	int64_t s = c->update_life_s > c->query_life_s ? c->update_life_s
	                                               : c->query_life_s;

	return s * CLOCK_SECOND;
}

/* A key mints for a day, then the next; it verifies until its last token is
 * dead.  A new one mints when every node had time to learn it. */
static const int64_t mint_period_us = 86400 * CLOCK_SECOND;

static enum tam_err
add_token_key(struct sql *sql, const struct config *config,
    const uint8_t master_key[32], int64_t id, int64_t mint_from_us)
{
	struct arena *arena = arena_new_in(NULL);
	uint8_t secret[MAC_KEY_SIZE], wrapped[MAC_KEY_SIZE + WRAP_OVERHEAD];
	char aad[32];
	enum tam_err err;

	aad_of(id, aad);
	crypto_random(secret, sizeof(secret));
	crypto_wrap(master_key, SLICE_OF(secret), slice_str(aad), wrapped);
	crypto_zero(secret, sizeof(secret));
	err = SQL_EXEC(sql, NULL, SQL_TOKEN_KEY_ADD,
	    arena_printf(arena, "%lld", (long long)id),
	    sql_bytea(arena, SLICE_OF(wrapped)),
	    arena_printf(arena, "%lld", (long long)mint_from_us),
	    arena_printf(arena, "%lld",
	        (long long)(mint_from_us + 2 * mint_period_us +
	            longest_life_us(config))));
	arena_free(arena);
	if (err == TAM_OK)
		log_info("token_key_made", "id=%lld", (long long)id);
	return err;
}

enum tam_err
token_keys_tend(struct sql *sql, const struct config *config,
    const uint8_t master_key[32], int64_t now_us)
{
	struct sql_result *rows;
	char now[32];
	int64_t newest = 0, newest_id = -1;
	enum tam_err err;

	(void)snprintf(now, sizeof(now), "%lld", (long long)now_us);
	err = SQL_EXEC(sql, NULL, SQL_TOKEN_KEY_DROP, now);
	if (err == TAM_OK)
		err = sql_exec(sql, SQL_TOKEN_KEYS, 0, NULL, &rows);
	if (err != TAM_OK)
		return err;
	for (size_t r = 0; r < sql_rows(rows); r++) {
		if (sql_int(rows, r, 2) > newest) {
			newest = sql_int(rows, r, 2);
			newest_id = sql_int(rows, r, 0);
		}
	}
	sql_result_free(rows);
	if (newest_id < 0) /* the very first: no token is waiting for it */
		return add_token_key(sql, config, master_key, 0, now_us);
	if (newest + mint_period_us > now_us)
		return TAM_OK;
	return add_token_key(sql, config, master_key, (newest_id + 1) % 16,
	    now_us + 2 * config->staleness_max_ms * 1000);
}
