#include "config.h"

#include "server/snapshot.h"

#include <stdio.h>
#include <stdlib.h>

#include "admin/policy_rows.h"
#include "lib/base/clock.h"
#include "lib/base/hex.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/codec/suit.h"
#include "server/keys.h"
#include "server/settings.h"
#include "storage/sql.h"
#include "storage/statements.h"

/* --- the parts of a snapshot ------------------------------------------------------ */

struct loading {
	struct sql *sql;
	const struct config *config;
	const uint8_t *master_key;
	struct arena *arena; /* gone when the snapshot stands */
	struct tam_snapshot *out;
};

static size_t
copy_bounded(uint8_t *to, size_t room, struct slice from)
{
	size_t n = from.n < room ? from.n : room;

	if (n > 0)
		memcpy(to, from.p, n);
	return n;
}

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
		d->audit_seq = sql_int(rows, r, 9);
		(void)copy_bounded(d->audit_hash, sizeof(d->audit_hash),
		    sql_bytes(rows, r, 10, l->arena));
		(void)snprintf(d->teep_profile, sizeof(d->teep_profile), "%s",
		    sql_text(rows, r, 5));
		d->passport_s = sql_int(rows, r, 7);
		d->suspended = sql_int(rows, r, 8) != 0;
		d->enrols_certified = strcmp(sql_text(rows, r, 6), "ca") == 0;
		d->enrols_attested =
		    strcmp(sql_text(rows, r, 6), "attested") == 0;
	}
	sql_result_free(rows);
	return TAM_OK;
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
		struct tam_domain *d =
		    snapshot_domain(l->out, sql_int(rows, r, 0));

		if (d != NULL)
			fill_profile(rows, r, domain_add_profile(d));
	}
	if (err == TAM_OK)
		sql_result_free(rows);
	return err;
}

static void
load_verifier(struct loading *l, const struct sql_result *rows, size_t r)
{
	struct tam_domain *d = snapshot_domain(l->out, sql_int(rows, r, 0));
	struct cose_key key;
	struct verifier *v;

	if (d == NULL)
		return;
	if (cose_key_make(&key,
	        strcmp(sql_text(rows, r, 2), "p256") == 0 ? COSE_P256
	                                                  : COSE_ED25519,
	        sql_bytes(rows, r, 3, l->arena)) != TAM_OK) {
		log_error("verifier", "name=%s error=\"bad key\"",
		    sql_text(rows, r, 1));
		return;
	}
	v = domain_add_verifier(d);
	v->key = key;
	(void)snprintf(v->name, sizeof(v->name), "%s", sql_text(rows, r, 1));
	v->worst = strcmp(sql_text(rows, r, 4), "warning") == 0 ? EAR_WARNING
	                                                        : EAR_AFFIRMING;
	v->unbound = sql_int(rows, r, 5) != 0;
	v->max_age_s = sql_int(rows, r, 6);
	(void)snprintf(v->url, sizeof(v->url), "%s", sql_text(rows, r, 7));
	v->ca = mem_strdup(sql_text(rows, r, 8));
	v->media_types = mem_strdup(sql_text(rows, r, 9));
	v->pass_back = sql_int(rows, r, 10) != 0;
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
	struct tam_domain *d = snapshot_domain(l->out, sql_int(rows, r, 0));
	const char *crl, *why;

	if (d == NULL)
		return;
	if (d->cas == NULL)
		d->cas = x509_cas_new();
	crl = sql_text(rows, r, 3);
	why = x509_cas_add(d->cas, sql_text(rows, r, 2), sql_text(rows, r, 4));
	if (why == NULL && crl[0] != '\0')
		why = x509_cas_add_crl(d->cas, crl);
	if (why != NULL)
		log_error("device_ca", "domain=%s name=%s error=\"%s\"",
		    d->name, sql_text(rows, r, 1), why);
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

static enum tam_err
load_policy(struct loading *l, struct tam_domain *d)
{
	char domain[16];

	(void)snprintf(domain, sizeof(domain), "%d", d->id);
	return policy_rows_load(l->sql, domain, true, &d->policy);
}

static enum tam_err
load_all(struct loading *l)
{
	enum tam_err err = load_domains(l);

	if (err == TAM_OK)
		err = load_profiles(l);
	if (err == TAM_OK)
		err = tam_keys_load(l->sql, l->arena, l->out);
	if (err == TAM_OK)
		err = load_verifiers(l);
	if (err == TAM_OK)
		err = load_cas(l);
	if (err == TAM_OK)
		err = token_keys_load(l->sql, l->config, l->master_key,
		    l->arena, &l->out->tokens);
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
