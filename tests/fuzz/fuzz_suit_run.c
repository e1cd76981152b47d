#include "config.h"

#include "lib/codec/crypto.h"
#include "loadtest/suit_run.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static void
run(const struct suit_world *world, const struct suit_envelope *e,
    const struct suit_manifest *m, struct arena *arena)
{
	struct suit_outcome *o = arena_new(arena, struct suit_outcome);

	suit_run_update(world, e, m, arena, o);
	suit_run_uninstall(world, e, m, arena, o);
}

/* The input as a whole envelope, dependencies and payloads inside it. */
static void
run_envelope(const struct suit_world *world, struct slice in,
    struct arena *arena)
{
	struct suit_envelope *e = arena_new(arena, struct suit_envelope);
	struct suit_manifest *m = arena_new(arena, struct suit_manifest);

	if (suit_envelope_decode(in, arena, e) == TAM_OK &&
	    suit_manifest_decode(e, arena, m) == TAM_OK)
		run(world, e, m, arena);
}

/* And as the install and uninstall sequence of two components, one of them
 * encrypted, and a dependency. */
static void
run_sequence(const struct suit_world *world, struct slice in,
    struct arena *arena)
{
	struct suit_envelope *e = arena_new(arena, struct suit_envelope);
	struct suit_manifest *m = arena_new(arena, struct suit_manifest);

	m->n_components = 2;
	m->n_dependencies = 1;
	m->dependencies[0].index = 2;
	m->sections[SUIT_INSTALL] = in;
	m->sections[SUIT_UNINSTALL] = in;
	e->n_payloads = 1;
	e->payloads[0].name = SLICE_LIT("#p");
	e->payloads[0].bytes = in;
	run(world, e, m, arena);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct suit_world world;
	static const uint8_t secret[32] = {1};
	struct arena *arena = arena_new_in(NULL);
	struct slice in = {data, n};

	if (world.n_agree == 0) {
		crypto_init();
		world.lenient = true;
		world.n_agree = 1;
		(void)ecdh_private_from_secret(&world.agree[0], ECDH_X25519,
		    secret);
	}
	run_envelope(&world, in, arena);
	run_sequence(&world, in, arena);
	arena_free(arena);
	return 0;
}
