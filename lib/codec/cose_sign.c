#include "config.h"

#include <assert.h>

#include "lib/codec/cbor_in.h"
#include "lib/codec/cbor_out.h"
#include "lib/codec/cose.h"
#include "lib/codec/crypto.h"

/*
 * COSE_Sign1 and COSE_Sign, RFC 9052 section 4.  The Sig_structure is never
 * built: it is a list of parts that are hashed one after another.
 */

enum {
	HEADER_ALG = 1,
	HEADER_CRIT = 2,
	HEADER_KID = 4,
	HEADER_X5CHAIN = 33,
	HEADER_X5T = 34,
	HEADERS_MAX = 16,
	PROTECTED_MAX = COSE_CERTS_MAX * COSE_CERT_MAX + 256,
	PAYLOAD_MAX = 17 << 20
};

struct header {
	bool has_alg;
	int64_t alg;
	struct slice kid;
	size_t n_certs;
	struct slice certs[COSE_CERTS_MAX];
	struct slice x5t; /* SHA-256; empty when absent, or by another hash */
	size_t n;
	int64_t labels[HEADERS_MAX];
	size_t n_crit;
	int64_t crit[HEADERS_MAX];
};

/* RFC 9052, 3.1: every label named must be understood; we know these. */
static void
read_crit(struct cbor_in *in, struct header *h)
{
	size_t n = cbor_in_array(in, HEADERS_MAX);

	if (n == 0)
		cbor_in_fail(in, TAM_MALFORMED);
	for (size_t i = 0; i < n && in->err == TAM_OK; i++) {
		if (cbor_in_peek(in) == CBOR_TEXT) {
			cbor_in_fail(in, TAM_CRITICAL_HEADER);
			return;
		}
		int64_t label = cbor_in_int(in);

		if (label != HEADER_ALG && label != HEADER_CRIT &&
		    label != HEADER_KID && label != HEADER_X5CHAIN &&
		    label != HEADER_X5T)
			cbor_in_fail(in, TAM_CRITICAL_HEADER);
		h->crit[h->n_crit++] = label;
	}
}

/* RFC 9052, 3.1: a critical parameter that is not in the protected bucket is a
 * fatal error. */
static void
check_crit(struct cbor_in *in, const struct header *h)
{
	for (size_t i = 0; i < h->n_crit; i++) {
		bool found = false;

		for (size_t k = 0; k < h->n; k++)
			found |= h->labels[k] == h->crit[i];
		if (!found)
			cbor_in_fail(in, TAM_CRITICAL_HEADER);
	}
}

static void
read_alg(struct cbor_in *in, struct header *h)
{
	if (cbor_in_peek(in) == CBOR_TEXT) {
		cbor_in_fail(in, TAM_ALG_NOT_ALLOWED);
		return;
	}
	h->alg = cbor_in_int(in);
	h->has_alg = true;
}

/* RFC 9360, 2: one certificate, or several, leaf first. */
static void
read_x5chain(struct cbor_in *in, struct header *h)
{
	size_t n = 1;

	if (cbor_in_peek(in) == CBOR_ARRAY)
		n = cbor_in_array(in, COSE_CERTS_MAX);
	for (size_t i = 0; i < n && in->err == TAM_OK; i++)
		h->certs[h->n_certs++] = cbor_in_bytes(in, 1, COSE_CERT_MAX);
}

/* [ hash algorithm, hash of the leaf ] */
static void
read_x5t(struct cbor_in *in, struct header *h)
{
	bool sha256 = false;
	struct slice hash;

	cbor_in_array_of(in, 2);
	if (cbor_in_peek(in) == CBOR_TEXT)
		cbor_in_skip(in);
	else
		sha256 = cbor_in_int(in) == COSE_ALG_SHA256;
	hash = cbor_in_bytes(in, 0, 64);
	if (sha256 && hash.n == SHA256_SIZE)
		h->x5t = hash;
}

static void
read_header(struct cbor_in *in, bool prot, struct header *h)
{
	size_t n = cbor_in_map(in, HEADERS_MAX);

	*h = (struct header){0};
	for (size_t i = 0; i < n && in->err == TAM_OK; i++) {
		int64_t label;

		if (!cbor_in_label(in, &label))
			continue;
		h->labels[h->n++] = label;
		if (label == HEADER_ALG && prot)
			read_alg(in, h);
		else if (label == HEADER_CRIT && prot)
			read_crit(in, h);
		else if (label == HEADER_CRIT)
			cbor_in_fail(in, TAM_MALFORMED);
		else if (label == HEADER_KID)
			h->kid = cbor_in_bytes(in, 0, COSE_KID_MAX);
		else if (label == HEADER_X5CHAIN)
			read_x5chain(in, h);
		else if (label == HEADER_X5T)
			read_x5t(in, h);
		else
			cbor_in_skip(in);
	}
	if (in->err == TAM_OK)
		check_crit(in, h);
}

static bool
overlap(const struct header *a, const struct header *b)
{
	for (size_t i = 0; i < a->n; i++) {
		for (size_t j = 0; j < b->n; j++) {
			if (a->labels[i] == b->labels[j])
				return true;
		}
	}
	return false;
}

/* A chain counts when the signature covers its leaf: it is protected, or its
 * hash is. */
static void
choose_chain(struct header *prot, const struct header *unprot)
{
	uint8_t hash[SHA256_SIZE];

	if (prot->n_certs > 0 || unprot->n_certs == 0 || prot->x5t.n == 0)
		return;
	crypto_sha256(unprot->certs[0], hash);
	if (!slice_eq(prot->x5t, SLICE_OF(hash)))
		return;
	memcpy(prot->certs, unprot->certs, sizeof(prot->certs));
	prot->n_certs = unprot->n_certs;
}

/*
 * Both buckets, in front of what they describe.  RFC 9052, 3: a protected
 * map without members is an empty string; h'a0' means the same and is hashed
 * as the empty string too.
 */
static struct slice
read_headers(struct cbor_in *in, struct arena *arena, struct header *out)
{
	struct slice prot = cbor_in_bytes(in, 0, PROTECTED_MAX);
	struct header unprot;
	struct cbor_in inner;

	*out = (struct header){0};
	if (prot.n > 0) {
		cbor_in_open(&inner, prot, arena, CBOR_ANY);
		read_header(&inner, true, out);
		if (cbor_in_finish(&inner) != TAM_OK)
			cbor_in_fail(in, cbor_in_finish(&inner));
	}
	read_header(in, false, &unprot);
	if (overlap(out, &unprot))
		cbor_in_fail(in, TAM_BAD_COSE);
	choose_chain(out, &unprot);
	if (out->kid.n == 0)
		out->kid = unprot.kid;
	if (prot.n == 1 && prot.p[0] == 0xa0)
		prot.n = 0;
	return prot;
}

static void
read_payload(struct cbor_in *in, struct cose_message *out)
{
	if (cbor_in_accept_null(in))
		out->detached = true;
	else
		out->payload = cbor_in_bytes(in, 0, PAYLOAD_MAX);
}

static void
read_signature(struct cbor_in *in, const struct header *h, struct slice prot,
    struct cose_signature *out)
{
	out->prot = prot;
	out->alg = h->alg;
	out->kid = h->kid;
	out->n_certs = h->n_certs;
	memcpy(out->certs, h->certs, sizeof(out->certs));
	out->bytes = cbor_in_bytes(in, 0, 1024);
	if (!h->has_alg)
		cbor_in_fail(in, TAM_ALG_NOT_ALLOWED);
}

static void
read_signatures(struct cbor_in *in, struct arena *arena,
    struct cose_message *out)
{
	struct header h;

	out->n = cbor_in_array(in, COSE_SIGNATURES_MAX);
	if (out->n == 0)
		cbor_in_fail(in, TAM_BAD_COSE);
	for (size_t i = 0; i < out->n && in->err == TAM_OK; i++) {
		cbor_in_array_of(in, 3);
		struct slice prot = read_headers(in, arena, &h);

		read_signature(in, &h, prot, &out->signatures[i]);
	}
}

enum tam_err
cose_decode(struct slice bytes, struct arena *arena, struct cose_message *out)
{
	struct cose_message m = {0};
	struct cbor_in in;
	struct header h;
	bool tagged_sign, tagged_sign1;
	enum tam_err err;

	cbor_in_open(&in, bytes, arena, CBOR_ANY);
	tagged_sign1 = cbor_in_accept_tag(&in, COSE_TAG_SIGN1);
	tagged_sign = !tagged_sign1 && cbor_in_accept_tag(&in, COSE_TAG_SIGN);
	if (in.err == TAM_OK && cbor_in_peek(&in) != CBOR_ARRAY)
		cbor_in_fail(&in, TAM_BAD_COSE);
	cbor_in_array_of(&in, 4);
	m.body_prot = read_headers(&in, arena, &h);
	read_payload(&in, &m);
	m.multi = cbor_in_peek(&in) == CBOR_ARRAY;
	if (in.err == TAM_OK && (m.multi ? tagged_sign1 : tagged_sign))
		cbor_in_fail(&in, TAM_BAD_COSE);
	if (m.multi) {
		read_signatures(&in, arena, &m);
	} else {
		m.n = 1;
		read_signature(&in, &h, m.body_prot, &m.signatures[0]);
	}
	err = cbor_in_finish(&in);
	if (err == TAM_OK)
		*out = m;
	return err;
}

/* --- the Sig_structure --------------------------------------------------- */

/* RFC 9052, 4.4. */
struct to_be_signed {
	uint8_t heads[4][9];
	struct slice parts[10];
	size_t n;
};

static void
add_part(struct to_be_signed *t, struct slice s)
{
	t->parts[t->n++] = s;
}

/* A byte string as two parts: its head in room of t, its content. */
static void
add_bytes(struct to_be_signed *t, size_t which, struct slice s)
{
	struct buf b = {.p = t->heads[which], .room = 9, .max = 9};

	cbor_out_bytes_head(&b, s.n);
	add_part(t, buf_slice(&b));
	add_part(t, s);
}

static void
to_be_signed(struct to_be_signed *t, bool multi, struct slice body_prot,
    struct slice sign_prot, struct slice external_aad, struct slice payload)
{
	static const uint8_t sign1_head[] = "\x84\x6aSignature1";
	static const uint8_t sign_head[] = "\x85\x69Signature";

	t->n = 0;
	if (multi) {
		add_part(t, (struct slice){sign_head, sizeof(sign_head) - 1});
		add_bytes(t, 0, body_prot);
	} else {
		add_part(t, (struct slice){sign1_head, sizeof(sign1_head) - 1});
	}
	add_bytes(t, 1, sign_prot);
	add_bytes(t, 2, external_aad);
	add_bytes(t, 3, payload);
	assert(t->n <= sizeof(t->parts) / sizeof(t->parts[0]));
}

enum tam_err
cose_verify(struct cose_crypto *crypto, const struct cose_message *m,
    size_t which, const struct cose_key *key, struct slice payload)
{
	const struct cose_signature *s = &m->signatures[which];
	struct to_be_signed t;
	enum cose_curve curve;

	assert(which < m->n);
	if (!cose_alg_curve(s->alg, &curve))
		return TAM_ALG_NOT_ALLOWED;
	if (curve != key->curve)
		return TAM_KEY_MISMATCH;
	to_be_signed(&t, m->multi, m->body_prot, s->prot, m->external_aad,
	    m->detached ? payload : m->payload);
	return cose_verify_parts(crypto, key, t.parts, t.n, s->bytes);
}

/* --- writing ------------------------------------------------------------ */

/* {1: alg}: deterministic, and the only protected header we send. */
static struct slice
protected_alg(int alg,
    uint8_t *room) /* NOLINT(readability-non-const-parameter): written to */
{
	struct buf b = {.p = room, .room = 4, .max = 4};

	cbor_out_map(&b, 1);
	cbor_out_uint(&b, HEADER_ALG);
	cbor_out_int(&b, alg);
	return buf_slice(&b);
}

static void
write_unprotected(struct buf *out, struct slice kid)
{
	cbor_out_map(out, kid.n > 0 ? 1 : 0);
	if (kid.n > 0) {
		cbor_out_uint(out, HEADER_KID);
		cbor_out_bytes(out, kid);
	}
}

/* 64 bytes to be written over; where they are. */
static size_t
write_blank(struct buf *out)
{
	static const uint8_t blank[COSE_SIGNATURE_SIZE];

	cbor_out_bytes(out, SLICE_OF(blank));
	return out->n - COSE_SIGNATURE_SIZE;
}

static size_t
write_sign1(struct slice prot, struct slice kid, struct slice payload,
    bool detached, struct buf *out)
{
	cbor_out_tag(out, COSE_TAG_SIGN1);
	cbor_out_array(out, 4);
	cbor_out_bytes(out, prot);
	write_unprotected(out, kid);
	if (detached)
		cbor_out_null(out);
	else
		cbor_out_bytes(out, payload);
	return write_blank(out);
}

static void
sign1(struct cose_crypto *crypto, struct cose_signer *signer, struct slice prot,
    struct slice kid, struct slice payload, bool detached, struct buf *out)
{
	uint8_t signature[COSE_SIGNATURE_SIZE];
	struct to_be_signed t;
	size_t at;

	to_be_signed(&t, false, slice_none(), prot, slice_none(), payload);
	cose_sign_parts(crypto, signer, t.parts, t.n, signature);
	at = write_sign1(prot, kid, payload, detached, out);
	if (!out->full)
		memcpy(out->p + at, signature, sizeof(signature));
}

static void
write_chain(const struct slice *certs, size_t n, struct buf *b)
{
	cbor_out_uint(b, HEADER_X5CHAIN);
	if (n > 1)
		cbor_out_array(b, n);
	for (size_t i = 0; i < n; i++)
		cbor_out_bytes(b, certs[i]);
}

void
cose_sign1_certified(struct cose_crypto *crypto, struct cose_signer *signer,
    int alg, const struct slice *certs, size_t n, struct slice payload,
    struct buf *out)
{
	struct buf prot;

	buf_init(&prot, PROTECTED_MAX);
	cbor_out_map(&prot, 2);
	cbor_out_uint(&prot, HEADER_ALG);
	cbor_out_int(&prot, alg);
	write_chain(certs, n, &prot);
	sign1(crypto, signer, buf_slice(&prot), slice_none(), payload, false,
	    out);
	buf_fini(&prot);
}

void
cose_sign1(struct cose_crypto *crypto, struct cose_signer *signer, int alg,
    struct slice kid, struct slice payload, struct buf *out)
{
	uint8_t room[4];

	sign1(crypto, signer, protected_alg(alg, room), kid, payload, false,
	    out);
}

void
cose_sign1_detached(struct cose_crypto *crypto, struct cose_signer *signer,
    int alg, struct slice kid, struct slice payload, struct buf *out)
{
	uint8_t room[4];

	sign1(crypto, signer, protected_alg(alg, room), kid, payload, true,
	    out);
}

static void
write_sign_head(struct slice payload, size_t n, struct buf *out)
{
	cbor_out_tag(out, COSE_TAG_SIGN);
	cbor_out_array(out, 4);
	cbor_out_bytes(out, slice_none());
	cbor_out_map(out, 0);
	cbor_out_bytes(out, payload);
	cbor_out_array(out, n);
}

static size_t
write_signature(struct slice prot, const struct cose_key *key, struct buf *out)
{
	cbor_out_array(out, 3);
	cbor_out_bytes(out, prot);
	write_unprotected(out, SLICE_OF(key->thumbprint));
	return write_blank(out);
}

/* --- signatures that others make ------------------------------------------ */

static struct slice
join(struct arena *arena, const struct to_be_signed *t)
{
	size_t n = 0;
	uint8_t *p, *end;

	for (size_t i = 0; i < t->n; i++)
		n += t->parts[i].n;
	p = end = arena_alloc(arena, n);
	for (size_t i = 0; i < t->n; i++) {
		if (t->parts[i].n > 0)
			memcpy(end, t->parts[i].p, t->parts[i].n);
		end += t->parts[i].n;
	}
	return (struct slice){p, n};
}

void
cose_sign1_blank(const struct cose_key *key, int alg, struct slice kid,
    struct slice payload, struct arena *arena, struct buf *out,
    struct cose_blank *blank)
{
	uint8_t room[4];
	struct slice prot = protected_alg(alg, room);
	struct to_be_signed t;

	to_be_signed(&t, false, slice_none(), prot, slice_none(), payload);
	*blank = (struct cose_blank){key, join(arena, &t),
	    write_sign1(prot, kid, payload, false, out)};
}

void
cose_sign_blank(const struct cose_key *const *keys, const int *algs, size_t n,
    struct slice payload, struct arena *arena, struct buf *out,
    struct cose_blank *blanks)
{
	write_sign_head(payload, n, out);
	for (size_t i = 0; i < n; i++) {
		uint8_t room[4];
		struct slice prot = protected_alg(algs[i], room);
		struct to_be_signed t;

		to_be_signed(&t, true, slice_none(), prot, slice_none(),
		    payload);
		blanks[i] = (struct cose_blank){keys[i], join(arena, &t),
		    write_signature(prot, keys[i], out)};
	}
}
