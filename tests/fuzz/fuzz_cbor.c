#include "config.h"

#include "lib/codec/cbor_in.h"
#include "lib/codec/crypto.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *arena = arena_new_in(NULL);
	struct slice in = {data, n};
	struct cbor_in reader;

	cbor_in_open(&reader, in, arena, CBOR_ANY);
	cbor_in_skip(&reader);
	if (cbor_in_finish(&reader) != TAM_OK)
		cbor_in_fail(&reader, TAM_MALFORMED);
	arena_free(arena);
	return 0;
}
