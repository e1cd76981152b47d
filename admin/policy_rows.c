#include "config.h"

#include "admin/policy_rows.h"

#include "admin/manifest_facts.h"
#include "lib/base/log.h"
#include "policy/rollout.h"
#include "storage/rollout_statements.h"
#include "storage/statements.h"

struct rows {
	struct sql *sql;
	struct arena *arena; /* gone when the set stands */
	bool envelopes;
};

/* Its size is what a decision needs. */
static struct slice
sent(const struct rows *l, struct slice form)
{
	return l->envelopes ? form : (struct slice){NULL, form.n};
}

static void
add_manifest(struct rows *l, struct policy_builder *b,
    const struct sql_result *rows, size_t r)
{
	struct slice envelope = sql_bytes(rows, r, 4, l->arena);
	struct suit_info *info = arena_new(l->arena, struct suit_info);
	struct manifest_facts facts;
	struct policy_manifest *m = &facts.manifest;
	struct buf bare;

	if (suit_learn(envelope, l->arena, info) != TAM_OK) {
		log_error("manifest_unreadable", "row=%zu", r);
		return;
	}
	manifest_facts_of(info, sql_bytes(rows, r, 1, l->arena), &facts);
	buf_init(&bare, SUIT_ENVELOPE_MAX);
	/* A dependency may be integrated too, and is needed. */
	if (m->n_dependencies == 0)
		m->fetchable = suit_envelope_strip(envelope, l->arena, &bare);
	m->signer = slice_str(sql_text(rows, r, 5));
	m->envelope = sent(l, envelope);
	m->bare = sent(l, buf_slice(&bare));
	policy_add_manifest(b, m);
	buf_fini(&bare);
}

static enum tam_err
add_manifests(struct rows *l, struct policy_builder *b, const char *domain)
{
	struct sql_result *rows;
	enum tam_err err = SQL_EXEC(l->sql, &rows, SQL_MANIFESTS_OF, domain);

	for (size_t r = 0; err == TAM_OK && r < sql_rows(rows); r++)
		add_manifest(l, b, rows, r);
	if (err == TAM_OK)
		sql_result_free(rows);
	return err;
}

static enum tam_err
add_channels(struct rows *l, struct policy_builder *b, const char *domain,
    const struct policy_change *but)
{
	struct sql_result *rows;
	enum tam_err err = SQL_EXEC(l->sql, &rows, SQL_CHANNELS, domain);

	if (but->channel != NULL)
		policy_add_channel(b, but->channel, but->manifest);
	for (size_t r = 0; err == TAM_OK && r < sql_rows(rows); r++) {
		if (but->channel == NULL ||
		    strcmp(sql_text(rows, r, 0), but->channel) != 0)
			policy_add_channel(b, sql_text(rows, r, 0),
			    sql_bytes(rows, r, 1, l->arena));
	}
	if (err == TAM_OK)
		sql_result_free(rows);
	return err;
}

/* A policy that no longer loads is left out, loudly: its manifest is gone. */
static enum tam_err
add_policies(struct rows *l, struct policy_builder *b, const char *domain,
    const char *without)
{
	struct sql_result *rows;
	enum tam_err err = SQL_EXEC(l->sql, &rows, SQL_POLICIES, domain);
	char error[POLICY_ERROR_MAX];

	for (size_t r = 0; err == TAM_OK && r < sql_rows(rows); r++) {
		if (without != NULL &&
		    strcmp(sql_text(rows, r, 1), without) == 0)
			continue;
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

/* Borrows its text. */
static struct policy_revocation
revocation_of(const struct sql_result *rows, size_t r, struct arena *arena)
{
	const char *signer = sql_text(rows, r, 5);
	const char *class_name = sql_text(rows, r, 7);

	return (struct policy_revocation){.id = sql_int(rows, r, 0),
	    .component = sql_bytes(rows, r, 1, arena),
	    .manifest = sql_bytes(rows, r, 2, arena),
	    .ranged = sql_text(rows, r, 3) != NULL,
	    .first = (uint64_t)sql_int(rows, r, 3),
	    .last = (uint64_t)sql_int(rows, r, 4),
	    .signer = signer == NULL ? slice_none() : slice_str(signer),
	    .replacement = sql_bytes(rows, r, 6, arena),
	    .class_name =
	        class_name == NULL ? slice_none() : slice_str(class_name),
	    .quarantine = sql_int(rows, r, 8) != 0};
}

static enum tam_err
add_revocations(struct rows *l, struct policy_builder *b, const char *domain)
{
	struct sql_result *rows;
	enum tam_err err = SQL_EXEC(l->sql, &rows, SQL_REVOCATIONS, domain);

	for (size_t r = 0; err == TAM_OK && r < sql_rows(rows); r++) {
		struct policy_revocation x = revocation_of(rows, r, l->arena);

		policy_add_revocation(b, &x);
	}
	if (err == TAM_OK)
		sql_result_free(rows);
	return err;
}

/* One that no longer loads stands still, loudly: its policy is as it was. */
static enum tam_err
add_rollouts(struct rows *l, struct policy_builder *b, const char *domain)
{
	struct sql_result *rows;
	enum tam_err err = SQL_EXEC(l->sql, &rows, SQL_ROLLOUTS, domain);
	char error[POLICY_ERROR_MAX];

	for (size_t r = 0; err == TAM_OK && r < sql_rows(rows); r++) {
		struct rollout_row row = {.id = sql_int(rows, r, 0),
		    .name = sql_text(rows, r, 1),
		    .document = sql_text(rows, r, 2),
		    .at = {.phase = rollout_phase_of(sql_text(rows, r, 3)),
		        .opened = (size_t)sql_int(rows, r, 4),
		        .stage_us = sql_int(rows, r, 5),
		        .met_us = sql_int(rows, r, 6),
		        .window_open = sql_int(rows, r, 7) != 0,
		        .window_us = sql_int(rows, r, 8),
		        .settling = sql_int(rows, r, 9) != 0}};

		if (!policy_add_rollout(b, &row, suit_component_parse, error))
			log_error("rollout_left_out",
			    "domain=%s rollout=%s error=\"%s\"", domain,
			    row.name, error);
	}
	if (err == TAM_OK)
		sql_result_free(rows);
	return err;
}

static enum tam_err
load(struct rows *l, const char *domain, const struct policy_change *but,
    struct policy_builder **out)
{
	struct policy_builder *b = policy_builder_new();
	enum tam_err err = add_manifests(l, b, domain);

	if (err == TAM_OK)
		err = add_channels(l, b, domain, but);
	if (err == TAM_OK)
		err = add_policies(l, b, domain, but->without);
	if (err == TAM_OK)
		err = add_rollouts(l, b, domain);
	if (err == TAM_OK)
		err = add_revocations(l, b, domain);
	arena_free(l->arena);
	if (err == TAM_OK)
		*out = b;
	else
		policy_builder_free(b);
	return err;
}

static const struct policy_change as_it_is;

enum tam_err
policy_rows_load(struct sql *sql, const char *domain, bool envelopes,
    struct policy_set **out)
{
	struct rows l = {sql, arena_new_in(NULL), envelopes};
	struct policy_builder *b;
	enum tam_err err = load(&l, domain, &as_it_is, &b);

	if (err == TAM_OK)
		*out = policy_build(b);
	return err;
}

enum tam_err
policy_rows_begin(struct sql *sql, const char *domain,
    const struct policy_change *but, struct policy_builder **out)
{
	struct rows l = {sql, arena_new_in(NULL), false};

	return load(&l, domain, but == NULL ? &as_it_is : but, out);
}
