#include "config.h"

#include <stdlib.h>

#include <check.h>

#include "server/teep/token.h"
#include "tests/support/suite.h"

#define SECOND INT64_C(1000000)
#define NOW    (INT64_C(1800000000) * SECOND)

static struct token_keys keys;
static const struct token_scope scope = {77, 3};
static uint8_t bytes[TOKEN_SIZE];

static void
setup(void)
{
	uint8_t secret[MAC_KEY_SIZE] = {1};

	memset(&keys, 0, sizeof(keys));
	keys.n = 1;
	keys.keys[0].id = 5;
	keys.keys[0].mint_from_us = NOW - 100 * SECOND;
	keys.keys[0].retire_us = NOW + 1000000 * SECOND;
	crypto_mac_init(&keys.keys[0].mac, secret);
	keys.life_us[TOKEN_QUERY] = 14400 * SECOND;
	keys.life_us[TOKEN_CHALLENGE] = 600 * SECOND;
	keys.life_us[TOKEN_UPDATE] = 86400 * SECOND;
	keys.life_us[TOKEN_VERIFY] = 14400 * SECOND;
}

static void
mint(enum token_kind kind)
{
	struct token t = {.kind = kind,
	    .items = 2,
	    .hop = 1,
	    .wire_id = 9,
	    .epoch = 42};

	ck_assert_int_eq(token_mint(&keys, scope, &t, NOW, bytes), TAM_OK);
}

START_TEST(says_what_was_put_into_it)
{
	struct token t;

	mint(TOKEN_QUERY);
	ck_assert_int_eq(token_check(&keys, scope, SLICE_OF(bytes), NOW, &t),
	    TAM_OK);
	ck_assert_int_eq(t.kind, TOKEN_QUERY);
	ck_assert_uint_eq(t.items, 2);
	ck_assert_uint_eq(t.hop, 1);
	ck_assert_uint_eq(t.wire_id, 9);
	ck_assert_int_eq(t.epoch, 42);
	ck_assert_int_eq(t.issued_us, NOW);
}
END_TEST

START_TEST(carries_the_id_of_its_update)
{
	struct token t = {.epoch = 1};

	ck_assert_int_eq(token_mint_update(&keys, scope, &t,
	                     INT64_C(0x123456789abcdef0), NOW, bytes),
	    TAM_OK);
	ck_assert_int_eq(token_check(&keys, scope, SLICE_OF(bytes), NOW, &t),
	    TAM_OK);
	ck_assert_int_eq(t.kind, TOKEN_UPDATE);
	ck_assert_int_eq(token_update_id(&t), INT64_C(0x123456789abcdef0));
}
END_TEST

START_TEST(notices_every_flipped_bit)
{
	struct token t;

	mint(TOKEN_QUERY);
	for (unsigned bit = 0; bit < 8 * TOKEN_SIZE; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		ck_assert_int_ne(token_check(&keys, scope, SLICE_OF(bytes), NOW,
		                     &t),
		    TAM_OK);
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}
END_TEST

START_TEST(is_nothing_in_another_domain_or_incarnation)
{
	struct token t;

	mint(TOKEN_QUERY);
	ck_assert_int_eq(token_check(&keys, (struct token_scope){77, 4},
	                     SLICE_OF(bytes), NOW, &t),
	    TAM_TOKEN_FORGED);
	ck_assert_int_eq(token_check(&keys, (struct token_scope){78, 3},
	                     SLICE_OF(bytes), NOW, &t),
	    TAM_TOKEN_FORGED);
}
END_TEST

static const struct {
	enum token_kind kind;
	int64_t age_s;
	enum tam_err err;
} ages[] = {
    {TOKEN_QUERY, 14400, TAM_OK},
    {TOKEN_QUERY, 14401, TAM_TOKEN_EXPIRED},
    {TOKEN_CHALLENGE, 600, TAM_OK},
    {TOKEN_CHALLENGE, 601, TAM_TOKEN_EXPIRED},
    {TOKEN_UPDATE, 86400, TAM_OK},
    {TOKEN_UPDATE, 86401, TAM_TOKEN_EXPIRED},
    {TOKEN_QUERY, -2, TAM_OK},
    {TOKEN_QUERY, -3, TAM_TOKEN_AHEAD},
};

START_TEST(has_the_life_of_its_kind)
{
	struct token t;

	mint(ages[_i].kind);
	ck_assert_int_eq(token_check(&keys, scope, SLICE_OF(bytes),
	                     NOW + ages[_i].age_s * SECOND, &t),
	    ages[_i].err);
}
END_TEST

/* A new key mints only when every node had time to learn it. */
START_TEST(a_key_mints_from_its_time_on_and_verifies_after_it)
{
	struct token t = {.kind = TOKEN_QUERY};
	uint8_t secret[MAC_KEY_SIZE] = {2};

	keys.n = 2;
	keys.keys[1] = keys.keys[0];
	keys.keys[1].id = 6;
	keys.keys[1].mint_from_us = NOW + 10 * SECOND;
	crypto_mac_init(&keys.keys[1].mac, secret);
	mint(TOKEN_QUERY);
	ck_assert_uint_eq(bytes[0] & 15, 5);
	ck_assert_int_eq(token_mint(&keys, scope, &t, NOW + 10 * SECOND, bytes),
	    TAM_OK);
	ck_assert_uint_eq(bytes[0] & 15, 6);
	keys.n = 0;
	ck_assert_int_eq(token_mint(&keys, scope, &t, NOW, bytes), TAM_NO_KEY);
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("token");

	crypto_init();
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, says_what_was_put_into_it);
	tcase_add_test(tc, carries_the_id_of_its_update);
	tcase_add_test(tc, notices_every_flipped_bit);
	tcase_add_test(tc, is_nothing_in_another_domain_or_incarnation);
	tcase_add_loop_test(tc, has_the_life_of_its_kind, 0,
	    (int)(sizeof(ages) / sizeof(ages[0])));
	tcase_add_test(tc, a_key_mints_from_its_time_on_and_verifies_after_it);
	return suite_main(tc);
}
