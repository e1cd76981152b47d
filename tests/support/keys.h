/*
 * keys.h - the keys of tests/vectors/derived/keys.json, by name.
 */
#ifndef TESTS_SUPPORT_KEYS_H
#define TESTS_SUPPORT_KEYS_H

#include "lib/codec/cose.h"
#include "lib/codec/ecdh.h"

/* "tam-p256", "agent-ed25519", ...; the public half is computed, and must be
 * the one the file states. */
struct cose_private test_key(const char *name);

/* "tam-ecdh-p256", "tam-ecdh-x25519". */
struct ecdh_private test_ecdh_key(const char *name);

/* The key that signs the SUIT examples. */
struct cose_key test_suit_key(void);

#endif
