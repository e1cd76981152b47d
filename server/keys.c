#include "config.h"

#include "server/keys.h"

#include <stdio.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/hex.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/secret_file.h"
#include "lib/codec/pkcs11.h"
#include "server/settings.h"
#include "storage/sql.h"
#include "storage/statements.h"

enum {
	SECRET_FILE_MAX = 8192,
	KEY_FILE_PREFIX = 5 /* "file:" */
};

/* --- secrets in files ---------------------------------------------------------- */

static enum tam_err
read_secret(const char *path, uint8_t *out, size_t room, size_t *n)
{
	unsigned mode;

	switch (secret_file_read(path, out, room, n, &mode)) {
	case SECRET_READ:
		return TAM_OK;
	case SECRET_EXPOSED:
		log_error("secret_exposed",
		    "file=%s mode=%o wanted=0600 or 0640", path, mode);
		return TAM_BAD_FILE;
	case SECRET_UNREADABLE:
	default:
		log_error("secret_unreadable", "file=%s", path);
		return TAM_BAD_FILE;
	}
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

/* --- the TAM's keys ---------------------------------------------------------------- */

static bool
is_the_key(const struct slice thumbprint, const uint8_t read[32],
    const char *uri)
{
	if (slice_eq(thumbprint, (struct slice){read, 32}))
		return true;
	log_error("tam_key", "uri=%s error=\"another key\"", uri);
	return false;
}

static void
sign_with(struct tam_domain *d, const struct cose_private *priv,
    const char *hsm_uri)
{
	enum cose_curve c = priv->key.curve;

	d->keys[c] = *priv; /* the newest signs */
	d->has_key[c] = true;
	d->key_lost[c] = false;
	free(d->hsm_uri[c]);
	d->hsm_uri[c] = hsm_uri == NULL ? NULL : mem_strdup(hsm_uri);
}

static enum tam_err
take_signing_key(struct tam_domain *d, struct slice pem,
    struct slice thumbprint, const char *uri)
{
	struct cose_private priv;
	enum tam_err err = cose_private_from_pem(pem, &priv);

	if (err == TAM_OK && is_the_key(thumbprint, priv.key.thumbprint, uri))
		sign_with(d, &priv, NULL);
	cose_private_wipe(&priv);
	return err;
}

/* Believed like any Verifier's, for as long as its passports are good; the
 * newest key speaks, those before it are believed. */
static void
believe_ourselves(struct tam_domain *d)
{
	struct verifier *v = domain_add_verifier(d);

	(void)snprintf(v->name, sizeof(v->name), "builtin");
	v->key = d->verify_key.key;
	v->worst = EAR_AFFIRMING;
	v->max_age_s = d->passport_s;
	v->ca = mem_strdup("");
	v->media_types = mem_strdup("");
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

	if (err == TAM_OK && is_the_key(thumbprint, priv.key.thumbprint, uri))
		*domain_add_agreement_key(d) = priv;
	ecdh_private_wipe(&priv);
	return err;
}

/* Of a key in a token its public half is known; the rest is server/hsm's. */
static void
take_hsm_key(struct tam_domain *d, const struct sql_result *rows, size_t r,
    struct arena *arena)
{
	const char *uri = sql_text(rows, r, 2);
	struct cose_private priv = {0};

	if (cose_key_make(&priv.key,
	        strcmp(sql_text(rows, r, 4), "p256") == 0 ? COSE_P256
	                                                  : COSE_ED25519,
	        sql_bytes(rows, r, 5, arena)) == TAM_OK &&
	    is_the_key(sql_bytes(rows, r, 1, arena), priv.key.thumbprint, uri))
		sign_with(d, &priv, uri);
	else
		log_error("tam_key", "uri=\"%s\" error=\"bad key\"", uri);
}

/* A key that cannot be read is logged; the node serves without it, but is not
 * ready when it is the one that should sign. */
static void
load_tam_key(struct tam_snapshot *out, struct arena *arena,
    const struct sql_result *rows, size_t r)
{
	struct tam_domain *d = snapshot_domain(out, sql_int(rows, r, 0));
	struct slice thumbprint = sql_bytes(rows, r, 1, arena);
	const char *uri = sql_text(rows, r, 2);
	uint8_t pem[SECRET_FILE_MAX];
	size_t n = 0;
	enum tam_err err;

	if (d == NULL)
		return;
	if (strcmp(sql_text(rows, r, 3), "sign") == 0)
		d->key_lost[strcmp(sql_text(rows, r, 4), "p256") == 0
		        ? COSE_P256
		        : COSE_ED25519] = true; /* until it is taken */
	if (pkcs11_is_uri(uri)) {
		take_hsm_key(d, rows, r, arena);
		return;
	}
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

enum tam_err
tam_keys_load(struct sql *sql, struct arena *arena, struct tam_snapshot *out)
{
	struct sql_result *rows;
	enum tam_err err = sql_exec(sql, SQL_TAM_KEYS, 0, NULL, &rows);

	for (size_t r = 0; err == TAM_OK && r < sql_rows(rows); r++)
		load_tam_key(out, arena, rows, r);
	if (err == TAM_OK)
		sql_result_free(rows);
	return err;
}

/* --- token keys ----------------------------------------------------------------------- */

static void
aad_of(int64_t key_id, char out[32])
{
	(void)snprintf(out, 32, "token key %lld", (long long)key_id);
}

enum tam_err
token_keys_load(struct sql *sql, const struct config *config,
    const uint8_t master_key[32], struct arena *arena, struct token_keys *keys)
{
	struct sql_result *rows;
	enum tam_err err = sql_exec(sql, SQL_TOKEN_KEYS, 0, NULL, &rows);

	for (size_t r = 0; err == TAM_OK && r < sql_rows(rows); r++) {
		struct token_key *k = &keys->keys[keys->n];
		uint8_t secret[MAC_KEY_SIZE];
		struct slice wrapped = sql_bytes(rows, r, 1, arena);
		char aad[32];

		if (keys->n == TOKEN_KEYS_MAX)
			break;
		aad_of(sql_int(rows, r, 0), aad);
		if (wrapped.n != MAC_KEY_SIZE + WRAP_OVERHEAD ||
		    !crypto_unwrap(master_key, wrapped, slice_str(aad),
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
	keys->life_us[TOKEN_QUERY] = config->query_life_s * CLOCK_SECOND;
	keys->life_us[TOKEN_VERIFY] = config->query_life_s * CLOCK_SECOND;
	keys->life_us[TOKEN_CHALLENGE] =
	    config->challenge_life_s * CLOCK_SECOND;
	keys->life_us[TOKEN_UPDATE] = config->update_life_s * CLOCK_SECOND;
	return err;
}

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

/* When the next key is to begin to mint; 0: none is due.  A first key mints at
 * once, unless other nodes serve that must learn it. */
static int64_t
next_mint_us(const struct sql_result *state, int64_t lead_us)
{
	int64_t now = sql_int(state, 0, 0), newest = sql_int(state, 0, 1);
	bool mints = sql_int(state, 0, 2) != 0;
	bool others = sql_int(state, 0, 4) != 0;

	if (!mints && newest <= now)
		return others ? now + lead_us : now;
	return newest + mint_period_us <= now ? now + lead_us : 0;
}

enum tam_err
token_keys_tend(struct sql *sql, const struct config *config,
    const uint8_t master_key[32])
{
	int64_t lead_us = 2 * config->staleness_max_ms * 1000, mint_us, id;
	struct sql_result *state;
	char ahead[32];
	enum tam_err err;

	(void)snprintf(ahead, sizeof(ahead), "%lld",
	    (long long)(lead_us + CLOCK_SECOND));
	err = SQL_EXEC(sql, NULL, SQL_TOKEN_KEY_DROP, ahead);
	if (err == TAM_OK)
		err = SQL_EXEC(sql, &state, SQL_TOKEN_KEY_STATE, ahead);
	if (err != TAM_OK)
		return err;
	mint_us = next_mint_us(state, lead_us);
	id = sql_text(state, 0, 3) == NULL ? -1 : sql_int(state, 0, 3);
	sql_result_free(state);
	if (mint_us == 0)
		return TAM_OK;
	if (id < 0) {
		log_error("token_key", "error=\"all ids are in use\"");
		return TAM_OK;
	}
	return add_token_key(sql, config, master_key, id, mint_us);
}
