#include "config.h"

#include <check.h>

#include "lib/codec/crypto.h"
#include "loadtest/device.h"
#include "tests/support/files.h"
#include "tests/support/keys.h"
#include "tests/support/suite.h"

static struct arena *arena;
static struct fleet_world world;
static struct agent agent;
static struct cose_private tam, stranger;

static void
setup(void)
{
	arena = arena_new_in(NULL);
	world = (struct fleet_world){0};
	fleet_world_init(&world);
	tam = test_key("tam-p256");
	stranger = test_key("agent-p256");
	world.n_tam_keys = 1;
	world.tam_keys[0] = tam.key;
	agent_init(&agent, 1, COSE_P256, SLICE_LIT("seed"));
}

static void
teardown(void)
{
	agent_fini(&agent);
	fleet_world_fini(&world);
	arena_free(arena);
}

static struct agent_reply
hand(const struct cose_private *key, struct slice payload)
{
	struct cose_signer *signer = cose_signer_new(key);
	struct agent_reply reply;
	struct buf b;

	buf_init(&b, 4096);
	cose_sign1(world.crypto, signer, COSE_ALG_ESP256,
	    SLICE_OF(key->key.thumbprint), payload, &b);
	agent_handle(&world, &agent, TEEP_FINAL, buf_slice(&b), true, arena,
	    &reply);
	buf_fini(&b);
	cose_signer_free(signer);
	return reply;
}

static struct slice
encoded(const struct teep_message *m)
{
	struct slice out;
	struct buf b;

	buf_init(&b, 4096);
	teep_encode(m, &b);
	out = arena_dup(arena, buf_slice(&b));
	buf_fini(&b);
	return out;
}

static struct teep_message
update(const char *token)
{
	static struct slice nobody;

	nobody = test_hex(arena, "81 4161");
	return (struct teep_message){.kind = TEEP_UPDATE,
	    .numbering = TEEP_FINAL,
	    .present = 1u << TEEP_OPT_TOKEN | 1u << TEEP_OPT_UNNEEDED,
	    .token = slice_str(token),
	    .n_unneeded = 1,
	    .unneeded = &nobody};
}

/* What the agent said, read with its own key. */
static enum tam_err
read_reply(const struct agent_reply *r, struct teep_message *m)
{
	struct cose_message cose;

	ck_assert_int_eq(cose_decode(r->bytes, arena, &cose), TAM_OK);
	return teep_decode(cose.payload, arena, TEEP_FINAL, m);
}

START_TEST(what_a_tam_should_not_have_sent)
{
	struct teep_message success = {.kind = TEEP_SUCCESS,
	    .numbering = TEEP_FINAL,
	    .present = 1u << TEEP_OPT_TOKEN,
	    .token = SLICE_LIT("12345678")};
	const struct slice payloads[] = {SLICE_LIT("nonsense"),
	    test_hex(arena, "82 18ff a0"), encoded(&success)};
	struct teep_message m;
	struct agent_reply r = hand(&tam, payloads[_i]);

	ck_assert_int_eq(r.did, AGENT_REFUSED);
	ck_assert_int_eq(read_reply(&r, &m), TAM_OK);
	ck_assert_int_eq(m.kind, TEEP_ERROR);
	ck_assert_uint_eq(m.err_code, TEEP_ERR_PERMANENT);
	r = hand(&stranger, payloads[_i]);
	ck_assert_int_eq(r.did, AGENT_REFUSED);
	ck_assert_uint_eq(r.bytes.n, 0);
}
END_TEST

START_TEST(an_update_is_taken_once)
{
	struct teep_message first = update("token-01"),
	                    other = update("token-02"), m;
	struct agent_reply r = hand(&tam, encoded(&first));

	ck_assert_int_eq(r.did, AGENT_UPDATED);
	ck_assert_int_eq(read_reply(&r, &m), TAM_OK);
	ck_assert_int_eq(m.kind, TEEP_SUCCESS);
	ck_assert(slice_eq(m.token, first.token));
	r = hand(&tam, encoded(&first));
	ck_assert_int_eq(r.did, AGENT_REFUSED);
	ck_assert_uint_eq(r.bytes.n, 0);
	r = hand(&tam, encoded(&other));
	ck_assert_int_eq(r.did, AGENT_UPDATED);
	r = hand(&stranger, encoded(&first));
	ck_assert_int_eq(r.did, AGENT_REFUSED);
	ck_assert_uint_eq(r.bytes.n, 0);
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("agent");

	crypto_init();
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, what_a_tam_should_not_have_sent, 0, 3);
	tcase_add_test(tc, an_update_is_taken_once);
	return suite_main(tc);
}
