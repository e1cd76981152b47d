#include "config.h"

#include "lib/codec/x509.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include "lib/base/mem.h"
#include "lib/codec/crypto.h"

struct x509_cas {
	X509_STORE *store;
};

enum {
	DEPTH_MAX = COSE_CERTS_MAX + 2
};

/* --- the CAs ------------------------------------------------------------------- */

struct x509_cas *
x509_cas_new(void)
{
	struct x509_cas *c = mem_new(struct x509_cas);

	c->store = X509_STORE_new();
	if (c->store == NULL)
		abort();
	/* An intermediate may be what is trusted. */
	(void)X509_STORE_set_flags(c->store, X509_V_FLAG_PARTIAL_CHAIN);
	return c;
}

void
x509_cas_free(struct x509_cas *c)
{
	if (c == NULL)
		return;
	X509_STORE_free(c->store);
	free(c);
}

static BIO *
bio_of(const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);

	if (bio == NULL)
		abort();
	return bio;
}

size_t
x509_cas_add(struct x509_cas *c, const char *pem)
{
	BIO *bio = bio_of(pem);
	X509 *cert;
	size_t n = 0;

	while ((cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
		n += X509_STORE_add_cert(c->store, cert) == 1;
		X509_free(cert);
	}
	BIO_free(bio);
	ERR_clear_error();
	return n;
}

size_t
x509_cas_add_crl(struct x509_cas *c, const char *pem)
{
	BIO *bio = bio_of(pem);
	X509_CRL *crl;
	size_t n = 0;

	while ((crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL)) != NULL) {
		n += X509_STORE_add_crl(c->store, crl) == 1;
		X509_CRL_free(crl);
	}
	BIO_free(bio);
	ERR_clear_error();
	if (n > 0)
		(void)X509_STORE_set_flags(c->store, X509_V_FLAG_CRL_CHECK);
	return n;
}

/* --- a leaf -------------------------------------------------------------------- */

static X509 *
parse(struct slice der)
{
	const unsigned char *p = der.p;
	X509 *cert = d2i_X509(NULL, &p, (long)der.n);

	if (cert != NULL && p != der.p + der.n) {
		X509_free(cert);
		cert = NULL;
	}
	ERR_clear_error();
	return cert;
}

/* A name the operator's tools can show and take, whole: else none. */
static void
read_name(X509 *cert, char out[X509_NAME_MAX])
{
	const X509_NAME *subject = X509_get_subject_name(cert);
	int n = X509_NAME_get_text_by_NID(subject, NID_commonName, NULL, 0);

	out[0] = '\0';
	if (n <= 0 || n >= X509_NAME_MAX)
		return;
	(void)X509_NAME_get_text_by_NID(subject, NID_commonName, out,
	    X509_NAME_MAX);
	for (int i = 0; i < n; i++) {
		unsigned char c = (unsigned char)out[i];

		if (c <= ' ' || c > '~' || c == '/' || c == '"' || c == '\\')
			out[0] = '\0';
	}
}

static bool
read_key(X509 *cert, struct cose_key *out)
{
	unsigned char *der = NULL;
	int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);
	bool ok = n > 0 &&
	    cose_key_from_spki((struct slice){der, (size_t)n}, out) == TAM_OK;

	OPENSSL_free(der);
	return ok;
}

static enum tam_err
read_leaf(X509 *cert, struct x509_leaf *out)
{
	const ASN1_INTEGER *serial = X509_get0_serialNumber(cert);
	unsigned char *issuer = NULL;
	int n;

	memset(out, 0, sizeof(*out));
	if (!read_key(cert, &out->key) ||
	    ASN1_STRING_length(serial) > X509_SERIAL_MAX)
		return TAM_CERT_UNTRUSTED;
	out->serial_n = (size_t)ASN1_STRING_length(serial);
	memcpy(out->serial, ASN1_STRING_get0_data(serial), out->serial_n);
	n = i2d_X509_NAME(X509_get_issuer_name(cert), &issuer);
	if (n > 0)
		crypto_sha256((struct slice){issuer, (size_t)n}, out->issuer);
	OPENSSL_free(issuer);
	read_name(cert, out->name);
	return n > 0 ? TAM_OK : TAM_CERT_UNTRUSTED;
}

enum tam_err
x509_leaf_read(struct slice der, struct x509_leaf *out)
{
	X509 *cert = parse(der);
	enum tam_err err =
	    cert == NULL ? TAM_CERT_UNTRUSTED : read_leaf(cert, out);

	X509_free(cert);
	return err;
}

/* --- a chain -------------------------------------------------------------------- */

static enum tam_err
verdict(int error)
{
	switch (error) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
	case X509_V_ERR_CERT_NOT_YET_VALID:
	case X509_V_ERR_CRL_HAS_EXPIRED:
		return TAM_CERT_EXPIRED;
	case X509_V_ERR_CERT_REVOKED:
		return TAM_CERT_REVOKED;
	default:
		return TAM_CERT_UNTRUSTED;
	}
}

/* What signs TEEP messages is no CA, and may sign. */
static bool
may_sign(X509 *leaf)
{
	return X509_check_ca(leaf) == 0 &&
	    (X509_get_key_usage(leaf) & KU_DIGITAL_SIGNATURE) != 0;
}

static enum tam_err
verify(const struct x509_cas *cas, X509 *leaf, STACK_OF(X509) * others,
    int64_t now_s)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	enum tam_err err = TAM_OK;

	if (ctx == NULL ||
	    X509_STORE_CTX_init(ctx, cas->store, leaf, others) != 1)
		abort();
	X509_STORE_CTX_set_time(ctx, 0, (time_t)now_s);
	X509_VERIFY_PARAM_set_depth(X509_STORE_CTX_get0_param(ctx), DEPTH_MAX);
	if (X509_verify_cert(ctx) != 1)
		err = verdict(X509_STORE_CTX_get_error(ctx));
	else if (!may_sign(leaf))
		err = TAM_CERT_UNTRUSTED;
	X509_STORE_CTX_free(ctx);
	ERR_clear_error();
	return err;
}

enum tam_err
x509_verify(const struct x509_cas *cas, const struct slice *chain, size_t n,
    int64_t now_s, struct x509_leaf *out)
{
	STACK_OF(X509) *others = sk_X509_new_null();
	X509 *leaf = n == 0 ? NULL : parse(chain[0]);
	enum tam_err err = leaf == NULL ? TAM_CERT_UNTRUSTED : TAM_OK;

	for (size_t i = 1; i < n && err == TAM_OK; i++) {
		X509 *cert = parse(chain[i]);

		if (cert == NULL || sk_X509_push(others, cert) == 0)
			err = TAM_CERT_UNTRUSTED;
	}
	if (err == TAM_OK)
		err = read_leaf(leaf, out);
	if (err == TAM_OK)
		err = verify(cas, leaf, others, now_s);
	sk_X509_pop_free(others, X509_free);
	X509_free(leaf);
	return err;
}
