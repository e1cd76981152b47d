/*
 * pkcs11.h - keys that stay in a token (an HSM), named by a URI (RFC 7512).
 *
 *	pkcs11:token=tam;object=tam-2026?pin-source=file:/etc/tam/hsm.pin
 *
 * The URI must name one private key; its public half must be in the token
 * beside it, under the same attributes.  The PIN comes from a file that only
 * its owner and group can read, never from the URI, which is kept in the
 * database and in logs.  Modules are those registered with p11-kit, or one
 * that the configuration names: what the database says must not load code into
 * a server.
 *
 * A PIN that a token refused is not tried again until its file says another
 * one: tokens lock after a few.
 *
 * A struct pkcs11 is one thread's: its modules, and one session for each key
 * used.  Calls block for as long as the token takes.  A session that the token
 * lost is made anew, once per call; modules that still fail are loaded anew in
 * the next one.
 */
#ifndef LIB_CODEC_PKCS11_H
#define LIB_CODEC_PKCS11_H

#include <stdbool.h>

#include "lib/codec/cose.h"

struct pkcs11;

enum {
	PKCS11_URI_MAX = 512 /* with its NUL */
};

bool pkcs11_is_uri(const char *uri);

/* The file of a module; "" means those registered. */
struct pkcs11 *pkcs11_new(const char *module);
void pkcs11_free(struct pkcs11 *);

/* The key that the URI names.  TAM_BAD_INPUT: not a URI of one key;
 * TAM_NO_KEY: no such key, or no way to it. */
enum tam_err pkcs11_public(struct pkcs11 *, const char *, struct cose_key *);

/*
 * Signs with that key, and checks the signature: TAM_KEY_MISMATCH when the
 * URI names another key by now, TAM_NO_KEY when the token does not sign.
 */
enum tam_err pkcs11_sign(struct pkcs11 *, const char *, const struct cose_key *,
    struct slice message, uint8_t out[COSE_SIGNATURE_SIZE]);

/* Why the last call of this thread failed, for people; never a secret. */
const char *pkcs11_why(const struct pkcs11 *);

#endif
