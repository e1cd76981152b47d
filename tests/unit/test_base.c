#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/base/hex.h"
#include "lib/base/hist.h"
#include "lib/base/log.h"
#include "lib/base/secret_file.h"
#include "tests/support/suite.h"

START_TEST(a_buffer_refuses_to_grow_beyond_its_maximum)
{
	struct buf b;

	buf_init(&b, 1000);
	for (int i = 0; i < 300; i++)
		buf_add(&b, "abcd", 4);
	ck_assert(b.full);
	ck_assert_uint_eq(b.n, 1000);
	buf_add(&b, "", 0);
	ck_assert_uint_eq(b.n, 1000);
	ck_assert_uint_eq(strlen(buf_cstr(&b)), 1000);
	buf_clear(&b);
	buf_printf(&b, "%d-%s", 7, "x");
	ck_assert_str_eq(buf_cstr(&b), "7-x");
	buf_consume(&b, 2);
	ck_assert_str_eq(buf_cstr(&b), "x");
	buf_fini(&b);
}
END_TEST

START_TEST(consuming_a_buffer_moves_no_bytes_until_room_is_short)
{
	struct buf b;
	const uint8_t *at;
	uint8_t byte = 0;

	buf_init(&b, 4096);
	for (int i = 0; i < 256; i++)
		buf_add_byte(&b, (uint8_t)i);
	at = b.p;
	for (int i = 0; i < 200; i++) {
		buf_consume(&b, 1);
		ck_assert_ptr_eq(b.p, at + i + 1);
	}
	for (int i = 256; i < 256 + 4040; i++) /* as much as fits, and more */
		buf_add_byte(&b, (uint8_t)i);
	ck_assert(!b.full);
	ck_assert_uint_eq(b.n, 4096);
	buf_add_byte(&b, 0);
	ck_assert(b.full);
	for (int i = 200; i < 256 + 4040; i++, buf_consume(&b, 1)) {
		byte = b.p[0];
		ck_assert_uint_eq(byte, (uint8_t)i);
	}
	ck_assert_uint_eq(b.n, 0);
	buf_clear(&b);
	buf_add_str(&b, "again");
	ck_assert_str_eq(buf_cstr(&b), "again");
	buf_fini(&b);
}
END_TEST

START_TEST(an_arena_gives_distinct_aligned_memory)
{
	struct arena_pool pool;
	struct arena *a;

	arena_pool_init(&pool, 2);
	for (int round = 0; round < 3; round++) {
		char *last = NULL;

		a = arena_new_in(&pool);
		for (size_t n = 1; n < 20000; n = n * 3 + 1) {
			char *p = arena_alloc(a, n);

			ck_assert_uint_eq((uintptr_t)p % 16, 0);
			ck_assert_ptr_ne(p, last);
			memset(p, 0xff, n);
			last = p;
		}
		arena_free(a);
	}
	ck_assert_uint_le(pool.n, 2);
	arena_pool_fini(&pool);
}
END_TEST

/* Against the definition: sort and index. */
static int
by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

START_TEST(percentiles_are_right_within_their_resolution)
{
	static int64_t values[10000];
	struct hist *h = calloc(2, sizeof(*h));
	static const double percents[] = {1, 50, 90, 99, 99.9, 100};

	srandom(7);
	for (size_t i = 0; i < 10000; i++) {
		values[i] = random() % (1 << (i % 30 + 1));
		hist_add(&h[i % 2], values[i]);
	}
	qsort(values, 10000, sizeof(values[0]), by_value);
	hist_merge(&h[0], &h[1]);
	ck_assert_uint_eq(h[0].count, 10000);
	for (size_t i = 0; i < 6; i++) {
		size_t at = (size_t)(percents[i] * 100);
		double exact = (double)values[at > 0 ? at - 1 : 0];
		double got = (double)hist_percentile(&h[0], percents[i]);

		ck_assert(got >= exact && got <= exact * 1.02 + 1);
	}
	free(h);
}
END_TEST

START_TEST(base64_takes_both_alphabets)
{
	struct arena *a = arena_new_in(NULL);
	struct slice out;

	ck_assert(base64_decode(a, SLICE_LIT("_-8="), &out));
	ck_assert_uint_eq(out.n, 2);
	ck_assert_str_eq(base64_dup(a, out), "/+8=");
	ck_assert(base64_decode(a, SLICE_LIT("_-8"), &out));
	ck_assert(!base64_decode(a, SLICE_LIT("_-8*"), &out));
	ck_assert(!base64_decode(a, SLICE_LIT("a"), &out));
	arena_free(a);
}
END_TEST

START_TEST(a_peers_bytes_cannot_forge_a_log_line)
{
	char out[64];

	ck_assert_str_eq(log_escape(SLICE_LIT("a\nlevel=error"), out,
	                     sizeof(out)),
	    "a\\x0alevel=error");
	ck_assert_str_eq(log_escape(SLICE_LIT("\xff\xff\xff"), out, 10),
	    "\\xff\\xff");
}
END_TEST

/* Opening a FIFO that nobody writes to would wait for ever: the test ends by
 * its time-out then. */
START_TEST(a_secret_is_read_from_a_regular_file_of_its_owner)
{
	char dir[] = "/tmp/tam-test-XXXXXX", path[64], out[16];
	unsigned mode;
	size_t n;
	FILE *f;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/secret", dir);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	ck_assert_int_eq(secret_file_read(path, out, sizeof(out), &n, &mode),
	    SECRET_UNREADABLE);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(secret_file_read(dir, out, sizeof(out), &n, &mode),
	    SECRET_UNREADABLE);
	f = fopen(path, "w");
	ck_assert(f != NULL && fputs("key", f) > 0 && fclose(f) == 0);
	ck_assert_int_eq(chmod(path, 0604), 0);
	ck_assert_int_eq(secret_file_read(path, out, sizeof(out), &n, &mode),
	    SECRET_EXPOSED);
	ck_assert_int_eq(chmod(path, 0600), 0);
	ck_assert_int_eq(secret_file_read(path, out, sizeof(out), &n, &mode),
	    SECRET_READ);
	ck_assert_uint_eq(n, 3);
	(void)unlink(path);
	(void)rmdir(dir);
}
END_TEST

/* Limits and faults of ours that pass.  A peer can use up some of them, so an
 * agent must not take the answer for a receipt. */
static const enum tam_err ours[] = {TAM_TOKEN_AHEAD, TAM_TOKEN_BURNT,
    TAM_BUDGET_SPENT, TAM_NO_DATABASE, TAM_DATABASE_BUSY, TAM_DATABASE_ERROR,
    TAM_TIMED_OUT, TAM_NO_LEASE, TAM_VERIFIER_DOWN, TAM_HSM_DOWN, TAM_NO_KEY,
    TAM_OVERLOADED, TAM_STOPPING, TAM_BAD_FILE};

static bool
is_ours(enum tam_err err)
{
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
		if (ours[i] == err)
			return true;
	}
	return false;
}

START_TEST(every_error_says_what_a_device_concludes_from_the_answer)
{
	ck_assert_int_eq(tam_err_answer(TAM_OK), TAM_ANSWER_NONE);
	for (int i = TAM_OK + 1; i < TAM_ERR_COUNT; i++) {
		enum tam_err err = (enum tam_err)i;
		enum tam_answer wanted = is_ours(err) ? TAM_ANSWER_LATER
		    : err == TAM_TOO_LARGE || err == TAM_TOO_DEEP
		    ? TAM_ANSWER_REFUSE
		    : TAM_ANSWER_DROP;

		ck_assert_msg(tam_err_answer(err) == wanted, "%s",
		    tam_err_name(err));
		ck_assert_msg((tam_err_blame(err) == TAM_BLAME_OPERATOR) ==
		        is_ours(err),
		    "%s", tam_err_name(err));
	}
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("base");

	tcase_add_test(tc, a_buffer_refuses_to_grow_beyond_its_maximum);
	tcase_add_test(tc,
	    consuming_a_buffer_moves_no_bytes_until_room_is_short);
	tcase_add_test(tc, an_arena_gives_distinct_aligned_memory);
	tcase_add_test(tc, percentiles_are_right_within_their_resolution);
	tcase_add_test(tc, base64_takes_both_alphabets);
	tcase_add_test(tc, a_secret_is_read_from_a_regular_file_of_its_owner);
	tcase_add_test(tc, a_peers_bytes_cannot_forge_a_log_line);
	tcase_add_test(tc,
	    every_error_says_what_a_device_concludes_from_the_answer);
	return suite_main(tc);
}
