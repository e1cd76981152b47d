#include "config.h"

#include <stdlib.h>

#include <check.h>
#include <jansson.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "lib/base/hex.h"
#include "lib/codec/cose.h"
#include "lib/codec/crypto.h"
#include "lib/codec/x509.h"
#include "tests/support/files.h"
#include "tests/support/keys.h"
#include "tests/support/suite.h"

static struct arena *arena;
static struct cose_crypto *crypto;

static void
setup(void)
{
	arena = arena_new_in(NULL);
	crypto = cose_crypto_new();
}

static void
teardown(void)
{
	cose_crypto_free(crypto);
	arena_free(arena);
}

/* The working group's examples; `verifies` with the key of the file. */
static const struct {
	const char *file;
	bool verifies;
} examples[] = {
    {"sign1-tests__sign-pass-01", false}, /* its alg is not protected */
    {"sign1-tests__sign-pass-02", false}, /* needs an external_aad */
    {"sign1-tests__sign-pass-03", true},
    {"sign1-tests__sign-fail-01", false},
    {"sign1-tests__sign-fail-02", false},
    {"sign1-tests__sign-fail-03", false},
    {"sign1-tests__sign-fail-04", false},
    {"sign1-tests__sign-fail-06", false},
    {"sign1-tests__sign-fail-07", false},
    {"sign-tests__sign-pass-01", true},
    {"sign-tests__sign-pass-02", false},
    {"sign-tests__sign-pass-03", true},
    {"sign-tests__sign-fail-01", false},
    {"sign-tests__sign-fail-02", false},
    {"sign-tests__sign-fail-06", false},
    {"ecdsa-examples__ecdsa-sig-01", true},
    {"ecdsa-examples__ecdsa-01", true},
    {"eddsa-examples__eddsa-sig-01", true},
    {"eddsa-examples__eddsa-01", true},
};

static json_t *
find(json_t *value, const char *name)
{
	const char *key;
	json_t *child, *hit;
	size_t i;

	json_array_foreach(value, i, child)
	{
		if ((hit = find(child, name)) != NULL)
			return hit;
	}
	if (json_object_get(value, name) != NULL)
		return json_object_get(value, name);
	json_object_foreach(value, key, child)
	{
		if ((hit = find(child, name)) != NULL)
			return hit;
	}
	return NULL;
}

static struct slice
member(json_t *key, const char *name)
{
	const char *hex = json_string_value(
	    json_object_get(key, arena_printf(arena, "%s_hex", name)));
	const char *b64 = json_string_value(json_object_get(key, name));
	struct slice out = {0};

	if (hex != NULL)
		return test_hex(arena, hex);
	ck_assert(b64 != NULL && base64_decode(arena, slice_str(b64), &out));
	return out;
}

static struct cose_key
key_of(json_t *jwk)
{
	bool ec =
	    strcmp(json_string_value(json_object_get(jwk, "kty")), "EC") == 0;
	struct cose_key key;
	uint8_t xy[64];

	ck_assert_uint_eq(member(jwk, "x").n, 32);
	memcpy(xy, member(jwk, "x").p, 32);
	if (!ec) {
		ck_assert_int_eq(cose_key_ed25519(&key, xy), TAM_OK);
		return key;
	}
	memcpy(xy + 32, member(jwk, "y").p, 32);
	ck_assert_int_eq(cose_key_p256(&key, xy), TAM_OK);
	return key;
}

START_TEST(agrees_with_the_working_groups_examples)
{
	struct slice text = test_file(arena,
	    arena_printf(arena, "vectors/cose/%s.json", examples[_i].file));
	json_t *doc = json_loadb((const char *)text.p, text.n, 0, NULL);
	struct cose_key key =
	    key_of(find(json_object_get(doc, "input"), "key"));
	struct cose_message m;
	struct slice cbor = test_hex(arena,
	    json_string_value(find(json_object_get(doc, "output"), "cbor")));
	enum tam_err err = cose_decode(cbor, arena, &m);

	if (err == TAM_OK)
		err = cose_verify(crypto, &m, 0, &key, (struct slice){0});
	ck_assert_msg((err == TAM_OK) == examples[_i].verifies, "%s: %s",
	    examples[_i].file, tam_err_text(err));
	json_decref(doc);
}
END_TEST

static const enum cose_curve curves[] = {COSE_P256, COSE_ED25519};
static const int algs[] = {COSE_ALG_ESP256, COSE_ALG_ED25519};

static struct slice
signed_by(struct cose_private *priv, int alg, const char *payload)
{
	struct cose_signer *signer = cose_signer_new(priv);
	struct buf b;
	struct slice out;

	buf_init(&b, 4096);
	cose_sign1(crypto, signer, alg, SLICE_OF(priv->key.thumbprint),
	    slice_str(payload), &b);
	out = arena_dup(arena, buf_slice(&b));
	buf_fini(&b);
	cose_signer_free(signer);
	return out;
}

START_TEST(verifies_what_it_signed_and_nothing_else)
{
	struct cose_private priv, other;
	struct cose_message m;
	struct slice bytes;

	cose_private_generate(&priv, curves[_i]);
	cose_private_generate(&other, curves[_i]);
	bytes = signed_by(&priv, algs[_i], "hello");
	ck_assert_int_eq(cose_decode(bytes, arena, &m), TAM_OK);
	ck_assert(slice_eq(m.signatures[0].kid, SLICE_OF(priv.key.thumbprint)));
	ck_assert_int_eq(cose_verify(crypto, &m, 0, &priv.key, m.payload),
	    TAM_OK);
	ck_assert_int_eq(cose_verify(crypto, &m, 0, &other.key, m.payload),
	    TAM_BAD_SIGNATURE);
	m.payload = SLICE_LIT("hellO");
	ck_assert_int_eq(cose_verify(crypto, &m, 0, &priv.key, m.payload),
	    TAM_BAD_SIGNATURE);
}
END_TEST

/* After a refused key the scratch key must not vouch for the next message. */
START_TEST(a_bad_point_verifies_nothing)
{
	struct cose_private priv;
	struct cose_key bad;
	struct cose_message m;

	cose_private_generate(&priv, COSE_P256);
	ck_assert_int_eq(cose_decode(signed_by(&priv, COSE_ALG_ESP256, "x"),
	                     arena, &m),
	    TAM_OK);
	ck_assert_int_eq(cose_verify(crypto, &m, 0, &priv.key, m.payload),
	    TAM_OK);
	bad = priv.key;
	bad.pub[63] ^= 1;
	ck_assert_int_eq(cose_verify(crypto, &m, 0, &bad, m.payload),
	    TAM_BAD_KEY);
	ck_assert_int_eq(cose_key_p256(&bad, bad.pub), TAM_BAD_KEY);
	memset(bad.pub, 0, sizeof(bad.pub));
	ck_assert_int_eq(cose_key_p256(&bad, bad.pub), TAM_BAD_KEY);
	ck_assert_int_eq(cose_key_ed25519(&bad, bad.pub), TAM_BAD_KEY);
}
END_TEST

/* OpenSSL's Ed25519 takes what libsodium signed: they are one algorithm. */
START_TEST(ed25519_is_openssls_too)
{
	struct cose_private priv;
	struct cose_signer *signer;
	uint8_t signature[64];
	struct slice part = SLICE_LIT("message");
	EVP_PKEY *pkey;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	cose_private_generate(&priv, COSE_ED25519);
	signer = cose_signer_new(&priv);
	cose_sign_parts(crypto, signer, &part, 1, signature);
	pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, priv.key.pub,
	    32);
	ck_assert_int_eq(EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, pkey), 1);
	ck_assert_int_eq(EVP_DigestVerify(ctx, signature, 64, part.p, part.n),
	    1);
	EVP_PKEY_free(pkey);
	EVP_MD_CTX_free(ctx);
	cose_signer_free(signer);
}
END_TEST

START_TEST(thumbprints_are_those_of_rfc_9679)
{
	struct cose_key key;
	struct slice want = test_hex(arena,
	    "496bd8afadf307e5b08c64b0421bf9dc01528a344a43bda88fadd1669da253ec");
	struct slice cbor = test_hex(arena,
	    "a5 0102 2001 215820 65eda5a12577c2bae829437fe338701a10aaa375e1bb5b"
	    "5de108de439c08551d 225820 1e52ed75701163f7f9e40ddf9f341b3dc9ba860a"
	    "f7e0ca7ca7e9eecd0084d19c 0241aa");

	ck_assert_int_eq(cose_key_decode(cbor, arena, &key), TAM_OK);
	ck_assert_mem_eq(key.thumbprint, want.p, 32);
}
END_TEST

START_TEST(a_key_survives_its_pem)
{
	struct cose_private priv, back;
	struct buf b;

	buf_init(&b, 4096);
	cose_private_generate(&priv, curves[_i]);
	cose_private_to_pem(&priv, &b);
	ck_assert_int_eq(cose_private_from_pem(buf_slice(&b), &back), TAM_OK);
	ck_assert_mem_eq(priv.secret, back.secret, 32);
	ck_assert_mem_eq(&priv.key, &back.key, sizeof(back.key));
	buf_fini(&b);
}
END_TEST

static const struct {
	const char *what, *cbor;
	enum tam_err err;
} bad[] = {
    {"not an array", "01", TAM_BAD_COSE},
    {"three elements", "8340a040", TAM_OUT_OF_RANGE},
    {"tag 18 around COSE_Sign", "d28440a0408183 43a10126a04100", TAM_BAD_COSE},
    {"tag 98 around COSE_Sign1", "d8628443a10126a04040", TAM_BAD_COSE},
    {"alg not protected", "8440a101264040", TAM_ALG_NOT_ALLOWED},
    {"alg in both", "8443a10126a101264040", TAM_BAD_COSE},
    {"crit unknown", "8447a30126028118 63a04040", TAM_TRUNCATED},
    {"crit names 99", "8447a2012602811863a04040", TAM_CRITICAL_HEADER},
    /* RFC 9052, 3.1: {1: -7, 2: [4]} without a kid, or with an unprotected
     * one; {1: -7, 2: [1]} names what is there */
    {"crit names what is absent", "8446a20126028104a04040",
        TAM_CRITICAL_HEADER},
    {"crit names what is unprotected", "8446a20126028104a1044101 4040",
        TAM_CRITICAL_HEADER},
    {"crit names what is there", "8446a20126028101a04040", TAM_OK},
    {"crit unprotected", "8443a10126a1028101 4040", TAM_MALFORMED},
    {"text alg", "8448a1016545533235 36a04040", TAM_ALG_NOT_ALLOWED},
    {"no signatures", "8440a04080", TAM_BAD_COSE},
};

START_TEST(refuses_malformed_messages)
{
	struct cose_message m;
	enum tam_err err =
	    cose_decode(test_hex(arena, bad[_i].cbor), arena, &m);

	ck_assert_msg(err == bad[_i].err, "%s: %s", bad[_i].what,
	    tam_err_text(err));
}
END_TEST

START_TEST(a_cose_sign_carries_one_signature_per_signer)
{
	struct cose_private keys[2] = {test_key("tam-p256"),
	    test_key("tam-ed25519")};
	struct cose_signer *signers[2] = {cose_signer_new(&keys[0]),
	    cose_signer_new(&keys[1])};
	const struct cose_key *publics[2] = {&keys[0].key, &keys[1].key};
	struct cose_blank blanks[2];
	struct cose_message m;
	struct buf b;

	buf_init(&b, 4096);
	cose_sign_blank(publics, algs, 2, SLICE_LIT("payload"), arena, &b,
	    blanks);
	ck_assert_int_eq(cose_decode(buf_slice(&b), arena, &m), TAM_OK);
	ck_assert_int_ne(cose_verify(crypto, &m, 0, publics[0], slice_none()),
	    TAM_OK);
	for (size_t i = 0; i < 2; i++)
		cose_sign_parts(crypto, signers[i], &blanks[i].message, 1,
		    b.p + blanks[i].at);
	ck_assert_int_eq(cose_decode(buf_slice(&b), arena, &m), TAM_OK);
	ck_assert_uint_eq(m.n, 2);
	for (size_t i = 0; i < 2; i++)
		ck_assert_int_eq(cose_verify(crypto, &m, i, &keys[i].key,
		                     (struct slice){0}),
		    TAM_OK);
	ck_assert_int_eq(cose_verify(crypto, &m, 0, &keys[1].key,
	                     (struct slice){0}),
	    TAM_KEY_MISMATCH);
	buf_fini(&b);
	cose_signer_free(signers[0]);
	cose_signer_free(signers[1]);
}
END_TEST

START_TEST(a_wrapped_secret_opens_only_unchanged)
{
	uint8_t key[32], wrapped[32 + WRAP_OVERHEAD], out[32];
	struct slice secret = SLICE_LIT("0123456789abcdef0123456789abcdef");

	crypto_random(key, sizeof(key));
	crypto_wrap(key, secret, SLICE_LIT("id"), wrapped);
	ck_assert(crypto_unwrap(key, SLICE_OF(wrapped), SLICE_LIT("id"), out));
	ck_assert_mem_eq(out, secret.p, 32);
	ck_assert(!crypto_unwrap(key, SLICE_OF(wrapped), SLICE_LIT("iD"), out));
	wrapped[40] ^= 1;
	ck_assert(!crypto_unwrap(key, SLICE_OF(wrapped), SLICE_LIT("id"), out));
}
END_TEST

/* RFC 9360, 2: a chain counts when its leaf is protected. */
START_TEST(a_chain_that_is_not_protected_is_not_there)
{
	static const char *const files[] = {"signed-03", "signed-04",
	    "signed-05"};
	struct cose_message m;

	ck_assert_int_eq(
	    cose_decode(test_file(arena,
	                    arena_printf(arena,
	                        "vectors/cose/x509-examples__%s.cbor",
	                        files[_i])),
	        arena, &m),
	    TAM_OK);
	ck_assert_uint_eq(m.signatures[0].n_certs, 0);
}
END_TEST

START_TEST(a_protected_chain_is_there_and_signed)
{
	struct slice certs[2] = {test_file(arena,
	                             "vectors/cose/x509-examples__alice.der"),
	    test_file(arena, "vectors/cose/x509-examples__ca.der")};
	struct cose_private priv = test_key("agent-p256");
	struct cose_signer *signer = cose_signer_new(&priv);
	struct cose_message m;
	struct buf b;

	buf_init(&b, 8192);
	cose_sign1_certified(crypto, signer, COSE_ALG_ESP256, certs,
	    (size_t)_i + 1, SLICE_LIT("what it says"), &b);
	ck_assert_int_eq(cose_decode(buf_slice(&b), arena, &m), TAM_OK);
	ck_assert_uint_eq(m.signatures[0].n_certs, (size_t)_i + 1);
	ck_assert(slice_eq(m.signatures[0].certs[0], certs[0]));
	ck_assert_int_eq(cose_verify(crypto, &m, 0, &priv.key, slice_none()),
	    TAM_OK);
	buf_fini(&b);
	cose_signer_free(signer);
}
END_TEST

/* The working group's example CA and what it signed. */
START_TEST(a_certificate_chains_to_its_ca_within_its_time)
{
	struct slice alice =
	    test_file(arena, "vectors/cose/x509-examples__alice.der");
	struct slice pem = test_file(arena, "vectors/keys/x509_ca.pem");
	struct x509_cas *cas = x509_cas_new(), *none = x509_cas_new();
	struct x509_leaf leaf, read;
	const char *why;
	const int64_t within = 1700000000;

	ck_assert_ptr_null(x509_cas_add(cas, arena_strdup(arena, pem), ""));
	ck_assert_ptr_nonnull(x509_cas_add(cas, "nonsense", ""));
	ck_assert_int_eq(x509_leaf_read(alice, &read), TAM_OK);
	ck_assert_int_eq(x509_verify(cas, &alice, 1, within, &leaf, &why),
	    TAM_OK);
	ck_assert_mem_eq(leaf.key.thumbprint, read.key.thumbprint, 32);
	ck_assert_int_eq(x509_verify(none, &alice, 1, within, &leaf, &why),
	    TAM_CERT_UNTRUSTED);
	ck_assert_int_eq(x509_verify(cas, &alice, 1, 1, &leaf, &why),
	    TAM_CERT_EXPIRED);
	alice.n--;
	ck_assert_int_eq(x509_verify(cas, &alice, 1, within, &leaf, &why),
	    TAM_CERT_UNTRUSTED);
	ck_assert_int_eq(x509_verify(cas, NULL, 0, within, &leaf, &why),
	    TAM_CERT_UNTRUSTED);
	x509_cas_free(none);
	x509_cas_free(cas);
}
END_TEST

/* A self-signed certificate of this common name, whatever its length. */
static struct slice
certificate_of(const char *name)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	unsigned char *der = NULL;
	struct slice out;

	ck_assert_int_eq(X509_NAME_add_entry_by_NID(X509_get_subject_name(cert),
	                     NID_commonName, V_ASN1_UTF8STRING,
	                     (const unsigned char *)name, -1, -1, 0),
	    1);
	(void)X509_set_issuer_name(cert, X509_get_subject_name(cert));
	(void)X509_gmtime_adj(X509_getm_notBefore(cert), 0);
	(void)X509_gmtime_adj(X509_getm_notAfter(cert), 60);
	(void)X509_set_pubkey(cert, key);
	ck_assert_int_gt(X509_sign(cert, key, EVP_sha256()), 0);
	out.n = (size_t)i2d_X509(cert, &der);
	out = arena_dup(arena, (struct slice){der, out.n});
	OPENSSL_free(der);
	X509_free(cert);
	EVP_PKEY_free(key);
	return out;
}

/* Two names that begin alike are two names. */
START_TEST(a_common_name_is_read_whole_or_not_at_all)
{
	const char *digits =
	    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
	const struct {
		const char *name, *read;
	} names[] = {
	    {"sensor-1", "sensor-1"},
	    {digits, digits},
	    {arena_printf(arena, "%s0", digits), ""},
	    {"a name", ""},
	    {"a/b", ""},
	    {"\xc3\xa4", ""},
	};
	struct x509_leaf leaf;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		ck_assert_int_eq(x509_leaf_read(certificate_of(names[i].name),
		                     &leaf),
		    TAM_OK);
		ck_assert_str_eq(leaf.name, names[i].read);
	}
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("cose");

	crypto_init();
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, agrees_with_the_working_groups_examples, 0,
	    (int)(sizeof(examples) / sizeof(examples[0])));
	tcase_add_loop_test(tc, verifies_what_it_signed_and_nothing_else, 0, 2);
	tcase_add_test(tc, a_bad_point_verifies_nothing);
	tcase_add_test(tc, ed25519_is_openssls_too);
	tcase_add_test(tc, thumbprints_are_those_of_rfc_9679);
	tcase_add_loop_test(tc, a_key_survives_its_pem, 0, 2);
	tcase_add_loop_test(tc, refuses_malformed_messages, 0,
	    (int)(sizeof(bad) / sizeof(bad[0])));
	tcase_add_test(tc, a_cose_sign_carries_one_signature_per_signer);
	tcase_add_test(tc, a_wrapped_secret_opens_only_unchanged);
	tcase_add_loop_test(tc, a_chain_that_is_not_protected_is_not_there, 0,
	    3);
	tcase_add_loop_test(tc, a_protected_chain_is_there_and_signed, 0, 2);
	tcase_add_test(tc, a_certificate_chains_to_its_ca_within_its_time);
	tcase_add_test(tc, a_common_name_is_read_whole_or_not_at_all);
	return suite_main(tc);
}
