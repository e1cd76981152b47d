#include "config.h"

#include "server/teep/token.h"

#include "lib/base/clock.h"

enum {
	FORMAT = 1,
	SIGNED_SIZE = 48
};

/* A node whose clock is ahead by as much is not ready; see docs. */
static const int64_t future_us = 2 * CLOCK_SECOND;

static void
put64(uint8_t *p, int64_t v)
{
	for (int i = 0; i < 8; i++)
		p[i] = (uint8_t)((uint64_t)v >> (56 - 8 * i));
}

static int64_t
get64(const uint8_t *p)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v = v << 8 | p[i];
	return (int64_t)v;
}

static void
mac_of(const struct token_key *key, struct token_scope scope,
    const uint8_t *bytes, uint8_t out[MAC_SIZE])
{
	uint8_t bound[12];
	struct slice parts[3] = {SLICE_LIT("tam token v1"), SLICE_OF(bound),
	    {bytes, SIGNED_SIZE}};

	put64(bound, scope.incarnation);
	for (int i = 0; i < 4; i++)
		bound[8 + i] =
		    (uint8_t)((uint32_t)scope.domain_id >> (24 - 8 * i));
	crypto_mac(&key->mac, parts, 3, out);
}

/* The newest key that every node knows. */
static const struct token_key *
minting_key(const struct token_keys *keys, int64_t now_us)
{
	const struct token_key *best = NULL;

	for (size_t i = 0; i < keys->n; i++) {
		const struct token_key *k = &keys->keys[i];

		if (k->mint_from_us > now_us || k->retire_us <= now_us)
			continue;
		if (best == NULL || k->mint_from_us > best->mint_from_us)
			best = k;
	}
	return best;
}

static enum tam_err
seal(const struct token_keys *keys, struct token_scope scope, struct token *t,
    int64_t now_us, uint8_t out[TOKEN_SIZE])
{
	const struct token_key *key = minting_key(keys, now_us);

	if (key == NULL)
		return TAM_NO_KEY;
	t->issued_us = now_us;
	out[0] = (uint8_t)(FORMAT << 4 | key->id);
	out[1] = (uint8_t)((unsigned)t->kind << 4 | (t->items & 15u));
	out[2] = t->hop;
	out[3] = t->wire_id;
	put64(out + 4, t->issued_us);
	put64(out + 12, t->epoch);
	memcpy(out + 20, t->random, TOKEN_RANDOM_SIZE);
	mac_of(key, scope, out, out + SIGNED_SIZE);
	return TAM_OK;
}

bool
token_can_mint(const struct token_keys *keys, int64_t now_us)
{
	return minting_key(keys, now_us) != NULL;
}

enum tam_err
token_mint(const struct token_keys *keys, struct token_scope scope,
    struct token *t, int64_t now_us, uint8_t out[TOKEN_SIZE])
{
	crypto_random(t->random, sizeof(t->random));
	return seal(keys, scope, t, now_us, out);
}

enum tam_err
token_mint_update(const struct token_keys *keys, struct token_scope scope,
    struct token *t, int64_t update_id, int64_t now_us, uint8_t out[TOKEN_SIZE])
{
	t->kind = TOKEN_UPDATE;
	crypto_random(t->random, sizeof(t->random));
	put64(t->random, update_id);
	return seal(keys, scope, t, now_us, out);
}

int64_t
token_update_id(const struct token *t)
{
	return get64(t->random);
}

static const struct token_key *
key_by_id(const struct token_keys *keys, uint8_t id)
{
	for (size_t i = 0; i < keys->n; i++) {
		if (keys->keys[i].id == id)
			return &keys->keys[i];
	}
	return NULL;
}

enum tam_err
token_check(const struct token_keys *keys, struct token_scope scope,
    struct slice bytes, int64_t now_us, struct token *out)
{
	const struct token_key *key;
	uint8_t mac[MAC_SIZE];
	unsigned kind;

	if (bytes.n != TOKEN_SIZE || bytes.p[0] >> 4 != FORMAT)
		return TAM_TOKEN_FORGED;
	key = key_by_id(keys, bytes.p[0] & 15);
	if (key == NULL)
		return TAM_TOKEN_FORGED;
	mac_of(key, scope, bytes.p, mac);
	if (!crypto_equal(mac, bytes.p + SIGNED_SIZE, MAC_SIZE))
		return TAM_TOKEN_FORGED;
	kind = bytes.p[1] >> 4;
	if (kind < TOKEN_QUERY || kind > TOKEN_VERIFY)
		return TAM_TOKEN_FOREIGN;
	*out = (struct token){.kind = (enum token_kind)kind,
	    .items = bytes.p[1] & 15,
	    .hop = bytes.p[2],
	    .wire_id = bytes.p[3],
	    .issued_us = get64(bytes.p + 4),
	    .epoch = get64(bytes.p + 12)};
	memcpy(out->random, bytes.p + 20, TOKEN_RANDOM_SIZE);
	if (out->issued_us > now_us + future_us)
		return TAM_TOKEN_AHEAD;
	if (out->issued_us + keys->life_us[kind] < now_us)
		return TAM_TOKEN_EXPIRED;
	return TAM_OK;
}
