#include "config.h"

#include "lib/codec/cbor_out.h"
#include "lib/codec/crypto.h"
#include "lib/codec/suit.h"

/*
 * SUIT_Envelope, draft-ietf-suit-manifest section 8.2.  Digests cover a bstr
 * with its head, so an envelope that is not in preferred serialization is
 * refused rather than rewritten.
 */

enum {
	KEY_AUTH = 2,
	KEY_MANIFEST = 3,
	ENVELOPE_KEYS_MAX = 32,
	COSE_TAG_MAC0 = 17,
	COSE_TAG_MAC = 97
};

static bool
severable(int64_t key)
{
	return key == SUIT_DEPENDENCY_RESOLUTION || key == SUIT_PAYLOAD_FETCH ||
	    key == SUIT_COSWID || key == SUIT_CANDIDATE ||
	    key == SUIT_INSTALL || key == SUIT_TEXT;
}

/* [bstr SUIT_Digest, *bstr auth-block], section 8.3. */
static void
read_auth(struct cbor_in *in, struct arena *arena, struct suit_envelope *e)
{
	struct slice auth = cbor_in_bytes(in, 1, 65536), digest;
	struct cbor_in inner, item;
	size_t n;

	if (in->err != TAM_OK)
		return;
	cbor_in_open(&inner, auth, arena, CBOR_PLAIN);
	n = cbor_in_array(&inner, 1 + SUIT_BLOCKS_MAX);
	if (n == 0)
		cbor_in_fail(&inner, TAM_SUIT_ENVELOPE);
	e->digest_bytes = cbor_in_bytes(&inner, 1, 128);
	cbor_in_nested(&item, e->digest_bytes);
	digest = suit_digest_claim(&item);
	if (cbor_in_finish(&item) != TAM_OK || digest.n != 32)
		cbor_in_fail(&inner, TAM_SUIT_DIGEST);
	else
		memcpy(e->digest, digest.p, 32);
	while (inner.err == TAM_OK && e->n_blocks < n - 1)
		e->blocks[e->n_blocks++] = cbor_in_bytes(&inner, 1, 65536);
	if (cbor_in_finish(&inner) != TAM_OK)
		cbor_in_fail(in, cbor_in_finish(&inner));
}

/* The digest is over the bstr, head included: section 8.3. */
static void
read_manifest(struct cbor_in *in, struct suit_envelope *e)
{
	struct cbor_in copy = *in;
	struct slice item = cbor_in_item(&copy);
	uint8_t digest[32];

	if (e->digest_bytes.n == 0) /* 2 precedes 3 */
		cbor_in_fail(in, TAM_SUIT_ENVELOPE);
	e->manifest = cbor_in_bytes(in, 1, SUIT_ENVELOPE_MAX);
	if (in->err != TAM_OK)
		return;
	crypto_sha256(item, digest);
	if (memcmp(digest, e->digest, sizeof(digest)) != 0)
		cbor_in_fail(in, TAM_SUIT_DIGEST);
}

static void
read_payload(struct cbor_in *in, struct suit_envelope *e)
{
	struct suit_payload p;

	p.name = cbor_in_text(in, 1, 1024);
	p.bytes = cbor_in_bytes(in, 0, SUIT_ENVELOPE_MAX);
	if (e->n_payloads == SUIT_PAYLOADS_MAX)
		cbor_in_fail(in, TAM_TOO_LARGE);
	else
		e->payloads[e->n_payloads++] = p;
}

static void
read_unknown(struct cbor_in *in, int64_t key, struct suit_envelope *e)
{
	if (severable(key) || e->n_unknown == SUIT_UNKNOWN_MAX) {
		cbor_in_fail(in, TAM_SUIT_ENVELOPE);
		return;
	}
	e->unknown[e->n_unknown++] = key;
	cbor_in_skip(in);
}

static void
read_element(struct cbor_in *in, struct arena *arena, struct suit_envelope *e)
{
	int64_t key;

	if (cbor_in_peek(in) == CBOR_TEXT) {
		read_payload(in, e);
		return;
	}
	key = cbor_in_int(in);
	if (key == KEY_AUTH)
		read_auth(in, arena, e);
	else if (key == KEY_MANIFEST)
		read_manifest(in, e);
	else if (severable(key) && cbor_in_peek(in) == CBOR_BYTES)
		e->severed[key] = cbor_in_item(in);
	else
		read_unknown(in, key, e);
}

enum tam_err
suit_envelope_decode(struct slice bytes, struct arena *arena,
    struct suit_envelope *out)
{
	struct suit_envelope e;
	enum tam_err err = suit_envelope_read(bytes, arena, &e);

	if (err != TAM_OK)
		return err;
	if (e.n_unknown > 0)
		return TAM_SUIT_ENVELOPE;
	*out = e;
	return TAM_OK;
}

enum tam_err
suit_envelope_read(struct slice bytes, struct arena *arena,
    struct suit_envelope *out)
{
	struct suit_envelope e = {0};
	struct cbor_in in;
	enum tam_err err;
	size_t n;

	if (bytes.n > SUIT_ENVELOPE_MAX)
		return TAM_TOO_LARGE;
	cbor_in_open(&in, bytes, arena, CBOR_PLAIN);
	(void)cbor_in_accept_tag(&in, SUIT_TAG);
	n = cbor_in_map(&in, ENVELOPE_KEYS_MAX);
	for (size_t i = 0; i < n && in.err == TAM_OK; i++)
		read_element(&in, arena, &e);
	if (in.err == TAM_OK && e.manifest.n == 0)
		cbor_in_fail(&in, TAM_SUIT_ENVELOPE);
	err = cbor_in_finish(&in);
	if (err == TAM_OK)
		*out = e;
	return err;
}

/* Pairs under a text key, of n; `in` is a copy. */
static size_t
count_integrated(struct cbor_in in, size_t n)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i++) {
		count += cbor_in_peek(&in) == CBOR_TEXT;
		cbor_in_skip(&in);
		cbor_in_skip(&in);
	}
	return count;
}

/* A name with a scheme; "#tc" is of this envelope only. */
static bool
is_fetchable(struct slice item)
{
	struct cbor_in in;
	struct slice name;

	cbor_in_open(&in, item, NULL, CBOR_PLAIN);
	name = cbor_in_text(&in, 0, SIZE_MAX);
	for (size_t i = 0; i + 3 <= name.n; i++) {
		if (memcmp(name.p + i, "://", 3) == 0)
			return i > 0;
	}
	return false;
}

bool
suit_envelope_strip(struct slice sound, struct arena *arena, struct buf *out)
{
	struct cbor_in in;
	size_t n, integrated;
	bool tagged, fetchable = true;

	cbor_in_open(&in, sound, arena, CBOR_PLAIN);
	tagged = cbor_in_accept_tag(&in, SUIT_TAG);
	n = cbor_in_map(&in, ENVELOPE_KEYS_MAX);
	integrated = count_integrated(in, n);
	if (integrated == 0)
		return false;
	if (tagged)
		cbor_out_tag(out, SUIT_TAG);
	cbor_out_map(out, n - integrated);
	for (size_t i = 0; i < n; i++) {
		bool text = cbor_in_peek(&in) == CBOR_TEXT;
		struct slice key = cbor_in_item(&in), value = cbor_in_item(&in);

		if (text) {
			fetchable = fetchable && is_fetchable(key);
			continue;
		}
		buf_add_slice(out, key);
		buf_add_slice(out, value);
	}
	return fetchable;
}

static bool
is_mac(struct slice block)
{
	struct cbor_in in;

	cbor_in_nested(&in, block);
	return cbor_in_accept_tag(&in, COSE_TAG_MAC0) ||
	    cbor_in_accept_tag(&in, COSE_TAG_MAC);
}

static bool
block_verifies(struct cose_crypto *crypto, const struct suit_envelope *e,
    const struct cose_message *m, const struct cose_key *key)
{
	for (size_t i = 0; i < m->n; i++) {
		if (cose_verify(crypto, m, i, key, e->digest_bytes) == TAM_OK)
			return true;
	}
	return false;
}

enum tam_err
suit_verify(struct cose_crypto *crypto, const struct suit_envelope *e,
    struct arena *arena, const struct cose_key *keys, size_t n, size_t *which)
{
	for (size_t b = 0; b < e->n_blocks; b++) {
		struct cose_message m;

		if (is_mac(e->blocks[b]) ||
		    cose_decode(e->blocks[b], arena, &m) != TAM_OK ||
		    !m.detached)
			continue;
		for (size_t k = 0; k < n; k++) {
			if (block_verifies(crypto, e, &m, &keys[k])) {
				*which = k;
				return TAM_OK;
			}
		}
	}
	return TAM_SUIT_UNTRUSTED;
}
