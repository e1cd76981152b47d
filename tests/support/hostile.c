#include "config.h"

#include <arpa/inet.h>
#include <err.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/*
 * hostile - an admin API that answers wrongly, for the tests of tamctl.
 *
 *	hostile CERT KEY
 *
 * Prints a port of 127.0.0.1 (and of ::1, where there is one) that answers over
 * TLS, a port that accepts connections and says nothing, and "ipv6" or "no-ipv6".  The last segment of the path
 * names the answer (see answers[]), so that one process serves every case.
 * Each connection has a process of its own, which ends after a minute.
 */

enum {
	REQUEST_MAX = 1 << 20,
	LIFE_S = 60,
	BLOCK = 65536
};

/* How a connection ends behind its answer. */
enum ending {
	END_TLS,  /* close_notify, then FIN */
	END_FIN,  /* FIN alone: TLS cannot tell it from an attack */
	END_NEVER /* the peer has to end it */
};

static SSL_CTX *tls;
static char request[REQUEST_MAX]; /* of this process's connection */
static const char *request_body = "";
static _Atomic unsigned *busy_answers; /* shared by all connections */

/* --- writing --------------------------------------------------------------------------- */

static void
put(SSL *ssl, const char *text)
{
	if (SSL_write(ssl, text, (int)strlen(text)) <= 0)
		_exit(0); /* the peer has heard enough */
}

static void
put_bytes(SSL *ssl, const char *bytes, size_t n)
{
	if (SSL_write(ssl, bytes, (int)n) <= 0)
		_exit(0);
}

static void
nap(long ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000};

	(void)nanosleep(&t, NULL);
}

static void
put_json(SSL *ssl, const char *status, const char *type, const char *body)
{
	char head[512];

	(void)snprintf(head, sizeof(head),
	    "HTTP/1.1 %s\r\ncontent-type: %s\r\ncontent-length: %zu\r\n\r\n",
	    status, type, strlen(body));
	put(ssl, head);
	put(ssl, body);
}

/* --- answers that take more than a text -------------------------------------------------- */

static void
silent(SSL *ssl)
{
	(void)ssl;
	nap(LIFE_S * 1000L);
}

static void
endless_head(SSL *ssl)
{
	put(ssl, "HTTP/1.1 200 OK\r\n");
	for (;;)
		put(ssl, "x-more: and more and more and more and more\r\n");
}

static void
endless_interim(SSL *ssl)
{
	for (;;)
		put(ssl, "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n");
}

static void
long_header_line(SSL *ssl)
{
	put(ssl, "HTTP/1.1 200 OK\r\nx: ");
	for (;;)
		put(ssl, "0123456789abcdef0123456789abcdef");
}

/* A byte in time for every rule about silence. */
static void
drip(SSL *ssl)
{
	put(ssl,
	    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
	    "content-length: 1000000\r\n\r\n");
	for (;;) {
		put(ssl, " ");
		nap(300);
	}
}

static void
drip_head(SSL *ssl)
{
	put(ssl, "HTTP/1.1 200 OK\r\nx: ");
	for (;;) {
		put(ssl, "y");
		nap(300);
	}
}

static void
stall(SSL *ssl)
{
	put(ssl,
	    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
	    "content-length: 100\r\n\r\n{\"name\":");
	silent(ssl);
}

static void
huge(SSL *ssl)
{
	static char block[BLOCK];

	memset(block, ' ', sizeof(block));
	put(ssl,
	    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
	    "content-length: 100000000000\r\n\r\n");
	for (;;)
		put_bytes(ssl, block, sizeof(block));
}

static void
huge_chunks(SSL *ssl)
{
	static char block[BLOCK];

	memset(block, ' ', sizeof(block));
	put(ssl,
	    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
	    "transfer-encoding: chunked\r\n\r\n");
	for (;;) {
		put(ssl, "10000\r\n");
		put_bytes(ssl, block, sizeof(block));
		put(ssl, "\r\n");
	}
}

static void
deep(SSL *ssl)
{
	static char body[20001];

	memset(body, '[', 10000);
	memset(body + 10000, ']', 10000);
	put_json(ssl, "200 OK", "application/json", body);
}

static void
nul(SSL *ssl)
{
	static const char answer[] =
	    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
	    "content-length: 5\r\n\r\n{}\0{}";

	put_bytes(ssl, answer, sizeof(answer) - 1);
}

static const char try_again[] =
    "{\"code\":\"try_again\",\"status\":503,"
    "\"detail\":\"another change was made at the same time\"}";

/* Two refusals, then the thing: what a race looks like. */
static void
race(SSL *ssl)
{
	if (atomic_fetch_add(busy_answers, 1) % 3 < 2)
		put_json(ssl, "503 Service Unavailable",
		    "application/problem+json", try_again);
	else
		put_json(ssl, "200 OK", "application/json", "{\"name\":\"x\"}");
}

static void
always_race(SSL *ssl)
{
	put_json(ssl, "503 Service Unavailable", "application/problem+json",
	    try_again);
}

static void
busy(SSL *ssl)
{
	if (atomic_fetch_add(busy_answers, 1) % 2 == 0)
		put(ssl,
		    "HTTP/1.1 503 Service Unavailable\r\n"
		    "retry-after: 1\r\ncontent-length: 0\r\n\r\n");
	else
		put_json(ssl, "200 OK", "application/json", "{\"name\":\"x\"}");
}

/* The body that came. */
static void
echo(SSL *ssl)
{
	put_json(ssl, "200 OK", "application/json", request_body);
}

/* --- the table ---------------------------------------------------------------------------------- */

#define JSON "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"

static const struct {
	const char *name;
	const char *text;   /* the whole answer, or */
	void (*say)(SSL *); /* a function that gives it */
	enum ending ending;
} answers[] = {
    {"good", JSON "content-length: 12\r\n\r\n{\"name\":\"x\"}", NULL, END_TLS},
    {"until-close", JSON "\r\n{\"name\":\"x\"}", NULL, END_TLS},
    {"chunked",
        JSON "transfer-encoding: chunked\r\n\r\nc\r\n{\"name\":\"x\"}\r\n"
             "0\r\n\r\n",
        NULL, END_TLS},
    {"text",
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n"
        "content-length: 5\r\n\r\nhello",
        NULL, END_TLS},
    {"empty", "HTTP/1.1 204 No Content\r\n\r\n", NULL, END_TLS},
    {"interim",
        "HTTP/1.1 103 Early Hints\r\n\r\n" JSON
        "content-length: 12\r\n\r\n{\"name\":\"x\"}",
        NULL, END_TLS},
    /* cut */
    {"cut-at-once", "", NULL, END_TLS},
    {"cut-in-head", "HTTP/1.1 200 OK\r\ncontent-ty", NULL, END_TLS},
    {"cut-before-body", JSON "content-length: 12\r\n\r\n", NULL, END_TLS},
    {"cut-by-close", JSON "content-length: 100\r\n\r\n{\"name\":\"x\"}", NULL,
        END_TLS},
    {"cut-by-fin", JSON "content-length: 100\r\n\r\n{\"name\":\"x\"}", NULL,
        END_FIN},
    {"cut-until-fin", JSON "\r\n{\"name\":\"x\"}", NULL, END_FIN},
    {"cut-chunk",
        JSON "transfer-encoding: chunked\r\n\r\n"
             "20\r\n{\"name\":\"x\"}",
        NULL, END_TLS},
    {"cut-chunks",
        JSON "transfer-encoding: chunked\r\n\r\nc\r\n{\"name\":\"x\"}\r\n",
        NULL, END_TLS},
    {"bad-chunk",
        JSON "transfer-encoding: chunked\r\n\r\nzz\r\n{\"name\":\"x\"}\r\n"
             "0\r\n\r\n",
        NULL, END_TLS},
    {"two-lengths",
        JSON "content-length: 12\r\ncontent-length: 20\r\n\r\n"
             "{\"name\":\"x\"}",
        NULL, END_TLS},
    {"bad-length", JSON "content-length: twelve\r\n\r\n{\"name\":\"x\"}", NULL,
        END_TLS},
    /* no HTTP, or not what tamd says */
    {"http09", "{\"name\":\"x\"}", NULL, END_TLS},
    {"bad-status", "HTTP/1.1 OK\r\ncontent-length: 0\r\n\r\n", NULL, END_TLS},
    {"status-299", "HTTP/1.1 299 Fine\r\ncontent-length: 0\r\n\r\n", NULL,
        END_TLS},
    {"redirect",
        "HTTP/1.1 302 Found\r\nlocation: https://127.0.0.1:1/\r\n"
        "content-length: 0\r\n\r\n",
        NULL, END_TLS},
    {"not-json", JSON "content-length: 9\r\n\r\n{\"name\": ", NULL, END_TLS},
    {"twice", JSON "content-length: 23\r\n\r\n{\"name\":\"x\",\"name\":\"y\"}",
        NULL, END_TLS},
    {"bad-utf8", JSON "content-length: 12\r\n\r\n{\"name\":\"\xff\"}", NULL,
        END_TLS},
    {"html",
        "HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\n"
        "content-length: 15\r\n\r\n<html>no</html>",
        NULL, END_TLS},
    {"problem",
        "HTTP/1.1 404 Not Found\r\ncontent-type: application/problem+json\r\n"
        "content-length: 56\r\n\r\n"
        "{\"code\":\"not_found\",\"detail\":\"a\\u001b[2Jb\xe2\x80\xae, "
        "not here\"}",
        NULL, END_TLS},
    {"control",
        JSON "content-length: 34\r\n\r\n"
             "{\"name\":\"a\xe2\x80\xae\\u001b[31mb\\nc\xc2\x9b\"}   ",
        NULL, END_TLS},
    {"proposal",
        "HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\n"
        "content-length: 27\r\n\r\n{\"id\":7,\"state\":\"pending\"}\n",
        NULL, END_TLS},
    {"nul", NULL, nul, END_TLS},
    {"echo", NULL, echo, END_TLS},
    {"deep", NULL, deep, END_TLS},
    /* without end */
    {"silent", NULL, silent, END_NEVER},
    {"stall", NULL, stall, END_NEVER},
    {"drip", NULL, drip, END_NEVER},
    {"drip-head", NULL, drip_head, END_NEVER},
    {"endless-head", NULL, endless_head, END_NEVER},
    {"endless-interim", NULL, endless_interim, END_NEVER},
    {"long-line", NULL, long_header_line, END_NEVER},
    {"huge", NULL, huge, END_NEVER},
    {"huge-chunks", NULL, huge_chunks, END_NEVER},
    /* busy */
    {"race", NULL, race, END_TLS},
    {"always-race", NULL, always_race, END_TLS},
    {"busy", NULL, busy, END_TLS},
    /* lists and imports (their paths end with these words) */
    {"rollouts", /* its cursor never moves */
        JSON "content-length: 41\r\n\r\n"
             "{\"items\":[{\"name\":\"x\"}],\"cursor\":\"AAAA\"}\n",
        NULL, END_TLS},
    {"channels", /* a page without items goes on */
        JSON "content-length: 28\r\n\r\n{\"items\":[],\"cursor\":\"AAAA\"}",
        NULL, END_TLS},
    {"policies", /* no list */
        JSON "content-length: 12\r\n\r\n{\"items\":{}}", NULL, END_TLS},
    {"import", /* a result is missing */
        "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\n"
        "content-length: 30\r\n\r\n{\"line\":1,\"status\":\"created\"}\n",
        NULL, END_TLS},
    {"device-changes", /* goes on from where it began */
        JSON "content-length: 23\r\n\r\n{\"devices\":1,\"after\":0}", NULL,
        END_TLS},
};

/* --- connections ------------------------------------------------------------------------------- */

/* The head, and as much of the body as it announces. */
static void
read_request(SSL *ssl)
{
	size_t n = 0, wanted = SIZE_MAX;

	while (n < wanted && n < REQUEST_MAX - 1) {
		int got =
		    SSL_read(ssl, request + n, (int)(REQUEST_MAX - 1 - n));
		const char *end, *length;

		if (got <= 0)
			_exit(0);
		n += (size_t)got;
		request[n] = '\0';
		end = strstr(request, "\r\n\r\n");
		if (end == NULL || wanted != SIZE_MAX)
			continue;
		request_body = end + 4;
		length = strcasestr(request, "\r\ncontent-length:");
		wanted = (size_t)(end - request) + 4 +
		    (length == NULL || length > end
		            ? 0
		            : strtoul(length + 17, NULL, 10));
	}
}

/* The last segment of "METHOD /a/b/name?query HTTP/1.1". */
static const char *
name_of(void)
{
	char *path = strchr(request, ' '), *slash;

	if (path == NULL)
		return "";
	path++;
	path[strcspn(path, " ?")] = '\0';
	slash = strrchr(path, '/');
	return slash == NULL ? "" : slash + 1;
}

static void
answer(SSL *ssl, const char *name)
{
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		if (strcmp(answers[i].name, name) != 0)
			continue;
		if (answers[i].say != NULL)
			answers[i].say(ssl);
		else if (answers[i].text[0] != '\0')
			put(ssl, answers[i].text);
		if (answers[i].ending == END_TLS)
			(void)SSL_shutdown(ssl);
		return;
	}
	put_json(ssl, "404 Not Found", "application/problem+json",
	    "{\"code\":\"not_found\",\"detail\":\"no such answer\"}");
	(void)SSL_shutdown(ssl);
}

static void
serve(int fd)
{
	SSL *ssl = SSL_new(tls);
	char rest[4096];

	(void)alarm(LIFE_S);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)SSL_set_fd(ssl, fd);
	if (SSL_accept(ssl) != 1)
		_exit(0);
	read_request(ssl);
	answer(ssl, name_of());
	(void)shutdown(fd, SHUT_WR);
	/* No RST before the peer has read all. */
	while (read(fd, rest, sizeof(rest)) > 0)
		continue;
	_exit(0);
}

/* --- life ------------------------------------------------------------------------------------------ */

/* 0 for any port.  -1 when the machine does not have the address. */
static int
listen_on(const char *address, in_port_t *port)
{
	struct sockaddr_in6 six = {.sin6_family = AF_INET6,
	    .sin6_port = htons(*port)};
	struct sockaddr_in four = {.sin_family = AF_INET,
	    .sin_port = htons(*port)};
	bool v6 = inet_pton(AF_INET6, address, &six.sin6_addr) == 1;
	struct sockaddr *a =
	    v6 ? (struct sockaddr *)&six : (struct sockaddr *)&four;
	socklen_t n = v6 ? sizeof(six) : sizeof(four);
	int fd = socket(a->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)inet_pton(AF_INET, address, &four.sin_addr);
	if (fd < 0 || bind(fd, a, n) != 0 || listen(fd, 64) != 0 ||
	    getsockname(fd, a, &n) != 0)
		return -1;
	*port = ntohs(v6 ? six.sin6_port : four.sin_port);
	return fd;
}

static SSL_CTX *
make_tls(const char *cert, const char *key)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	if (ctx == NULL || SSL_CTX_use_certificate_chain_file(ctx, cert) != 1 ||
	    SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
		errx(2, "%s: %s", cert,
		    ERR_reason_error_string(ERR_peek_last_error()));
	return ctx;
}

static void
accept_one(int fd)
{
	int peer = accept(fd, NULL, NULL);

	if (peer < 0)
		return;
	if (fork() == 0)
		serve(peer);
	(void)close(peer);
}

int
main(int argc, char **argv)
{
	struct pollfd fds[2] = {{.events = POLLIN}, {.events = POLLIN}};
	in_port_t port = 0, mute_port = 0;

	if (argc != 3)
		errx(2, "usage: hostile CERT KEY");
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGCHLD, SIG_IGN);
	tls = make_tls(argv[1], argv[2]);
	busy_answers = mmap(NULL, sizeof(*busy_answers), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (busy_answers == MAP_FAILED)
		err(2, "mmap");
	fds[0].fd = listen_on("127.0.0.1", &port);
	if (fds[0].fd < 0 || listen_on("127.0.0.1", &mute_port) < 0)
		err(2, "listen");
	fds[1].fd = listen_on("::1", &port); /* -1 is skipped by poll */
	(void)printf("%d %d %s\n", port, mute_port,
	    fds[1].fd < 0 ? "no-ipv6" : "ipv6");
	if (fclose(stdout) != 0)
		err(2, "standard output");
	for (;;) {
		if (poll(fds, 2, -1) < 0)
			continue;
		for (size_t i = 0; i < 2; i++) {
			if ((fds[i].revents & POLLIN) != 0)
				accept_one(fds[i].fd);
		}
	}
}
