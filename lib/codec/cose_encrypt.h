/*
 * cose_encrypt.h - COSE_Encrypt with ECDH-ES+A128KW (RFC 9052 section 5,
 * RFC 9053 sections 6.3 and 6.4, RFC 9459), in the four profiles that TEEP
 * lists (draft-ietf-suit-mti).
 *
 * What is encrypted says for what: the KDF context names the use, so that a
 * ciphertext made for one use does not open as another.  A128CTR proves
 * nothing by itself; who decrypts it has verified a signature around it, or
 * verifies a signature or a digest inside it.
 */
#ifndef LIB_CODEC_COSE_ENCRYPT_H
#define LIB_CODEC_COSE_ENCRYPT_H

#include "lib/codec/ecdh.h"

enum {
	COSE_TAG_ENCRYPT = 96,
	COSE_ALG_A128GCM = 1,
	COSE_ALG_CHACHA20_POLY1305 = 24,
	COSE_ALG_A128CTR = -65534,
	COSE_ALG_ECDH_ES_A128KW = -29,
	COSE_RECIPIENTS_MAX = 8,
	COSE_PLAINTEXT_MAX = 16 << 20
};

/* What the key is for: SuppPubInfo's `other` of the KDF context. */
enum cose_use {
	COSE_USE_NONE, /* the COSE examples */
	COSE_USE_SUIT_PAYLOAD,
	COSE_USE_SUIT_REPORT,
	COSE_USE_EAT
};

struct cose_recipient {
	struct slice prot; /* verbatim */
	int64_t alg;
	struct ecdh_key ephemeral;
	struct slice kid, salt, wrapped;
};

/* Borrows the bytes it was decoded from. */
struct cose_encrypted {
	struct slice prot;
	int64_t alg;
	struct slice iv;
	bool detached;
	struct slice ciphertext;
	size_t n;
	struct cose_recipient recipients[COSE_RECIPIENTS_MAX];
};

/* True for bytes that carry tag 96: nothing else marks an encrypted payload
 * (CONFORMANCE E19). */
bool cose_is_encrypted(struct slice);

/* TAM_BAD_COSE, TAM_ALG_NOT_ALLOWED for a profile that is not ours. */
enum tam_err cose_encrypt_decode(struct slice, struct arena *,
    struct cose_encrypted *);

/*
 * Tries each key on one recipient: the one that names it by its thumbprint,
 * else one of its curve.  So the sender of a message does not choose how many
 * key agreements it costs.  `ciphertext` is used when the message's is detached.
 * TAM_CANNOT_DECRYPT when no key opens it.
 */
enum tam_err cose_decrypt(const struct cose_encrypted *, enum cose_use,
    const struct ecdh_private *keys, size_t n_keys, struct slice ciphertext,
    struct arena *, struct slice *plain);

/* Appends a tagged COSE_Encrypt for one recipient.  An empty kid is left
 * out. */
void cose_encrypt(int alg, enum cose_use, const struct ecdh_key *recipient,
    struct slice kid, struct slice plain, struct buf *);
/* The same, the ciphertext apart: a SUIT payload. */
void cose_encrypt_detached(int alg, enum cose_use,
    const struct ecdh_key *recipient, struct slice kid, struct slice plain,
    struct buf *info, struct buf *ciphertext);

#endif
