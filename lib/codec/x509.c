#include "config.h"

#include "lib/codec/x509.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include "lib/base/mem.h"
#include "lib/codec/crypto.h"

/* A trusted certificate, and what it is trusted for. */
struct anchor {
	X509 *cert;           /* the store's */
	ASN1_OBJECT *purpose; /* NULL: any, or the usual ones */
	bool any;
};

struct x509_cas {
	X509_STORE *store;
	size_t n;
	struct anchor *anchors;
};

enum {
	DEPTH_MAX = COSE_CERTS_MAX + 2,
	SECURITY_LEVEL = 2, /* 112 bits */
	SECURITY_BITS = 112
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
	for (size_t i = 0; i < c->n; i++) {
		X509_free(c->anchors[i].cert);
		ASN1_OBJECT_free(c->anchors[i].purpose);
	}
	free(c->anchors);
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

/* The text was read to its end, rather than to something broken. */
static bool
was_whole(void)
{
	unsigned long e = ERR_peek_last_error();

	return ERR_GET_LIB(e) == ERR_LIB_PEM &&
	    ERR_GET_REASON(e) == PEM_R_NO_START_LINE;
}

/* A device CA whose chains could never pass is refused when it is put. */
static const char *
why_no_anchor(X509 *cert)
{
	EVP_PKEY *key = X509_get0_pubkey(cert);

	if (X509_check_ca(cert) == 0)
		return "a certificate is no CA's";
	if (key == NULL || EVP_PKEY_get_security_bits(key) < SECURITY_BITS)
		return "the key of a certificate is too weak: RSA needs 2048 "
		       "bits, EC 224";
	return NULL;
}

static void
add_anchor(struct x509_cas *c, X509 *cert, const char *purpose)
{
	struct anchor *a;

	c->anchors = mem_realloc(c->anchors, (c->n + 1) * sizeof(*c->anchors));
	a = &c->anchors[c->n++];
	*a = (struct anchor){.cert = cert, .any = strcmp(purpose, "any") == 0};
	if (!a->any && purpose[0] != '\0')
		a->purpose = OBJ_txt2obj(purpose, 1);
	(void)X509_STORE_add_cert(c->store, cert);
}

static bool
is_purpose(const char *purpose)
{
	ASN1_OBJECT *o;

	if (purpose[0] == '\0' || strcmp(purpose, "any") == 0)
		return true;
	o = OBJ_txt2obj(purpose, 1);
	ASN1_OBJECT_free(o);
	ERR_clear_error();
	return o != NULL;
}

const char *
x509_cas_add(struct x509_cas *c, const char *pem, const char *purpose)
{
	STACK_OF(X509) *certs = sk_X509_new_null();
	BIO *bio = bio_of(pem);
	const char *why = NULL;
	X509 *cert;

	if (!is_purpose(purpose))
		why = "the purpose is neither an object identifier nor any";
	ERR_clear_error();
	while (why == NULL &&
	    (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
		if (sk_X509_push(certs, cert) == 0)
			abort();
		why = why_no_anchor(cert);
	}
	if (why == NULL && (sk_X509_num(certs) == 0 || !was_whole()))
		why = "no certificates in PEM";
	while (why == NULL && sk_X509_num(certs) > 0)
		add_anchor(c, sk_X509_shift(certs), purpose);
	sk_X509_pop_free(certs, X509_free);
	BIO_free(bio);
	ERR_clear_error();
	return why;
}

/* OpenSSL checks the strength of certificates' signatures, not of lists'. */
static const char *
why_no_list(X509_CRL *crl)
{
	int hash = NID_undef, key = NID_undef;
	const EVP_MD *md;

	if (OBJ_find_sigid_algs(X509_CRL_get_signature_nid(crl), &hash, &key) ==
	    0)
		return "the signature algorithm of a revocation list is not "
		       "known";
	if (key == NID_ED25519 || key == NID_ED448)
		return NULL;
	md = EVP_get_digestbynid(hash);
	if (md == NULL || EVP_MD_get_size(md) * 4 < SECURITY_BITS)
		return "a revocation list is signed with a weak hash, or with "
		       "RSASSA-PSS";
	return NULL;
}

const char *
x509_cas_add_crl(struct x509_cas *c, const char *pem)
{
	STACK_OF(X509_CRL) *lists = sk_X509_CRL_new_null();
	BIO *bio = bio_of(pem);
	const char *why = NULL;
	X509_CRL *crl;

	ERR_clear_error();
	while (why == NULL &&
	    (crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL)) != NULL) {
		if (sk_X509_CRL_push(lists, crl) == 0)
			abort();
		why = why_no_list(crl);
	}
	if (why == NULL && (sk_X509_CRL_num(lists) == 0 || !was_whole()))
		why = "no revocation lists in PEM";
	for (int i = 0; why == NULL && i < sk_X509_CRL_num(lists); i++)
		(void)X509_STORE_add_crl(c->store, sk_X509_CRL_value(lists, i));
	sk_X509_CRL_pop_free(lists, X509_CRL_free);
	BIO_free(bio);
	ERR_clear_error();
	/* A list that is refused makes chains unknown, not free. */
	(void)X509_STORE_set_flags(c->store,
	    X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
	return why;
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
static const char *
why_no_signer(X509 *leaf)
{
	if (X509_check_ca(leaf) != 0)
		return "the device's certificate is a CA's";
	if ((X509_get_key_usage(leaf) & KU_DIGITAL_SIGNATURE) == 0)
		return "the device's certificate may not sign";
	return NULL;
}

static bool
allows_one(const EXTENDED_KEY_USAGE *list, const struct anchor *a)
{
	for (int i = 0; i < sk_ASN1_OBJECT_num(list); i++) {
		const ASN1_OBJECT *o = sk_ASN1_OBJECT_value(list, i);
		int nid = OBJ_obj2nid(o);

		if (a->purpose != NULL ? OBJ_cmp(o, a->purpose) == 0
		                       : nid == NID_client_auth ||
		            nid == NID_anyExtendedKeyUsage)
			return true;
	}
	return false;
}

/* A certificate without the extension allows anything, unless the device CA
 * wants a purpose of its own of the leaf. */
static bool
allows(X509 *cert, bool is_leaf, const struct anchor *a)
{
	EXTENDED_KEY_USAGE *list;
	int critical = 0;
	bool ok;

	if (a->any)
		return true;
	list = X509_get_ext_d2i(cert, NID_ext_key_usage, &critical, NULL);
	if (list == NULL)
		return critical == -1 && !(is_leaf && a->purpose != NULL);
	ok = allows_one(list, a);
	EXTENDED_KEY_USAGE_free(list);
	return ok;
}

/* A certificate may be trusted twice, for two purposes. */
static bool
fits_an_anchor(const struct x509_cas *cas, STACK_OF(X509) * chain)
{
	int last = sk_X509_num(chain) - 1;

	for (size_t i = 0; i < cas->n; i++) {
		bool fits = X509_cmp(cas->anchors[i].cert,
		                sk_X509_value(chain, last)) == 0;

		for (int k = 0; fits && k < last; k++)
			fits = allows(sk_X509_value(chain, k), k == 0,
			    &cas->anchors[i]);
		if (fits)
			return true;
	}
	return false;
}

/* What OpenSSL does not ask of a chain that it verified. */
static const char *
why_no_chain(const struct x509_cas *cas, X509_STORE_CTX *ctx)
{
	STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(ctx);
	const char *why = why_no_signer(sk_X509_value(chain, 0));

	if (why == NULL && !fits_an_anchor(cas, chain))
		why = "an extKeyUsage does not allow the purpose";
	return why;
}

/* The trusted certificate is trusted: nobody above it is asked. */
static int
on_fault(int ok, X509_STORE_CTX *ctx)
{
	int top = sk_X509_num(X509_STORE_CTX_get0_chain(ctx)) - 1;

	if (ok ||
	    X509_STORE_CTX_get_error(ctx) != X509_V_ERR_UNABLE_TO_GET_CRL ||
	    X509_STORE_CTX_get_error_depth(ctx) != top || top == 0)
		return ok;
	X509_STORE_CTX_set_error(ctx, X509_V_OK);
	return 1;
}

static enum tam_err
verify(const struct x509_cas *cas, X509 *leaf, STACK_OF(X509) * others,
    int64_t now_s, const char **why)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	X509_VERIFY_PARAM *param;
	enum tam_err err = TAM_OK;

	if (ctx == NULL ||
	    X509_STORE_CTX_init(ctx, cas->store, leaf, others) != 1)
		abort();
	param = X509_STORE_CTX_get0_param(ctx);
	X509_STORE_CTX_set_time(ctx, 0, (time_t)now_s);
	X509_VERIFY_PARAM_set_depth(param, DEPTH_MAX);
	X509_VERIFY_PARAM_set_auth_level(param, SECURITY_LEVEL);
	X509_STORE_CTX_set_verify_cb(ctx, on_fault);
	if (X509_verify_cert(ctx) != 1) {
		err = verdict(X509_STORE_CTX_get_error(ctx));
		*why = X509_verify_cert_error_string(
		    X509_STORE_CTX_get_error(ctx));
	} else if ((*why = why_no_chain(cas, ctx)) != NULL) {
		err = TAM_CERT_UNTRUSTED;
	}
	X509_STORE_CTX_free(ctx);
	ERR_clear_error();
	return err;
}

enum tam_err
x509_verify(const struct x509_cas *cas, const struct slice *chain, size_t n,
    int64_t now_s, struct x509_leaf *out, const char **why)
{
	STACK_OF(X509) *others = sk_X509_new_null();
	X509 *leaf = n == 0 ? NULL : parse(chain[0]);
	enum tam_err err = leaf == NULL ? TAM_CERT_UNTRUSTED : TAM_OK;

	*why = "a certificate cannot be read";
	for (size_t i = 1; i < n && err == TAM_OK; i++) {
		X509 *cert = parse(chain[i]);

		if (cert == NULL || sk_X509_push(others, cert) == 0)
			err = TAM_CERT_UNTRUSTED;
	}
	if (err == TAM_OK) {
		err = read_leaf(leaf, out);
		*why = "the device's key is neither P-256 nor Ed25519";
	}
	if (err == TAM_OK)
		err = verify(cas, leaf, others, now_s, why);
	sk_X509_pop_free(others, X509_free);
	X509_free(leaf);
	return err;
}
