#include "config.h"

#include "lib/codec/crypto.h"
#include "lib/codec/suit.h"

/* SUIT_Manifest, draft-ietf-suit-manifest section 8.4. */

enum {
	KEY_VERSION = 1,
	KEY_SEQUENCE = 2,
	KEY_COMMON = 3,
	KEY_REFERENCE_URI = 4,
	KEY_COMPONENT_ID = 5,
	COMMON_DEPENDENCIES = 1,
	COMMON_COMPONENTS = 2,
	COMMON_SHARED = 4,
	MANIFEST_KEYS_MAX = 32
};

static void
read_dependencies(struct cbor_in *in, struct suit_manifest *m)
{
	m->n_dependencies = cbor_in_map(in, SUIT_COMPONENTS_MAX);
	for (size_t i = 0; i < m->n_dependencies && in->err == TAM_OK; i++) {
		size_t n;

		m->dependencies[i].index =
		    cbor_in_uint(in, SUIT_COMPONENTS_MAX - 1);
		n = cbor_in_map(in, 8);
		for (size_t j = 0; j < n && in->err == TAM_OK; j++) {
			if (cbor_in_int(in) == 1)
				m->dependencies[i].prefix =
				    suit_component_id(in);
			else
				cbor_in_skip(in);
		}
	}
}

static void
read_components(struct cbor_in *in, struct suit_manifest *m)
{
	m->n_components = cbor_in_array(in, SUIT_COMPONENTS_MAX);
	for (size_t i = 0; i < m->n_components && in->err == TAM_OK; i++)
		m->components[i] = suit_component_id(in);
}

static void
read_common(struct cbor_in *in, struct arena *arena, struct suit_manifest *m)
{
	struct slice common = cbor_in_bytes(in, 1, SUIT_ENVELOPE_MAX);
	struct cbor_in inner;
	size_t n;

	if (in->err != TAM_OK)
		return;
	cbor_in_open(&inner, common, arena, CBOR_PLAIN);
	n = cbor_in_map(&inner, 16);
	for (size_t i = 0; i < n && inner.err == TAM_OK; i++) {
		int64_t key = cbor_in_int(&inner);

		if (key == COMMON_DEPENDENCIES)
			read_dependencies(&inner, m);
		else if (key == COMMON_COMPONENTS)
			read_components(&inner, m);
		else if (key == COMMON_SHARED)
			m->shared = cbor_in_bytes(&inner, 0, SUIT_ENVELOPE_MAX);
		else
			cbor_in_skip(&inner);
	}
	if (cbor_in_finish(&inner) != TAM_OK)
		cbor_in_fail(in, cbor_in_finish(&inner));
}

/* An array here means severed: a digest, over the envelope's element with
 * its bstr head.  Without the element the section stays empty. */
static void
read_section(struct cbor_in *in, const struct suit_envelope *e,
    enum suit_section section, struct suit_manifest *m)
{
	struct slice item = e->severed[section], digest;
	uint8_t actual[32];
	struct cbor_in inner;

	if (cbor_in_peek(in) == CBOR_BYTES) {
		m->sections[section] = cbor_in_bytes(in, 0, SUIT_ENVELOPE_MAX);
		return;
	}
	digest = suit_digest_claim(in);
	if (in->err != TAM_OK || item.n == 0)
		return;
	crypto_sha256(item, actual);
	if (digest.n != 32 || memcmp(actual, digest.p, 32) != 0) {
		cbor_in_fail(in, TAM_SUIT_SEVERED);
		return;
	}
	cbor_in_nested(&inner, item);
	m->sections[section] = cbor_in_bytes(&inner, 0, SUIT_ENVELOPE_MAX);
}

static bool
is_section(int64_t key)
{
	return (key >= SUIT_VALIDATE && key <= SUIT_INVOKE) ||
	    key == SUIT_DEPENDENCY_RESOLUTION || key == SUIT_PAYLOAD_FETCH ||
	    key == SUIT_CANDIDATE || key == SUIT_COSWID ||
	    key == SUIT_INSTALL || key == SUIT_TEXT || key == SUIT_UNINSTALL;
}

static void
read_element(struct cbor_in *in, const struct suit_envelope *e,
    struct arena *arena, struct suit_manifest *m, bool *sequence)
{
	int64_t key = cbor_in_int(in);

	if (key == KEY_VERSION) {
		if (cbor_in_uint(in, UINT64_MAX) != 1)
			cbor_in_fail(in, TAM_SUIT_MANIFEST);
	} else if (key == KEY_SEQUENCE) {
		m->sequence = cbor_in_uint(in, INT64_MAX);
		*sequence = true;
	} else if (key == KEY_COMMON) {
		read_common(in, arena, m);
	} else if (key == KEY_REFERENCE_URI) {
		m->reference_uri = cbor_in_text(in, 0, 1024);
	} else if (key == KEY_COMPONENT_ID) {
		m->component_id = suit_component_id(in);
	} else if (is_section(key)) {
		read_section(in, e, (enum suit_section)key, m);
	} else {
		cbor_in_skip(in);
	}
}

enum tam_err
suit_manifest_decode(const struct suit_envelope *e, struct arena *arena,
    struct suit_manifest *out)
{
	struct suit_manifest m = {0};
	struct cbor_in in;
	bool sequence = false;
	enum tam_err err;
	size_t n;

	cbor_in_open(&in, e->manifest, arena, CBOR_PLAIN);
	n = cbor_in_map(&in, MANIFEST_KEYS_MAX);
	for (size_t i = 0; i < n && in.err == TAM_OK; i++)
		read_element(&in, e, arena, &m, &sequence);
	if (in.err == TAM_OK &&
	    (!sequence || m.n_components + m.n_dependencies == 0))
		cbor_in_fail(&in, TAM_SUIT_MANIFEST);
	err = cbor_in_finish(&in);
	if (err == TAM_OK)
		*out = m;
	return err;
}
