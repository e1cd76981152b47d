#include "config.h"

#include "tests/support/keys.h"

#include <stdlib.h>

#include <check.h>
#include <jansson.h>

#include "lib/base/hex.h"
#include "tests/support/files.h"

static struct slice
member(struct arena *arena, json_t *key, const char *name)
{
	const char *digits = json_string_value(json_object_get(key, name));

	ck_assert_msg(digits != NULL, "no %s", name);
	return test_hex(arena, digits);
}

/* A key of the file, P-256 or not, with what is known of it. */
struct stated {
	bool p256;
	struct slice secret, x, thumbprint;
};

static struct stated
read_stated(struct arena *arena, const char *name)
{
	struct slice text = test_file(arena, "vectors/derived/keys.json");
	json_t *all = json_loadb((const char *)text.p, text.n, 0, NULL);
	json_t *key = json_object_get(all, name);
	struct stated k;

	ck_assert_msg(key != NULL, "no key %s", name);
	k.p256 = json_integer_value(json_object_get(key, "kty")) == 2;
	k.secret = member(arena, key, "d");
	k.x = member(arena, key, "x");
	k.thumbprint = member(arena, key, "thumbprint_sha256");
	json_decref(all);
	return k;
}

struct cose_private
test_key(const char *name)
{
	struct arena *arena = arena_new_in(NULL);
	struct stated k = read_stated(arena, name);
	struct cose_private priv;

	ck_assert_int_eq(cose_private_from_secret(&priv,
	                     k.p256 ? COSE_P256 : COSE_ED25519, k.secret.p),
	    TAM_OK);
	ck_assert_mem_eq(priv.key.pub, k.x.p, 32);
	ck_assert_mem_eq(priv.key.thumbprint, k.thumbprint.p, 32);
	arena_free(arena);
	return priv;
}

struct ecdh_private
test_ecdh_key(const char *name)
{
	struct arena *arena = arena_new_in(NULL);
	struct stated k = read_stated(arena, name);
	struct ecdh_private priv;

	ck_assert_int_eq(ecdh_private_from_secret(&priv,
	                     k.p256 ? ECDH_P256 : ECDH_X25519, k.secret.p),
	    TAM_OK);
	ck_assert_mem_eq(priv.key.pub, k.x.p, 32);
	ck_assert_mem_eq(priv.key.thumbprint, k.thumbprint.p, 32);
	arena_free(arena);
	return priv;
}

struct cose_key
test_suit_key(void)
{
	struct arena *arena = arena_new_in(NULL);
	struct cose_key key;

	ck_assert_int_eq(
	    cose_key_from_pem(test_file(arena,
	                          "vectors/keys/suit_examples_p256_public.pem"),
	        &key),
	    TAM_OK);
	arena_free(arena);
	return key;
}
