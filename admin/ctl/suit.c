#include "config.h"

#include <getopt.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/ctl/ctl.h"
#include "admin/ctl/output.h"
#include "lib/base/hex.h"
#include "lib/base/number.h"
#include "lib/codec/cbor_out.h"
#include "lib/codec/cose.h"
#include "lib/codec/crypto.h"
#include "lib/codec/suit.h"

/*
 * tamctl suit create: a manifest with one component, as the draft's examples
 * have it: vendor and class are checked, the payload is fetched (from the
 * envelope or a URI), opened if it is encrypted to a device, and compared, and
 * it can be unlinked again.  It may bring one other manifest it depends on.
 *
 * tamctl suit keygen: a signer's key, and the public half for a trust anchor.
 */

enum {
	FILE_MAX_BYTES = 16 << 20,
	SEQUENCE_MAX = 4096,
	REPORT_ALL = 15,
	KEY_AUTH = 2,
	KEY_MANIFEST = 3
};

struct recipe {
	const char *key_file, *component, *vendor, *class_info, *uri, *out;
	const char *payload_file, *dependency_file, *encrypt_to, *encrypt;
	uint64_t sequence;
	size_t plain_size;
	bool integrate;        /* what has a URI, too */
	struct buf payload;    /* as it travels */
	struct buf encryption; /* COSE_Encrypt, when it is encrypted */
	struct buf dependency; /* its envelope */
	struct slice dependency_id;
	uint8_t dependency_digest[32];
	struct cose_private key;
	struct slice component_id, manifest_id;
	uint8_t vendor_id[16], class_id[16];
	uint8_t digest[32];
	struct arena *arena;
};

static int
usage(void)
{
	(void)fputs(
	    "usage: tamctl suit create --key PEM --component ID --sequence N\n"
	    "           --vendor DOMAIN|UUID --class NAME|UUID --payload FILE\n"
	    "           [--uri URI [--integrate]]\n"
	    "           [--dependency ENVELOPE] [--encrypt-to PEM [--encrypt ctr|gcm|chacha]]\n"
	    "           --out FILE\n"
	    "       tamctl suit keygen --curve p256|ed25519 --key PEM "
	    "--public PEM\n",
	    stderr);
	return CTL_USAGE;
}

/* RFC 9562, 5.5: SHA-1 over the name space and the name. */
static void
uuid5(const uint8_t space[16], const char *name, uint8_t out[16])
{
	uint8_t hash[EVP_MAX_MD_SIZE];
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	if (ctx == NULL || EVP_DigestInit_ex(ctx, EVP_sha1(), NULL) != 1 ||
	    EVP_DigestUpdate(ctx, space, 16) != 1 ||
	    EVP_DigestUpdate(ctx, name, strlen(name)) != 1 ||
	    EVP_DigestFinal_ex(ctx, hash, NULL) != 1)
		abort();
	EVP_MD_CTX_free(ctx);
	memcpy(out, hash, 16);
	out[6] = (uint8_t)((out[6] & 0x0f) | 0x50);
	out[8] = (uint8_t)((out[8] & 0x3f) | 0x80);
}

/* A UUID given as 32 hexadecimal digits, or the one a name stands for. */
static void
uuid_of(const uint8_t space[16], const char *text, uint8_t out[16])
{
	size_t n = 0;

	if (strlen(text) == 32 && hex_decode(text, 32, out, 16, &n))
		return;
	uuid5(space, text, out);
}

static void
wrap(struct buf *out, struct buf *inner)
{
	cbor_out_bytes(out, buf_slice(inner));
	buf_fini(inner);
}

static void
command(struct buf *b, enum suit_command c)
{
	cbor_out_uint(b, c);
	cbor_out_uint(b, REPORT_ALL);
}

static bool
depends(const struct recipe *r)
{
	return r->dependency.n > 0;
}

enum {
	OWN_INDEX = 0,
	DEPENDENCY_INDEX = 1
};

/* Where there are several, a sequence says of which it speaks. */
static void
address(const struct recipe *r, struct buf *b, unsigned index)
{
	if (!depends(r))
		return;
	cbor_out_uint(b, SUIT_DIR_SET_INDEX);
	cbor_out_uint(b, index);
}

static void
digest_parameter(const uint8_t bytes[32], struct buf *b)
{
	struct buf digest;

	cbor_out_uint(b, SUIT_PARAM_IMAGE_DIGEST);
	buf_init(&digest, 64);
	suit_digest_encode((struct slice){bytes, 32}, &digest);
	wrap(b, &digest);
}

static void
write_shared(const struct recipe *r, struct buf *b)
{
	cbor_out_array(b, depends(r) ? 8 : 6);
	address(r, b, OWN_INDEX);
	cbor_out_uint(b, SUIT_DIR_OVERRIDE_PARAMS);
	cbor_out_map(b, 4);
	cbor_out_uint(b, SUIT_PARAM_VENDOR);
	cbor_out_bytes(b, SLICE_OF(r->vendor_id));
	cbor_out_uint(b, SUIT_PARAM_CLASS);
	cbor_out_bytes(b, SLICE_OF(r->class_id));
	digest_parameter(r->digest, b);
	cbor_out_uint(b, SUIT_PARAM_IMAGE_SIZE);
	cbor_out_uint(b, r->plain_size);
	command(b, SUIT_COND_VENDOR);
	command(b, SUIT_COND_CLASS);
}

static void
write_common(const struct recipe *r, struct buf *b)
{
	struct buf shared;

	cbor_out_map(b, depends(r) ? 3 : 2);
	if (depends(r)) {
		cbor_out_uint(b, 1);
		cbor_out_map(b, 1);
		cbor_out_uint(b, DEPENDENCY_INDEX);
		cbor_out_map(b, 1);
		cbor_out_uint(b, 1);
		buf_add_slice(b, r->dependency_id);
	}
	cbor_out_uint(b, 2);
	cbor_out_array(b, 1);
	buf_add_slice(b, r->component_id);
	cbor_out_uint(b, 4);
	buf_init(&shared, SEQUENCE_MAX);
	write_shared(r, &shared);
	wrap(b, &shared);
}

static const char *
payload_name(const struct recipe *r)
{
	return r->uri == NULL ? "#payload" : r->uri;
}

/* -trust-domains, 6.4: its integrity is checked before it is processed. */
static void
process_dependency(const struct recipe *r, struct buf *b)
{
	address(r, b, DEPENDENCY_INDEX);
	cbor_out_uint(b, SUIT_DIR_OVERRIDE_PARAMS);
	cbor_out_map(b, 1);
	digest_parameter(r->dependency_digest, b);
	command(b, SUIT_COND_DEP_INTEGRITY);
	command(b, SUIT_DIR_PROCESS_DEPENDENCY);
	address(r, b, OWN_INDEX);
}

enum {
	PROCESS_ITEMS = 10 /* of process_dependency() */
};

static void
write_resolution(const struct recipe *r, struct buf *b)
{
	cbor_out_array(b, 8);
	address(r, b, DEPENDENCY_INDEX);
	cbor_out_uint(b, SUIT_DIR_OVERRIDE_PARAMS);
	cbor_out_map(b, 3);
	digest_parameter(r->dependency_digest, b);
	cbor_out_uint(b, SUIT_PARAM_IMAGE_SIZE);
	cbor_out_uint(b, r->dependency.n);
	cbor_out_uint(b, SUIT_PARAM_URI);
	cbor_out_text(b, SLICE_LIT("#dependency"));
	command(b, SUIT_DIR_FETCH);
	command(b, SUIT_COND_IMAGE_MATCH);
}

static void
write_install(const struct recipe *r, struct buf *b)
{
	bool sealed = r->encryption.n > 0;

	cbor_out_array(b, 6 + (depends(r) ? PROCESS_ITEMS : 0));
	if (depends(r))
		process_dependency(r, b);
	cbor_out_uint(b, SUIT_DIR_OVERRIDE_PARAMS);
	cbor_out_map(b, sealed ? 2 : 1);
	if (sealed) {
		cbor_out_uint(b, SUIT_PARAM_ENCRYPTION);
		cbor_out_bytes(b, buf_slice(&r->encryption));
	}
	cbor_out_uint(b, SUIT_PARAM_URI);
	cbor_out_text(b, slice_str(payload_name(r)));
	command(b, SUIT_DIR_FETCH);
	command(b, SUIT_COND_IMAGE_MATCH);
}

static void
write_uninstall(const struct recipe *r, struct buf *b)
{
	cbor_out_array(b, 2 + (depends(r) ? PROCESS_ITEMS : 0));
	if (depends(r))
		process_dependency(r, b);
	command(b, SUIT_DIR_UNLINK);
}

static void
write_manifest(const struct recipe *r, struct buf *b)
{
	struct buf part;

	cbor_out_map(b, depends(r) ? 7 : 6);
	cbor_out_uint(b, 1);
	cbor_out_uint(b, 1);
	cbor_out_uint(b, 2);
	cbor_out_uint(b, r->sequence);
	cbor_out_uint(b, 3);
	buf_init(&part, SEQUENCE_MAX);
	write_common(r, &part);
	wrap(b, &part);
	cbor_out_uint(b, 5);
	buf_add_slice(b, r->manifest_id);
	if (depends(r)) {
		cbor_out_uint(b, SUIT_DEPENDENCY_RESOLUTION);
		buf_init(&part, SEQUENCE_MAX);
		write_resolution(r, &part);
		wrap(b, &part);
	}
	cbor_out_uint(b, SUIT_INSTALL);
	buf_init(&part, SEQUENCE_MAX);
	write_install(r, &part);
	wrap(b, &part);
	cbor_out_uint(b, SUIT_UNINSTALL);
	buf_init(&part, SEQUENCE_MAX);
	write_uninstall(r, &part);
	wrap(b, &part);
}

static void
write_auth(const struct recipe *r, const uint8_t digest[32], struct buf *b)
{
	struct cose_crypto *crypto = cose_crypto_new();
	struct cose_signer *signer = cose_signer_new(&r->key);
	struct buf encoded, block;

	buf_init(&encoded, 64);
	buf_init(&block, 512);
	suit_digest_encode((struct slice){digest, 32}, &encoded);
	cose_sign1_detached(crypto, signer,
	    r->key.key.curve == COSE_P256 ? COSE_ALG_ESP256 : COSE_ALG_ED25519,
	    (struct slice){0}, buf_slice(&encoded), &block);
	cbor_out_array(b, 2);
	wrap(b, &encoded);
	wrap(b, &block);
	cose_signer_free(signer);
	cose_crypto_free(crypto);
}

static bool
is_integrated(const struct recipe *r)
{
	return r->uri == NULL || r->integrate;
}

static void
write_envelope(const struct recipe *r, struct buf *b)
{
	struct buf manifest, item, auth;
	uint8_t digest[32];

	buf_init(&manifest, FILE_MAX_BYTES);
	buf_init(&item, FILE_MAX_BYTES);
	write_manifest(r, &manifest);
	wrap(&item, &manifest);
	crypto_sha256(buf_slice(&item), digest);
	buf_init(&auth, 1024);
	write_auth(r, digest, &auth);
	cbor_out_map(b, 2 + is_integrated(r) + depends(r));
	cbor_out_uint(b, KEY_AUTH);
	wrap(b, &auth);
	cbor_out_uint(b, KEY_MANIFEST);
	buf_add_slice(b, buf_slice(&item));
	buf_fini(&item);
	if (is_integrated(r)) {
		cbor_out_text(b, slice_str(payload_name(r)));
		cbor_out_bytes(b, buf_slice(&r->payload));
	}
	if (depends(r)) {
		cbor_out_text(b, SLICE_LIT("#dependency"));
		cbor_out_bytes(b, buf_slice(&r->dependency));
	}
}

static bool
complain(const char *what, const char *why)
{
	ctl_complain("%s: %s", what, why);
	return false;
}

static bool
read_dependency(struct recipe *r)
{
	struct suit_envelope e;
	struct suit_manifest m;

	buf_init(&r->dependency, FILE_MAX_BYTES);
	if (r->dependency_file == NULL)
		return true;
	if (!ctl_read_file(r->dependency_file, &r->dependency))
		return false;
	if (suit_envelope_decode(buf_slice(&r->dependency), r->arena, &e) !=
	        TAM_OK ||
	    suit_manifest_decode(&e, r->arena, &m) != TAM_OK ||
	    m.component_id.n == 0)
		return complain(r->dependency_file,
		    "not a SUIT envelope with a manifest-component-id");
	memcpy(r->dependency_digest, e.digest, 32);
	r->dependency_id = m.component_id;
	return true;
}

static int
cipher_of(const char *name)
{
	if (name == NULL || strcmp(name, "gcm") == 0)
		return COSE_ALG_A128GCM;
	if (strcmp(name, "ctr") == 0)
		return COSE_ALG_A128CTR;
	return strcmp(name, "chacha") == 0 ? COSE_ALG_CHACHA20_POLY1305 : 0;
}

/* What travels is the ciphertext; digest and size stay the plaintext's. */
static bool
encrypt_payload(struct recipe *r)
{
	int alg = cipher_of(r->encrypt);
	struct ecdh_key key;
	struct buf pem, sealed;
	bool ok;

	buf_init(&r->encryption, 4096);
	if (r->encrypt_to == NULL)
		return true;
	buf_init(&pem, 8192);
	ok = ctl_read_file(r->encrypt_to, &pem) &&
	    (ecdh_key_from_pem(buf_slice(&pem), &key) == TAM_OK ||
	        complain(r->encrypt_to,
	            "not a P-256 or X25519 public key in PEM"));
	buf_fini(&pem);
	if (!ok || (alg == 0 && !complain(r->encrypt, "ctr, gcm or chacha")))
		return false;
	buf_init(&sealed, FILE_MAX_BYTES + 64);
	cose_encrypt_detached(alg, COSE_USE_SUIT_PAYLOAD, &key,
	    SLICE_OF(key.thumbprint), buf_slice(&r->payload), &r->encryption,
	    &sealed);
	buf_fini(&r->payload);
	r->payload = sealed;
	return true;
}

static bool
prepare(struct recipe *r)
{
	static const uint8_t dns[16] = {0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad,
	    0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8};

	buf_init(&r->payload, FILE_MAX_BYTES);
	if (!ctl_read_private(r->key_file, &r->key) ||
	    !ctl_read_file(r->payload_file, &r->payload))
		return false;
	if (!suit_component_parse(r->arena, r->component, &r->component_id) ||
	    !suit_component_parse(r->arena,
	        arena_printf(r->arena, "%s/suit", r->component),
	        &r->manifest_id)) {
		ctl_complain("%s: not a component id", r->component);
		return false;
	}
	uuid_of(dns, r->vendor, r->vendor_id);
	uuid_of(r->vendor_id, r->class_info, r->class_id);
	crypto_sha256(buf_slice(&r->payload), r->digest);
	r->plain_size = r->payload.n;
	return read_dependency(r) && encrypt_payload(r);
}

static int
create(struct recipe *r)
{
	struct buf envelope;
	FILE *f;
	bool ok;

	if (!prepare(r))
		return CTL_FAILED;
	buf_init(&envelope, FILE_MAX_BYTES + 65536);
	write_envelope(r, &envelope);
	f = fopen(r->out, "wb");
	ok = f != NULL && fwrite(envelope.p, 1, envelope.n, f) == envelope.n;
	ok = f != NULL && fclose(f) == 0 && ok;
	if (!ok)
		ctl_complain("%s: cannot be written", r->out);
	buf_fini(&envelope);
	return ok ? CTL_OK : CTL_FAILED;
}

static int
keygen(const char *curve, const char *key_file, const char *public_file)
{
	bool p256 = strcmp(curve, "p256") == 0;
	struct cose_private priv;
	struct buf pem;
	EVP_PKEY *pkey = NULL;
	BIO *in;
	FILE *f;
	bool ok;

	if (!p256 && strcmp(curve, "ed25519") != 0)
		return usage();
	buf_init(&pem, 8192);
	cose_private_generate(&priv, p256 ? COSE_P256 : COSE_ED25519);
	cose_private_to_pem(&priv, &pem);
	cose_private_wipe(&priv);
	ok = ctl_write_secret(key_file, buf_slice(&pem));
	in = BIO_new_mem_buf(pem.p, (int)pem.n);
	if (ok && in != NULL)
		pkey = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
	f = ok ? fopen(public_file, "w") : NULL;
	ok = f != NULL && pkey != NULL && PEM_write_PUBKEY(f, pkey) == 1;
	if (f != NULL)
		ok = fclose(f) == 0 && ok;
	EVP_PKEY_free(pkey);
	BIO_free(in);
	crypto_zero(pem.p, pem.n);
	buf_fini(&pem);
	return ok ? CTL_OK : CTL_FAILED;
}

int
ctl_suit(int argc, char **argv)
{
	static const struct option options[] = {{"key", required_argument, NULL,
	                                            'k'},
	    {"component", required_argument, NULL, 'c'},
	    {"sequence", required_argument, NULL, 's'},
	    {"vendor", required_argument, NULL, 'v'},
	    {"class", required_argument, NULL, 'l'},
	    {"payload", required_argument, NULL, 'p'},
	    {"uri", required_argument, NULL, 'u'},
	    {"integrate", no_argument, NULL, 'i'},
	    {"dependency", required_argument, NULL, 'd'},
	    {"encrypt-to", required_argument, NULL, 't'},
	    {"encrypt", required_argument, NULL, 'a'},
	    {"out", required_argument, NULL, 'o'},
	    {"curve", required_argument, NULL, 'e'},
	    {"public", required_argument, NULL, 'b'}, {NULL, 0, NULL, 0}};
	struct recipe r = {0};
	const char *curve = "p256", *public_file = NULL, *sequence = NULL;
	const char *verb = argc > 1 ? argv[1] : "";
	int c, status;

	optind = 2;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		const char **to = c == 'k' ? &r.key_file
		    : c == 'c'             ? &r.component
		    : c == 's'             ? &sequence
		    : c == 'v'             ? &r.vendor
		    : c == 'l'             ? &r.class_info
		    : c == 'p'             ? &r.payload_file
		    : c == 'u'             ? &r.uri
		    : c == 'o'             ? &r.out
		    : c == 'd'             ? &r.dependency_file
		    : c == 't'             ? &r.encrypt_to
		    : c == 'a'             ? &r.encrypt
		    : c == 'e'             ? &curve
		    : c == 'b'             ? &public_file
		                           : NULL;

		if (c == 'i')
			r.integrate = true;
		else if (to == NULL)
			return usage();
		else
			*to = optarg;
	}
	if (strcmp(verb, "keygen") == 0 && r.key_file != NULL &&
	    public_file != NULL)
		return keygen(curve, r.key_file, public_file);
	if (strcmp(verb, "create") != 0 || r.key_file == NULL ||
	    r.component == NULL || sequence == NULL || r.vendor == NULL ||
	    r.class_info == NULL || r.payload_file == NULL || r.out == NULL)
		return usage();
	if (!number_parse_unsigned(sequence, INT64_MAX, &r.sequence)) {
		ctl_complain("--sequence must be a whole number, not '%s'",
		    sequence);
		return CTL_USAGE;
	}
	r.arena = arena_new_in(NULL);
	status = create(&r);
	buf_fini(&r.payload);
	buf_fini(&r.dependency);
	buf_fini(&r.encryption);
	cose_private_wipe(&r.key);
	arena_free(r.arena);
	return status;
}
