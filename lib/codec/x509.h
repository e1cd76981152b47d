/*
 * x509.h - certificate chains of COSE headers (RFC 9360) against a domain's
 * device CAs (RFC 5280).
 *
 * A set of CAs is made once, immutable from then on, and shared by threads.
 */
#ifndef LIB_CODEC_X509_H
#define LIB_CODEC_X509_H

#include "lib/codec/cose.h"

enum {
	X509_NAME_MAX = 65,  /* ub-common-name and a NUL */
	X509_SERIAL_MAX = 20 /* RFC 5280, 4.1.2.2 */
};

struct x509_cas;

struct x509_cas *x509_cas_new(void);
void x509_cas_free(struct x509_cas *);
/* One or more certificates, in PEM; 0: none could be read. */
size_t x509_cas_add(struct x509_cas *, const char *pem);
/* Revocation lists, in PEM; from the first one on every chain is checked. */
size_t x509_cas_add_crl(struct x509_cas *, const char *pem);

/* What a leaf says. */
struct x509_leaf {
	struct cose_key key;
	uint8_t issuer[32]; /* SHA-256 of the issuer's name, DER */
	uint8_t serial[X509_SERIAL_MAX];
	size_t serial_n;
	char name[X509_NAME_MAX]; /* the common name; "" when it is no name */
};

/* Only the leaf, unverified: which key it speaks of. */
enum tam_err x509_leaf_read(struct slice der, struct x509_leaf *);

/*
 * Leaf first.  TAM_CERT_UNTRUSTED, TAM_CERT_EXPIRED, TAM_CERT_REVOKED; a leaf
 * that is a CA, or may not sign, is not trusted.
 */
enum tam_err x509_verify(const struct x509_cas *, const struct slice *chain,
    size_t n, int64_t now_s, struct x509_leaf *);

#endif
