#include "config.h"

#include "loadtest/suit_run.h"

#include "lib/codec/cbor_in.h"
#include "lib/codec/cose_encrypt.h"
#include "lib/codec/crypto.h"

enum {
	NESTING_MAX = 6,
	DEPENDENCY_DEPTH = 4
};

/* The parameters and content of one component while a manifest runs. */
struct cell {
	struct slice vendor, class_id, device_id, digest, uri;
	struct slice content;    /* the parameter */
	struct slice encryption; /* how what is written is to be opened */
	bool has_size, has_slot, has_content;
	uint64_t size, slot, source;

	bool written; /* it has an image, this one */
	struct slice image;
	bool whole;        /* dependency-integrity held */
	struct run *child; /* a dependency that is being processed */
};

struct run {
	struct run *parent;
	unsigned depth;
	struct slice bytes; /* of a dependency's envelope */
	const struct suit_world *world;
	const struct suit_envelope *envelope;
	const struct suit_manifest *manifest;
	struct arena *arena;
	struct suit_outcome *out;
	struct cell cells[SUIT_COMPONENTS_MAX];
	size_t n_cells;
	uint32_t index; /* components addressed */
	bool soft;      /* a failed condition only ends this sequence */
	bool soft_given;
	bool in_shared; /* the shared sequence is running */
	enum suit_section section;
};

/* How a sequence ended. */
enum end {
	DONE,
	CONDITION, /* a condition failed: soft, or fatal at the top */
	ABORT
};

static enum end run_sequence(struct run *, struct slice, unsigned depth);
static enum end process_dependency(struct run *, size_t, uint64_t offset);

static enum end
fail(struct run *r, enum end end, size_t component, unsigned reason,
    uint64_t offset)
{
	r->out->section = r->section;
	r->out->component = component;
	r->out->reason = reason;
	r->out->offset = offset;
	return end;
}

/* --- parameters ------------------------------------------------------------------ */

static struct slice
read_uuid(struct cbor_in *in)
{
	(void)cbor_in_accept_tag(in, 112);
	return cbor_in_bytes(in, 0, 64);
}

static void
set_parameter(struct run *r, struct cbor_in *in, struct cell *c, bool override)
{
	struct cell before = *c;
	int64_t key = cbor_in_int(in);

	switch (key) {
	case SUIT_PARAM_VENDOR:
		c->vendor = read_uuid(in);
		if (!override && before.vendor.n > 0)
			c->vendor = before.vendor;
		break;
	case SUIT_PARAM_CLASS:
		c->class_id = read_uuid(in);
		if (!override && before.class_id.n > 0)
			c->class_id = before.class_id;
		break;
	case SUIT_PARAM_IMAGE_DIGEST:
		c->digest = suit_digest_claim(in);
		if (!override && before.digest.n > 0)
			c->digest = before.digest;
		break;
	case SUIT_PARAM_IMAGE_SIZE:
		c->size = cbor_in_uint(in, UINT64_MAX);
		c->has_size = true;
		if (!override && before.has_size)
			c->size = before.size;
		break;
	case SUIT_PARAM_SLOT:
		c->slot = cbor_in_uint(in, UINT64_MAX);
		c->has_slot = true;
		break;
	case SUIT_PARAM_URI:
		c->uri = cbor_in_text(in, 0, 1024);
		if (!override && before.uri.n > 0)
			c->uri = before.uri;
		break;
	case SUIT_PARAM_DEVICE:
		c->device_id = read_uuid(in);
		if (!override && before.device_id.n > 0)
			c->device_id = before.device_id;
		break;
	case SUIT_PARAM_ENCRYPTION:
		c->encryption = cbor_in_bytes(in, 0, 65536);
		if (!override && before.encryption.n > 0)
			c->encryption = before.encryption;
		break;
	case SUIT_PARAM_SOURCE:
		c->source = cbor_in_uint(in, SUIT_COMPONENTS_MAX - 1);
		break;
	case SUIT_PARAM_CONTENT:
		c->content = cbor_in_bytes(in, 0, SUIT_ENVELOPE_MAX);
		c->has_content = true;
		if (!override && before.has_content)
			c->content = before.content;
		break;
	case SUIT_PARAM_SOFT_FAILURE:
		r->soft = cbor_in_bool(in);
		r->soft_given = true;
		break;
	default:
		cbor_in_skip(in);
	}
}

static void
set_parameters(struct run *r, struct cbor_in *in, bool override)
{
	struct cbor_in start = *in;
	size_t i, n;

	cbor_in_skip(in);
	for (i = 0; i < r->n_cells; i++) {
		struct cbor_in each = start;

		if ((r->index >> i & 1) == 0)
			continue;
		n = cbor_in_map(&each, 64);
		for (size_t j = 0; j < n && each.err == TAM_OK; j++)
			set_parameter(r, &each, &r->cells[i], override);
		if (each.err != TAM_OK)
			cbor_in_fail(in, each.err);
	}
}

/* --- conditions and directives ------------------------------------------------------ */

static bool
is_dependency(const struct run *r, size_t i)
{
	for (size_t k = 0; k < r->manifest->n_dependencies; k++) {
		if (r->manifest->dependencies[k].index == i)
			return true;
	}
	return false;
}

/* The digest of a dependency is its manifest's; of any other image its own. */
static bool
digest_of(struct run *r, size_t i, uint8_t digest[32])
{
	const struct cell *c = &r->cells[i];
	struct suit_envelope *e;

	if (!is_dependency(r, i)) {
		crypto_sha256(c->image, digest);
		return true;
	}
	e = arena_new(r->arena, struct suit_envelope);
	if (suit_envelope_decode(c->image, r->arena, e) != TAM_OK)
		return false;
	memcpy(digest, e->digest, 32);
	return true;
}

static bool
matches(struct run *r, size_t i)
{
	const struct cell *c = &r->cells[i];
	uint8_t digest[32];

	/* E12: the TEEP draft's example counts a tag that is not there. */
	bool any_size = r->world->lenient && is_dependency(r, i);

	return c->written && c->digest.n == 32 &&
	    (!c->has_size || any_size || c->size == c->image.n) &&
	    digest_of(r, i, digest) && memcmp(digest, c->digest.p, 32) == 0;
}

/* What is written goes through the encryption parameter, if there is one. */
static bool
put(struct run *r, struct cell *c, struct slice bytes)
{
	struct cose_encrypted *m;

	if (c->encryption.n > 0) {
		m = arena_new(r->arena, struct cose_encrypted);
		if (cose_encrypt_decode(c->encryption, r->arena, m) != TAM_OK ||
		    cose_decrypt(m, COSE_USE_SUIT_PAYLOAD, r->world->agree,
		        r->world->n_agree, bytes, r->arena, &bytes) != TAM_OK)
			return false;
	}
	c->image = bytes;
	c->written = true;
	c->whole = false;
	return true;
}

static bool
fetch(struct run *r, struct cell *c)
{
	for (size_t i = 0; i < r->envelope->n_payloads; i++) {
		if (slice_eq(r->envelope->payloads[i].name, c->uri))
			return put(r, c, r->envelope->payloads[i].bytes);
	}
	for (size_t i = 0; i < r->world->n_payloads; i++) {
		if (slice_eq(r->world->payloads[i].uri, c->uri))
			return put(r, c, r->world->payloads[i].bytes);
	}
	return false;
}

static bool
copy(struct run *r, struct cell *c)
{
	const struct cell *from = &r->cells[c->source];

	return c->source < r->n_cells && from->written &&
	    put(r, c, from->image);
}

static bool
swap(struct run *r, struct cell *c)
{
	struct cell *other = &r->cells[c->source];
	struct slice image = c->image;
	bool written = c->written;

	if (c->source >= r->n_cells || (!c->written && !other->written))
		return false;
	c->image = other->image;
	c->written = other->written;
	other->image = image;
	other->written = written;
	return true;
}

/* -trust-domains, 6.4: the dependency's manifest is the one named. */
static bool
dependency_is_whole(struct run *r, size_t i)
{
	struct cell *c = &r->cells[i];
	uint8_t digest[32];

	if (!is_dependency(r, i) || c->digest.n != 32)
		return false;
	if (!c->written && r->world->installed != NULL) {
		c->image = r->world->installed(r->world->arg, c->digest.p);
		c->written = c->image.n > 0;
	}
	c->whole = c->written && digest_of(r, i, digest) &&
	    memcmp(digest, c->digest.p, 32) == 0;
	return c->whole;
}

static bool
content_is(const struct cell *c)
{
	return c->written && c->has_content && c->image.n == c->content.n &&
	    (c->image.n == 0 ||
	        crypto_equal(c->image.p, c->content.p, c->image.n));
}

static bool
is_device(struct run *r, const char *what, struct slice wanted,
    struct slice has)
{
	if (slice_eq(wanted, has))
		return true;
	r->out->mismatch = what;
	r->out->wanted = wanted;
	r->out->has = has;
	return false;
}

static bool
condition_holds(struct run *r, int64_t code, size_t i)
{
	struct cell *c = &r->cells[i];

	switch (code) {
	case SUIT_COND_VENDOR:
		return is_device(r, "vendor-id", c->vendor,
		    SLICE_OF(r->world->vendor_id));
	case SUIT_COND_CLASS:
		return is_device(r, "class-id", c->class_id,
		    SLICE_OF(r->world->class_id));
	case SUIT_COND_DEVICE:
		return is_device(r, "device-id", c->device_id,
		    SLICE_OF(r->world->device_id));
	case SUIT_COND_IMAGE_MATCH:
		return matches(r, i);
	case SUIT_COND_SLOT:
		return c->has_slot && c->slot == 0;
	case SUIT_COND_CHECK_CONTENT:
		return content_is(c);
	case SUIT_COND_DEP_INTEGRITY:
		return dependency_is_whole(r, i);
	case SUIT_COND_IS_DEPENDENCY:
		return is_dependency(r, i);
	case SUIT_COND_ABORT:
	default:
		return false;
	}
}

static void
add_effect(struct run *r, size_t i, bool unlinked)
{
	struct suit_outcome *out = r->out;
	struct suit_effect *e;

	if (is_dependency(r, i))
		return;
	out->effects = arena_room(r->arena, out->effects, out->n_effects,
	    sizeof(*out->effects));
	e = &out->effects[out->n_effects++];
	*e = (struct suit_effect){.envelope = r->bytes,
	    .index = i,
	    .unlinked = unlinked,
	    .installed = !unlinked};
	if (!unlinked)
		crypto_sha256(r->cells[i].image, e->digest);
}

static bool
directive_works(struct run *r, int64_t code, size_t i)
{
	struct cell *c = &r->cells[i];

	switch (code) {
	case SUIT_DIR_FETCH:
		return fetch(r, c);
	case SUIT_DIR_COPY:
		return copy(r, c);
	case SUIT_DIR_SWAP:
		return swap(r, c);
	case SUIT_DIR_WRITE:
		return c->has_content && put(r, c, c->content);
	case SUIT_DIR_UNLINK:
		add_effect(r, i, true);
		return true;
	case SUIT_DIR_INVOKE:
		return true; /* not simulated */
	default:
		return false;
	}
}

static bool
is_condition(int64_t code)
{
	return code == SUIT_COND_VENDOR || code == SUIT_COND_CLASS ||
	    code == SUIT_COND_DEVICE || code == SUIT_COND_IMAGE_MATCH ||
	    code == SUIT_COND_SLOT || code == SUIT_COND_CHECK_CONTENT ||
	    code == SUIT_COND_DEP_INTEGRITY ||
	    code == SUIT_COND_IS_DEPENDENCY || code == SUIT_COND_ABORT;
}

static enum end
run_one(struct run *r, int64_t code, size_t i, uint64_t offset)
{
	if (code == SUIT_DIR_PROCESS_DEPENDENCY)
		return process_dependency(r, i, offset);
	if (is_condition(code))
		return condition_holds(r, code, i)
		    ? DONE
		    : fail(r, CONDITION, i, SUIT_REASON_CONDITION, offset);
	return directive_works(r, code, i)
	    ? DONE
	    : fail(r, ABORT, i, SUIT_REASON_OPERATION, offset);
}

/* Each component addressed in turn. */
static enum end
run_simple(struct run *r, int64_t code, uint64_t offset)
{
	enum end end = DONE;

	for (size_t i = 0; i < r->n_cells && end == DONE; i++) {
		if ((r->index >> i & 1) != 0)
			end = run_one(r, code, i, offset);
	}
	return end;
}

/* --- control flow -------------------------------------------------------------------- */

static void
set_index(struct run *r, struct cbor_in *in)
{
	size_t n;

	r->index = 0;
	if (cbor_in_peek(in) == CBOR_UINT) {
		r->index = 1u << cbor_in_uint(in, SUIT_COMPONENTS_MAX - 1);
	} else if (cbor_in_peek(in) == CBOR_ARRAY) {
		n = cbor_in_array(in, SUIT_COMPONENTS_MAX);
		for (size_t i = 0; i < n; i++)
			r->index |= 1u
			    << cbor_in_uint(in, SUIT_COMPONENTS_MAX - 1);
	} else if (cbor_in_bool(in)) {
		r->index = (1u << r->n_cells) - 1;
	}
	if (r->index == 0 || r->index >> r->n_cells != 0)
		cbor_in_fail(in, TAM_SUIT_COMMAND);
}

/* Section 8.4.8.2: the first alternative that succeeds; nil is "or nothing". */
static enum end
try_each(struct run *r, struct cbor_in *in, unsigned depth, uint64_t offset)
{
	size_t n = cbor_in_array(in, 16);
	uint32_t index = r->index;
	enum end end = CONDITION;

	for (size_t i = 0; i < n && in->err == TAM_OK; i++) {
		struct slice alternative;

		if (cbor_in_accept_null(in)) {
			end = end == CONDITION ? DONE : end;
			continue;
		}
		alternative = cbor_in_bytes(in, 0, SUIT_ENVELOPE_MAX);
		if (end != CONDITION)
			continue;
		r->soft = true;
		end = run_sequence(r, alternative, depth - 1);
		r->index = index;
		r->soft = false;
	}
	if (end == CONDITION)
		(void)fail(r, end, 0, SUIT_REASON_CONDITION, offset);
	return end;
}

static enum end
run_nested(struct run *r, struct cbor_in *in, unsigned depth)
{
	struct slice sequence = cbor_in_bytes(in, 0, SUIT_ENVELOPE_MAX);
	bool soft = r->soft;
	enum end end;

	r->soft = false;
	r->soft_given = false;
	end = run_sequence(r, sequence, depth - 1);
	/* suit-parameter-soft-failure inside makes a failed condition mild. */
	if (end == CONDITION && r->soft_given && r->soft)
		end = DONE;
	r->soft = soft;
	return end;
}

/* Section 8.4.8: these are entered once for each component addressed. */
static enum end
for_each_index(struct run *r, struct cbor_in *in, unsigned depth, int64_t code,
    uint64_t offset)
{
	uint32_t index = r->index;
	struct cbor_in start = *in;
	enum end end = DONE;

	if (depth == 0)
		return ABORT;
	cbor_in_skip(in);
	for (size_t i = 0; i < r->n_cells && end == DONE; i++) {
		struct cbor_in each = start;

		if ((index >> i & 1) == 0)
			continue;
		r->index = 1u << i;
		end = code == SUIT_DIR_TRY_EACH
		    ? try_each(r, &each, depth, offset)
		    : run_nested(r, &each, depth);
		if (each.err != TAM_OK)
			cbor_in_fail(in, each.err);
	}
	r->index = index;
	return end;
}

static enum end
run_command(struct run *r, struct cbor_in *in, unsigned depth)
{
	uint64_t offset = in->offset;
	int64_t code = cbor_in_int(in);
	enum end end;

	switch (code) {
	case SUIT_DIR_SET_INDEX:
		set_index(r, in);
		return DONE;
	case SUIT_DIR_SET_PARAMS:
	case SUIT_DIR_OVERRIDE_PARAMS:
		set_parameters(r, in, code == SUIT_DIR_OVERRIDE_PARAMS);
		return DONE;
	case SUIT_DIR_TRY_EACH:
	case SUIT_DIR_RUN_SEQUENCE:
		return for_each_index(r, in, depth, code, offset);
	case SUIT_DIR_PROCESS_DEPENDENCY:
		if (r->in_shared) {
			cbor_in_skip(in);
			return fail(r, ABORT, 0, SUIT_REASON_COMMAND, offset);
		}
		end = run_simple(r, code, offset);
		(void)cbor_in_uint(in, 15);
		return end;
	case SUIT_COND_DEVICE:
	case SUIT_COND_DEP_INTEGRITY:
	case SUIT_COND_IS_DEPENDENCY:
	case SUIT_DIR_SWAP:
	case SUIT_COND_VENDOR:
	case SUIT_COND_CLASS:
	case SUIT_COND_IMAGE_MATCH:
	case SUIT_COND_SLOT:
	case SUIT_COND_CHECK_CONTENT:
	case SUIT_COND_ABORT:
	case SUIT_DIR_FETCH:
	case SUIT_DIR_COPY:
	case SUIT_DIR_WRITE:
	case SUIT_DIR_INVOKE:
	case SUIT_DIR_UNLINK:
		end = run_simple(r, code, offset);
		(void)cbor_in_uint(in, 15);
		return end;
	default: /* unknown, or not simulated: the draft says abort */
		cbor_in_skip(in);
		return fail(r, ABORT, 0, SUIT_REASON_COMMAND, offset);
	}
}

static enum end
run_sequence(struct run *r, struct slice sequence, unsigned depth)
{
	struct cbor_in in;
	enum end end = DONE;
	size_t n;

	cbor_in_open(&in, sequence, r->arena, CBOR_PLAIN);
	n = cbor_in_array(&in, 1024);
	for (size_t i = 0; i + 1 < n && in.err == TAM_OK && end == DONE; i += 2)
		end = run_command(r, &in, depth);
	if (end == DONE && cbor_in_finish(&in) != TAM_OK)
		end = fail(r, ABORT, 0, SUIT_REASON_PARSE, in.err_offset);
	return end;
}

/* --- sections --------------------------------------------------------------------------- */

/* Every section runs after the shared sequence (section 6.2).  One that is
 * not there is a success. */
static enum end
run_section(struct run *r, enum suit_section section)
{
	struct slice sequence = r->manifest->sections[section];
	enum end end = DONE;

	if (sequence.n == 0)
		return DONE;
	r->section = section;
	r->index = 1;
	if (r->manifest->shared.n > 0) {
		r->in_shared = true;
		end = run_sequence(r, r->manifest->shared, NESTING_MAX);
		r->in_shared = false;
	}
	r->index = 1;
	if (end == DONE)
		end = run_sequence(r, sequence, NESTING_MAX);
	return end;
}

static void
start(struct run *r, const struct suit_world *world,
    const struct suit_envelope *e, const struct suit_manifest *m,
    struct arena *arena, struct suit_outcome *out)
{
	*r = (struct run){.world = world,
	    .envelope = e,
	    .manifest = m,
	    .arena = arena,
	    .out = out,
	    .n_cells = m->n_components};
	/* Indices are those of components and dependencies together. */
	for (size_t i = 0; i < m->n_dependencies; i++) {
		if (m->dependencies[i].index >= r->n_cells)
			r->n_cells = (size_t)m->dependencies[i].index + 1;
	}
}

/* A dependency is a manifest like any other: whole, signed, not nested
 * without end. */
static struct run *
start_child(struct run *r, struct cell *c)
{
	struct suit_envelope *e = arena_new(r->arena, struct suit_envelope);
	struct suit_manifest *m = arena_new(r->arena, struct suit_manifest);
	struct run *child = arena_new(r->arena, struct run);

	if (r->depth + 1 >= DEPENDENCY_DEPTH || !c->written ||
	    suit_envelope_decode(c->image, r->arena, e) != TAM_OK ||
	    suit_manifest_decode(e, r->arena, m) != TAM_OK ||
	    (r->world->trusts != NULL && !r->world->trusts(r->world->arg, e)))
		return NULL;
	start(child, r->world, e, m, r->arena, r->out);
	child->parent = r;
	child->depth = r->depth + 1;
	child->bytes = c->image;
	return child;
}

/* A component both speak of is one component: what the dependent has set for
 * it holds in the dependency, until that sets it itself. */
static void
hand_down(const struct run *r, struct run *child)
{
	for (size_t i = 0; i < child->manifest->n_components; i++) {
		for (size_t k = 0; k < r->manifest->n_components; k++) {
			if (slice_eq(child->manifest->components[i],
			        r->manifest->components[k]))
				child->cells[i] = r->cells[k];
		}
	}
}

/* -trust-domains, 6.5: runs the same section of the dependency. */
static enum end
process_dependency(struct run *r, size_t i, uint64_t offset)
{
	struct cell *c = &r->cells[i];

	if (!is_dependency(r, i) ||
	    (!c->whole && !(r->world->lenient && dependency_is_whole(r, i))))
		return fail(r, ABORT, i, SUIT_REASON_OPERATION, offset);
	if (c->child == NULL)
		c->child = start_child(r, c);
	if (c->child == NULL)
		return fail(r, ABORT, i, SUIT_REASON_UNAUTHORISED, offset);
	if (r->section != c->child->section)
		hand_down(r, c->child);
	return run_section(c->child, r->section);
}

static void
collect(struct run *r)
{
	for (size_t i = 0; i < r->n_cells; i++) {
		if (r->cells[i].child != NULL)
			collect(r->cells[i].child);
		else if (r->cells[i].written)
			add_effect(r, i, false);
	}
}

void
suit_run_update(const struct suit_world *world, const struct suit_envelope *e,
    const struct suit_manifest *m, struct arena *arena,
    struct suit_outcome *out)
{
	static const enum suit_section order[] = {SUIT_DEPENDENCY_RESOLUTION,
	    SUIT_PAYLOAD_FETCH, SUIT_CANDIDATE, SUIT_INSTALL, SUIT_VALIDATE};
	struct run *r = arena_new(arena, struct run);

	*out = (struct suit_outcome){.ok = true};
	start(r, world, e, m, arena, out);
	for (size_t i = 0; out->ok && i < sizeof(order) / sizeof(order[0]); i++)
		out->ok = run_section(r, order[i]) == DONE;
	if (out->ok)
		collect(r);
}

void
suit_run_uninstall(const struct suit_world *world,
    const struct suit_envelope *e, const struct suit_manifest *m,
    struct arena *arena, struct suit_outcome *out)
{
	struct run *r = arena_new(arena, struct run);

	*out = (struct suit_outcome){0};
	start(r, world, e, m, arena, out);
	out->ok = run_section(r, SUIT_UNINSTALL) == DONE;
}
