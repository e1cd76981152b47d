#include "config.h"

#include "loadtest/attest.h"

#include <err.h>

#include "lib/base/clock.h"
#include "lib/base/hex.h"
#include "lib/codec/cbor_out.h"
#include "lib/codec/cose_encrypt.h"
#include "lib/codec/crypto.h"
#include "lib/codec/jwt.h"
#include "loadtest/device.h"

enum {
	PAYLOAD_MAX = 16384,
	LIFE_S = 3600,
	UEID_SIZE = 17,
	EAR_CLAIMS = 6,
	SPKI_P256_HEAD = 27,
	SPKI_ED25519_HEAD = 12
};

static const char ear_cwt_format[] =
    "application/eat+cwt; eat_profile=\"tag:ietf.org,2026:rats/ear#03\"";
static const char evidence_format[] =
    "application/eat+cwt; eat_profile=\"urn:ietf:rfc:rfc9711\"";

/* RFC 9711, 4.2.1: a RAND ueid; the same agent has the same. */
static struct slice
ueid_of(const struct fleet_world *w, const struct agent *a, struct arena *arena)
{
	uint8_t *ueid = arena_alloc(arena, UEID_SIZE);
	struct agent other = *a;

	if (w->ueid_seed.n > 0)
		agent_init(&other, a->number, a->curve, w->ueid_seed);

	ueid[0] = 0x01;
	memcpy(ueid + 1, other.thumbprint, UEID_SIZE - 1);
	return (struct slice){ueid, UEID_SIZE};
}

static struct slice
nonce_for(const struct attest_plan *p, const struct teep_message *request,
    struct arena *arena)
{
	struct slice nonce = teep_has(request, TEEP_OPT_CHALLENGE)
	    ? request->challenge
	    : request->token;

	nonce = arena_dup(arena, nonce);
	if (p->fault == ATTEST_WRONG_NONCE && nonce.n > 0)
		slice_unconst(nonce)[nonce.n / 2] ^= 1;
	return nonce;
}

static void
list_manifests(const struct agent *a, struct eat_claims *c)
{
	c->has_manifests = true;
	if (a->n_components > EAT_MANIFESTS_MAX)
		errx(1, "an agent attests to at most %d manifests",
		    EAT_MANIFESTS_MAX);
	for (size_t i = 0; i < a->n_components; i++)
		c->manifests[c->n_manifests++] =
		    (struct eat_manifest){a->components[i]
		                              .owner->manifest.reference_uri,
		        SLICE_OF(a->components[i].owner->digest)};
}

/* The agent's own key, whole: first contact can introduce it. */
static struct cose_key
key_of(const struct agent *a)
{
	struct cose_private priv;
	struct cose_key key;

	(void)cose_private_from_secret(&priv, a->curve, a->secret);
	key = priv.key;
	cose_private_wipe(&priv);
	return key;
}

static void
fill_claims(struct fleet_world *w, const struct agent *a,
    const struct teep_message *request, struct arena *arena,
    struct eat_claims *c)
{
	const struct attest_plan *p = &w->attest;
	int64_t now = clock_wall_us() / CLOCK_SECOND;

	*c = (struct eat_claims){.issuer = SLICE_LIT("tamfleet"),
	    .has_iat = true,
	    .iat = p->fault == ATTEST_EXPIRED ? now - (int64_t)2 * LIFE_S : now,
	    .has_exp = true,
	    .n_nonces = 1,
	    .nonces = {nonce_for(p, request, arena)},
	    .has_cnf = true,
	    .cnf_whole = w->whole_key,
	    .cnf_key = key_of(a),
	    .ueid = ueid_of(w, a, arena),
	    .oemid = SLICE_LIT("\x89\x48\x23"),
	    .hwmodel = SLICE_LIT("tamfleet"),
	    .hwversion = SLICE_LIT("1.3.4"),
	    .has_dbgstat = true,
	    .dbgstat = 3};
	c->exp = c->iat + LIFE_S;
	memcpy(c->cnf_thumbprint, a->thumbprint, sizeof(a->thumbprint));
	if (p->fault == ATTEST_WRONG_KEY) {
		c->cnf_whole = false;
		c->cnf_thumbprint[0] ^= 1;
	}
	if (p->fault == ATTEST_WORTHLESS)
		c->hwmodel = slice_none();
	list_manifests(a, c);
}

/* E20: an untagged COSE_Sign1, its kid the signer's thumbprint. */
static void
write_cwt(struct fleet_world *w, struct slice claims, struct buf *out)
{
	const struct cose_key *key = cose_signer_key(w->attest.signer);

	cose_sign1(w->crypto, w->attest.signer,
	    key->curve == COSE_P256 ? COSE_ALG_ESP256 : COSE_ALG_ED25519,
	    SLICE_OF(key->thumbprint), claims, out);
	buf_consume(out, 1); /* the tag */
}

static void
write_eat(struct fleet_world *w, const struct eat_claims *c, struct buf *out)
{
	struct buf claims;

	buf_init(&claims, PAYLOAD_MAX);
	eat_claims_encode(c, &claims);
	write_cwt(w, buf_slice(&claims), out);
	buf_fini(&claims);
}

/* RFC 5480 and RFC 8410: what stands in front of the key's bytes. */
static struct slice
spki_of(const struct cose_key *key, struct arena *arena)
{
	static const uint8_t p256[SPKI_P256_HEAD] = {0x30, 0x59, 0x30, 0x13,
	    0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08,
	    0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
	    0x04};
	static const uint8_t ed25519[SPKI_ED25519_HEAD] = {0x30, 0x2a, 0x30,
	    0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};
	struct slice head =
	    key->curve == COSE_P256 ? SLICE_OF(p256) : SLICE_OF(ed25519);
	struct slice pub = cose_key_pub(key);
	uint8_t *der = arena_alloc(arena, head.n + pub.n);

	memcpy(der, head.p, head.n);
	memcpy(der + head.n, pub.p, pub.n);
	return (struct slice){der, head.n + pub.n};
}

static void
write_ear(struct fleet_world *w, const struct eat_claims *c,
    struct arena *arena, struct buf *out)
{
	bool bad = w->attest.fault == ATTEST_WORTHLESS;
	struct cose_key key = c->cnf_key;
	struct buf json;

	if (w->attest.fault == ATTEST_WRONG_KEY)
		key = *cose_signer_key(w->attest.signer);
	buf_init(&json, PAYLOAD_MAX);
	buf_printf(&json,
	    "{\"eat_profile\":\"tag:github.com,2023:veraison/ear\","
	    "\"iat\":%lld,\"exp\":%lld,\"eat_nonce\":\"%s\","
	    "\"ear.verifier-id\":{\"build\":\"tamfleet\","
	    "\"developer\":\"tam\"},\"submods\":{\"TEE\":{\"ear.status\":\"%s\","
	    "\"ear.trustworthiness-vector\":{\"instance-identity\":2,"
	    "\"executables\":%d},\"ear.veraison.key-attestation\":"
	    "{\"akpub\":\"%s\"}}}}",
	    (long long)c->iat, (long long)c->exp,
	    base64_dup(arena, c->nonces[0]),
	    bad ? "contraindicated" : "affirming", bad ? 99 : 2,
	    base64_dup(arena, spki_of(&key, arena)));
	jwt_sign(w->crypto, w->attest.signer, buf_slice(&json), out);
	buf_fini(&json);
}

/* draft-ietf-rats-ear: labels of EAT, and its own. */
enum ear_key {
	KEY_EXP = 4,
	KEY_IAT = 6,
	KEY_NONCE = 10,
	KEY_PROFILE = 265,
	KEY_SUBMODS = 266,
	KEY_STATUS = 1000,
	KEY_VECTOR = 1001,
	KEY_VERIFIER_ID = 1004
};

static void
write_ear_submods(struct fleet_world *w, const struct eat_claims *c,
    struct arena *arena, struct buf *b)
{
	bool bad = w->attest.fault == ATTEST_WORTHLESS;
	struct cose_key key = c->cnf_key;

	if (w->attest.fault == ATTEST_WRONG_KEY)
		key = *cose_signer_key(w->attest.signer);
	cbor_out_map(b, 1);
	cbor_out_text(b, SLICE_LIT("TEE"));
	cbor_out_map(b, 3);
	cbor_out_uint(b, KEY_STATUS);
	cbor_out_uint(b, bad ? 96 : 2);
	cbor_out_uint(b, KEY_VECTOR);
	cbor_out_map(b, 1);
	cbor_out_uint(b, 2); /* executables */
	cbor_out_int(b, bad ? 99 : 2);
	cbor_out_int(b, -70002); /* Veraison's key attestation */
	cbor_out_map(b, 1);
	cbor_out_text(b, SLICE_LIT("akpub"));
	cbor_out_bytes(b, spki_of(&key, arena));
}

static void
write_ear_cwt(struct fleet_world *w, const struct eat_claims *c,
    struct arena *arena, struct buf *out)
{
	struct buf b;

	buf_init(&b, PAYLOAD_MAX);
	cbor_out_map(&b, EAR_CLAIMS);
	cbor_out_uint(&b, KEY_EXP);
	cbor_out_int(&b, c->exp);
	cbor_out_uint(&b, KEY_IAT);
	cbor_out_int(&b, c->iat);
	cbor_out_uint(&b, KEY_NONCE);
	cbor_out_bytes(&b, c->nonces[0]);
	cbor_out_uint(&b, KEY_PROFILE);
	cbor_out_text(&b, SLICE_LIT("tag:ietf.org,2026:rats/ear#03"));
	cbor_out_uint(&b, KEY_SUBMODS);
	write_ear_submods(w, c, arena, &b);
	cbor_out_uint(&b, KEY_VERIFIER_ID);
	cbor_out_map(&b, 2);
	cbor_out_uint(&b, 0);
	cbor_out_text(&b, SLICE_LIT("tam"));
	cbor_out_uint(&b, 1);
	cbor_out_text(&b, SLICE_LIT("tamfleet"));
	write_cwt(w, buf_slice(&b), out);
	buf_fini(&b);
}

static const char *
format_of(enum attest_form form)
{
	return form == ATTEST_EAR    ? EAT_EAR_JWT_FORMAT
	    : form == ATTEST_EAR_CWT ? ear_cwt_format
	                             : evidence_format;
}

static struct slice
encrypted(const struct attest_plan *p, struct slice payload,
    struct arena *arena)
{
	struct buf b;
	struct slice out;

	buf_init(&b, PAYLOAD_MAX);
	cose_encrypt(p->encrypt_alg, COSE_USE_EAT, &p->encrypt_to,
	    SLICE_OF(p->encrypt_to.thumbprint), payload, &b);
	out = arena_dup(arena, buf_slice(&b));
	buf_fini(&b);
	return out;
}

void
attest_fill(struct fleet_world *w, const struct agent *a,
    const struct teep_message *request, struct arena *arena,
    struct teep_message *response)
{
	const struct attest_plan *p = &w->attest;
	struct eat_claims *c = arena_new(arena, struct eat_claims);
	struct buf b;

	if (p->fault == ATTEST_ABSENT)
		return;
	/* Its nonce is an old challenge: only a token tells what it answers. */
	if (a->passport_n > 0 && p->form == ATTEST_EVIDENCE &&
	    teep_has(request, TEEP_OPT_TOKEN)) {
		response->present |= 1u << TEEP_OPT_PAYLOAD;
		response->payload = (struct slice){a->passport, a->passport_n};
		if (a->passport_is_ear) {
			response->present |= 1u << TEEP_OPT_PAYLOAD_FORMAT;
			response->payload_format =
			    slice_str(EAT_EAR_JWT_FORMAT);
		}
		return;
	}
	fill_claims(w, a, request, arena, c);
	buf_init(&b, PAYLOAD_MAX);
	if (p->form == ATTEST_EAR)
		write_ear(w, c, arena, &b);
	else if (p->form == ATTEST_EAR_CWT)
		write_ear_cwt(w, c, arena, &b);
	else
		write_eat(w, c, &b);
	if (p->fault == ATTEST_FORGED && p->form == ATTEST_EAR)
		b.p[b.n - 10] = b.p[b.n - 10] == 'A' ? 'B' : 'A';
	else if (p->fault == ATTEST_FORGED)
		b.p[b.n - 10] ^= 1;
	response->present |= 1u << TEEP_OPT_PAYLOAD;
	response->payload = arena_dup(arena, buf_slice(&b));
	buf_fini(&b);
	if (p->encrypted)
		response->payload = encrypted(p, response->payload, arena);
	if (p->form == ATTEST_EAT)
		return; /* TEEP's own format is the default */
	response->present |= 1u << TEEP_OPT_PAYLOAD_FORMAT;
	response->payload_format = slice_str(format_of(p->form));
}
