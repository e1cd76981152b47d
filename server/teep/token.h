/*
 * token.h - tokens and challenges that carry their own proof.
 *
 * Nothing is stored for one; any node can check it, for the price of one
 * HMAC, before any public-key operation.  Always 64 bytes:
 *
 *	 0  format (high four bits, 1) and key id (low four)
 *	 1  kind (high four bits) and data items asked for (low four)
 *	 2  hop: how many QueryRequests of this HTTP session came before
 *	 3  wire profile
 *	 4  issued at, microseconds since 1970, big-endian
 *	12  epoch of the domain, big-endian
 *	20  random; the first eight bytes of an Update's token are its id
 *	48  HMAC-SHA-256 over label, incarnation, domain and the 48 bytes, cut
 */
#ifndef SERVER_TEEP_TOKEN_H
#define SERVER_TEEP_TOKEN_H

#include "lib/base/err.h"
#include "lib/base/slice.h"
#include "lib/codec/crypto.h"

enum {
	TOKEN_SIZE = 64,
	TOKEN_RANDOM_SIZE = 28,
	TOKEN_KEYS_MAX = 16,
	TOKEN_HOPS_MAX = 3 /* then a session ends, whatever is left to do */
};

enum token_kind {
	TOKEN_QUERY = 1,
	TOKEN_CHALLENGE = 2,
	TOKEN_UPDATE = 3,
	TOKEN_VERIFY = 4 /* a QueryRequest sent after a Success */
};

struct token {
	enum token_kind kind;
	uint8_t items, hop, wire_id;
	int64_t issued_us, epoch;
	uint8_t random[TOKEN_RANDOM_SIZE];
};

struct token_key {
	uint8_t id;
	int64_t mint_from_us; /* every node has learnt it by then */
	int64_t retire_us;
	struct crypto_mac mac;
};

struct token_keys {
	size_t n;
	struct token_key keys[TOKEN_KEYS_MAX];
	/* How long each kind is good for. */
	int64_t life_us[TOKEN_VERIFY + 1];
};

/* What a token is bound to besides itself. */
struct token_scope {
	int64_t incarnation;
	int32_t domain_id;
};

/* Whether a key mints at this time. */
bool token_can_mint(const struct token_keys *, int64_t now_us);

/* Fills random; TAM_NO_KEY when no key may mint yet. */
enum tam_err token_mint(const struct token_keys *, struct token_scope,
    struct token *, int64_t now_us, uint8_t out[TOKEN_SIZE]);
/* The same for an Update: its id is part of the token. */
enum tam_err token_mint_update(const struct token_keys *, struct token_scope,
    struct token *, int64_t update_id, int64_t now_us, uint8_t out[TOKEN_SIZE]);
int64_t token_update_id(const struct token *);

/*
 * Ours, of this domain and incarnation, and of an age its kind still has.
 * Whether the kind is the right one is the caller's question.  TAM_TOKEN_AHEAD
 * when the node that made it has a clock ahead of this one's.
 */
enum tam_err token_check(const struct token_keys *, struct token_scope,
    struct slice bytes, int64_t now_us, struct token *out);

#endif
