#include "config.h"

#include "lib/codec/crypto.h"
#include "server/http/http1_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *arena = arena_new_in(NULL);
	struct slice in = {data, n};
	struct http_exchange *x = arena_new(arena, struct http_exchange);
	struct http1_head h;
	uint64_t size;

	(void)http1_parse_head(arena_dup(arena, in), x, &h);
	(void)http1_parse_chunk_size(in, &size);
	arena_free(arena);
	return 0;
}
