#include "config.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/*
 * ceiling - the cost of the cryptography alone: bare P-256 sign and verify
 * with reused contexts, interleaved, median of slices; CPU microseconds.
 */

enum {
	SLICES = 61,
	OPS = 40
};

static double
cpu_us(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

int
main(void)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	EVP_PKEY_CTX *sign = EVP_PKEY_CTX_new(key, NULL);
	EVP_PKEY_CTX *verify = EVP_PKEY_CTX_new(key, NULL);
	unsigned char digest[32] = {1}, signature[80];
	size_t n = sizeof(signature);
	double signs[SLICES], verifies[SLICES];

	if (EVP_PKEY_sign_init(sign) != 1 || EVP_PKEY_verify_init(verify) != 1)
		return 1;
	for (int i = 0; i < SLICES; i++) {
		double start = cpu_us();

		for (int j = 0; j < OPS; j++) {
			n = sizeof(signature);
			if (EVP_PKEY_sign(sign, signature, &n, digest, 32) != 1)
				return 1;
		}
		signs[i] = (cpu_us() - start) / OPS;
		start = cpu_us();
		for (int j = 0; j < OPS; j++) {
			if (EVP_PKEY_verify(verify, signature, n, digest, 32) !=
			    1)
				return 1;
		}
		verifies[i] = (cpu_us() - start) / OPS;
	}
	qsort(signs, SLICES, sizeof(double), by_value);
	qsort(verifies, SLICES, sizeof(double), by_value);
	(void)printf("%.2f %.2f\n", signs[SLICES / 2], verifies[SLICES / 2]);
	EVP_PKEY_CTX_free(sign);
	EVP_PKEY_CTX_free(verify);
	EVP_PKEY_free(key);
	return 0;
}
