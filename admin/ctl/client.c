#include "config.h"

#include "admin/ctl/client.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	ANSWER_MAX = 128 << 20
};

static bool
complain(const char *what)
{
	unsigned long code = ERR_peek_last_error();

	(void)fprintf(stderr, "tamctl: %s%s%s\n", what, code == 0 ? "" : ": ",
	    code == 0 ? "" : ERR_reason_error_string(code));
	return false;
}

static const char *
without_scheme(const char *server)
{
	return strncmp(server, "https://", 8) == 0 ? server + 8 : server;
}

static SSL_CTX *
make_context(const struct client_options *o)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	if (ctx == NULL)
		return NULL;
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	(void)SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	(void)SSL_CTX_set_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
	if ((o->ca_file != NULL
	            ? SSL_CTX_load_verify_locations(ctx, o->ca_file, NULL)
	            : SSL_CTX_set_default_verify_paths(ctx)) != 1) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	return ctx;
}

static BIO *
connect_to(SSL_CTX *ctx, const char *server)
{
	BIO *bio = BIO_new_ssl_connect(ctx);
	SSL *ssl = NULL;
	char host[256], address[300]; /* OpenSSL's macros cast const away */
	size_t n = strcspn(server, ":/");

	if (bio == NULL)
		return NULL;
	(void)snprintf(host, sizeof(host), "%.*s", (int)n, server);
	(void)BIO_get_ssl(bio, &ssl);
	(void)SSL_set_mode(ssl, SSL_MODE_AUTO_RETRY);
	(void)SSL_set_tlsext_host_name(ssl, host);
	/* An address is checked against the certificate's addresses. */
	if (strspn(host, "0123456789.") == strlen(host))
		(void)X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host);
	else
		(void)SSL_set1_host(ssl, host);
	(void)snprintf(address, sizeof(address), "%s", server);
	(void)BIO_set_conn_hostname(bio, address);
	if (BIO_do_connect(bio) == 1)
		return bio;
	BIO_free_all(bio);
	return NULL;
}

static bool
send_request(BIO *bio, const struct client_options *o, const char *method,
    const char *path, const char *content_type, struct slice body)
{
	struct buf b;
	bool ok;

	buf_init(&b, ANSWER_MAX);
	buf_printf(&b,
	    "%s %s HTTP/1.1\r\nhost: %s\r\nconnection: close\r\n"
	    "content-length: %zu\r\n",
	    method, path, without_scheme(o->server), body.n);
	if (o->token != NULL)
		buf_printf(&b, "authorization: Bearer %s\r\n", o->token);
	if (content_type != NULL)
		buf_printf(&b, "content-type: %s\r\n", content_type);
	if (o->if_match != NULL)
		buf_printf(&b, "if-match: %s\r\n", o->if_match);
	buf_add_str(&b, "\r\n");
	buf_add_slice(&b, body);
	ok = !b.full;
	for (size_t sent = 0; ok && sent < b.n;) {
		int n = BIO_write(bio, b.p + sent, (int)(b.n - sent));

		ok = n > 0;
		sent += ok ? (size_t)n : 0;
	}
	buf_fini(&b);
	return ok;
}

static bool
read_answer(BIO *bio, struct client_answer *a)
{
	const uint8_t *end;
	size_t head_n;

	for (;;) {
		uint8_t *to = buf_reserve(&a->body, 16384);
		int n = to == NULL ? -1 : BIO_read(bio, to, 16384);

		if (n <= 0)
			break;
		a->body.n += (size_t)n;
	}
	end =
	    a->body.n == 0 ? NULL : memmem(a->body.p, a->body.n, "\r\n\r\n", 4);
	if (end == NULL || a->body.n < 12 ||
	    memcmp(a->body.p, "HTTP/1.1 ", 9) != 0)
		return false;
	a->status = (int)strtol((const char *)a->body.p + 9, NULL, 10);
	head_n = (size_t)(end - a->body.p) + 4;
	buf_add(&a->head, a->body.p, head_n);
	buf_consume(&a->body, head_n);
	return true;
}

bool
client_request(const struct client_options *o, const char *method,
    const char *path, const char *content_type, struct slice body,
    struct client_answer *a)
{
	SSL_CTX *ctx;
	BIO *bio = NULL;
	bool ok = false;

	a->status = 0;
	buf_init(&a->head, 65536);
	buf_init(&a->body, ANSWER_MAX);
	ERR_clear_error();
	ctx = make_context(o);
	if (ctx == NULL) {
		(void)complain("cannot read the CA file");
	} else if ((bio = connect_to(ctx, without_scheme(o->server))) == NULL) {
		(void)complain("cannot connect to the server");
	} else if (!send_request(bio, o, method, path, content_type, body) ||
	    !read_answer(bio, a)) {
		(void)complain("the server broke off");
	} else {
		ok = true;
	}
	BIO_free_all(bio);
	SSL_CTX_free(ctx);
	return ok;
}

void
client_answer_fini(struct client_answer *a)
{
	buf_fini(&a->head);
	buf_fini(&a->body);
}
