#include "config.h"

#include <stdlib.h>

#include <check.h>

#include "server/http/http1_head.h"
#include "tests/support/suite.h"

/* RFC 9112; the status a head is refused with, 0 when it is taken. */
static const struct {
	const char *head;
	int status;
} heads[] = {
    {"POST /tam HTTP/1.1\r\nHost: a\r\n\r\n", 0},
    {"POST /tam HTTP/1.0\r\n\r\n", 0},
    {"POST /tam HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", 0},
    {"POST /tam HTTP/1.1\r\nHOST:a\r\nTransfer-Encoding: Chunked\r\n\r\n", 0},
    /* 3: the request line */
    {"POST  /tam HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"POST /tam HTTP/1.1 \r\nHost: a\r\n\r\n", 400},
    /* 3.2.2: absolute-form, for proxies and for us */
    {"POST http://a/tam HTTP/1.1\r\nHost: a\r\n\r\n", 0},
    {"POST HTTPS://a:1/tam?x HTTP/1.1\r\nHost: b\r\n\r\n", 0},
    {"GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", 0},
    {"GET http://[::1]:80?x HTTP/1.1\r\nHost: a\r\n\r\n", 0},
    {"POST http:///tam HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"POST http://:80/tam HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"POST http://u@a/tam HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"POST ftp://a/tam HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"POST tam HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"POST * HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"PO(ST /tam HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"POST /tam#x HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"POST /tam HTTP/2.0\r\nHost: a\r\n\r\n", 505},
    {"POST /tam\r\n\r\n", 400},
    /* 2.2: bare CR and LF, NUL */
    {"POST /tam HTTP/1.1\nHost: a\r\n\r\n", 400},
    {"POST /tam HTTP/1.1\r\nHost: a\rb: c\r\n\r\n", 400},
    /* 3.2: Host */
    {"POST /tam HTTP/1.1\r\n\r\n", 400},
    {"POST /tam HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400},
    /* 5: fields */
    {"POST /tam HTTP/1.1\r\nHost : a\r\n\r\n", 400},
    {"POST /tam HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400},
    {"POST /tam HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n", 400},
    {"POST /tam HTTP/1.1\r\nHost: a\r\nx: \x01\r\n\r\n", 400},
    /* 6: framing, where smuggling lives */
    {"POST /t HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
     "Content-Length: 1\r\n\r\n",
        400},
    {"POST /t HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n", 400},
    {"POST /t HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", 400},
    {"POST /t HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\n", 400},
    {"POST /t HTTP/1.1\r\nHost: a\r\nContent-Length: 1 1\r\n\r\n", 400},
    {"POST /t HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400},
    {"POST /t HTTP/1.1\r\nHost: a\r\nContent-Length: "
     "99999999999999999999\r\n\r\n",
        400},
    {"POST /t HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
     "Transfer-Encoding: chunked\r\n\r\n",
        400},
    {"POST /t HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
     "Transfer-Encoding: chunked\r\n\r\n",
        400},
    {"POST /t HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", 501},
    {"POST /t HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, "
     "chunked\r\n\r\n",
        501},
    {"POST /t HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
    {"POST /t HTTP/1.1\r\nHost: a\r\nExpect: 200-maybe\r\n\r\n", 417},
};

static int
parse(const char *text, struct http_exchange *x, struct http1_head *h)
{
	static char copy[1024];

	memcpy(copy, text, strlen(text) + 1);
	return http1_parse_head((struct slice){(uint8_t *)copy, strlen(text)},
	    x, h);
}

START_TEST(takes_requests_and_refuses_attacks)
{
	struct http_exchange x = {0};
	struct http1_head h;

	ck_assert_msg(parse(heads[_i].head, &x, &h) == heads[_i].status, "%s",
	    heads[_i].head);
}
END_TEST

START_TEST(yields_the_fields)
{
	struct http_exchange x = {0};
	struct http1_head h;

	ck_assert_int_eq(parse("POST /tam/a?x=1&y=2 HTTP/1.1\r\nHost: a\r\n"
	                       "Content-Type:\t application/teep+cbor \r\n"
	                       "Content-Length: 17\r\nExpect: 100-Continue\r\n"
	                       "Connection: foo, Close\r\n\r\n",
	                     &x, &h),
	    0);
	ck_assert(slice_is(x.path, "/tam/a"));
	ck_assert(slice_is(x.query, "x=1&y=2"));
	ck_assert(
	    slice_is(http_header(&x, "content-type"), "application/teep+cbor"));
	ck_assert_uint_eq(h.length, 17);
	ck_assert(h.expects_continue);
	ck_assert(!h.keep_alive);
}
END_TEST

static const struct {
	const char *line;
	int64_t size; /* -1: refused */
} chunks[] = {
    {"0", 0},
    {"1a", 26},
    {"FF;ext=1", 255},
    {"", -1},
    {"0x1", -1},
    {"-1", -1},
    {" 1", -1},
    {"1 ", -1},
    {"1\x01", -1},
    {"fffffffffffffffff", -1},
};

START_TEST(reads_chunk_sizes_strictly)
{
	uint64_t size = 0;
	bool ok = http1_parse_chunk_size(slice_str(chunks[_i].line), &size);

	ck_assert_msg(ok == (chunks[_i].size >= 0), "%s", chunks[_i].line);
	if (ok)
		ck_assert_uint_eq(size, (uint64_t)chunks[_i].size);
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("http1_head");

	tcase_add_loop_test(tc, takes_requests_and_refuses_attacks, 0,
	    (int)(sizeof(heads) / sizeof(heads[0])));
	tcase_add_test(tc, yields_the_fields);
	tcase_add_loop_test(tc, reads_chunk_sizes_strictly, 0,
	    (int)(sizeof(chunks) / sizeof(chunks[0])));
	return suite_main(tc);
}
