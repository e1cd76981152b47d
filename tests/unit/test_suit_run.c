#include "config.h"

#include <stdlib.h>

#include <check.h>

#include "lib/codec/crypto.h"
#include "loadtest/suit_run.h"
#include "tests/support/files.h"
#include "tests/support/suite.h"

static struct arena *arena;
static struct suit_world world;
static struct suit_envelope envelope;
static struct suit_manifest manifest;
static struct suit_outcome outcome;

static void
setup(void)
{
	arena = arena_new_in(NULL);
	memcpy(world.vendor_id,
	    test_hex(arena, "c0ddd5f15243566087db4f5b0aa26c2f").p, 16);
	memcpy(world.class_id,
	    test_hex(arena, "db42f7093d8c55baa8c5265fc5820f4e").p, 16);
	world.n_payloads = 1;
	world.payloads[0].uri =
	    SLICE_LIT("https://example.org/"
	              "8d82573a-926d-4754-9353-32dc29997f74.ta");
	world.payloads[0].bytes = SLICE_LIT("Hello, Secure World!");
}

static void
teardown(void)
{
	arena_free(arena);
}

static void
run(const char *file)
{
	ck_assert_int_eq(suit_envelope_decode(test_file(arena,
	                                          arena_printf(arena,
	                                              "vectors/%s.cbor", file)),
	                     arena, &envelope),
	    TAM_OK);
	ck_assert_int_eq(suit_manifest_decode(&envelope, arena, &manifest),
	    TAM_OK);
	suit_run_update(&world, &envelope, &manifest, arena, &outcome);
}

START_TEST(installs_the_drafts_examples)
{
	run(_i == 0 ? "teep-suit/suit_uri" : "teep-suit/suit_integrated");
	ck_assert_msg(outcome.ok, "section %d reason %u", (int)outcome.section,
	    outcome.reason);
	ck_assert(outcome.effects[0].installed);
	ck_assert_uint_eq(outcome.effects[0].digest[0], 0x8c);
	suit_run_uninstall(&world, &envelope, &manifest, arena, &outcome);
	ck_assert(outcome.ok && outcome.effects[0].unlinked);
}
END_TEST

START_TEST(another_class_of_device_refuses)
{
	world.class_id[0] ^= 1;
	run("teep-suit/suit_uri");
	ck_assert(!outcome.ok);
	ck_assert_uint_eq(outcome.reason, SUIT_REASON_CONDITION);
	ck_assert(!outcome.effects[0].installed);
}
END_TEST

START_TEST(another_payload_does_not_match)
{
	world.payloads[0].bytes = SLICE_LIT("Hello, Secure World?");
	run("teep-suit/suit_uri");
	ck_assert(!outcome.ok);
	ck_assert_int_eq(outcome.section, SUIT_INSTALL);
	ck_assert_uint_eq(outcome.reason, SUIT_REASON_CONDITION);
}
END_TEST

START_TEST(a_uri_that_leads_nowhere_fails_the_operation)
{
	world.n_payloads = 0;
	run("teep-suit/suit_uri");
	ck_assert(!outcome.ok);
	ck_assert_uint_eq(outcome.reason, SUIT_REASON_OPERATION);
}
END_TEST

/* Command sequences of our own, run as the install section. */
static const struct {
	const char *what, *sequence;
	bool ok;
} sequences[] = {
    {"nothing", "80", true},
    {"abort", "82 0e 0f", false},
    {"unknown command", "82 1819 0f", false},
    {"try-each takes the second", "82 0f 82 43 820e0f 41 80", true},
    {"try-each with nil", "82 0f 82 43 820e0f f6", true},
    {"try-each without a way", "82 0f 82 43 820e0f 43 820e0f", false},
    {"run-sequence", "82 1820 41 80", true},
    {"run-sequence that fails", "82 1820 43 820e0f", false},
    {"soft failure in run-sequence", "82 1820 47 8414a10df50e0f", true},
    {"fetch without a uri", "82 15 0f", false},
    {"write content", "84 14 a1 12 41 61 12 0f", true},
    {"index of no component", "84 0c 05 0e 0f", false},
    {"truncated", "82 0f", false},
};

START_TEST(runs_control_flow_as_the_draft_says)
{
	manifest = (struct suit_manifest){.n_components = 1};
	manifest.components[0] = test_hex(arena, "814161");
	manifest.sections[SUIT_INSTALL] =
	    test_hex(arena, sequences[_i].sequence);
	envelope = (struct suit_envelope){0};
	suit_run_update(&world, &envelope, &manifest, arena, &outcome);
	ck_assert_msg(outcome.ok == sequences[_i].ok, "%s", sequences[_i].what);
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("suit_run");

	crypto_init();
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, installs_the_drafts_examples, 0, 2);
	tcase_add_test(tc, another_class_of_device_refuses);
	tcase_add_test(tc, another_payload_does_not_match);
	tcase_add_test(tc, a_uri_that_leads_nowhere_fails_the_operation);
	tcase_add_loop_test(tc, runs_control_flow_as_the_draft_says, 0,
	    (int)(sizeof(sequences) / sizeof(sequences[0])));
	return suite_main(tc);
}
