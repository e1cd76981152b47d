#include "config.h"

#include "lib/codec/eat.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *arena = arena_new_in(NULL);
	struct slice in = {data, n};
	struct eat_claims *claims = arena_new(arena, struct eat_claims);
	struct eat_expect expect = {.teep_profile = EAT_TEEP_PROFILE,
	    .now_s = 1,
	    .max_age_s = 1};

	if (eat_claims_decode(in, arena, claims) == TAM_OK)
		(void)eat_judge(claims, &expect);
	(void)eat_peek_nonce(in, arena);
	arena_free(arena);
	return 0;
}
