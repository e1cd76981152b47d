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
	world = (struct suit_world){0};
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
	ck_assert_uint_eq(outcome.n_effects, 0);
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

static struct slice
vector(const char *path)
{
	return test_file(arena, arena_printf(arena, "vectors/%s", path));
}

static void
add_payload(const char *uri, struct slice bytes)
{
	world.payloads[world.n_payloads].uri = slice_str(uri);
	world.payloads[world.n_payloads++].bytes = bytes;
}

static const struct suit_effect *
effect_on(const char *component)
{
	struct slice id;

	ck_assert(suit_component_parse(arena, component, &id));
	for (size_t i = 0; i < outcome.n_effects; i++) {
		const struct suit_effect *e = &outcome.effects[i];
		struct suit_envelope envelope_of;
		struct suit_manifest m = manifest;

		if (e->envelope.n > 0) {
			ck_assert_int_eq(suit_envelope_decode(e->envelope,
			                     arena, &envelope_of),
			    TAM_OK);
			ck_assert_int_eq(suit_manifest_decode(&envelope_of,
			                     arena, &m),
			    TAM_OK);
		}
		if (slice_eq(m.components[e->index], id))
			return e;
	}
	return NULL;
}

static const struct suit_effect *
installed_with(const char *component, const char *text)
{
	const struct suit_effect *e = effect_on(component);
	uint8_t digest[32];

	ck_assert_msg(e != NULL, "nothing happened to %s", component);
	crypto_sha256(slice_str(text), digest);
	ck_assert(e->installed);
	ck_assert_mem_eq(e->digest, digest, 32);
	return e;
}

/* -trust-domains, example 1: a dependency that is fetched, checked, and run
 * before the dependent writes its own component. */
START_TEST(a_dependency_is_resolved_checked_and_processed)
{
	add_payload("http://example.com/dependent.suit",
	    vector("suit-trust-domains/example0_dependent.cbor"));
	run("suit-trust-domains/example1_process");
	ck_assert_msg(outcome.ok, "section %d reason %u", (int)outcome.section,
	    outcome.reason);
	ck_assert_uint_eq(outcome.n_effects, 2);
	ck_assert(installed_with("00", "hello world")->envelope.n > 0);
	ck_assert_uint_eq(installed_with("10", " in multiple trust domains")
	                      ->envelope.n,
	    0);
}
END_TEST

START_TEST(another_dependency_than_the_one_named_is_not_run)
{
	add_payload("http://example.com/dependent.suit",
	    vector("teep-suit/suit_uri.cbor"));
	run("suit-trust-domains/example1_process");
	ck_assert(!outcome.ok);
	ck_assert_int_eq(outcome.section, SUIT_DEPENDENCY_RESOLUTION);
}
END_TEST

static bool
trusts_nobody(void *arg, const struct suit_envelope *e)
{
	(void)arg;
	(void)e;
	return false;
}

START_TEST(a_dependency_nobody_signed_is_not_run)
{
	add_payload("http://example.com/dependent.suit",
	    vector("suit-trust-domains/example0_dependent.cbor"));
	world.trusts = trusts_nobody;
	run("suit-trust-domains/example1_process");
	ck_assert(!outcome.ok);
	ck_assert_uint_eq(outcome.reason, SUIT_REASON_UNAUTHORISED);
}
END_TEST

/* E12: example 2 does not check the dependency's integrity before. */
START_TEST(an_unchecked_dependency_is_run_by_the_lenient_only)
{
	run("suit-trust-domains/example2_integrated");
	ck_assert(!outcome.ok);
	ck_assert_uint_eq(outcome.reason, SUIT_REASON_OPERATION);
	world.lenient = true;
	run("suit-trust-domains/example2_integrated");
	ck_assert(outcome.ok);
	(void)installed_with("00", "hello world");
}
END_TEST

static struct ecdh_private
firmware_key(void)
{
	struct ecdh_private priv;

	ck_assert_int_eq(ecdh_private_from_secret(&priv, ECDH_P256,
	                     test_hex(arena,
	                         "60FE6DD6D85D5740A5349B6F91267EEAC5BA81B8CB53"
	                         "EE249E4B4EB102C476B3")
	                         .p),
	    TAM_OK);
	return priv;
}

/* -firmware-encryption: content in the manifest, and in a dependent that
 * hands content and key down to what it depends on. */
START_TEST(an_encrypted_payload_is_opened_where_it_is_written)
{
	const char *file = _i == 0
	    ? "suit-encryption/suit-manifest-es-ecdh-content"
	    : "suit-encryption/suit-manifest-es-ecdh-dependency";

	run(file);
	ck_assert_msg(!outcome.ok, "opened without a key");
	world.n_agree = 1;
	world.agree[0] = firmware_key();
	run(file);
	ck_assert_msg(outcome.ok, "section %d reason %u offset %u",
	    (int)outcome.section, outcome.reason, (unsigned)outcome.offset);
	(void)installed_with("decrypted-firmware",
	    "This is a real firmware image.");
}
END_TEST

/* The TEEP draft's personalization: an encrypted file beside the component
 * it depends on; and both are unlinked again. */
START_TEST(the_drafts_personalization_is_installed_and_unlinked)
{
	world.n_agree = 1;
	world.agree[0] = firmware_key();
	add_payload("https://example.org/"
	            "8d82573a-926d-4754-9353-32dc29997f74.suit",
	    vector("teep-suit/suit_uri.cbor"));
	run("teep-suit/suit_personalization");
	ck_assert(!outcome.ok);
	world.lenient = true;
	run("teep-suit/suit_personalization");
	ck_assert_msg(outcome.ok, "section %d reason %u offset %u",
	    (int)outcome.section, outcome.reason, (unsigned)outcome.offset);
	ck_assert(effect_on("TEEP-Device/SecureFS/config.json")->installed);
	(void)installed_with(
	    "TEEP-Device/SecureFS/0x8d82573a926d4754935332dc29997f74/ta",
	    "Hello, Secure World!");
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
    {"check content", "86 14 a1 12 41 61 12 0f 06 0f", true},
    {"check other content", "88 14 a1 12 41 61 12 0f 14 a1 12 41 62 06 0f",
        false},
    {"set parameters only if unset",
        "8a 13 a1 12 41 61 13 a1 12 41 62 12 0f 14 a1 12 41 61 06 0f", true},
    {"device id of another", "84 14 a1 18 18 41 07 18 18 0f", false},
    {"no dependency at this index", "82 08 0f", false},
    {"process what is no dependency", "82 0b 0f", false},
    {"swap with nothing written", "84 14 a1 16 00 18 1f 0f", false},
    {"slot", "84 14 a1 05 00 05 0f", true},
    {"another slot", "84 14 a1 05 01 05 0f", false},
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
	tcase_add_test(tc, a_dependency_is_resolved_checked_and_processed);
	tcase_add_test(tc, another_dependency_than_the_one_named_is_not_run);
	tcase_add_test(tc, a_dependency_nobody_signed_is_not_run);
	tcase_add_test(tc, an_unchecked_dependency_is_run_by_the_lenient_only);
	tcase_add_loop_test(tc,
	    an_encrypted_payload_is_opened_where_it_is_written, 0, 2);
	tcase_add_test(tc,
	    the_drafts_personalization_is_installed_and_unlinked);
	tcase_add_loop_test(tc, runs_control_flow_as_the_draft_says, 0,
	    (int)(sizeof(sequences) / sizeof(sequences[0])));
	return suite_main(tc);
}
