#include "config.h"

#include <stdlib.h>

#include <check.h>

#include "lib/base/clock.h"
#include "lib/codec/crypto.h"
#include "server/http/server.h"
#include "server/teep/failures.h"
#include "server/teep/token.h"
#include "tests/support/suite.h"

enum {
	RATE = 800,
	SHARE = 100 /* an eighth */
};

static struct failures *failures;
static int64_t now;

static void
setup(void)
{
	failures = failures_new(RATE);
	now = clock_mono_us() + CLOCK_SECOND;
}

static void
teardown(void)
{
	failures_free(failures);
}

static const uint8_t *
source(uint32_t n)
{
	static uint8_t address[HTTP_SOURCE_SIZE] = {[10] = 0xff, [11] = 0xff};

	memcpy(address + 12, &n, sizeof(n));
	return address;
}

/* Fails as often as the budget allows; returns how often. */
static unsigned
spend(const uint8_t *who, enum failure_by by, unsigned most)
{
	unsigned n = 0;

	while (n < most && failures_allow(failures, who, by, now)) {
		failures_charge(failures, who, by, 1, now);
		n++;
	}
	return n;
}

START_TEST(one_source_spends_its_share_and_no_more)
{
	ck_assert_uint_eq(spend(source(1), FAILURE_BY_STRANGER, 10000), SHARE);
	ck_assert(
	    failures_allow(failures, source(2), FAILURE_BY_STRANGER, now));
	ck_assert_uint_eq(spend(source(2), FAILURE_BY_KNOWN, 10000), SHARE);
	now += CLOCK_SECOND / 2;
	ck_assert_uint_eq(spend(source(1), FAILURE_BY_STRANGER, 10000),
	    SHARE / 2);
}
END_TEST

START_TEST(who_names_a_cached_key_is_not_stopped_by_strangers)
{
	for (uint32_t i = 0; i < 2 * RATE / SHARE; i++)
		(void)spend(source(i), FAILURE_BY_STRANGER, 10000);
	ck_assert(
	    !failures_allow(failures, source(99), FAILURE_BY_STRANGER, now));
	ck_assert(!failures_allow(failures, NULL, FAILURE_BY_STRANGER, now));
	ck_assert(failures_allow(failures, source(99), FAILURE_BY_KNOWN, now));
	ck_assert(failures_allow(failures, NULL, FAILURE_BY_KNOWN, now));
}
END_TEST

START_TEST(failures_with_known_keys_leave_the_strangers_their_budget)
{
	for (uint32_t i = 0; i < 2 * RATE / SHARE; i++)
		(void)spend(source(i), FAILURE_BY_KNOWN, 10000);
	ck_assert(
	    failures_allow(failures, source(99), FAILURE_BY_STRANGER, now));
}
END_TEST

START_TEST(many_sources_make_the_limit_no_milder)
{
	unsigned all = 0;

	/* As many as there are slots could spend so much in one instant. */
	for (uint32_t i = 0; i < 100000; i++)
		all += spend(source(i), FAILURE_BY_KNOWN, 10000);
	ck_assert_uint_le(all, 4096 * SHARE);
	for (uint32_t i = 0; i < 100000; i++)
		all += spend(source(i), FAILURE_BY_KNOWN, 10000);
	ck_assert_uint_le(all, 4096 * SHARE);
}
END_TEST

START_TEST(a_debt_is_paid_within_two_seconds)
{
	failures_charge(failures, source(1), FAILURE_BY_STRANGER, 1000000, now);
	now += CLOCK_SECOND;
	ck_assert(
	    !failures_allow(failures, source(1), FAILURE_BY_STRANGER, now));
	now += CLOCK_SECOND;
	ck_assert(
	    failures_allow(failures, source(1), FAILURE_BY_STRANGER, now));
}
END_TEST

START_TEST(a_token_struck_by_one_source_is_good_from_another)
{
	uint8_t bytes[TOKEN_SIZE];
	struct slice token = SLICE_OF(bytes);

	crypto_random(bytes, sizeof(bytes));
	for (int i = 0; i < 3; i++) {
		ck_assert(!failures_is_struck(failures, source(1), token, now));
		failures_strike(failures, source(1), token, now);
	}
	ck_assert(failures_is_struck(failures, source(1), token, now));
	ck_assert(!failures_is_struck(failures, source(2), token, now));
	ck_assert(!failures_is_struck(failures, NULL, token, now));
	now += 59 * CLOCK_SECOND;
	ck_assert(failures_is_struck(failures, source(1), token, now));
	now += CLOCK_SECOND;
	ck_assert(!failures_is_struck(failures, source(1), token, now));
	failures_strike(failures, source(1), token, now);
	ck_assert(!failures_is_struck(failures, source(1), token, now));
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("failures");

	crypto_init();
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, one_source_spends_its_share_and_no_more);
	tcase_add_test(tc, who_names_a_cached_key_is_not_stopped_by_strangers);
	tcase_add_test(tc,
	    failures_with_known_keys_leave_the_strangers_their_budget);
	tcase_add_test(tc, many_sources_make_the_limit_no_milder);
	tcase_add_test(tc, a_debt_is_paid_within_two_seconds);
	tcase_add_test(tc, a_token_struck_by_one_source_is_good_from_another);
	return suite_main(tc);
}
