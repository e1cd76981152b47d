#include "config.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>

#include "admin/ctl/ctl.h"
#include "admin/ctl/inspect.h"
#include "admin/ctl/output.h"
#include "lib/base/hex.h"
#include "lib/codec/crypto.h"
#include "lib/codec/jwt.h"

/* --key FILE: a public or private key as PEM, JWK or COSE_Key. */

enum {
	KEY_FILE_MAX = 16384,
	COSE_KEY_CRV = -1,
	COSE_KEY_D = -4
};

static void
use_private(struct inspect_key *k, enum ecdh_curve curve,
    const uint8_t secret[32])
{
	k->agrees =
	    ecdh_private_from_secret(&k->agree, curve, secret) == TAM_OK;
}

static void
read_pem(struct inspect_key *k, struct slice pem)
{
	struct cose_private priv;

	if (cose_private_from_pem(pem, &priv) == TAM_OK) {
		k->key = priv.key;
		k->verifies = true;
		cose_private_wipe(&priv);
	} else {
		k->verifies = cose_key_from_pem(pem, &k->key) == TAM_OK;
	}
	k->agrees = ecdh_private_from_pem(pem, &k->agree) == TAM_OK;
}

static void
read_jwk(struct inspect *x, struct inspect_key *k, struct slice json)
{
	json_t *doc = json_loadb((const char *)json.p, json.n, 0, NULL);
	const char *d = json_string_value(json_object_get(doc, "d"));
	const char *crv = json_string_value(json_object_get(doc, "crv"));
	struct slice secret;

	k->verifies = jwk_decode(json, x->arena, &k->key) == TAM_OK;
	if (d != NULL && crv != NULL &&
	    base64_decode(x->arena, slice_str(d), &secret) && secret.n == 32)
		use_private(k,
		    strcmp(crv, "X25519") == 0 ? ECDH_X25519 : ECDH_P256,
		    secret.p);
	json_decref(doc);
}

/* The private part of a COSE_Key, label -4. */
static struct slice
find_d(struct slice bytes, struct arena *arena)
{
	struct slice d = {0};
	struct cbor_in in;
	size_t n;

	cbor_in_open(&in, bytes, arena, CBOR_ANY);
	n = cbor_in_map(&in, 16);
	for (size_t i = 0; i < n && in.err == TAM_OK; i++) {
		if (cbor_in_int(&in) == COSE_KEY_D)
			d = cbor_in_bytes(&in, 32, 32);
		else
			cbor_in_skip(&in);
	}
	return cbor_in_finish(&in) == TAM_OK ? d : slice_none();
}

static void
read_cose_key(struct inspect *x, struct inspect_key *k, struct slice bytes)
{
	struct slice d = find_d(bytes, x->arena);
	struct ecdh_key agree;

	k->verifies = cose_key_decode(bytes, x->arena, &k->key) == TAM_OK;
	if (d.n == 32 && ecdh_key_decode(bytes, x->arena, &agree) == TAM_OK)
		use_private(k, agree.curve, d.p);
}

/* RFC 9053, 7.1: the curves of COSE_Key by their numbers. */
static const char *
cose_key_curve(struct slice bytes, struct arena *arena)
{
	static const char *const names[] = {[2] = "P-384",
	    [3] = "P-521",
	    [5] = "X448",
	    [7] = "Ed448",
	    [8] = "secp256k1"};
	struct cbor_in in;
	int64_t curve = 0;
	size_t n;

	cbor_in_open(&in, bytes, arena, CBOR_ANY);
	n = cbor_in_map(&in, 16);
	for (size_t i = 0; i < n && in.err == TAM_OK; i++) {
		if (cbor_in_int(&in) == COSE_KEY_CRV &&
		    cbor_in_peek(&in) == CBOR_UINT)
			curve = cbor_in_int(&in);
		else
			cbor_in_skip(&in);
	}
	return cbor_in_finish(&in) == TAM_OK && curve > 0 &&
	        curve < (int64_t)(sizeof(names) / sizeof(names[0]))
	    ? names[curve]
	    : NULL;
}

static const char *
jwk_curve(struct slice bytes, struct arena *arena)
{
	json_t *doc = json_loadb((const char *)bytes.p, bytes.n, 0, NULL);
	const char *crv = json_string_value(json_object_get(doc, "crv"));
	const char *copy =
	    crv == NULL ? NULL : arena_strdup(arena, slice_str(crv));

	json_decref(doc);
	return copy;
}

static const char *
pem_curve(struct slice bytes, struct arena *arena)
{
	BIO *in = BIO_new_mem_buf(bytes.p, (int)bytes.n);
	EVP_PKEY *key = PEM_read_bio_PUBKEY(in, NULL, NULL, NULL);
	const char *copy = NULL;
	char name[64];
	size_t n;

	if (key == NULL && BIO_reset(in) == 1)
		key = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
	if (key != NULL && EVP_PKEY_get_group_name(key, name, sizeof(name), &n))
		copy = arena_strdup(arena, slice_str(name));
	else if (key != NULL)
		copy = arena_strdup(arena,
		    slice_str(EVP_PKEY_get0_type_name(key)));
	EVP_PKEY_free(key);
	BIO_free(in);
	return copy;
}

/* "is a secp384r1 key", or what else is wrong. */
static const char *
why_not_key(struct inspect *x, struct slice bytes)
{
	const char *curve = bytes.n == 0 ? NULL
	    : bytes.p[0] == '-'          ? pem_curve(bytes, x->arena)
	    : bytes.p[0] == '{'          ? jwk_curve(bytes, x->arena)
	                                 : cose_key_curve(bytes, x->arena);

	x->complained = true;
	return curve == NULL
	    ? "is not a key"
	    : arena_printf(x->arena, "is a key of %s, which is not supported",
	          curve);
}

bool
inspect_add_key(struct inspect *x, const char *path)
{
	struct inspect_key *k = &x->keys[x->n_keys];
	struct buf file;
	struct slice bytes;

	if (x->n_keys == INSPECT_KEYS_MAX) {
		ctl_complain("more than %d keys", INSPECT_KEYS_MAX);
		return false;
	}
	buf_init(&file, KEY_FILE_MAX);
	if (!ctl_read_file(path, &file)) {
		buf_fini(&file);
		return false;
	}
	*k = (struct inspect_key){.name = path};
	bytes = arena_dup(x->arena, buf_slice(&file));
	crypto_zero(file.p, file.n);
	buf_fini(&file);
	if (bytes.n > 0 && bytes.p[0] == '-')
		read_pem(k, bytes);
	else if (bytes.n > 0 && bytes.p[0] == '{')
		read_jwk(x, k, bytes);
	else
		read_cose_key(x, k, bytes);
	if (!k->verifies && !k->agrees) {
		ctl_complain("%s: %s; P-256, Ed25519 and X25519 keys in PEM, "
		             "JWK or COSE_Key are supported",
		    path, why_not_key(x, bytes));
		return false;
	}
	x->n_keys++;
	return true;
}
