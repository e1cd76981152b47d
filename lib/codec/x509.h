/*
 * x509.h - certificate chains of COSE headers (RFC 9360) against a domain's
 * device CAs (RFC 5280).
 *
 * A set of CAs is made once, immutable from then on, and shared by threads.
 *
 * The policy, whatever the defaults of the library are:
 *
 *	strength    112 bits: RSA of 2048 bits, EC of 224; SHA-224 and better.
 *	            The leaf's key is P-256 or Ed25519: it signs TEEP messages.
 *	CAs         each certificate between the leaf and the trusted one has
 *	            basicConstraints with CA:TRUE; path lengths, name constraints
 *	            and keyUsage count; critical extensions must be known.
 *	leaf        is no CA, and may sign (digitalSignature, or no keyUsage).
 *	purpose     an extKeyUsage, of the leaf or of a CA below the trusted one,
 *	            must allow the purpose that the device CA is configured with.
 *	revocation  with a list in the set, each certificate below the trusted
 *	            one needs a current list of its issuer, and must not be on
 *	            it: without a list its status is unknown, and it is refused.
 *	            The trusted certificate itself needs none.
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
/*
 * One or more certificates, in PEM, to be trusted.  `purpose` is the OID that
 * an extKeyUsage of their devices' certificates must have, or "any", or "" for
 * clientAuth or anyExtendedKeyUsage.  All of them are taken or none: NULL, or
 * why not, static.
 */
const char *x509_cas_add(struct x509_cas *, const char *pem,
    const char *purpose);
/* Revocation lists, in PEM; NULL, or why not, static.  From then on every chain
 * is checked, also where the lists were refused. */
const char *x509_cas_add_crl(struct x509_cas *, const char *pem);

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

/* Leaf first.  TAM_CERT_UNTRUSTED, TAM_CERT_EXPIRED, TAM_CERT_REVOKED, and in
 * *why the reason for the log, static. */
enum tam_err x509_verify(const struct x509_cas *, const struct slice *chain,
    size_t n, int64_t now_s, struct x509_leaf *, const char **why);

#endif
