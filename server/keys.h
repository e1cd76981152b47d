/*
 * keys.h - the keys of a node: the master key in its file, the TAM's keys by
 * their URIs, and the keys of tokens, which the master key wraps.
 *
 * A file that others can read is refused.  Of a key in a token (pkcs11:) only
 * the public half is loaded.
 */
#ifndef SERVER_KEYS_H
#define SERVER_KEYS_H

#include "lib/base/arena.h"
#include "server/teep/domain.h"

struct config;
struct sql;

/* The key that wraps token keys, from its file; 32 bytes in hexadecimal. */
enum tam_err master_key_read(const char *path, uint8_t out[32]);

/* Into every domain of the snapshot; a key that is not usable is logged, and
 * the domain serves without it. */
enum tam_err tam_keys_load(struct sql *, struct arena *, struct tam_snapshot *);

enum tam_err token_keys_load(struct sql *, const struct config *,
    const uint8_t master_key[32], struct arena *, struct token_keys *);

/* Makes a token key when none lasts long enough; drops retired ones, but none
 * while no other mints.  Goes by cluster time, as the database says it. */
enum tam_err token_keys_tend(struct sql *, const struct config *,
    const uint8_t master_key[32]);

#endif
