#include "config.h"

#include "lib/codec/cose_encrypt.h"
#include "lib/codec/crypto.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct ecdh_private keys[2];
	struct arena *arena = arena_new_in(NULL);
	struct slice in = {data, n}, plain;
	struct cose_encrypted *m = arena_new(arena, struct cose_encrypted);
	static const uint8_t secret[32] = {1};

	if (keys[0].secret[0] == 0) {
		crypto_init();
		(void)ecdh_private_from_secret(&keys[0], ECDH_P256, secret);
		(void)ecdh_private_from_secret(&keys[1], ECDH_X25519, secret);
	}
	if (cose_encrypt_decode(in, arena, m) == TAM_OK)
		(void)cose_decrypt(m, COSE_USE_EAT, keys, 2, in, arena, &plain);
	arena_free(arena);
	return 0;
}
