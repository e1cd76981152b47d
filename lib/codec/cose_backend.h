/*
 * cose_backend.h - what cose_key.c asks of the libraries behind the door.
 * Nobody outside lib/codec/cose_*.c includes it.
 */
#ifndef LIB_CODEC_COSE_BACKEND_H
#define LIB_CODEC_COSE_BACKEND_H

#include <stdbool.h>
#include <stdint.h>

bool backend_p256_on_curve(const uint8_t xy[64]);
/* Fills y from x and its parity. */
bool backend_p256_decompress(uint8_t xy[64], bool odd);
/* False when d is not a scalar of the group. */
bool backend_p256_public(const uint8_t d[32], uint8_t xy[64]);

bool backend_ed25519_valid(const uint8_t x[32]);
/* The first 32 bytes are the seed; the public key goes behind them. */
void backend_ed25519_expand(uint8_t secret[64]);

#endif
