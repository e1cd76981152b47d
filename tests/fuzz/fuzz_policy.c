#include "config.h"

#include "lib/codec/crypto.h"
#include "policy/policy.h"

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

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *arena = arena_new_in(NULL);
	struct slice in = {data, n};
	struct policy_builder *b = policy_builder_new();
	char error[POLICY_ERROR_MAX], *text = arena_strdup(arena, in);

	struct selector *s = selector_compile(arena, text, parse_id, error);

	if (s != NULL)
		ask(s, arena);
	policy_builder_free(b);
	arena_free(arena);
	return 0;
}
