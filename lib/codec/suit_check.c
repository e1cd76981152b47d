#include "config.h"

#include "lib/codec/cose_encrypt.h"
#include "lib/codec/crypto.h"
#include "lib/codec/suit.h"

/*
 * What a manifest must show before a TAM relays it (CONFORMANCE part 6.4).
 * One walk over every command sequence proves that it is well-formed and
 * known, and collects each component's parameters on the way.  Commands are
 * not run: a digest set in two alternatives of a try-each is "several".
 */

struct walk {
	struct cose_crypto *crypto; /* NULL: signatures were verified before */
	struct arena *arena;
	const struct cose_key *keys;
	size_t n_keys;
	const struct suit_envelope *envelope;
	struct suit_info *info;
	struct suit_component all[SUIT_COMPONENTS_MAX]; /* by index */
	size_t n_all;
	uint32_t index; /* the components addressed, one bit each */
	bool shared, vendor_checked, class_checked;
	uint32_t payloads_used;
	unsigned nesting; /* of envelopes */
	const char *why;
};

static enum tam_err check_envelope(struct walk *, struct slice, size_t *signer);

static enum tam_err
refuse(struct walk *w, enum tam_err err, const char *why)
{
	w->why = why;
	return err;
}

/* --- parameters ------------------------------------------------------------ */

static size_t
payload_named(const struct walk *w, struct slice uri)
{
	for (size_t i = 0; i < w->envelope->n_payloads; i++) {
		if (slice_eq(w->envelope->payloads[i].name, uri))
			return i;
	}
	return SUIT_PAYLOADS_MAX;
}

static void
note_uri(struct walk *w, struct suit_component *c, struct slice uri)
{
	size_t i = payload_named(w, uri);

	if (i < SUIT_PAYLOADS_MAX)
		w->payloads_used |= 1u << i;
	c->uri = uri;
}

static void
note_digest(struct suit_component *c, struct slice digest)
{
	if (c->digest.n > 0 && !slice_eq(c->digest, digest))
		c->many_digests = true;
	c->digest = digest;
}

static struct slice
read_uuid(struct cbor_in *in)
{
	(void)cbor_in_accept_tag(in, 112);
	return cbor_in_bytes(in, 1, 64);
}

/* U13: for whom, an administrator reads; here only that it is readable. */
static struct slice
read_encryption(struct walk *w, struct cbor_in *in)
{
	struct slice bytes = cbor_in_bytes(in, 1, 65536);
	struct cose_encrypted *m = arena_new(w->arena, struct cose_encrypted);
	enum tam_err err = cose_encrypt_decode(bytes, w->arena, m);

	if (err != TAM_OK)
		cbor_in_fail(in, err); /* the first failure stays */
	return bytes;
}

/* One parameter into every component addressed; unknown ones are refused. */
static void
read_parameter(struct walk *w, struct cbor_in *in, struct suit_component *c)
{
	int64_t key = cbor_in_int(in);

	switch (key) {
	case SUIT_PARAM_VENDOR:
		c->vendor = read_uuid(in);
		break;
	case SUIT_PARAM_CLASS:
		c->class_id = read_uuid(in);
		break;
	case SUIT_PARAM_IMAGE_DIGEST:
		note_digest(c, suit_digest_claim(in));
		break;
	case SUIT_PARAM_IMAGE_SIZE:
		c->size = cbor_in_uint(in, UINT64_MAX);
		c->has_size = true;
		break;
	case SUIT_PARAM_URI:
		note_uri(w, c, cbor_in_text(in, 1, 1024));
		break;
	case SUIT_PARAM_ENCRYPTION:
		c->encryption = read_encryption(w, in);
		break;
	case SUIT_PARAM_STRICT_ORDER:
	case SUIT_PARAM_SOFT_FAILURE:
		(void)cbor_in_bool(in);
		break;
	case SUIT_PARAM_SLOT:
	case SUIT_PARAM_SOURCE:
		(void)cbor_in_uint(in, UINT64_MAX);
		break;
	case SUIT_PARAM_CONTENT:
	case SUIT_PARAM_INVOKE_ARGS:
	case SUIT_PARAM_FETCH_ARGS:
		(void)cbor_in_bytes(in, 0, SUIT_ENVELOPE_MAX);
		break;
	case SUIT_PARAM_DEVICE:
		(void)read_uuid(in);
		break;
	default:
		cbor_in_fail(in, TAM_SUIT_COMMAND);
	}
}

static void
read_parameters(struct walk *w, struct cbor_in *in)
{
	struct cbor_in start = *in;
	bool any = false;

	for (size_t i = 0; i < w->n_all; i++) {
		size_t n;

		if ((w->index >> i & 1) == 0)
			continue;
		*in = start;
		any = true;
		n = cbor_in_map(in, 32);
		for (size_t j = 0; j < n && in->err == TAM_OK; j++)
			read_parameter(w, in, &w->all[i]);
	}
	if (!any)
		cbor_in_fail(in, TAM_SUIT_COMMAND);
}

/* --- commands -------------------------------------------------------------- */

static void
read_index(struct walk *w, struct cbor_in *in)
{
	uint32_t all = (uint32_t)((1u << w->n_all) - 1);
	size_t n;

	w->index = 0;
	switch (cbor_in_peek(in)) {
	case CBOR_UINT:
		w->index = 1u << cbor_in_uint(in, SUIT_COMPONENTS_MAX - 1);
		break;
	case CBOR_ARRAY:
		n = cbor_in_array(in, SUIT_COMPONENTS_MAX);
		for (size_t i = 0; i < n && in->err == TAM_OK; i++)
			w->index |= 1u
			    << cbor_in_uint(in, SUIT_COMPONENTS_MAX - 1);
		break;
	case CBOR_SIMPLE:
		if (!cbor_in_bool(in))
			cbor_in_fail(in, TAM_SUIT_COMMAND);
		w->index = all;
		break;
	case CBOR_NEGATIVE:
	case CBOR_BYTES:
	case CBOR_TEXT:
	case CBOR_MAP:
	case CBOR_TAG:
	case CBOR_END:
	default:
		cbor_in_fail(in, TAM_SUIT_COMMAND);
	}
	if (w->index == 0 || (w->index & ~all) != 0)
		cbor_in_fail(in, TAM_SUIT_COMMAND);
}

static enum tam_err walk_sequence(struct walk *, struct slice, unsigned depth);

static void
walk_nested(struct walk *w, struct cbor_in *in, unsigned depth)
{
	struct slice sequence = cbor_in_bytes(in, 0, SUIT_ENVELOPE_MAX);
	enum tam_err err;

	if (in->err != TAM_OK)
		return;
	err = depth == 0 ? TAM_TOO_DEEP : walk_sequence(w, sequence, depth - 1);
	if (err != TAM_OK)
		cbor_in_fail(in, err);
}

static void
walk_alternatives(struct walk *w, struct cbor_in *in, unsigned depth)
{
	size_t n = cbor_in_array(in, 16);
	uint32_t index = w->index;

	if (n < 2)
		cbor_in_fail(in, TAM_SUIT_COMMAND);
	for (size_t i = 0; i < n && in->err == TAM_OK; i++) {
		w->index = index;
		if (i == n - 1 && cbor_in_accept_null(in))
			break;
		walk_nested(w, in, depth);
	}
	w->index = index;
}

static void
walk_command(struct walk *w, struct cbor_in *in, unsigned depth)
{
	int64_t command = cbor_in_int(in);

	switch (command) {
	case SUIT_COND_VENDOR:
	case SUIT_COND_CLASS:
		w->vendor_checked |= command == SUIT_COND_VENDOR;
		w->class_checked |= command == SUIT_COND_CLASS;
		(void)cbor_in_uint(in, 15);
		break;
	case SUIT_DIR_SET_INDEX:
		read_index(w, in);
		break;
	case SUIT_DIR_SET_PARAMS:
	case SUIT_DIR_OVERRIDE_PARAMS:
		read_parameters(w, in);
		break;
	case SUIT_DIR_TRY_EACH:
		walk_alternatives(w, in, depth);
		break;
	case SUIT_DIR_RUN_SEQUENCE:
		walk_nested(w, in, depth);
		break;
	case SUIT_DIR_PROCESS_DEPENDENCY:
	case SUIT_DIR_FETCH:
	case SUIT_DIR_COPY:
	case SUIT_DIR_WRITE:
	case SUIT_DIR_INVOKE:
	case SUIT_DIR_SWAP:
	case SUIT_DIR_UNLINK:
		/* Section 8.4.8: none of these belongs in the shared one. */
		if (w->shared)
			cbor_in_fail(in, TAM_SUIT_COMMAND);
		(void)cbor_in_uint(in, 15);
		break;
	case SUIT_COND_IMAGE_MATCH:
	case SUIT_COND_SLOT:
	case SUIT_COND_CHECK_CONTENT:
	case SUIT_COND_DEP_INTEGRITY:
	case SUIT_COND_IS_DEPENDENCY:
	case SUIT_COND_ABORT:
	case SUIT_COND_DEVICE:
		(void)cbor_in_uint(in, 15);
		break;
	default:
		cbor_in_fail(in, TAM_SUIT_COMMAND);
	}
}

static enum tam_err
walk_sequence(struct walk *w, struct slice sequence, unsigned depth)
{
	struct cbor_in in;
	size_t n;

	cbor_in_open(&in, sequence, w->arena, CBOR_PLAIN);
	n = cbor_in_array(&in, (size_t)2 * SUIT_COMMANDS_MAX);
	if (n % 2 != 0)
		cbor_in_fail(&in, TAM_SUIT_COMMAND);
	for (size_t i = 0; i < n / 2 && in.err == TAM_OK; i++)
		walk_command(w, &in, depth);
	return cbor_in_finish(&in);
}

/* U8: with several components every sequence says first which it means. */
static bool
starts_with_index(struct slice sequence)
{
	struct cbor_in in;

	cbor_in_nested(&in, sequence);
	return cbor_in_array(&in, SIZE_MAX) == 0 ||
	    cbor_in_int(&in) == SUIT_DIR_SET_INDEX;
}

static enum tam_err
walk_section(struct walk *w, struct slice sequence)
{
	enum tam_err err;

	if (sequence.n == 0)
		return TAM_OK;
	w->index = 1;
	if (w->n_all > 1 && !starts_with_index(sequence))
		return refuse(w, TAM_SUIT_COMMAND,
		    "with several components each sequence must begin with "
		    "set-component-index");
	err = walk_sequence(w, sequence, SUIT_NESTING_MAX);
	if (err != TAM_OK && w->why == NULL)
		w->why = "a command sequence has an unknown or misplaced "
		         "command or parameter";
	return err;
}

static enum tam_err
walk_sections(struct walk *w, const struct suit_manifest *m)
{
	enum tam_err err;

	w->shared = true;
	err = walk_section(w, m->shared);
	w->shared = false;
	for (int s = 0; err == TAM_OK && s < SUIT_SECTIONS; s++) {
		if (s != SUIT_TEXT && s != SUIT_COSWID)
			err = walk_section(w, m->sections[s]);
	}
	return err;
}

/* --- payloads -------------------------------------------------------------- */

static bool
add_nested(struct suit_info *to, const struct suit_component *c, size_t signer)
{
	if (to->n_nested == SUIT_COMPONENTS_MAX)
		return false;
	to->nested_signer[to->n_nested] = signer;
	to->nested[to->n_nested++] = *c;
	return true;
}

/* What a dependency brings, its dependent brings. */
static enum tam_err
take_nested(struct walk *w, const struct suit_info *inner, size_t signer)
{
	bool room = true;

	for (size_t i = 0; i < inner->n; i++)
		room &= add_nested(w->info, &inner->components[i], signer);
	for (size_t i = 0; i < inner->n_nested; i++)
		room &= add_nested(w->info, &inner->nested[i],
		    inner->nested_signer[i]);
	return room ? TAM_OK
	            : refuse(w, TAM_TOO_LARGE,
	                  "its dependencies bring too many components");
}

/* U10: a manifest that must pass by itself, and be the one named. */
static enum tam_err
check_dependency(struct walk *w, const struct suit_component *c,
    struct slice bytes)
{
	struct suit_info *info = arena_new(w->arena, struct suit_info);
	struct walk *inner = arena_new(w->arena, struct walk);
	size_t signer = 0;
	enum tam_err err;

	*inner = (struct walk){.crypto = w->crypto,
	    .arena = w->arena,
	    .keys = w->keys,
	    .n_keys = w->n_keys,
	    .nesting = w->nesting + 1,
	    .info = info};
	err = check_envelope(inner, bytes, &signer);
	w->why = inner->why;
	if (err != TAM_OK)
		return err;
	if (c->digest.n == 32 &&
	    memcmp(c->digest.p, inner->envelope->digest, 32) != 0)
		return refuse(w, TAM_SUIT_PAYLOAD,
		    "an integrated dependency is not the one the manifest "
		    "names");
	return take_nested(w, info, signer);
}

/* U9: what is carried inside must be what the parameters promise. */
static enum tam_err
check_payload(struct walk *w, const struct suit_component *c, bool dependency)
{
	size_t i = payload_named(w, c->uri);
	const struct suit_payload *p;
	uint8_t digest[32];

	if (c->uri.n == 0 || i == SUIT_PAYLOADS_MAX || c->encryption.n > 0)
		return TAM_OK;
	p = &w->envelope->payloads[i];
	if (dependency)
		return check_dependency(w, c, p->bytes);
	if (c->has_size && c->size != p->bytes.n)
		return refuse(w, TAM_SUIT_PAYLOAD,
		    "an integrated payload has not the image-size stated");
	crypto_sha256(p->bytes, digest);
	if (!c->many_digests && c->digest.n == 32 &&
	    memcmp(c->digest.p, digest, 32) != 0)
		return refuse(w, TAM_SUIT_PAYLOAD,
		    "an integrated payload has not the image-digest stated");
	return TAM_OK;
}

static bool
is_dependency(const struct suit_manifest *m, size_t index)
{
	for (size_t i = 0; i < m->n_dependencies; i++) {
		if (m->dependencies[i].index == index)
			return true;
	}
	return false;
}

static enum tam_err
check_payloads(struct walk *w, const struct suit_manifest *m)
{
	enum tam_err err = TAM_OK;

	if (w->payloads_used != (1u << w->envelope->n_payloads) - 1)
		return refuse(w, TAM_SUIT_PAYLOAD,
		    "an integrated payload is named by no uri parameter");
	for (size_t i = 0; err == TAM_OK && i < w->n_all; i++)
		err = check_payload(w, &w->all[i], is_dependency(m, i));
	for (size_t i = 0; i < w->envelope->n_payloads; i++)
		w->info->n_integrated += w->envelope->payloads[i].bytes.n;
	return err;
}

/* --- the whole -------------------------------------------------------------- */

static enum tam_err
name_components(struct walk *w, const struct suit_manifest *m)
{
	w->n_all = m->n_components;
	for (size_t i = 0; i < m->n_components; i++)
		w->all[i].id = m->components[i];
	for (size_t i = 0; i < m->n_dependencies; i++) {
		size_t index = (size_t)m->dependencies[i].index;

		w->all[index].id = m->dependencies[i].prefix;
		if (index >= w->n_all)
			w->n_all = index + 1;
	}
	return m->n_components > 0
	    ? TAM_OK
	    : refuse(w, TAM_SUIT_MANIFEST, "the manifest lists no component");
}

static enum tam_err
check_manifest(struct walk *w, const struct suit_envelope *e,
    struct suit_manifest *m)
{
	enum tam_err err = suit_manifest_decode(e, w->arena, m);

	if (err == TAM_SUIT_SEVERED)
		return refuse(w, err,
		    "a severed element does not match its digest");
	if (err != TAM_OK)
		return refuse(w, err, "the manifest cannot be read");
	if (m->component_id.n == 0)
		return refuse(w, TAM_SUIT_NO_ID,
		    "the manifest has no manifest-component-id, without which "
		    "it cannot be unlinked");
	if (m->sections[SUIT_INSTALL].n == 0)
		return refuse(w, TAM_SUIT_SEVERED,
		    "the install sequence is missing or severed away");
	err = name_components(w, m);
	if (err == TAM_OK)
		err = walk_sections(w, m);
	if (err != TAM_OK)
		return err;
	if (!w->vendor_checked || !w->class_checked)
		return refuse(w, TAM_SUIT_COMMAND,
		    "the manifest checks no vendor and class: any device "
		    "would install it");
	return check_payloads(w, m);
}

static enum tam_err
check_envelope(struct walk *w, struct slice bytes, size_t *signer)
{
	struct suit_envelope *e = arena_new(w->arena, struct suit_envelope);
	enum tam_err err;

	if (w->nesting >= SUIT_NESTING_MAX)
		return refuse(w, TAM_TOO_DEEP, "dependencies nest too deeply");
	err = suit_envelope_decode(bytes, w->arena, e);
	if (err == TAM_SUIT_DIGEST)
		return refuse(w, err,
		    "the manifest is not the one the digest "
		    "in the envelope names");
	if (err != TAM_OK)
		return refuse(w, err,
		    "not a SUIT envelope in preferred "
		    "serialization");
	w->envelope = e;
	if (w->crypto != NULL)
		err = suit_verify(w->crypto, e, w->arena, w->keys, w->n_keys,
		    signer);
	if (err != TAM_OK)
		return refuse(w, err,
		    "no signature verifies under a trusted signer's key");
	memset(w->info, 0, sizeof(*w->info));
	err = check_manifest(w, e, &w->info->manifest);
	if (err != TAM_OK)
		return err;
	w->info->n = w->info->manifest.n_components;
	memcpy(w->info->components, w->all, sizeof(w->all));
	w->info->has_uninstall =
	    w->info->manifest.sections[SUIT_UNINSTALL].n > 0;
	return TAM_OK;
}

static bool
is_listed(const struct suit_component *const *list, size_t n, struct slice id)
{
	for (size_t i = 0; i < n; i++) {
		if (slice_eq(list[i]->id, id))
			return true;
	}
	return false;
}

size_t
suit_brought(const struct suit_info *info,
    const struct suit_component *out[SUIT_BROUGHT_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < info->n; i++)
		out[n++] = &info->components[i];
	for (size_t i = 0; i < info->n_nested; i++) {
		if (!is_listed(out, n, info->nested[i].id))
			out[n++] = &info->nested[i];
	}
	return n;
}

size_t
suit_dependencies(const struct suit_info *info,
    struct slice out[SUIT_COMPONENTS_MAX])
{
	const struct suit_manifest *m = &info->manifest;
	size_t n = 0;

	for (size_t i = 0; i < m->n_dependencies; i++) {
		const struct suit_component *c =
		    &info->components[m->dependencies[i].index];

		if (!c->many_digests && c->digest.n == 32)
			out[n++] = c->digest;
	}
	return n;
}

enum tam_err
suit_check(struct cose_crypto *crypto, struct slice envelope,
    struct arena *arena, const struct cose_key *keys, size_t n,
    struct suit_info *info, size_t *signer, const char **why)
{
	struct walk w = {.crypto = crypto,
	    .arena = arena,
	    .keys = keys,
	    .n_keys = n,
	    .info = info};
	enum tam_err err = check_envelope(&w, envelope, signer);

	*why = w.why;
	return err;
}

enum tam_err
suit_learn(struct slice envelope, struct arena *arena, struct suit_info *info)
{
	struct walk w = {.arena = arena, .info = info};
	size_t signer;

	return check_envelope(&w, envelope, &signer);
}
