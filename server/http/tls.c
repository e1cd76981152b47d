#include "config.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "lib/base/log.h"
#include "server/http/server.h"

/* RFC 7301: our preference, not the client's. */
static int
choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n,
    const unsigned char *in, unsigned in_n, void *arg)
{
	static const unsigned char ours[] = "\x02h2\x08http/1.1";
	unsigned char *chosen;

	(void)ssl;
	(void)arg;
	if (SSL_select_next_proto(&chosen, out_n, ours, sizeof(ours) - 1, in,
	        in_n) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

static bool
load(SSL_CTX *ctx, const char *cert_file, const char *key_file)
{
	ERR_clear_error();
	if (SSL_CTX_use_certificate_chain_file(ctx, cert_file) == 1 &&
	    SSL_CTX_use_PrivateKey_file(ctx, key_file, SSL_FILETYPE_PEM) == 1 &&
	    SSL_CTX_check_private_key(ctx) == 1)
		return true;
	log_error("tls_files", "certificate=%s key=%s error=\"%s\"", cert_file,
	    key_file, ERR_reason_error_string(ERR_peek_last_error()));
	return false;
}

struct ssl_ctx_st *
http_tls_new(const char *cert_file, const char *key_file)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	if (ctx == NULL)
		return NULL;
	(void)SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	(void)SSL_CTX_set_options(ctx,
	    SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
	        SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF);
	(void)SSL_CTX_set_mode(ctx,
	    SSL_MODE_ENABLE_PARTIAL_WRITE |
	        SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	/* RFC 9113, 9.2.2 forbids the rest for HTTP/2. */
	(void)SSL_CTX_set_cipher_list(ctx,
	    "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!eNULL");
	/* One ticket is enough, each costs a fifth of a signature. */
	(void)SSL_CTX_set_num_tickets(ctx, 1);
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_alpn_select_cb(ctx, choose_alpn, NULL);
	if (load(ctx, cert_file, key_file))
		return ctx;
	SSL_CTX_free(ctx);
	return NULL;
}

struct ssl_ctx_st *
http_tls_ref(struct ssl_ctx_st *ctx)
{
	(void)SSL_CTX_up_ref(ctx);
	return ctx;
}

void
http_tls_free(struct ssl_ctx_st *ctx)
{
	SSL_CTX_free(ctx);
}
