#include "config.h"

#include "lib/codec/crypto.h"
#include "lib/codec/x509.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

/* Up to the first NUL what an administrator brings, in PEM; the rest is the
 * leaf a device sends. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const uint8_t *nul = n == 0 ? NULL : memchr(data, 0, n);
	struct x509_cas *cas;
	struct x509_leaf leaf;
	const char *why;
	struct slice der;

	if (nul == NULL)
		return 0;
	crypto_init();
	der.p = nul + 1;
	der.n = n - (size_t)(der.p - data);
	cas = x509_cas_new();
	(void)x509_cas_add(cas, (const char *)data, "");
	(void)x509_cas_add_crl(cas, (const char *)data);
	(void)x509_leaf_read(der, &leaf);
	(void)x509_verify(cas, &der, 1, 1700000000, &leaf, &why);
	x509_cas_free(cas);
	return 0;
}
