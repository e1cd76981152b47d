/*
 * inspect.h - tamctl inspect from the inside: what a file is, what it says,
 * which signatures and digests hold, and what a TAM would do with it.
 */
#ifndef ADMIN_CTL_INSPECT_H
#define ADMIN_CTL_INSPECT_H

#include <jansson.h>

#include "lib/codec/eat.h"
#include "lib/codec/ecdh.h"
#include "lib/codec/suit.h"
#include "lib/codec/teep.h"

enum {
	INSPECT_KEYS_MAX = 16,
	INSPECT_FILE_MAX = 17 << 20
};

/* One --key: what of it could be read. */
struct inspect_key {
	const char *name;
	bool verifies, agrees;
	struct cose_key key;       /* verifies with */
	struct ecdh_private agree; /* decrypts with */
};

struct inspect {
	struct arena *arena;
	struct cose_crypto *crypto;
	size_t n_keys;
	struct inspect_key keys[INSPECT_KEYS_MAX];
	struct slice nonce, token, external_aad, detached;
	enum teep_numbering numbering;
	bool numbering_fixed; /* the other one is refused */
	bool upload_checks;
	bool unsigned_ok; /* what bears no signature is judged as if it held */
	const char *profile;
	int64_t now_s;
	bool complained; /* about an option, so that the usage says no more */

	json_t *out;
	const struct cose_key
	    *signer;    /* the key that verified what is around */
	bool authentic; /* a signature held, or unsigned_ok */
};

/* TAM_OK: accepted.  TAM_BAD_FILE: it is nothing we know. */
enum tam_err inspect_bytes(struct inspect *, struct slice);

/* Adds to what is found out; takes the value. */
void inspect_set(struct inspect *, const char *name, json_t *);

/* Reads PEM, JWK or COSE_Key; false after complaining. */
bool inspect_add_key(struct inspect *, const char *path);

/* inspect_print.c: what was decoded, as JSON. */
json_t *inspect_hex(struct inspect *, struct slice);
json_t *inspect_text(struct slice);
json_t *inspect_teep(struct inspect *, const struct teep_message *);
json_t *inspect_claims(struct inspect *, const struct eat_claims *);
json_t *inspect_manifest(struct inspect *, const struct suit_envelope *,
    const struct suit_manifest *);
/* "install" for its label; "?" for one that is no section. */
const char *inspect_section_name(int section);
json_t *inspect_report(struct inspect *, const struct suit_report *);

#endif
