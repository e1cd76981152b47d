#include "config.h"

#include "lib/codec/cose.h"
#include "lib/codec/crypto.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *arena = arena_new_in(NULL);
	struct slice in = {data, n};
	struct cose_message m;
	struct cose_key key;

	(void)cose_decode(in, arena, &m);
	(void)cose_key_decode(in, arena, &key);
	arena_free(arena);
	return 0;
}
