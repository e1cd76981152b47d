#include "config.h"

#include "lib/codec/crypto.h"
#include "policy/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *arena = arena_new_in(NULL);
	struct slice in = {data, n};
	struct policy_builder *b = policy_builder_new();
	char error[POLICY_ERROR_MAX], *text = arena_strdup(arena, in);

	selector_free(selector_compile(text, error));
	policy_builder_free(b);
	arena_free(arena);
	return 0;
}
