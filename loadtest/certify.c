#include "config.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/mem.h"
#include "loadtest/device.h"

/* The CA of a simulated fleet: certificates as a factory would make them. */

struct agent_ca {
	X509 *cert;
	EVP_PKEY *key;
	int days;
};

enum {
	SECONDS_PER_DAY = 86400,
	DER_MAX = 4096
};

struct agent_ca *
agent_ca_new(const char *cert_file, const char *key_file, int days)
{
	struct agent_ca *ca = mem_new(struct agent_ca);
	FILE *f = fopen(cert_file, "r");

	ca->days = days;
	if (f != NULL) {
		ca->cert = PEM_read_X509(f, NULL, NULL, NULL);
		(void)fclose(f);
	}
	f = fopen(key_file, "r");
	if (f != NULL) {
		ca->key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
		(void)fclose(f);
	}
	if (ca->cert != NULL && ca->key != NULL)
		return ca;
	agent_ca_free(ca);
	return NULL;
}

void
agent_ca_free(struct agent_ca *ca)
{
	if (ca == NULL)
		return;
	X509_free(ca->cert);
	EVP_PKEY_free(ca->key);
	free(ca);
}

static EVP_PKEY *
key_of(const struct agent *a)
{
	struct cose_private priv;
	struct buf pem;
	EVP_PKEY *pkey;
	BIO *bio;

	buf_init(&pem, DER_MAX);
	(void)cose_private_from_secret(&priv, a->curve, a->secret);
	cose_private_to_pem(&priv, &pem);
	bio = BIO_new_mem_buf(pem.p, (int)pem.n);
	pkey = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	cose_private_wipe(&priv);
	BIO_free(bio);
	buf_fini(&pem);
	return pkey;
}

static void
name_it(X509 *cert, const struct agent *a)
{
	char name[32];
	ASN1_INTEGER *serial = X509_get_serialNumber(cert);

	(void)snprintf(name, sizeof(name), "device-%06u", a->number);
	(void)X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN",
	    MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
	(void)ASN1_INTEGER_set_uint64(serial, (uint64_t)a->number + 1);
}

struct slice
agent_certificate(struct agent_ca *ca, const struct agent *a,
    struct arena *arena)
{
	X509 *cert = X509_new();
	EVP_PKEY *key = key_of(a);
	X509_EXTENSION *usage =
	    X509V3_EXT_conf_nid(NULL, NULL, NID_key_usage, "digitalSignature");
	unsigned char *der = NULL;
	struct slice out;
	int n;

	(void)X509_set_version(cert, X509_VERSION_3);
	name_it(cert, a);
	(void)X509_set_issuer_name(cert, X509_get_subject_name(ca->cert));
	(void)X509_gmtime_adj(X509_getm_notBefore(cert), -2L * SECONDS_PER_DAY);
	(void)X509_gmtime_adj(X509_getm_notAfter(cert),
	    (long)ca->days * SECONDS_PER_DAY);
	(void)X509_set_pubkey(cert, key);
	(void)X509_add_ext(cert, usage, -1);
	(void)X509_sign(cert, ca->key,
	    EVP_PKEY_is_a(ca->key, "EC") ? EVP_sha256() : NULL);
	n = i2d_X509(cert, &der);
	out = arena_dup(arena, (struct slice){der, n > 0 ? (size_t)n : 0});
	OPENSSL_free(der);
	X509_EXTENSION_free(usage);
	EVP_PKEY_free(key);
	X509_free(cert);
	return out;
}
