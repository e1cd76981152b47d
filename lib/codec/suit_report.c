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
	KEYS_MAX = 16
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

static struct slice
unwrapped(struct slice bytes, struct arena *arena)
{
	struct cose_message m;

	if (bytes.n > 0 && bytes.p[0] >> 5 != CBOR_MAP &&
	    cose_decode(bytes, arena, &m) == TAM_OK && !m.detached)
		return m.payload;
	return bytes;
}

enum tam_err
suit_report_decode(struct slice bytes, struct arena *arena,
    struct suit_report *out)
{
	struct suit_report r = {0};
	struct cbor_in in;
	bool result = false;
	size_t n;

	cbor_in_open(&in, unwrapped(bytes, arena), arena, CBOR_ANY);
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
