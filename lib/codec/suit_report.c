#include "config.h"

#include "lib/codec/cbor_out.h"
#include "lib/codec/suit.h"

/* SUIT_Report, draft-ietf-suit-report. */

enum {
	KEY_NONCE = 2,
	KEY_RECORDS = 3,
	KEY_RESULT = 4,
	KEY_CODE = 5,
	KEY_RECORD = 6,
	KEY_REASON = 7,
	KEY_REFERENCE = 99,
	KEYS_MAX = 16,
	MAC0_TAG_BYTE = 0xd1
};

/* [uri, digest] */
static void
read_reference(struct cbor_in *in, struct suit_report *r)
{
	cbor_in_array_of(in, 2);
	(void)cbor_in_text(in, 0, 1024);
	r->manifest_digest = suit_digest_claim(in);
}

/* [manifest-id, section, offset, component-index, properties] */
static void
read_record(struct cbor_in *in, struct suit_report *r)
{
	cbor_in_array_of(in, 5);
	cbor_in_skip(in);
	r->section = cbor_in_uint(in, UINT32_MAX);
	r->offset = cbor_in_uint(in, UINT32_MAX);
	r->component = cbor_in_uint(in, UINT32_MAX);
	cbor_in_skip(in);
}

static void
read_result(struct cbor_in *in, struct suit_report *r)
{
	size_t n;

	if (cbor_in_peek(in) == CBOR_SIMPLE) {
		r->success = cbor_in_bool(in);
		return;
	}
	n = cbor_in_map(in, KEYS_MAX);
	for (size_t i = 0; i < n && in->err == TAM_OK; i++) {
		int64_t key = cbor_in_int(in);

		if (key == KEY_CODE)
			r->code = cbor_in_int(in);
		else if (key == KEY_RECORD)
			read_record(in, r);
		else if (key == KEY_REASON)
			r->reason = cbor_in_uint(in, UINT32_MAX);
		else
			cbor_in_skip(in);
	}
}

/* What a Sign1 or Mac0 carries, or the bytes themselves. */
static struct slice
out_of_cose(struct slice bytes, struct arena *arena)
{
	struct cose_message m;

	if (bytes.n > 1 && bytes.p[0] == MAC0_TAG_BYTE)
		bytes = (struct slice){bytes.p + 1, bytes.n - 1};
	if (bytes.n > 0 && bytes.p[0] >> 5 != CBOR_MAP &&
	    !cose_is_encrypted(bytes) &&
	    cose_decode(bytes, arena, &m) == TAM_OK && !m.detached)
		return m.payload;
	return bytes;
}

/* E17: the report is encrypted, then signed; the plaintext is a bstr around
 * the report, or the report. */
static enum tam_err
decrypted(struct slice *bytes, const struct suit_opening *o,
    struct arena *arena)
{
	struct cose_encrypted m;
	struct cbor_in in;
	enum tam_err err = cose_encrypt_decode(*bytes, arena, &m);

	if (err == TAM_OK && o->left != NULL && (*o->left)-- == 0)
		return TAM_TOO_LARGE;
	if (err == TAM_OK)
		err = cose_decrypt(&m, COSE_USE_SUIT_REPORT, o->keys, o->n_keys,
		    slice_none(), arena, bytes);
	if (err != TAM_OK || bytes->n == 0 || bytes->p[0] >> 5 != CBOR_BYTES)
		return err;
	cbor_in_open(&in, *bytes, arena, CBOR_ANY);
	*bytes = cbor_in_bytes(&in, 0, bytes->n);
	return cbor_in_finish(&in) == TAM_OK ? TAM_OK : TAM_BAD_REPORT;
}

static enum tam_err
decode(struct slice bytes, struct arena *arena, struct suit_report *out)
{
	struct suit_report r = {0};
	struct cbor_in in;
	bool result = false;
	size_t n;

	cbor_in_open(&in, bytes, arena, CBOR_ANY);
	n = cbor_in_map(&in, KEYS_MAX);
	for (size_t i = 0; i < n && in.err == TAM_OK; i++) {
		int64_t key = cbor_in_int(&in);

		if (key == KEY_REFERENCE) {
			read_reference(&in, &r);
		} else if (key == KEY_NONCE) {
			r.nonce = cbor_in_bytes(&in, 0, 512);
		} else if (key == KEY_RESULT) {
			read_result(&in, &r);
			result = true;
		} else {
			cbor_in_skip(&in);
		}
	}
	if (cbor_in_finish(&in) != TAM_OK || !result)
		return TAM_BAD_REPORT;
	*out = r;
	return TAM_OK;
}

enum tam_err
suit_report_open(struct slice bytes, const struct suit_opening *opening,
    struct arena *arena, struct suit_report *out)
{
	enum tam_err err = TAM_OK;

	bytes = out_of_cose(bytes, arena);
	if (cose_is_encrypted(bytes))
		err = decrypted(&bytes, opening, arena);
	return err == TAM_OK ? decode(bytes, arena, out) : err;
}

enum tam_err
suit_report_decode(struct slice bytes, struct arena *arena,
    struct suit_report *out)
{
	return suit_report_open(bytes, &(struct suit_opening){0}, arena, out);
}

static void
write_failure(const struct suit_report *r, struct buf *out)
{
	cbor_out_map(out, 3);
	cbor_out_uint(out, KEY_CODE);
	cbor_out_int(out, r->code);
	cbor_out_uint(out, KEY_RECORD);
	cbor_out_array(out, 5);
	cbor_out_array(out, 0);
	cbor_out_uint(out, r->section);
	cbor_out_uint(out, r->offset);
	cbor_out_uint(out, r->component);
	cbor_out_map(out, 0);
	cbor_out_uint(out, KEY_REASON);
	cbor_out_uint(out, r->reason);
}

void
suit_report_encode(const struct suit_report *r, struct slice reference_uri,
    struct buf *out)
{
	cbor_out_map(out, r->nonce.n > 0 ? 4 : 3);
	if (r->nonce.n > 0) {
		cbor_out_uint(out, KEY_NONCE);
		cbor_out_bytes(out, r->nonce);
	}
	cbor_out_uint(out, KEY_RECORDS);
	cbor_out_array(out, 0);
	cbor_out_uint(out, KEY_RESULT);
	if (r->success)
		cbor_out_bool(out, true);
	else
		write_failure(r, out);
	cbor_out_uint(out, KEY_REFERENCE);
	cbor_out_array(out, 2);
	cbor_out_text(out, reference_uri);
	suit_digest_encode(r->manifest_digest, out);
}
