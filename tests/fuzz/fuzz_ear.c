#include "config.h"

#include "lib/codec/eat.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *arena = arena_new_in(NULL);
	struct slice in = {data, n};
	struct eat_token *token = arena_new(arena, struct eat_token);
	struct eat_expect expect = {.teep_profile = EAT_TEEP_PROFILE,
	    .now_s = 1,
	    .max_age_s = 1,
	    .worst = EAR_WARNING};
	enum eat_kind kind =
	    n > 0 && data[0] % 2 == 0 ? EAT_EAR_CWT : EAT_EAR_JWT;

	if (eat_open(in, kind, arena, token) == TAM_OK)
		(void)eat_judge(&token->claims, &expect);
	/* Below the signature and the encoding around it. */
	token->claims = (struct eat_claims){0};
	(void)ear_decode_json(in, arena, &token->claims);
	token->claims = (struct eat_claims){0};
	(void)ear_decode_cbor(in, arena, &token->claims);
	arena_free(arena);
	return 0;
}
