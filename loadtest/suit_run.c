#include "config.h"

#include "loadtest/suit_run.h"

#include "lib/codec/cbor_in.h"
#include "lib/codec/crypto.h"

enum {
	NESTING_MAX = 6
};

/* The parameters and content of one component while a manifest runs. */
struct cell {
	struct slice vendor, class_id, digest, uri, content;
	bool has_size, has_slot, has_content, fetched;
	uint64_t size, slot, source;
};

struct run {
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
	enum suit_section section;
};

/* How a sequence ended. */
enum end {
	DONE,
	CONDITION, /* a condition failed: soft, or fatal at the top */
	ABORT
};

static enum end run_sequence(struct run *, struct slice, unsigned depth);

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
	case SUIT_PARAM_SOURCE:
		c->source = cbor_in_uint(in, SUIT_COMPONENTS_MAX - 1);
		break;
	case SUIT_PARAM_CONTENT:
		c->content = cbor_in_bytes(in, 0, SUIT_ENVELOPE_MAX);
		c->has_content = true;
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
matches(const struct cell *c)
{
	uint8_t digest[32];

	if (!c->fetched || c->digest.n != 32 ||
	    (c->has_size && c->size != c->content.n))
		return false;
	crypto_sha256(c->content, digest);
	return memcmp(digest, c->digest.p, 32) == 0;
}

static bool
fetch(const struct run *r, struct cell *c)
{
	for (size_t i = 0; i < r->envelope->n_payloads; i++) {
		if (slice_eq(r->envelope->payloads[i].name, c->uri)) {
			c->content = r->envelope->payloads[i].bytes;
			c->fetched = true;
			return true;
		}
	}
	for (size_t i = 0; i < r->world->n_payloads; i++) {
		if (slice_eq(r->world->payloads[i].uri, c->uri)) {
			c->content = r->world->payloads[i].bytes;
			c->fetched = true;
			return true;
		}
	}
	return false;
}

static bool
copy(struct run *r, struct cell *c)
{
	const struct cell *from = &r->cells[c->source];

	if (c->source >= r->n_cells || !from->fetched)
		return false;
	c->content = from->content;
	c->fetched = true;
	return true;
}

static bool
condition_holds(struct run *r, int64_t code, size_t i)
{
	struct cell *c = &r->cells[i];

	switch (code) {
	case SUIT_COND_VENDOR:
		return slice_eq(c->vendor, SLICE_OF(r->world->vendor_id));
	case SUIT_COND_CLASS:
		return slice_eq(c->class_id, SLICE_OF(r->world->class_id));
	case SUIT_COND_IMAGE_MATCH:
		return matches(c);
	case SUIT_COND_SLOT:
		return c->has_slot && c->slot == 0;
	case SUIT_COND_CHECK_CONTENT:
		return c->fetched && c->has_content;
	case SUIT_COND_ABORT:
	default:
		return false;
	}
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
	case SUIT_DIR_WRITE:
		c->fetched = c->has_content;
		return c->has_content;
	case SUIT_DIR_UNLINK:
		r->out->effects[i].unlinked = true;
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
	    code == SUIT_COND_IMAGE_MATCH || code == SUIT_COND_SLOT ||
	    code == SUIT_COND_CHECK_CONTENT || code == SUIT_COND_ABORT;
}

/* Each component addressed in turn. */
static enum end
run_simple(struct run *r, int64_t code, uint64_t offset)
{
	for (size_t i = 0; i < r->n_cells; i++) {
		if ((r->index >> i & 1) == 0)
			continue;
		if (is_condition(code)) {
			if (!condition_holds(r, code, i))
				return fail(r, CONDITION, i,
				    SUIT_REASON_CONDITION, offset);
		} else if (!directive_works(r, code, i)) {
			return fail(r, ABORT, i, SUIT_REASON_OPERATION, offset);
		}
	}
	return DONE;
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
		return depth == 0 ? ABORT : try_each(r, in, depth, offset);
	case SUIT_DIR_RUN_SEQUENCE:
		return depth == 0 ? ABORT : run_nested(r, in, depth);
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

/* Every section runs after the shared sequence (section 6.2). */
static bool
run_section(struct run *r, enum suit_section section)
{
	struct slice sequence = r->manifest->sections[section];
	enum end end = DONE;

	if (sequence.n == 0)
		return true;
	r->section = section;
	r->index = 1;
	if (r->manifest->shared.n > 0)
		end = run_sequence(r, r->manifest->shared, NESTING_MAX);
	r->index = 1;
	if (end == DONE)
		end = run_sequence(r, sequence, NESTING_MAX);
	return end == DONE;
}

static void
start(struct run *r, const struct suit_world *world,
    const struct suit_envelope *e, const struct suit_manifest *m,
    struct arena *arena, struct suit_outcome *out)
{
	*out = (struct suit_outcome){0};
	*r = (struct run){.world = world,
	    .envelope = e,
	    .manifest = m,
	    .arena = arena,
	    .out = out,
	    .n_cells = m->n_components};
}

void
suit_run_update(const struct suit_world *world, const struct suit_envelope *e,
    const struct suit_manifest *m, struct arena *arena,
    struct suit_outcome *out)
{
	struct run *r = arena_new(arena, struct run);

	start(r, world, e, m, arena, out);
	out->ok = m->n_dependencies == 0 &&
	    run_section(r, SUIT_PAYLOAD_FETCH) &&
	    run_section(r, SUIT_CANDIDATE) && run_section(r, SUIT_INSTALL) &&
	    run_section(r, SUIT_VALIDATE);
	for (size_t i = 0; out->ok && i < r->n_cells; i++) {
		if (!r->cells[i].fetched)
			continue;
		out->effects[i].installed = true;
		crypto_sha256(r->cells[i].content, out->effects[i].digest);
	}
}

void
suit_run_uninstall(const struct suit_world *world,
    const struct suit_envelope *e, const struct suit_manifest *m,
    struct arena *arena, struct suit_outcome *out)
{
	struct run *r = arena_new(arena, struct run);

	start(r, world, e, m, arena, out);
	out->ok = run_section(r, SUIT_UNINSTALL);
}
