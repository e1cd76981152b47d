#include "config.h"

#include "lib/codec/crypto.h"
#include "loadtest/suit_run.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *arena = arena_new_in(NULL);
	struct slice in = {data, n};
	static const struct suit_world world;
	struct suit_envelope *e = arena_new(arena, struct suit_envelope);
	struct suit_manifest *m = arena_new(arena, struct suit_manifest);
	struct suit_outcome *o = arena_new(arena, struct suit_outcome);

	/* A command sequence as the install section of one component. */
	m->n_components = 2;
	m->sections[SUIT_INSTALL] = in;
	suit_run_update(&world, e, m, arena, o);
	arena_free(arena);
	return 0;
}
