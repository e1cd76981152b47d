#include "config.h"

#include <errno.h>
#include <event2/event.h>
#include <linux/sockios.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/log.h"
#include "server/http/conn.h"

/* The bytes of a connection: read and written, through TLS if it has it. */

void
conn_io_want_write(struct http_conn *c)
{
	if (c->writing)
		return;
	c->writing = true;
	(void)event_add(c->write_event, NULL);
}

static void
tls_failed(struct http_conn *c)
{
	unsigned long code = ERR_peek_error();

	if (c->state == CONN_HANDSHAKE) {
		COUNT(c->server->counters, tls_failures);
		log_peer(LOG_LEVEL_DEBUG, "tls_failed", "reason=\"%s\"",
		    code == 0 ? "closed" : ERR_reason_error_string(code));
	}
	conn_set_state(c, CONN_DEAD);
}

bool
conn_io_handshake(struct http_conn *c)
{
	int r;

	ERR_clear_error();
	r = SSL_do_handshake(c->ssl);
	if (r == 1)
		return true;
	switch (SSL_get_error(c->ssl, r)) {
	case SSL_ERROR_WANT_READ:
		break;
	case SSL_ERROR_WANT_WRITE:
		conn_io_want_write(c);
		break;
	default:
		tls_failed(c);
	}
	return false;
}

static ssize_t
tls_read(struct http_conn *c, uint8_t *to, size_t n)
{
	int got;

	ERR_clear_error();
	got = SSL_read(c->ssl, to, (int)n);
	if (got > 0)
		return got;
	switch (SSL_get_error(c->ssl, got)) {
	case SSL_ERROR_WANT_READ:
		return 0;
	case SSL_ERROR_WANT_WRITE:
		conn_io_want_write(c);
		return 0;
	case SSL_ERROR_ZERO_RETURN:
		c->eof = true;
		return -1;
	default:
		tls_failed(c);
		return -1;
	}
}

static ssize_t
plain_read(struct http_conn *c, uint8_t *to, size_t n)
{
	ssize_t got = read(c->fd, to, n);

	if (got > 0)
		return got;
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (got == 0)
		c->eof = true;
	else
		conn_set_state(c, CONN_DEAD);
	return -1;
}

ssize_t
conn_io_read(struct http_conn *c, uint8_t *to, size_t n)
{
	return c->ssl != NULL ? tls_read(c, to, n) : plain_read(c, to, n);
}

static ssize_t
tls_write(struct http_conn *c, struct slice s)
{
	int n, max = s.n > INT32_MAX ? INT32_MAX : (int)s.n;

	ERR_clear_error();
	n = SSL_write(c->ssl, s.p, max);
	if (n > 0)
		return n;
	switch (SSL_get_error(c->ssl, n)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return 0;
	default:
		return -1;
	}
}

ssize_t
conn_io_write(struct http_conn *c, struct slice s)
{
	ssize_t n;

	if (c->ssl != NULL) {
		n = tls_write(c, s);
	} else {
		n = send(c->fd, s.p, s.n, MSG_NOSIGNAL);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			n = 0;
	}
	if (n > 0)
		c->written += (uint64_t)n;
	return n;
}

size_t
conn_io_unsent(const struct http_conn *c)
{
	int n = 0;

	return ioctl(c->fd, SIOCOUTQ, &n) == 0 && n > 0 ? (size_t)n : 0;
}

void
conn_io_shut(struct http_conn *c)
{
	if (c->ssl != NULL) {
		ERR_clear_error();
		(void)SSL_shutdown(c->ssl);
	}
	(void)shutdown(c->fd, SHUT_WR);
}
