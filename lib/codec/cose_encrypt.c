#include "config.h"

#include "lib/codec/cose_encrypt.h"

#include <assert.h>
#include <stdlib.h>

#include "lib/codec/cbor_out.h"
#include "lib/codec/cose_backend.h"
#include "lib/codec/crypto.h"

/*
 * The order of this file: what is on the wire, the key encryption key, opening,
 * writing.
 */

enum {
	HEADER_ALG = 1,
	HEADER_CRIT = 2,
	HEADER_KID = 4,
	HEADER_IV = 5,
	HEADER_EPHEMERAL = -1,
	HEADER_SALT = -20,
	HEADERS_MAX = 16,
	PROTECTED_MAX = 1024,
	CEK_MAX = 32,
	WRAP_EXTRA = 8,
	KEK_SIZE = 16,
	CONTEXT_MAX = PROTECTED_MAX + 64,
	A128KW = -3 /* AlgorithmID of the derived key */
};

struct profile {
	int alg;
	size_t cek, iv;
	bool aead;
};

static const struct profile profiles[] = {
    {COSE_ALG_A128GCM, 16, 12, true},
    {COSE_ALG_CHACHA20_POLY1305, 32, 12, true},
    {COSE_ALG_A128CTR, 16, 16, false},
};

static const struct profile *
profile_of(int64_t alg)
{
	for (size_t i = 0; i < sizeof(profiles) / sizeof(profiles[0]); i++) {
		if (profiles[i].alg == alg)
			return &profiles[i];
	}
	return NULL;
}

/* Of an algorithm that was checked, or is the caller's constant. */
static const struct profile *
known_profile(int64_t alg)
{
	const struct profile *p = profile_of(alg);

	if (p == NULL)
		abort();
	return p;
}

/* --- reading ----------------------------------------------------------------- */

bool
cose_is_encrypted(struct slice bytes)
{
	return bytes.n > 2 && bytes.p[0] == 0xd8 &&
	    bytes.p[1] == COSE_TAG_ENCRYPT;
}

struct headers {
	int64_t alg;
	unsigned n_alg;
	struct slice iv, kid, salt, ephemeral;
};

static void
read_headers(struct cbor_in *in, struct headers *h)
{
	size_t n = cbor_in_map(in, HEADERS_MAX);

	for (size_t i = 0; i < n && in->err == TAM_OK; i++) {
		int64_t label;

		if (!cbor_in_label(in, &label))
			continue;
		if (label == HEADER_ALG) {
			h->alg = cbor_in_int(in);
			h->n_alg++;
		} else if (label == HEADER_CRIT) {
			cbor_in_fail(in, TAM_CRITICAL_HEADER);
		} else if (label == HEADER_IV) {
			h->iv = cbor_in_bytes(in, 1, 32);
		} else if (label == HEADER_KID) {
			h->kid = cbor_in_bytes(in, 0, 64);
		} else if (label == HEADER_SALT) {
			h->salt = cbor_in_bytes(in, 1, 64);
		} else if (label == HEADER_EPHEMERAL) {
			h->ephemeral = cbor_in_item(in);
		} else {
			cbor_in_skip(in);
		}
	}
}

/* Both buckets; an algorithm stands in one of them. */
static struct slice
read_both(struct cbor_in *in, struct arena *arena, struct headers *h)
{
	struct slice prot = cbor_in_bytes(in, 0, PROTECTED_MAX);
	struct cbor_in inner;

	*h = (struct headers){0};
	if (prot.n > 0) {
		cbor_in_open(&inner, prot, arena, CBOR_ANY);
		read_headers(&inner, h);
		if (cbor_in_finish(&inner) != TAM_OK)
			cbor_in_fail(in, cbor_in_finish(&inner));
	}
	read_headers(in, h);
	if (in->err == TAM_OK && h->n_alg != 1)
		cbor_in_fail(in, TAM_ALG_NOT_ALLOWED);
	if (prot.n == 1 && prot.p[0] == 0xa0)
		prot.n = 0;
	return prot;
}

/* A recipient we cannot serve is passed over, not refused: alg stays 0. */
static void
read_recipient(struct cbor_in *in, struct arena *arena,
    struct cose_recipient *r)
{
	size_t items = cbor_in_array(in, 4);
	struct headers h;

	if (items < 3)
		cbor_in_fail(in, TAM_BAD_COSE);
	r->prot = read_both(in, arena, &h);
	r->kid = h.kid;
	r->salt = h.salt;
	if (cbor_in_accept_null(in))
		r->wrapped = slice_none();
	else
		r->wrapped = cbor_in_bytes(in, 0, CEK_MAX + WRAP_EXTRA);
	if (items == 4)
		cbor_in_skip(in);
	if (in->err == TAM_OK && h.alg == COSE_ALG_ECDH_ES_A128KW &&
	    h.ephemeral.n > 0 &&
	    ecdh_key_decode(h.ephemeral, arena, &r->ephemeral) == TAM_OK)
		r->alg = h.alg;
}

static void
read_recipients(struct cbor_in *in, struct arena *arena,
    struct cose_encrypted *m)
{
	m->n = cbor_in_array(in, COSE_RECIPIENTS_MAX);
	if (m->n == 0)
		cbor_in_fail(in, TAM_BAD_COSE);
	for (size_t i = 0; i < m->n && in->err == TAM_OK; i++)
		read_recipient(in, arena, &m->recipients[i]);
}

/* E18: for A128CTR the algorithm may stand in either bucket; for an AEAD it
 * is authenticated, or it is not there. */
static enum tam_err
check_profile(const struct cose_encrypted *m, bool alg_protected)
{
	const struct profile *p = profile_of(m->alg);

	if (p == NULL || (p->aead && !alg_protected))
		return TAM_ALG_NOT_ALLOWED;
	return m->iv.n == p->iv ? TAM_OK : TAM_BAD_COSE;
}

enum tam_err
cose_encrypt_decode(struct slice bytes, struct arena *arena,
    struct cose_encrypted *out)
{
	struct cose_encrypted m = {0};
	struct headers h = {0};
	struct cbor_in in;
	enum tam_err err;

	cbor_in_open(&in, bytes, arena, CBOR_ANY);
	if (in.err == TAM_OK && !cbor_in_accept_tag(&in, COSE_TAG_ENCRYPT))
		cbor_in_fail(&in, TAM_BAD_COSE);
	cbor_in_array_of(&in, 4);
	m.prot = read_both(&in, arena, &h);
	m.alg = h.alg;
	m.iv = h.iv;
	if (cbor_in_accept_null(&in))
		m.detached = true;
	else
		m.ciphertext = cbor_in_bytes(&in, 0, COSE_PLAINTEXT_MAX);
	read_recipients(&in, arena, &m);
	err = cbor_in_finish(&in);
	if (err == TAM_OK)
		err = check_profile(&m, m.prot.n > 0);
	if (err == TAM_OK)
		*out = m;
	return err;
}

/* --- the key encryption key (RFC 9053, 5.2 and 6.3.1) --------------------------- */

static struct slice
use_text(enum cose_use use)
{
	switch (use) {
	case COSE_USE_SUIT_PAYLOAD:
		return SLICE_LIT("SUIT Payload Encryption");
	case COSE_USE_SUIT_REPORT:
		return SLICE_LIT("SUIT Report Encryption");
	case COSE_USE_EAT:
		return SLICE_LIT("EAT Encryption");
	case COSE_USE_NONE:
	default:
		return slice_none();
	}
}

static void
write_party(struct buf *b)
{
	cbor_out_array(b, 3);
	for (int i = 0; i < 3; i++)
		cbor_out_null(b);
}

/* [A128KW, [nil,nil,nil], [nil,nil,nil], [128, protected, ? other]] */
static void
write_context(struct buf *b, enum cose_use use, struct slice prot)
{
	struct slice other = use_text(use);

	cbor_out_array(b, 4);
	cbor_out_int(b, A128KW);
	write_party(b);
	write_party(b);
	cbor_out_array(b, other.n > 0 ? 3 : 2);
	cbor_out_uint(b, (uint64_t)8 * KEK_SIZE);
	cbor_out_bytes(b, prot);
	if (other.n > 0)
		cbor_out_bytes(b, other);
}

static bool
agree(const struct ecdh_private *mine, const struct ecdh_key *theirs,
    uint8_t z[32])
{
	if (mine->key.curve != theirs->curve)
		return false;
	return theirs->curve == ECDH_P256
	    ? backend_p256_agree(mine->secret, mine->key.pub, theirs->pub, z)
	    : backend_x25519(mine->secret, theirs->pub, z);
}

static bool
derive_kek(const struct ecdh_private *mine, const struct ecdh_key *theirs,
    enum cose_use use, struct slice prot, struct slice salt,
    uint8_t kek[KEK_SIZE])
{
	uint8_t z[32], room[CONTEXT_MAX];
	struct buf context = {.p = room,
	    .room = sizeof(room),
	    .max = sizeof(room)};

	if (!agree(mine, theirs, z))
		return false;
	write_context(&context, use, prot);
	assert(!context.full);
	backend_hkdf_sha256(z, salt, buf_slice(&context), kek, KEK_SIZE);
	crypto_zero(z, sizeof(z));
	return true;
}

/* ["Encrypt", protected, h''] */
static struct slice
aad_of(struct arena *arena, struct slice prot)
{
	struct buf b;
	struct slice aad;

	buf_init(&b, CONTEXT_MAX);
	cbor_out_array(&b, 3);
	cbor_out_text(&b, SLICE_LIT("Encrypt"));
	cbor_out_bytes(&b, prot);
	cbor_out_bytes(&b, slice_none());
	aad = arena_dup(arena, buf_slice(&b));
	buf_fini(&b);
	return aad;
}

/* --- opening ---------------------------------------------------------------------- */

static bool
unwrap_cek(const struct cose_recipient *r, const struct ecdh_private *key,
    enum cose_use use, size_t cek_n, uint8_t cek[CEK_MAX])
{
	uint8_t kek[KEK_SIZE];
	bool ok;

	if (r->alg != COSE_ALG_ECDH_ES_A128KW ||
	    r->wrapped.n != cek_n + WRAP_EXTRA ||
	    !derive_kek(key, &r->ephemeral, use, r->prot, r->salt, kek))
		return false;
	ok = backend_key_unwrap(kek, r->wrapped, cek);
	crypto_zero(kek, sizeof(kek));
	return ok;
}

static bool
open_for(const struct cose_encrypted *m, const struct cose_recipient *r,
    const struct ecdh_private *key, enum cose_use use, struct slice ciphertext,
    struct arena *arena, struct slice *plain)
{
	const struct profile *p = known_profile(m->alg);
	uint8_t cek[CEK_MAX + WRAP_EXTRA];
	uint8_t *out = arena_alloc(arena, ciphertext.n + 1);
	bool ok;

	if (!unwrap_cek(r, key, use, p->cek, cek))
		return false;
	ok = backend_open(&(struct backend_cipher){.alg = p->alg,
	                      .key = cek,
	                      .iv = m->iv,
	                      .aad = aad_of(arena, m->prot)},
	    ciphertext, out);
	crypto_zero(cek, sizeof(cek));
	*plain = (struct slice){out, ciphertext.n - (p->aead ? 16 : 0)};
	return ok;
}

/* The recipient that a key is tried on: the one that names it, else the first
 * of its curve that names none, else the first of its curve. */
static const struct cose_recipient *
recipient_for(const struct cose_encrypted *m, const struct ecdh_private *key)
{
	const struct cose_recipient *nameless = NULL, *any = NULL;

	for (size_t i = 0; i < m->n; i++) {
		const struct cose_recipient *r = &m->recipients[i];

		if (r->ephemeral.curve != key->key.curve)
			continue;
		if (slice_eq(r->kid, SLICE_OF(key->key.thumbprint)))
			return r;
		if (nameless == NULL && r->kid.n == 0)
			nameless = r;
		if (any == NULL)
			any = r;
	}
	return nameless != NULL ? nameless : any;
}

enum tam_err
cose_decrypt(const struct cose_encrypted *m, enum cose_use use,
    const struct ecdh_private *keys, size_t n_keys, struct slice ciphertext,
    struct arena *arena, struct slice *plain)
{
	if (!m->detached)
		ciphertext = m->ciphertext;
	if (ciphertext.n > COSE_PLAINTEXT_MAX)
		return TAM_TOO_LARGE;
	for (size_t k = 0; k < n_keys; k++) {
		const struct cose_recipient *r = recipient_for(m, &keys[k]);

		if (r != NULL &&
		    open_for(m, r, &keys[k], use, ciphertext, arena, plain))
			return TAM_OK;
	}
	return TAM_CANNOT_DECRYPT;
}

/* --- writing ------------------------------------------------------------------------ */

static void
write_protected_alg(struct buf *b, int alg)
{
	cbor_out_map(b, 1);
	cbor_out_uint(b, HEADER_ALG);
	cbor_out_int(b, alg);
}

static void
write_recipient(enum cose_use use, const struct ecdh_key *recipient,
    struct slice kid, struct slice cek, struct buf *out)
{
	uint8_t room[16], kek[KEK_SIZE], wrapped[CEK_MAX + WRAP_EXTRA];
	struct buf prot = {.p = room,
	    .room = sizeof(room),
	    .max = sizeof(room)};
	struct ecdh_private ephemeral;

	write_protected_alg(&prot, COSE_ALG_ECDH_ES_A128KW);
	ecdh_private_generate(&ephemeral, recipient->curve);
	if (!derive_kek(&ephemeral, recipient, use, buf_slice(&prot),
	        slice_none(), kek))
		abort(); /* the key was checked when it was made */
	backend_key_wrap(kek, cek, wrapped);
	cbor_out_array(out, 1);
	cbor_out_array(out, 3);
	cbor_out_bytes(out, buf_slice(&prot));
	cbor_out_map(out, kid.n > 0 ? 2 : 1);
	if (kid.n > 0) {
		cbor_out_uint(out, HEADER_KID);
		cbor_out_bytes(out, kid);
	}
	cbor_out_int(out, HEADER_EPHEMERAL);
	ecdh_key_encode(&ephemeral.key, out);
	cbor_out_bytes(out, (struct slice){wrapped, cek.n + WRAP_EXTRA});
	crypto_zero(kek, sizeof(kek));
	ecdh_private_wipe(&ephemeral);
}

/* Everything but the ciphertext goes to `out`; with `apart` nil stands there. */
static void
encrypt(int alg, enum cose_use use, const struct ecdh_key *recipient,
    struct slice kid, struct slice plain, struct buf *apart, struct buf *out)
{
	const struct profile *p = known_profile(alg);
	struct arena *arena = arena_new_in(NULL);
	uint8_t cek[CEK_MAX], iv[16], room[16];
	struct buf prot = {.p = room,
	    .room = sizeof(room),
	    .max = sizeof(room)};
	uint8_t *sealed = arena_alloc(arena, plain.n + 16);
	struct slice ciphertext = {sealed, plain.n + (p->aead ? 16 : 0)};

	crypto_random(cek, p->cek);
	crypto_random(iv, p->iv);
	if (p->aead)
		write_protected_alg(&prot, alg);
	backend_seal(&(struct backend_cipher){.alg = alg,
	                 .key = cek,
	                 .iv = {iv, p->iv},
	                 .aad = aad_of(arena, buf_slice(&prot))},
	    plain, sealed);
	cbor_out_tag(out, COSE_TAG_ENCRYPT);
	cbor_out_array(out, 4);
	cbor_out_bytes(out, buf_slice(&prot));
	cbor_out_map(out, p->aead ? 1 : 2);
	if (!p->aead) {
		cbor_out_uint(out, HEADER_ALG);
		cbor_out_int(out, alg);
	}
	cbor_out_uint(out, HEADER_IV);
	cbor_out_bytes(out, (struct slice){iv, p->iv});
	if (apart != NULL) {
		buf_add_slice(apart, ciphertext);
		cbor_out_null(out);
	} else {
		cbor_out_bytes(out, ciphertext);
	}
	write_recipient(use, recipient, kid, (struct slice){cek, p->cek}, out);
	crypto_zero(cek, sizeof(cek));
	arena_free(arena);
}

void
cose_encrypt(int alg, enum cose_use use, const struct ecdh_key *recipient,
    struct slice kid, struct slice plain, struct buf *out)
{
	encrypt(alg, use, recipient, kid, plain, NULL, out);
}

void
cose_encrypt_detached(int alg, enum cose_use use,
    const struct ecdh_key *recipient, struct slice kid, struct slice plain,
    struct buf *info, struct buf *ciphertext)
{
	encrypt(alg, use, recipient, kid, plain, ciphertext, info);
}
