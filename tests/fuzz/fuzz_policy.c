#include "config.h"

#include "lib/codec/crypto.h"
#include "policy/policy.h"
#include "policy/rollout.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static bool
parse_id(struct arena *arena, const char *text, struct slice *out)
{
	*out = arena_dup(arena, slice_str(text));
	return out->n > 0;
}

/* In memory, and as SQL whose parameters must fit. */
static void
ask(const struct selector *s, struct arena *arena)
{
	struct selector_label label = {SLICE_LIT("a"), SLICE_LIT("1.0-rc1")};
	struct selector_subject d = {.class_name = SLICE_LIT("cam"),
	    .name = SLICE_LIT("2.0"),
	    .n_labels = 1,
	    .labels = &label};
	const char *params[SELECTOR_SQL_PARAMS_MAX];
	struct buf b;

	(void)selector_matches(s, &d);
	buf_init(&b, 1 << 20);
	(void)selector_sql(s, 0, 1, arena, &b, params);
	buf_fini(&b);
}

static struct policy_builder *
begin(void)
{
	static const uint8_t digest[32] = {0};
	struct policy_component c = {SLICE_LIT("a"), SLICE_OF(digest)};
	struct policy_manifest m = {.digest = SLICE_OF(digest),
	    .id = SLICE_LIT("m"),
	    .sequence = 1,
	    .envelope = SLICE_LIT("e"),
	    .n_components = 1,
	    .components = &c};
	struct policy_builder *b = policy_builder_new();
	char error[POLICY_ERROR_MAX];

	policy_add_manifest(b, &m);
	policy_add_channel(b, "c", m.digest);
	if (!policy_add_policy(b, "p", "{\"components\":[{\"channel\":\"c\"}]}",
	        parse_id, error))
		__builtin_trap();
	return b;
}

/* A set with the document in it decides about some devices. */
static void
decide(struct policy_builder *b, struct arena *arena)
{
	struct policy_set *set = policy_build(b);
	struct policy_part part = {7, 0, false, PART_OFFERED};
	struct policy_component held = {SLICE_LIT("a"), slice_none()};
	char error[POLICY_ERROR_MAX];

	(void)policy_conflicts(set, "q", error);
	(void)policy_rollout_conflicts(set, "r", error);
	(void)policy_rollout_revoked(set, "r");
	for (int i = 0; i < 8; i++) {
		struct policy_facts f = {.subject = {.class_name =
		                                         SLICE_LIT("cam"),
		                             .now_us = 5},
		    .bucket = i * 1000,
		    .n_parts = (size_t)(i & 1),
		    .parts = &part,
		    .attestation = (enum policy_attestation)(i % 3),
		    .n_components = (size_t)(i >> 1 & 1),
		    .components = &held,
		    .update_max = 1000};
		struct policy_part_mark marks[POLICY_STANDINGS_MAX];
		struct policy_decision d;

		policy_decide(set, &f, arena, &d);
		(void)policy_marks(&f, &d, true, marks);
	}
	policy_set_unref(set);
}

/* As a policy's document, and as a rollout's. */
static void
load(const char *text, struct arena *arena)
{
	static const enum rollout_phase phases[] = {ROLLOUT_PHASE_running,
	    ROLLOUT_PHASE_paused, ROLLOUT_PHASE_rolling_back,
	    ROLLOUT_PHASE_completed};
	char error[POLICY_ERROR_MAX];
	struct policy_builder *b = begin();

	(void)policy_add_policy(b, "q", text, parse_id, error);
	decide(b, arena);
	for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
		struct rollout_row row = {7, "r", text,
		    {phases[i], 1, 0, 0, true, 0,
		        phases[i] == ROLLOUT_PHASE_completed}};

		b = begin();
		(void)policy_add_rollout(b, &row, parse_id, error);
		decide(b, arena);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *arena = arena_new_in(NULL);
	char error[SELECTOR_ERROR_MAX];
	char *text = arena_strdup(arena, (struct slice){data, n});
	struct selector *s = selector_compile(arena, text, parse_id, error);

	if (s != NULL)
		ask(s, arena);
	if (text[0] == '{')
		load(text, arena);
	arena_free(arena);
	return 0;
}
