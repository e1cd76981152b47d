/*
 * ecdh.h - keys for key agreement: P-256 and X25519.
 *
 * A type of their own, because a key that signs is never one that agrees
 * (CONFORMANCE T68): the compiler then sees to it.  Plain values, copied
 * freely; a private one is wiped by its owner.
 */
#ifndef LIB_CODEC_ECDH_H
#define LIB_CODEC_ECDH_H

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/base/slice.h"

enum {
	ECDH_SECRET_SIZE = 32,
	ECDH_THUMBPRINT_SIZE = 32
};

enum ecdh_curve {
	ECDH_P256,
	ECDH_X25519
};

struct ecdh_key {
	enum ecdh_curve curve;
	uint8_t pub[64]; /* x || y; u, then zeroes, of X25519 */
	uint8_t thumbprint[ECDH_THUMBPRINT_SIZE]; /* RFC 9679, SHA-256 */
};

struct ecdh_private {
	struct ecdh_key key;
	uint8_t secret[ECDH_SECRET_SIZE];
};

/* TAM_BAD_KEY for a point off its curve. */
enum tam_err ecdh_key_make(struct ecdh_key *, enum ecdh_curve,
    struct slice pub);
struct slice ecdh_key_pub(const struct ecdh_key *);
/* A COSE_Key map: EC2 on P-256, or OKP on X25519. */
enum tam_err ecdh_key_decode(struct slice, struct arena *, struct ecdh_key *);
void ecdh_key_encode(const struct ecdh_key *, struct buf *);
enum tam_err ecdh_key_from_pem(struct slice pem, struct ecdh_key *);

enum tam_err ecdh_private_from_secret(struct ecdh_private *, enum ecdh_curve,
    const uint8_t secret[ECDH_SECRET_SIZE]);
void ecdh_private_generate(struct ecdh_private *, enum ecdh_curve);
enum tam_err ecdh_private_from_pem(struct slice pem, struct ecdh_private *);
void ecdh_private_to_pem(const struct ecdh_private *, struct buf *);
void ecdh_private_wipe(struct ecdh_private *);

#endif
