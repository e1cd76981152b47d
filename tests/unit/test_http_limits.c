#include "config.h"

#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <check.h>

#include "lib/base/clock.h"
#include "server/http/http2.h"
#include "tests/support/suite.h"
#include "tests/support/wire.h"

/*
 * What a stranger may make a listener do: frames and header blocks that come
 * to nothing, sources, and the limits of the machine.  RFC numbers name the
 * sections of RFC 9113 unless they say otherwise.
 */

enum {
	ENHANCE_YOUR_CALM = 0xb, /* 7 */
	STREAM_CLOSED = 5,
	CANCEL = 0x8,
	PEERS = 400
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

/* The last GOAWAY's error code (6.8). */
static uint32_t
goaway(void)
{
	uint32_t code = UINT32_MAX;

	(void)wire_count(&w, WIRE_GOAWAY, 0, 4, &code);
	return code;
}

static struct stream *
first_stream(struct http_conn *c)
{
	return TAILQ_FIRST(&h2_of(c)->streams);
}

/* --- work that comes to nothing ------------------------------------------------------ */

/* RFC 7541: an entry of 4,000 bytes in the dynamic table (6.2.1), then
 * thousands of references to it (6.1), one byte each. */
START_TEST(a_header_bomb_is_not_decoded_to_its_end)
{
	struct http_conn *c = wire_connect(&w, &http2_proto, 1);
	uint8_t block[16384] = {0x82, 0x84, 0x87, 0x40, 1, 'x', 0x7f};
	size_t n = 7;

	wire_greet(&w, 65535);
	/* 5.1: a length of 4000 is 127, then 3873 in groups of seven bits. */
	block[n++] = (3873 & 0x7f) | 0x80;
	block[n++] = 3873 >> 7;
	memset(block + n, 'a', 4000);
	n += 4000;
	memset(block + n, 0xbe, sizeof(block) - n); /* index 62 */
	wire_frame(&w, WIRE_HEADERS, WIRE_END_HEADERS | WIRE_END_STREAM, 1,
	    block, sizeof(block));
	wire_turn(&w, false);
	ck_assert(c->state >= CONN_FLUSHING);
	ck_assert_uint_lt(h2_of(c)->block_bytes, 512 << 10);
	ck_assert_uint_eq(counted(COUNTER_http2_abuse), 1);
	wire_turn(&w, true);
	ck_assert_uint_eq(goaway(), ENHANCE_YOUR_CALM);
}
END_TEST

/* Frames that a peer may repeat without end; the RFC knows no answer but
 * ENHANCE_YOUR_CALM (10.5). */
static const struct {
	const char *what;
	uint8_t type, flags;
	uint32_t stream; /* 1 is open, 3 was closed, 0 the connection */
	const char *payload;
	size_t n;
} floods[] = {
    {"WINDOW_UPDATE", WIRE_WINDOW_UPDATE, 0, 0, "\0\0\0\1", 4},
    {"WINDOW_UPDATE of a stream", WIRE_WINDOW_UPDATE, 0, 1, "\0\0\0\1", 4},
    {"PING", WIRE_PING, 0, 0, "abcdefgh", 8},
    {"PING, acknowledged", WIRE_PING, WIRE_ACK, 0, "abcdefgh", 8},
    {"SETTINGS", WIRE_SETTINGS, 0, 0, "", 0},
    {"PRIORITY", WIRE_PRIORITY, 0, 5, "\0\0\0\0\1", 5},
    {"RST_STREAM of a closed stream", WIRE_RST_STREAM, 0, 3, "\0\0\0\10", 4},
    {"an unknown frame", 0xfa, 0, 0, "x", 1},
    {"ORIGIN, empty", 0x0c, 0, 0, "", 0},
    {"DATA, empty", WIRE_DATA, 0, 1, "", 0},
    {"DATA of a byte", WIRE_DATA, 0, 1, "x", 1},
};

START_TEST(a_flood_of_frames_ends_the_connection)
{
	(void)wire_connect(&w, &http2_proto, 1);
	wire_greet(&w, 65535);
	wire_request(&w, 3, "POST", "/echo", true);
	wire_request(&w, 5, "POST", "/park", false);
	w.limits.connection_share = 1 << 20;
	if (floods[_i].stream == 1) { /* 5.1.1: numbers only grow */
		close_wire();
		open_wire();
		(void)wire_connect(&w, &http2_proto, 1);
		wire_greet(&w, 65535);
		wire_request(&w, 1, "POST", "/park", false);
	}
	wire_turn(&w, true);
	for (int i = 0; i < 20000 && counted(COUNTER_http2_abuse) == 0; i++) {
		wire_frame(&w, floods[_i].type, floods[_i].flags,
		    floods[_i].stream, floods[_i].payload, floods[_i].n);
		if (i % 100 == 0)
			wire_turn(&w, true);
		if (w.server.n_conns == 0)
			break;
	}
	wire_turn(&w, true);
	ck_assert_msg(counted(COUNTER_http2_abuse) == 1, "%s", floods[_i].what);
	ck_assert_msg(goaway() == ENHANCE_YOUR_CALM, "%s: %u", floods[_i].what,
	    goaway());
}
END_TEST

/* RFC 9113, 5.1: more of a stream that the peer ended.  Of the last ones it is
 * known; of those before, frames are ignored, and an idle connection grows by
 * nothing. */
static const struct {
	uint8_t type, flags;
	uint32_t stream;
	bool error;
} late[] = {
    {WIRE_DATA, 0, 1, false},
    {WIRE_DATA, 0, 41, true},
    {WIRE_DATA, WIRE_END_STREAM, 41, true},
    {WIRE_HEADERS, WIRE_END_HEADERS | WIRE_END_STREAM, 41, true},
    {WIRE_HEADERS, WIRE_END_HEADERS | WIRE_END_STREAM, 11, true},
    {WIRE_PRIORITY, 0, 41, false},
    {WIRE_WINDOW_UPDATE, 0, 41, false},
    {WIRE_RST_STREAM, 0, 41, false},
};

START_TEST(a_frame_of_a_stream_that_the_peer_ended_is_an_error)
{
	static const char payload[] = "\0\0\0\1\1";
	size_t n = late[_i].type == WIRE_PRIORITY ? 5 : 4;

	(void)wire_connect(&w, &http2_proto, 1);
	wire_greet(&w, 65535);
	for (uint32_t id = 1; id <= 41; id += 2) {
		wire_request(&w, id, "POST", "/echo", true);
		wire_turn(&w, true);
	}
	wire_frame(&w, late[_i].type, late[_i].flags, late[_i].stream, payload,
	    n);
	wire_turn(&w, true);
	ck_assert_uint_eq(goaway(),
	    late[_i].error ? STREAM_CLOSED : UINT32_MAX);
}
END_TEST

/* Beyond the limits there are places for health, of which the oldest goes. */
START_TEST(reserved_places_serve_reserved_routes_and_the_newest)
{
	struct http_route health = {.path = "/livez", .reserved = true};
	struct http_conn *c;

	w.limits.connections_max = 3;
	w.limits.source_connections_max = 2;
	w.limits.reserved_max = 2;
	for (uint8_t i = 0; i < 3;
	     i++) { /* two of one source, one of another */
		c = wire_connect(&w, &http1_proto, i < 2 ? 1 : 2);
		ck_assert(!c->reserved);
		ck_assert_int_eq(conn_admit(c, &w.routes[0]), 0);
	}
	for (int i = 0; i < 10; i++) {
		c = wire_connect(&w, &http1_proto, i % 2 == 0 ? 1 : 3);
		ck_assert(c->reserved);
		ck_assert_int_eq(conn_admit(c, &w.routes[0]), 503);
		ck_assert_int_eq(conn_admit(c, &health), 0);
		ck_assert_uint_le(w.server.n_conns, 5);
		wire_turn(&w, true);
	}
	ck_assert_uint_eq(w.server.n_reserved, 2);
	ck_assert_uint_eq(counted(COUNTER_connections_shed), 8);
}
END_TEST

START_TEST(a_flood_of_continuations_ends_the_connection)
{
	(void)wire_connect(&w, &http2_proto, 1);
	wire_greet(&w, 65535);
	wire_frame(&w, WIRE_HEADERS, 0, 1, "\x82", 1);
	for (int i = 0; i < 20000 && w.server.n_conns > 0 &&
	     counted(COUNTER_http2_abuse) == 0;
	     i++) {
		wire_frame(&w, WIRE_CONTINUATION, 0, 1, "", 0);
		if (i % 100 == 0)
			wire_turn(&w, true);
	}
	wire_turn(&w, true);
	ck_assert_uint_ne(goaway(), UINT32_MAX);
}
END_TEST

START_TEST(requests_that_are_reset_at_once_end_the_connection)
{
	(void)wire_connect(&w, &http2_proto, 1); /* CVE-2023-44487 */
	wire_greet(&w, 65535);
	for (uint32_t i = 0; i < 20000 && w.server.n_conns > 0 &&
	     counted(COUNTER_http2_abuse) == 0;
	     i++) {
		wire_request(&w, 2 * i + 1, "POST", "/park", true);
		wire_frame32(&w, WIRE_RST_STREAM, 2 * i + 1, CANCEL);
		if (i % 10 == 0)
			wire_turn(&w, true);
	}
	wire_turn(&w, true);
	ck_assert_uint_ne(goaway(), UINT32_MAX);
}
END_TEST

START_TEST(an_honest_peer_may_ask_for_ever)
{
	static const char body[300];
	struct http_conn *c = wire_connect(&w, &http2_proto, 1);

	wire_greet(&w, 65535);
	for (uint32_t i = 0; i < 3000; i++) {
		uint32_t id = 2 * i + 1;

		wire_request(&w, id, "POST", "/echo", false);
		wire_frame(&w, WIRE_DATA, 0, id, body, sizeof(body));
		wire_frame(&w, WIRE_DATA, WIRE_END_STREAM, id, "", 0);
		wire_turn(&w, true);
		buf_clear(&w.got);
		wire_frame32(&w, WIRE_WINDOW_UPDATE, 0, sizeof(body));
	}
	wire_turn(&w, true);
	ck_assert_uint_eq(w.n_served, 3000);
	ck_assert(c->state == CONN_OPEN);
	ck_assert_uint_eq(counted(COUNTER_http2_abuse), 0);
}
END_TEST

START_TEST(a_slow_download_in_small_windows_is_not_abuse)
{
	struct http_conn *c = wire_connect(&w, &http2_proto, 1);

	wire_greet(&w, 16384);
	wire_request(&w, 1, "GET", "/big", true);
	for (size_t n = 0; n < WIRE_BIG; n += 16384) {
		wire_frame32(&w, WIRE_WINDOW_UPDATE, 0, 16384);
		wire_frame32(&w, WIRE_WINDOW_UPDATE, 1, 16384);
		wire_turn(&w, true);
		buf_clear(&w.got);
	}
	ck_assert(c->state == CONN_OPEN);
	ck_assert_ptr_null(first_stream(c));
	ck_assert_uint_eq(w.big->refs, 1);
}
END_TEST

/* RFC 9112, 2.2 and 7.1: bytes around a request that carry nothing. */
START_TEST(chunks_that_are_mostly_framing_are_refused)
{
	static const char head[] = "POST /echo HTTP/1.1\r\nHost: a\r\n"
	                           "Transfer-Encoding: chunked\r\n\r\n";

	(void)wire_connect(&w, NULL, 1);
	wire_send(&w, head, sizeof(head) - 1);
	for (int i = 0; i < 20000 && w.fd >= 0; i++)
		wire_send(&w, "1\r\na\r\n", 6);
	wire_turn(&w, true);
	ck_assert_ptr_nonnull(strstr(buf_cstr(&w.got), "HTTP/1.1 400 "));
}
END_TEST

START_TEST(empty_lines_without_end_are_refused)
{
	(void)wire_connect(&w, NULL, 1);
	for (int i = 0; i < 10; i++)
		wire_send(&w, "\r\n\r\n\r\n\r\n", 8);
	wire_send(&w, "\r\n\r\n\r\n\r\n", 8);
	wire_turn(&w, true);
	ck_assert_ptr_nonnull(strstr(buf_cstr(&w.got), "HTTP/1.1 400 "));
}
END_TEST

/* --- the machine's limits ------------------------------------------------------------ */

START_TEST(the_account_borrows_and_gives_back)
{
	struct http_pool pool = {.max = 1 << 20};
	struct http_account a, b;

	http_account_init(&a, &pool, &w.counters);
	http_account_init(&b, &pool, &w.counters);
	ck_assert(http_account_charge(&a, 900 << 10));
	ck_assert(!http_account_charge(&b, 200 << 10));
	ck_assert(http_account_charge(&b, 60 << 10)); /* to the last byte */
	http_account_force(&b, 1 << 20);
	ck_assert(!http_account_charge(&a, 64 << 10));
	http_account_release(&b, (1 << 20) + (60 << 10));
	ck_assert(http_account_charge(&a, 50 << 10));
	http_account_release(&a, 950 << 10);
	http_account_fini(&a);
	http_account_fini(&b);
	ck_assert_uint_eq(atomic_load(&pool.lent), 0);
	ck_assert_int_eq(atomic_load(&w.counters.gauges[GAUGE_held_bytes]), 0);
}
END_TEST

START_TEST(sources_of_one_ipv6_network_are_one)
{
	static const uint8_t one[HTTP_SOURCE_SIZE] = {0x20, 1, 0xd,
	    0xb8, [15] = 1};
	static const uint8_t two[HTTP_SOURCE_SIZE] = {0x20, 1, 0xd,
	    0xb8, [15] = 2};
	static const uint8_t far[HTTP_SOURCE_SIZE] = {0x20, 1, 0xd,
	    0xb8, [7] = 1};
	struct http_source *a, *b, *c;

	a = http_source_join(w.server.sources, &w.limits, one, false);
	b = http_source_join(w.server.sources, &w.limits, two, false);
	c = http_source_join(w.server.sources, &w.limits, far, false);
	ck_assert_ptr_eq(a, b);
	ck_assert_ptr_ne(a, c);
	http_source_leave(w.server.sources, a);
	http_source_leave(w.server.sources, b);
	http_source_leave(w.server.sources, c);
}
END_TEST

START_TEST(an_illegal_move_of_a_connection_stops_the_process)
{
	struct http_conn *c = wire_connect(&w, NULL, 1);

	conn_set_state(c, CONN_DEAD);
	conn_set_state(c, CONN_OPEN);
}
END_TEST

static void
connect_to(int port, int *fds, size_t n)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
	    .sin_port = htons((uint16_t)port),
	    .sin_addr = {htonl(INADDR_LOOPBACK)}};

	for (size_t i = 0; i < n; i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		ck_assert_int_ge(fds[i], 0);
		ck_assert_int_eq(connect(fds[i], (struct sockaddr *)&to,
		                     sizeof(to)),
		    0);
	}
}

static bool
has_connections(struct wire *wire, void *arg)
{
	return wire->server.n_conns >= *(size_t *)arg;
}

START_TEST(without_descriptors_accepting_pauses_and_goes_on)
{
	struct rlimit limit, none;
	struct sockaddr_in at = {0};
	socklen_t at_n = sizeof(at);
	int fd = http_listen_socket("127.0.0.1", 0, false), fds[PEERS] = {0};
	int64_t began;
	size_t want = 1;

	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &at_n), 0);
	ck_assert(http_server_listen(&w.server, fd));
	connect_to(ntohs(at.sin_port), fds, PEERS);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){(rlim_t)fds[PEERS - 1] + 1, limit.rlim_max};
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	began = clock_mono_us();
	while (clock_mono_us() - began < 3 * CLOCK_SECOND / 10)
		wire_turn(&w, false);
	/* Some are refused in each pause of 100 ms, however many wait. */
	ck_assert_uint_ge(counted(COUNTER_accept_pauses), 1);
	ck_assert_uint_le(counted(COUNTER_accept_pauses),
	    (uint64_t)(clock_mono_us() - began) / 100000 + 1);
	ck_assert_uint_ge(counted(COUNTER_connections_refused), 1);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert(wire_until(&w, false, has_connections, &want));
	for (size_t i = 0; i < PEERS; i++)
		(void)close(fds[i]);
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("http_limits");

	tcase_add_checked_fixture(tc, open_wire, close_wire);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, a_header_bomb_is_not_decoded_to_its_end);
	LOOP(tc, a_flood_of_frames_ends_the_connection, floods);
	LOOP(tc, a_frame_of_a_stream_that_the_peer_ended_is_an_error, late);
	tcase_add_test(tc,
	    reserved_places_serve_reserved_routes_and_the_newest);
	tcase_add_test(tc, a_flood_of_continuations_ends_the_connection);
	tcase_add_test(tc, requests_that_are_reset_at_once_end_the_connection);
	tcase_add_test(tc, an_honest_peer_may_ask_for_ever);
	tcase_add_test(tc, a_slow_download_in_small_windows_is_not_abuse);
	tcase_add_test(tc, chunks_that_are_mostly_framing_are_refused);
	tcase_add_test(tc, empty_lines_without_end_are_refused);
	tcase_add_test(tc, the_account_borrows_and_gives_back);
	tcase_add_test(tc, sources_of_one_ipv6_network_are_one);
	tcase_add_test_raise_signal(tc,
	    an_illegal_move_of_a_connection_stops_the_process, SIGABRT);
	tcase_add_test(tc, without_descriptors_accepting_pauses_and_goes_on);
	return suite_main(tc);
}
