#include "config.h"

#include "lib/codec/crypto.h"
#include "lib/codec/suit.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *arena = arena_new_in(NULL);
	struct slice in = {data, n};
	struct suit_info *info = arena_new(arena, struct suit_info);

	/* Below the signature: suit_learn() verifies none. */
	(void)suit_learn(in, arena, info);
	arena_free(arena);
	return 0;
}
