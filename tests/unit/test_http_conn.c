#include "config.h"

#include <stdlib.h>
#include <unistd.h>

#include <check.h>

#include "lib/base/clock.h"
#include "server/http/http2.h"
#include "tests/support/suite.h"
#include "tests/support/wire.h"

/*
 * What a connection may cost: a server of this process, and bytes written by
 * hand.  RFC numbers name the sections of RFC 9113 unless they say otherwise.
 */

enum {
	ENHANCE_YOUR_CALM = 0xb, /* 7 */
	CANCEL = 0x8,
	NO_ERROR = 0x0
};

static struct wire w;

static void
open_wire(void)
{
	wire_open(&w, WIRE_BIG);
}

static void
close_wire(void)
{
	wire_close(&w);
	ck_assert_uint_eq(w.server.account.held, 0);
	ck_assert_uint_eq(atomic_load(&w.pool.lent), 0);
}

static uint64_t
counted(enum counter c)
{
	return atomic_load(&w.counters.counts[c]);
}

static bool
is_alone(struct wire *wire, void *arg)
{
	(void)arg;
	return wire->server.n_conns == 0;
}

static size_t
held(void)
{
	return w.server.account.held;
}

static bool
is_whole(struct wire *wire, void *arg)
{
	size_t *want = arg;

	return wire->got.n >= *want;
}

/* The last GOAWAY's error code (6.8). */
static uint32_t
goaway(void)
{
	uint32_t code = UINT32_MAX;

	(void)wire_count(&w, WIRE_GOAWAY, 0, 4, &code);
	return code;
}

/* --- answers ----------------------------------------------------------------------- */

START_TEST(a_hundred_answers_that_nobody_takes_hold_one_copy)
{
	struct http_conn *c = wire_connect(&w, &http2_proto, 1);

	wire_greet(&w, 0); /* 6.9.2: no window for any stream */
	for (uint32_t i = 0; i < 100; i++)
		wire_request(&w, 2 * i + 1, "GET", "/big", true);
	wire_turn(&w, true);
	ck_assert_uint_eq(wire_count(&w, WIRE_HEADERS, UINT32_MAX, 0, NULL),
	    100);
	ck_assert_uint_eq(w.big->refs, 101);
	ck_assert_uint_lt(held(), 1200 << 10);
	ck_assert_uint_eq(c->held, held());
	(void)close(w.fd);
	w.fd = -1;
	ck_assert(wire_until(&w, false, is_alone, NULL));
	ck_assert_uint_eq(w.big->refs, 1);
}
END_TEST

START_TEST(a_body_that_is_not_shared_is_charged_before_it_is_copied)
{
	static const char get[] = "GET /copy HTTP/1.1\r\nHost: a\r\n\r\n";
	size_t before, want = WIRE_BIG;

	(void)wire_connect(&w, NULL, 1);
	wire_turn(&w, false);
	before = held();
	wire_send(&w, get, sizeof(get) - 1);
	wire_turn(&w, false);
	ck_assert_uint_ge(held(), before + WIRE_BIG);
	ck_assert(wire_until(&w, true, is_whole, &want));
	ck_assert_uint_lt(held(), before + (8 << 10));
	/* The share is not enough: 503, and no copy. */
	w.limits.connection_share = 64 << 10;
	buf_clear(&w.got);
	wire_send(&w, get, sizeof(get) - 1);
	wire_turn(&w, true);
	ck_assert_ptr_nonnull(strstr(buf_cstr(&w.got), "HTTP/1.1 503 "));
	ck_assert_ptr_nonnull(strstr(buf_cstr(&w.got), "retry-after: 5\r\n"));
}
END_TEST

static bool
is_cancelled(struct wire *wire, void *arg)
{
	uint32_t *stream = arg, code = 0;

	return wire_count(wire, WIRE_RST_STREAM, *stream, 0, &code) == 1 &&
	    code == CANCEL;
}

/* A stream without window: its peer takes nothing. */
START_TEST(a_stream_whose_peer_takes_nothing_is_reset_and_then_the_connection)
{
	uint32_t stream = 1;

	w.limits.send_progress_ms = 50;
	(void)wire_connect(&w, &http2_proto, 1);
	wire_greet(&w, 0);
	wire_request(&w, 1, "GET", "/big", true);
	ck_assert(wire_until(&w, true, is_cancelled, &stream));
	ck_assert_uint_eq(w.big->refs, 1);
	for (uint32_t i = 1; i < 100; i++)
		wire_request(&w, 2 * i + 1, "GET", "/big", true);
	ck_assert(wire_until(&w, true, is_alone, NULL));
	ck_assert_uint_eq(w.big->refs, 1);
	ck_assert_uint_eq(goaway(), ENHANCE_YOUR_CALM);
	ck_assert_uint_ge(counted(COUNTER_send_timeouts), 8);
	ck_assert_uint_eq(held(), 0);
}
END_TEST

static struct stream *
first_stream(struct http_conn *c)
{
	return TAILQ_FIRST(&h2_of(c)->streams);
}

/* Time is an argument here: nothing depends on the machine. */
START_TEST(only_its_own_progress_moves_the_deadline_of_a_stream)
{
	struct http_conn *c = wire_connect(&w, &http2_proto, 1);
	struct stream *s;
	int64_t at;

	wire_greet(&w, 0);
	wire_request(&w, 1, "GET", "/big", true);
	wire_turn(&w, true);
	s = first_stream(c);
	at = stream_deadline(c, s);
	ck_assert_int_eq(at, s->mark_us + 20 * CLOCK_SECOND);
	/* Another stream comes and goes. */
	wire_request(&w, 3, "POST", "/echo", true);
	wire_request(&w, 5, "POST", "/echo", false);
	wire_frame32(&w, WIRE_RST_STREAM, 5, CANCEL);
	wire_frame(&w, WIRE_PING, 0, 0, "abcdefgh", 8);
	wire_turn(&w, true);
	ck_assert_int_eq(stream_deadline(c, s), at);
	/* It takes some: the deadline moves. */
	wire_frame32(&w, WIRE_WINDOW_UPDATE, 1, 1024);
	wire_turn(&w, true);
	stream_judge(c, s, at);
	ck_assert(!s->given_up);
	ck_assert_int_eq(stream_deadline(c, s), at + 20 * CLOCK_SECOND);
	/* A trickle is not progress. */
	wire_frame32(&w, WIRE_WINDOW_UPDATE, 1, 1000);
	wire_turn(&w, true);
	stream_judge(c, s, at + 20 * CLOCK_SECOND);
	ck_assert(s->given_up);
}
END_TEST

START_TEST(a_stream_waits_for_others_of_its_connection_that_get_on)
{
	struct http_conn *c = wire_connect(&w, &http2_proto, 1);
	struct stream *s;

	wire_greet(&w, 1 << 20);
	/* The window of the connection (6.9.2) is shared by two answers. */
	wire_request(&w, 1, "GET", "/big", true);
	wire_request(&w, 3, "GET", "/big", true);
	wire_turn(&w, true);
	s = first_stream(c);
	s->mark_sent = s->reply_sent;
	s->mark_total = h2_of(c)->sent - 2048;
	stream_judge(c, s, s->mark_us + 20 * CLOCK_SECOND);
	ck_assert(!s->given_up);
	s->mark_total = h2_of(c)->sent;
	stream_judge(c, s, s->mark_us + 20 * CLOCK_SECOND);
	ck_assert(s->given_up);
}
END_TEST

static const char *const gets[] = {
    "GET /big HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
};

START_TEST(an_http1_answer_that_nobody_takes_ends_the_connection)
{
	w.limits.send_progress_ms = 50;
	(void)wire_connect(&w, NULL, 1);
	wire_send(&w, gets[_i], strlen(gets[_i]));
	wire_turn(&w, false);
	ck_assert_uint_eq(w.big->refs, 2);
	ck_assert(wire_until(&w, false, is_alone, NULL));
	ck_assert_uint_eq(w.big->refs, 1);
	ck_assert_uint_eq(counted(COUNTER_send_timeouts), 1);
}
END_TEST

START_TEST(a_large_answer_is_whole_and_the_next_request_is_answered)
{
	size_t want = (size_t)2 * WIRE_BIG;

	(void)wire_connect(&w, NULL, 1);
	wire_send(&w, gets[0], strlen(gets[0]));
	wire_send(&w, gets[1], strlen(gets[1])); /* pipelined */
	wire_turn(&w, false);
	ck_assert_uint_eq(w.big->refs, 2); /* one at a time */
	ck_assert(wire_until(&w, true, is_whole, &want));
	ck_assert(wire_until(&w, true, is_alone, NULL) || w.fd >= 0);
	ck_assert_uint_eq(counted(COUNTER_responses_2xx), 2);
}
END_TEST

START_TEST(pipelined_answers_that_nobody_takes_do_not_pile_up)
{
	static const char post[] =
	    "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 8000\r\n\r\n";
	static char body[8000];
	struct http_conn *c = wire_connect(&w, NULL, 1);

	for (int i = 0; i < 1000; i++) {
		wire_send(&w, post, sizeof(post) - 1);
		wire_send(&w, body, sizeof(body));
	}
	wire_turn(&w, false);
	ck_assert_uint_lt(w.n_served, 200); /* what the kernel took, and us */
	ck_assert(!c->reading);
	ck_assert_uint_lt(held(), 256 << 10);
}
END_TEST

START_TEST(pipelined_requests_are_answered_however_many_fit_into_a_packet)
{
	static const char get[] = "GET /page HTTP/1.1\r\nHost: a\r\n\r\n";
	size_t want = (size_t)200 * HTTP_COPY_MAX;

	(void)wire_connect(&w, NULL, 1);
	for (int i = 0; i < 200; i++)
		wire_send(&w, get, sizeof(get) - 1);
	ck_assert(wire_until(&w, true, is_whole, &want));
	ck_assert_uint_eq(counted(COUNTER_responses_2xx), 200);
	ck_assert_uint_eq(w.server.n_conns, 1);
}
END_TEST

/* The node stops: a peer that does not read is not waited for as long as it
 * would be otherwise (here ten minutes). */
START_TEST(a_stuck_reader_does_not_hold_up_the_end)
{
	w.limits.send_progress_ms = 600000;
	w.limits.request_time_ms = 600000;
	(void)wire_connect(&w, _i == 0 ? NULL : &http2_proto, 1);
	if (_i == 0) {
		wire_send(&w, gets[1], strlen(gets[1]));
	} else {
		wire_greet(&w, 0);
		wire_request(&w, 1, "GET", "/big", true);
		wire_request(&w, 3, "POST", "/echo", false);
	}
	wire_turn(&w, false);
	http_server_drain(&w.server);
	http_server_close_idle(&w.server);
	ck_assert(wire_until(&w, _i == 1, is_alone, NULL));
}
END_TEST

/* --- requests -------------------------------------------------------------------------- */

static bool
is_reset(struct wire *wire, void *arg)
{
	uint32_t *stream = arg;

	/* Other work goes on all the time. */
	stream[1] += 2;
	wire_request(wire, stream[1], "POST", "/echo", true);
	return is_cancelled(wire, &stream[0]);
}

START_TEST(a_body_that_never_comes_is_given_up_whatever_else_goes_on)
{
	uint32_t stream[2] = {1, 1};

	w.limits.request_time_ms = 100;
	(void)wire_connect(&w, &http2_proto, 1);
	wire_greet(&w, 65535);
	wire_request(&w, 1, "POST", "/echo", false);
	ck_assert(wire_until(&w, true, is_reset, stream));
	ck_assert_uint_eq(counted(COUNTER_http_timeouts), 1);
	ck_assert_uint_eq(counted(COUNTER_http2_abuse), 0);
}
END_TEST

START_TEST(a_header_block_that_never_ends_ends_the_connection)
{
	static const uint8_t half[] = {0x82, 0x86}; /* RFC 7541, appendix A */

	w.limits.request_time_ms = 50;
	(void)wire_connect(&w, &http2_proto, 1);
	wire_greet(&w, 65535);
	wire_frame(&w, WIRE_HEADERS, 0, 1, half, sizeof(half));
	ck_assert(wire_until(&w, true, is_alone, NULL));
}
END_TEST

START_TEST(a_peer_that_says_nothing_after_the_handshake_is_not_kept)
{
	w.limits.request_time_ms = 50;
	(void)wire_connect(&w, &http2_proto, 1);
	ck_assert(wire_until(&w, true, is_alone, NULL));
}
END_TEST

static bool
has_no_stream(struct wire *wire, void *arg)
{
	(void)wire;
	return first_stream(arg) == NULL;
}

START_TEST(what_is_refused_is_answered_at_once_and_frees_its_place)
{
	struct http_conn *c = wire_connect(&w, &http2_proto, 1);
	uint32_t code = UINT32_MAX;

	wire_greet(&w, 65535);
	wire_request(&w, 1, "POST", "/nothing", false);
	wire_turn(&w, true);
	/* 8.1: the answer, and a moment later RST_STREAM with NO_ERROR. */
	ck_assert_uint_eq(wire_count(&w, WIRE_HEADERS, 1, 0, NULL), 1);
	ck_assert_uint_eq(wire_count(&w, WIRE_RST_STREAM, 1, 0, NULL), 0);
	ck_assert(wire_until(&w, true, has_no_stream, c));
	wire_turn(&w, true);
	ck_assert_uint_eq(wire_count(&w, WIRE_RST_STREAM, 1, 0, &code), 1);
	ck_assert_uint_eq(code, NO_ERROR);
	/* Whole already: no reset. */
	wire_request(&w, 3, "POST", "/nothing", true);
	wire_turn(&w, true);
	ck_assert_uint_eq(wire_count(&w, WIRE_HEADERS, 3, 0, NULL), 1);
	ck_assert_uint_eq(wire_count(&w, WIRE_RST_STREAM, 3, 0, NULL), 0);
	ck_assert_ptr_null(first_stream(c));
	ck_assert_uint_le(held(), 4 << 10);
}
END_TEST

static void
open_unfinished(uint32_t from, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		wire_request(&w, from + 2 * i, "POST", "/echo", false);
	wire_turn(&w, true);
}

START_TEST(unfinished_requests_take_the_share_of_their_connection_only)
{
	struct http_conn *c = wire_connect(&w, &http2_proto, 1);
	int fd;

	w.limits.connection_share = 512 << 10;
	wire_greet(&w, 65535);
	open_unfinished(1, 100);
	ck_assert_uint_le(c->held, 512 << 10);
	ck_assert_uint_gt(counted(COUNTER_requests_limited), 0);
	ck_assert_uint_eq(counted(COUNTER_requests_limited) +
	        w.server.n_exchanges,
	    100);
	/* The refused ones were answered with 429 and reset. */
	ck_assert_uint_eq(wire_count(&w, WIRE_RST_STREAM, UINT32_MAX, 0, NULL),
	    counted(COUNTER_requests_limited));
	fd = w.fd;
	(void)wire_connect(&w, &http2_proto, 1);
	wire_greet(&w, 65535);
	wire_request(&w, 1, "POST", "/echo", true);
	wire_turn(&w, true);
	ck_assert_uint_eq(w.n_served, 1);
	(void)close(fd);
}
END_TEST

START_TEST(unfinished_requests_take_the_share_of_their_source_only)
{
	int fds[8];

	w.limits.connection_share = 1 << 20;
	w.limits.source_share = 2 << 20;
	for (int i = 0; i < 8; i++) {
		(void)wire_connect(&w, &http2_proto, 1);
		fds[i] = w.fd;
		wire_greet(&w, 65535);
		open_unfinished(1, 99);
	}
	ck_assert_uint_le(held(), 2 << 20);
	ck_assert_uint_gt(counted(COUNTER_requests_limited), 0);
	ck_assert_uint_eq(counted(COUNTER_requests_shed), 0);
	(void)wire_connect(&w, &http2_proto, 2);
	wire_greet(&w, 65535);
	wire_request(&w, 1, "POST", "/echo", true);
	wire_turn(&w, true);
	ck_assert_uint_eq(w.n_served, 1);
	for (int i = 0; i < 8; i++)
		(void)close(fds[i]);
}
END_TEST

START_TEST(when_the_budget_is_spent_a_request_is_told_to_come_again)
{
	static const char post[] =
	    "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
	int fd;

	w.pool.max = 256 << 10;
	(void)wire_connect(&w, &http2_proto, 1);
	wire_greet(&w, 65535);
	open_unfinished(1, 100);
	ck_assert_uint_le(held(), 256 << 10);
	ck_assert_uint_gt(counted(COUNTER_requests_shed), 0);
	ck_assert_uint_gt(counted(COUNTER_responses_5xx), 0);
	fd = w.fd;
	(void)wire_connect(&w, NULL, 2);
	wire_send(&w, post, sizeof(post) - 1);
	wire_turn(&w, true);
	ck_assert_ptr_nonnull(strstr(buf_cstr(&w.got), "HTTP/1.1 503 "));
	ck_assert_ptr_nonnull(strstr(buf_cstr(&w.got), "retry-after: 5\r\n"));
	/* It is over when what was held is gone. */
	(void)close(fd);
	wire_turn(&w, false);
	(void)wire_connect(&w, NULL, 2);
	wire_send(&w, post, sizeof(post) - 1);
	wire_turn(&w, true);
	ck_assert_ptr_nonnull(strstr(buf_cstr(&w.got), "HTTP/1.1 200 "));
}
END_TEST

START_TEST(a_body_is_charged_as_it_arrives)
{
	static const char body[16384];
	struct http_conn *c = wire_connect(&w, &http2_proto, 1);
	size_t before;

	wire_greet(&w, 65535);
	wire_request(&w, 1, "POST", "/echo", false);
	wire_turn(&w, true);
	before = c->held;
	for (int i = 0; i < 4; i++)
		wire_frame(&w, WIRE_DATA, 0, 1, body, sizeof(body));
	wire_turn(&w, true);
	ck_assert_uint_ge(c->held, before + sizeof(body) * 4);
	wire_frame(&w, WIRE_DATA, WIRE_END_STREAM, 1, "", 0);
	wire_turn(&w, true);
	wire_turn(&w, true);
	wire_frame32(&w, WIRE_WINDOW_UPDATE, 0, 1 << 20);
	wire_frame32(&w, WIRE_WINDOW_UPDATE, 1, 1 << 20);
	wire_turn(&w, true);
	wire_turn(&w, true);
	ck_assert_uint_le(c->held, 4 << 10);
	ck_assert_uint_eq(w.n_served, 1);
}
END_TEST

START_TEST(what_a_waiting_handler_holds_is_charged)
{
	static const char body[16384];
	struct http_conn *c = wire_connect(&w, &http2_proto, 1);
	size_t before;

	wire_greet(&w, 65535);
	wire_request(&w, 1, "POST", "/park", false);
	wire_frame(&w, WIRE_DATA, 0, 1, body, sizeof(body));
	wire_turn(&w, true);
	before = c->held;
	wire_frame(&w, WIRE_DATA, WIRE_END_STREAM, 1, "", 0);
	wire_turn(&w, true);
	ck_assert_uint_eq(w.n_parked, 1);
	ck_assert_uint_ge(c->held, before + sizeof(body) - (2 << 10));
	http_answer_status(w.parked[0], 204);
	wire_turn(&w, true);
	ck_assert_uint_le(c->held, 4 << 10);
}
END_TEST

START_TEST(a_source_does_not_take_all_connections)
{
	struct http_trusted trusted;
	int fds[8];

	w.limits.source_connections_max = 2;
	ck_assert(http_trusted_parse("127.0.0.9", &trusted));
	w.limits.trusted = &trusted;
	for (int i = 0; i < 4; i++) {
		(void)wire_connect(&w, NULL, 1);
		fds[i] = w.fd;
	}
	ck_assert_uint_eq(w.server.n_conns, 2);
	ck_assert_uint_eq(counted(COUNTER_connections_refused), 2);
	(void)wire_connect(&w, NULL, 2);
	ck_assert_uint_eq(w.server.n_conns, 3);
	for (int i = 4; i < 8; i++) {
		fds[i] = w.fd;
		(void)wire_connect(&w, NULL, 9);
	}
	ck_assert_uint_eq(w.server.n_conns, 7);
	for (int i = 0; i < 8; i++)
		(void)close(fds[i]);
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("http_conn");

	tcase_add_checked_fixture(tc, open_wire, close_wire);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, a_hundred_answers_that_nobody_takes_hold_one_copy);
	tcase_add_test(tc,
	    a_body_that_is_not_shared_is_charged_before_it_is_copied);
	tcase_add_test(tc,
	    a_stream_whose_peer_takes_nothing_is_reset_and_then_the_connection);
	tcase_add_test(tc,
	    only_its_own_progress_moves_the_deadline_of_a_stream);
	tcase_add_test(tc,
	    a_stream_waits_for_others_of_its_connection_that_get_on);
	LOOP(tc, an_http1_answer_that_nobody_takes_ends_the_connection, gets);
	tcase_add_test(tc,
	    a_large_answer_is_whole_and_the_next_request_is_answered);
	tcase_add_test(tc, pipelined_answers_that_nobody_takes_do_not_pile_up);
	tcase_add_test(tc,
	    pipelined_requests_are_answered_however_many_fit_into_a_packet);
	tcase_add_loop_test(tc, a_stuck_reader_does_not_hold_up_the_end, 0, 2);
	tcase_add_test(tc,
	    a_body_that_never_comes_is_given_up_whatever_else_goes_on);
	tcase_add_test(tc, a_header_block_that_never_ends_ends_the_connection);
	tcase_add_test(tc,
	    a_peer_that_says_nothing_after_the_handshake_is_not_kept);
	tcase_add_test(tc,
	    what_is_refused_is_answered_at_once_and_frees_its_place);
	tcase_add_test(tc,
	    unfinished_requests_take_the_share_of_their_connection_only);
	tcase_add_test(tc,
	    unfinished_requests_take_the_share_of_their_source_only);
	tcase_add_test(tc,
	    when_the_budget_is_spent_a_request_is_told_to_come_again);
	tcase_add_test(tc, a_body_is_charged_as_it_arrives);
	tcase_add_test(tc, what_a_waiting_handler_holds_is_charged);
	tcase_add_test(tc, a_source_does_not_take_all_connections);
	return suite_main(tc);
}
