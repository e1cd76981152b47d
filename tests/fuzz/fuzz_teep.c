#include "config.h"

#include "lib/base/buf.h"
#include "lib/codec/crypto.h"
#include "lib/codec/teep.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *arena = arena_new_in(NULL);
	struct slice in = {data, n};
	struct teep_message m;
	struct buf out;

	/* What was read must be writable; entered below the signature. */
	buf_init(&out, 1 << 22);
	if (teep_decode(in, arena, TEEP_FINAL, &m) == TAM_OK)
		teep_encode(&m, &out);
	buf_fini(&out);
	arena_free(arena);
	return 0;
}
