#include "config.h"

#include <check.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/codec/crypto.h"
#include "lib/codec/x509.h"
#include "tests/support/files.h"
#include "tests/support/suite.h"

/*
 * The policy for devices' certificates (lib/codec/x509.h) against chains that
 * openssl made: certificates.sh has what is in each.
 */

#define OWN "1.3.6.1.4.1.99999.1"

enum {
	CHAIN_MAX = 3,
	LISTS_MAX = 3
};

static const struct {
	const char *anchor, *purpose;
	const char *chain[CHAIN_MAX], *lists[LISTS_MAX];
	enum tam_err verdict;
} chains[] = {
    {"root", "", {"good"}, {0}, TAM_OK},
    {"root", "", {"plain"}, {0}, TAM_OK},
    {"root", "", {"ed"}, {0}, TAM_OK},
    {"root", "", {"below", "sub"}, {0}, TAM_OK},
    {"sub", "", {"below"}, {0}, TAM_OK},
    {"root-rsa", "", {"by-rsa"}, {0}, TAM_OK},
    {"root", "", {"below"}, {0}, TAM_CERT_UNTRUSTED},
    {"root", "", {"by-rsa"}, {0}, TAM_CERT_UNTRUSTED},
    /* signatures and keys below 112 bits, anywhere in the chain */
    {"root-rsa", "", {"md5"}, {0}, TAM_CERT_UNTRUSTED},
    {"root-rsa", "", {"sha1"}, {0}, TAM_CERT_UNTRUSTED},
    {"root", "", {"below-rsa512", "sub-rsa512"}, {0}, TAM_CERT_UNTRUSTED},
    {"root", "", {"below-rsa1024", "sub-rsa1024"}, {0}, TAM_CERT_UNTRUSTED},
    {"root", "", {"below-prime192v1", "sub-prime192v1"}, {0},
        TAM_CERT_UNTRUSTED},
    {"root-rsa", "", {"below-sha1", "sub-sha1"}, {0}, TAM_CERT_UNTRUSTED},
    /* keys that sign no TEEP message */
    {"root", "", {"leaf-rsa"}, {0}, TAM_CERT_UNTRUSTED},
    {"root", "", {"leaf-p384"}, {0}, TAM_CERT_UNTRUSTED},
    /* issuers that are no CAs, or not of this */
    {"root", "", {"below-nobc", "nobc"}, {0}, TAM_CERT_UNTRUSTED},
    {"root", "", {"below-nosign", "nosign"}, {0}, TAM_CERT_UNTRUSTED},
    {"short", "", {"below-short", "sub-short"}, {0}, TAM_CERT_UNTRUSTED},
    {"short", "", {"by-short"}, {0}, TAM_OK},
    {"root", "", {"below-names", "names"}, {0}, TAM_CERT_UNTRUSTED},
    /* leaves that are CAs, may not sign, or say what nobody understands */
    {"root", "", {"leaf-ca"}, {0}, TAM_CERT_UNTRUSTED},
    {"root", "", {"leaf-agrees"}, {0}, TAM_CERT_UNTRUSTED},
    {"root", "", {"critical"}, {0}, TAM_CERT_UNTRUSTED},
    /* purposes */
    {"root", "", {"server"}, {0}, TAM_CERT_UNTRUSTED},
    {"root", "", {"client"}, {0}, TAM_OK},
    {"root", "", {"any"}, {0}, TAM_OK},
    {"root", "", {"own"}, {0}, TAM_CERT_UNTRUSTED},
    {"root", "any", {"server"}, {0}, TAM_OK},
    {"root", OWN, {"own"}, {0}, TAM_OK},
    {"root", OWN, {"client"}, {0}, TAM_CERT_UNTRUSTED},
    {"root", OWN, {"any"}, {0}, TAM_CERT_UNTRUSTED},
    {"root", OWN, {"good"}, {0}, TAM_CERT_UNTRUSTED},
    {"root", "", {"below-server", "sub-server"}, {0}, TAM_CERT_UNTRUSTED},
    {"root", "any", {"below-server", "sub-server"}, {0}, TAM_OK},
    {"sub-server", "", {"below-server"}, {0}, TAM_OK},
    /* revocation: along the whole chain */
    {"root", "", {"good"}, {"root-none"}, TAM_OK},
    {"root", "", {"below", "sub"}, {"root-none", "sub-none"}, TAM_OK},
    {"root", "", {"below", "sub"}, {"root-sub", "sub-none"}, TAM_CERT_REVOKED},
    {"root", "", {"below", "sub"}, {"root-none", "sub-below"},
        TAM_CERT_REVOKED},
    {"root", "", {"below", "sub"}, {"root-none"}, TAM_CERT_UNTRUSTED},
    {"root", "", {"below", "sub"}, {"sub-none"}, TAM_CERT_UNTRUSTED},
    {"root", "", {"good"}, {"root-old"}, TAM_CERT_EXPIRED},
    {"root", "", {"good"}, {"rsa-none"}, TAM_CERT_UNTRUSTED},
    {"root-rsa", "", {"by-rsa"}, {"rsa-sha1"}, TAM_CERT_UNTRUSTED},
    /* a trusted intermediate needs no list of its issuer, and may have one */
    {"sub", "", {"below"}, {"sub-none"}, TAM_OK},
    {"sub", "", {"below"}, {"sub-below"}, TAM_CERT_REVOKED},
    {"sub", "", {"below"}, {"root-none"}, TAM_CERT_UNTRUSTED},
};

static struct arena *arena;

static struct slice
file(const char *name, const char *ext)
{
	return test_file(arena,
	    arena_printf(arena, "%s/%s.%s", getenv("TAM_TEST_CERTIFICATES"),
	        name, ext));
}

static const char *
text(const char *name, const char *ext)
{
	return arena_strdup(arena, file(name, ext));
}

START_TEST(a_chain_is_verified_by_policy)
{
	struct x509_cas *cas = x509_cas_new();
	struct slice chain[CHAIN_MAX];
	struct x509_leaf leaf;
	const char *why;
	enum tam_err err;
	size_t n = 0;

	ck_assert_ptr_null(x509_cas_add(cas, text(chains[_i].anchor, "crt"),
	    chains[_i].purpose));
	for (size_t i = 0; chains[_i].lists[i] != NULL; i++)
		(void)x509_cas_add_crl(cas, text(chains[_i].lists[i], "crl"));
	for (; chains[_i].chain[n] != NULL; n++)
		chain[n] = file(chains[_i].chain[n], "der");
	err = x509_verify(cas, chain, n, clock_wall_us() / CLOCK_SECOND, &leaf,
	    &why);
	ck_assert_msg(err == chains[_i].verdict, "%s under %s: %s, because %s",
	    chains[_i].chain[0], chains[_i].anchor, tam_err_name(err),
	    why == NULL ? "of nothing" : why);
	ck_assert_int_eq(why == NULL, err == TAM_OK);
	x509_cas_free(cas);
}
END_TEST

/* What an administrator puts is all taken, or refused with a reason. */
static const struct {
	const char *files[2], *ext, *purpose, *why;
} given[] = {
    {{"root", "sub"}, "crt", "", NULL},
    {{"root"}, "crt", OWN, NULL},
    {{"root"}, "crt", "clientAuth", "the purpose is neither"},
    {{"root"}, "crt", "1.2.x", "the purpose is neither"},
    {{"root", "good"}, "crt", "", "a certificate is no CA's"},
    {{"root-rsa512"}, "crt", "", "too weak"},
    {{"root-rsa1024"}, "crt", "", "too weak"},
    {{"root-prime192v1"}, "crt", "", "too weak"},
    {{"root-none"}, "crl-as-crt", "", "no certificates"},
    {{"root", "broken"}, "crt", "", "no certificates"},
    {{"root-none", "sub-none"}, "crl", "", NULL},
    {{"root-none", "rsa-sha1"}, "crl", "", "weak hash"},
    {{"root-none", "broken"}, "crl", "", "no revocation lists"},
};

START_TEST(what_is_put_is_taken_whole_or_refused)
{
	const char *ext = given[_i].ext, *pem = "", *why;
	struct x509_cas *cas = x509_cas_new();

	for (size_t i = 0; i < 2 && given[_i].files[i] != NULL; i++) {
		const char *name = given[_i].files[i];

		pem = arena_printf(arena, "%s%s", pem,
		    strcmp(name, "broken") != 0
		        ? text(name, strncmp(ext, "crl", 3) == 0 ? "crl" : ext)
		        : strcmp(ext, "crl") == 0
		        ? "-----BEGIN X509 CRL-----\nAAAA\n"
		          "-----END X509 CRL-----\n"
		        : "-----BEGIN CERTIFICATE-----\nAAAA\n"
		          "-----END CERTIFICATE-----\n");
	}
	why = strcmp(ext, "crl") == 0
	    ? x509_cas_add_crl(cas, pem)
	    : x509_cas_add(cas, pem, given[_i].purpose);
	if (given[_i].why == NULL)
		ck_assert_msg(why == NULL, "%s", why);
	else
		ck_assert_msg(why != NULL && strstr(why, given[_i].why) != NULL,
		    "%s", why == NULL ? "taken" : why);
	x509_cas_free(cas);
}
END_TEST

static void
setup(void)
{
	ck_assert_msg(getenv("TAM_TEST_CERTIFICATES") != NULL,
	    "run tests/integration/run.sh");
	arena = arena_new_in(NULL);
}

static void
teardown(void)
{
	arena_free(arena);
}

int
main(void)
{
	TCase *tc = tcase_create("x509");

	crypto_init();
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	LOOP(tc, a_chain_is_verified_by_policy, chains);
	LOOP(tc, what_is_put_is_taken_whole_or_refused, given);
	return suite_main(tc);
}
