#include "config.h"

#include "lib/codec/pkcs11.h"

#include <p11-kit/p11-kit.h>
#include <p11-kit/uri.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/secret_file.h"
#include "lib/codec/crypto.h"

/*
 * A key is found in this order, and each step says why it stopped: the URI,
 * a module it fits, a slot whose token it fits, a session, the PIN, the one
 * private key.  What was found is kept until the token no longer knows it.
 */

enum {
	WHY_MAX = 160,
	PIN_MAX = 256,
	ATTRIBUTES_MAX = 8,
	POINT_MAX = 80
};

/* A key in use. */
struct held {
	char *uri;
	CK_FUNCTION_LIST *module;
	CK_SESSION_HANDLE session;
	CK_OBJECT_HANDLE object;
	struct held *next;
};

struct pkcs11 {
	char *named; /* the file of a module; "": registered ones */
	CK_FUNCTION_LIST **modules; /* ends with NULL; NULL: not loaded */
	CK_FUNCTION_LIST *one[2];   /* the named one, like a list */
	struct held *held;
	struct cose_crypto *crypto;
	char why[WHY_MAX];
};

bool
pkcs11_is_uri(const char *uri)
{
	return strncmp(uri, "pkcs11:", sizeof("pkcs11:") - 1) == 0;
}

struct pkcs11 *
pkcs11_new(const char *module)
{
	struct pkcs11 *p = mem_new(struct pkcs11);

	p->named = mem_strdup(module);
	p->crypto = cose_crypto_new();
	return p;
}

static void
let_go(struct held *h)
{
	(void)h->module->C_CloseSession(h->session);
	free(h->uri);
	free(h);
}

static void
load(struct pkcs11 *p)
{
	if (p->modules != NULL)
		return;
	if (p->named[0] == '\0') {
		p->modules = p11_kit_modules_load_and_initialize(0);
		return;
	}
	p->one[0] = p11_kit_module_load(p->named, 0);
	if (p->one[0] == NULL)
		return;
	if (p11_kit_module_initialize(p->one[0]) == CKR_OK)
		p->modules = p->one;
	else
		p11_kit_module_release(p->one[0]);
}

static void
unload(struct pkcs11 *p)
{
	struct held *h;

	while ((h = p->held) != NULL) {
		p->held = h->next;
		let_go(h);
	}
	if (p->modules == p->one) {
		(void)p11_kit_module_finalize(p->one[0]);
		p11_kit_module_release(p->one[0]);
	} else if (p->modules != NULL) {
		p11_kit_modules_finalize_and_release(p->modules);
	}
	p->modules = NULL;
}

void
pkcs11_free(struct pkcs11 *p)
{
	if (p == NULL)
		return;
	unload(p);
	cose_crypto_free(p->crypto);
	free(p->named);
	free(p);
}

const char *
pkcs11_why(const struct pkcs11 *p)
{
	return p->why;
}

static enum tam_err
because(struct pkcs11 *p, enum tam_err err, const char *what, CK_RV rv)
{
	if (rv == CKR_OK)
		(void)snprintf(p->why, sizeof(p->why), "%s", what);
	else
		(void)snprintf(p->why, sizeof(p->why), "%s: %s", what,
		    p11_kit_strerror(rv));
	return err;
}

/* --- the PIN ------------------------------------------------------------------- */

static bool
read_pin(const char *path, char pin[PIN_MAX], size_t *n)
{
	unsigned mode;

	if (secret_file_read(path, pin, PIN_MAX, n, &mode) != SECRET_READ)
		return false;
	while (*n > 0 && (pin[*n - 1] == '\n' || pin[*n - 1] == '\r'))
		--*n;
	return *n > 0;
}

/* PINs that tokens refused, of all threads; a login is tried under the lock,
 * so that a wrong PIN is tried once and not once per thread. */
static struct {
	pthread_mutex_t lock;
	struct refused_pin {
		char *source;
		uint8_t digest[SHA256_SIZE];
		struct refused_pin *next;
	} * first;
} refused = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct refused_pin *
find_refused(const char *source)
{
	struct refused_pin *r = refused.first;

	while (r != NULL && strcmp(r->source, source) != 0)
		r = r->next;
	return r;
}

static void
note_refused(const char *source, const uint8_t digest[SHA256_SIZE])
{
	struct refused_pin *r = find_refused(source);

	if (r == NULL) {
		r = mem_new(struct refused_pin);
		r->source = mem_strdup(source);
		r->next = refused.first;
		refused.first = r;
	}
	memcpy(r->digest, digest, SHA256_SIZE);
}

static bool
was_refused(const char *source, const uint8_t digest[SHA256_SIZE])
{
	const struct refused_pin *r = find_refused(source);

	return r != NULL && memcmp(r->digest, digest, SHA256_SIZE) == 0;
}

/* With the lock. */
static enum tam_err
try_pin(struct pkcs11 *p, CK_FUNCTION_LIST *module, CK_SESSION_HANDLE session,
    const char *source, char *pin, size_t n)
{
	uint8_t digest[SHA256_SIZE];
	CK_RV rv;

	crypto_sha256((struct slice){(const uint8_t *)pin, n}, digest);
	if (was_refused(source, digest))
		return because(p, TAM_NO_KEY,
		    "the token refused this PIN before: it is not tried again",
		    CKR_OK);
	rv = module->C_Login(session, CKU_USER, (CK_UTF8CHAR *)pin, n);
	if (rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN)
		return TAM_OK;
	if (rv == CKR_PIN_INCORRECT || rv == CKR_PIN_LOCKED ||
	    rv == CKR_PIN_EXPIRED || rv == CKR_PIN_INVALID ||
	    rv == CKR_PIN_LEN_RANGE)
		note_refused(source, digest);
	return because(p, TAM_NO_KEY, "the token refuses the PIN", rv);
}

static enum tam_err
log_in(struct pkcs11 *p, CK_FUNCTION_LIST *module, CK_SESSION_HANDLE session,
    const char *source)
{
	char pin[PIN_MAX];
	size_t n = 0;
	enum tam_err err;

	if (strncmp(source, "file:", 5) == 0)
		source += 5;
	if (strncmp(source, "///", 3) == 0)
		source += 2;
	if (!read_pin(source, pin, &n))
		return because(p, TAM_NO_KEY,
		    "the pin-source is no file that only its owner and group "
		    "read",
		    CKR_OK);
	(void)pthread_mutex_lock(&refused.lock);
	err = try_pin(p, module, session, source, pin, n);
	(void)pthread_mutex_unlock(&refused.lock);
	crypto_zero(pin, sizeof(pin));
	return err;
}

/* --- objects ---------------------------------------------------------------------- */

/* The one object of this class that the URI names. */
static enum tam_err
find_object(struct pkcs11 *p, P11KitUri *uri, CK_OBJECT_CLASS class,
    CK_FUNCTION_LIST *module, CK_SESSION_HANDLE session,
    CK_OBJECT_HANDLE *object)
{
	CK_ULONG n_named = 0, n = 0;
	CK_ATTRIBUTE *named = p11_kit_uri_get_attributes(uri, &n_named);
	CK_ATTRIBUTE wanted[ATTRIBUTES_MAX + 1] = {
	    {CKA_CLASS, &class, sizeof(class)}};
	CK_OBJECT_HANDLE found[2];
	CK_ULONG n_wanted = 1;
	CK_RV rv;

	for (CK_ULONG i = 0; i < n_named && n_wanted <= ATTRIBUTES_MAX; i++) {
		if (named[i].type != CKA_CLASS)
			wanted[n_wanted++] = named[i];
	}
	rv = module->C_FindObjectsInit(session, wanted, n_wanted);
	if (rv == CKR_OK) {
		rv = module->C_FindObjects(session, found, 2, &n);
		(void)module->C_FindObjectsFinal(session);
	}
	if (rv != CKR_OK)
		return because(p, TAM_NO_KEY, "the token lists no objects", rv);
	if (n != 1)
		return because(p, n == 0 ? TAM_NO_KEY : TAM_BAD_INPUT,
		    n > 1                          ? "several keys fit the URI"
		        : class == CKO_PRIVATE_KEY ? "no private key fits"
		                                   : "the public key is not "
		                                     "in the token",
		    CKR_OK);
	*object = found[0];
	return TAM_OK;
}

/* CKA_EC_POINT: an OCTET STRING around the point, or the bare point. */
static enum tam_err
make_key(CK_KEY_TYPE type, struct slice point, struct cose_key *key)
{
	size_t bare = type == CKK_EC ? 65 : 32;

	if (type != CKK_EC && type != CKK_EC_EDWARDS)
		return TAM_BAD_KEY;
	if (point.n == bare + 2 && point.p[0] == 0x04 && point.p[1] == bare)
		point = (struct slice){point.p + 2, bare};
	if (point.n != bare)
		return TAM_BAD_KEY;
	if (type == CKK_EC_EDWARDS)
		return cose_key_make(key, COSE_ED25519, point);
	if (point.p[0] != 0x04)
		return TAM_BAD_KEY;
	return cose_key_make(key, COSE_P256,
	    (struct slice){point.p + 1, point.n - 1});
}

static enum tam_err
read_public(struct pkcs11 *p, P11KitUri *uri, const struct held *h,
    struct cose_key *key)
{
	CK_KEY_TYPE type = 0;
	uint8_t point[POINT_MAX];
	CK_ATTRIBUTE asked[] = {{CKA_KEY_TYPE, &type, sizeof(type)},
	    {CKA_EC_POINT, point, sizeof(point)}};
	CK_OBJECT_HANDLE object;
	CK_RV rv;
	enum tam_err err =
	    find_object(p, uri, CKO_PUBLIC_KEY, h->module, h->session, &object);

	if (err != TAM_OK)
		return err;
	rv = h->module->C_GetAttributeValue(h->session, object, asked, 2);
	if (rv != CKR_OK)
		return because(p, TAM_NO_KEY, "the public key cannot be read",
		    rv);
	if (make_key(type, (struct slice){point, asked[1].ulValueLen}, key) !=
	    TAM_OK)
		return because(p, TAM_BAD_INPUT,
		    "the key is neither on P-256 nor on Ed25519", CKR_OK);
	return TAM_OK;
}

/* --- sessions ------------------------------------------------------------------------ */

static enum tam_err
open_session(struct pkcs11 *p, P11KitUri *uri, CK_FUNCTION_LIST *module,
    CK_SLOT_ID slot, bool needs_login, struct held *h)
{
	const char *source = p11_kit_uri_get_pin_source(uri);
	enum tam_err err = TAM_OK;
	CK_RV rv = module->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL,
	    &h->session);

	if (rv != CKR_OK)
		return because(p, TAM_NO_KEY, "the token opens no session", rv);
	h->module = module;
	if (needs_login && source == NULL)
		err = because(p, TAM_BAD_INPUT,
		    "the token wants a PIN: give pin-source", CKR_OK);
	else if (needs_login)
		err = log_in(p, module, h->session, source);
	if (err == TAM_OK)
		err = find_object(p, uri, CKO_PRIVATE_KEY, module, h->session,
		    &h->object);
	if (err != TAM_OK)
		(void)module->C_CloseSession(h->session);
	return err;
}

/* The slots with a token, to be freed; NULL when there are none.  One that is
 * plugged in between the two calls makes the second fail: asked again later. */
static CK_SLOT_ID *
slots_of(CK_FUNCTION_LIST *module, CK_ULONG *n)
{
	CK_SLOT_ID *slots;

	if (module->C_GetSlotList(CK_TRUE, NULL, n) != CKR_OK || *n == 0)
		return NULL;
	slots = mem_new_n(*n, CK_SLOT_ID);
	if (module->C_GetSlotList(CK_TRUE, slots, n) == CKR_OK)
		return slots;
	free(slots);
	return NULL;
}

/* TAM_NOT_FOUND: no token of this module fits. */
static enum tam_err
open_in_module(struct pkcs11 *p, P11KitUri *uri, CK_FUNCTION_LIST *module,
    struct held *h)
{
	CK_SLOT_ID *slots = NULL;
	CK_ULONG n = 0;
	CK_INFO about;
	enum tam_err err = TAM_NOT_FOUND;

	if (module->C_GetInfo(&about) == CKR_OK &&
	    p11_kit_uri_match_module_info(uri, &about) == 1)
		slots = slots_of(module, &n);
	for (CK_ULONG i = 0; slots != NULL && i < n; i++) {
		CK_TOKEN_INFO token;

		if (module->C_GetTokenInfo(slots[i], &token) != CKR_OK ||
		    (token.flags & CKF_TOKEN_INITIALIZED) == 0 ||
		    p11_kit_uri_match_token_info(uri, &token) != 1)
			continue;
		err = open_session(p, uri, module, slots[i],
		    (token.flags & CKF_LOGIN_REQUIRED) != 0, h);
		break;
	}
	free(slots);
	return err;
}

static enum tam_err
open_uri(struct pkcs11 *p, P11KitUri *uri, struct held *h)
{
	enum tam_err err = TAM_NOT_FOUND;

	load(p);
	if (p->modules == NULL)
		return because(p, TAM_NO_KEY, "no PKCS #11 module loads",
		    CKR_OK);
	for (size_t i = 0; err == TAM_NOT_FOUND && p->modules[i] != NULL; i++)
		err = open_in_module(p, uri, p->modules[i], h);
	return err == TAM_NOT_FOUND
	    ? because(p, TAM_NO_KEY, "no token fits the URI", CKR_OK)
	    : err;
}

/* --- URIs ------------------------------------------------------------------------------ */

static enum tam_err
parse(struct pkcs11 *p, const char *text, P11KitUri **uri)
{
	*uri = p11_kit_uri_new();
	if (*uri == NULL)
		abort();
	if (strlen(text) >= PKCS11_URI_MAX)
		return because(p, TAM_BAD_INPUT, "the URI is too long", CKR_OK);
	if (p11_kit_uri_parse(text, P11_KIT_URI_FOR_ANY, *uri) !=
	        P11_KIT_URI_OK ||
	    p11_kit_uri_any_unrecognized(*uri))
		return because(p, TAM_BAD_INPUT, "not a URI of RFC 7512",
		    CKR_OK);
	if (p11_kit_uri_get_pin_value(*uri) != NULL)
		return because(p, TAM_BAD_INPUT,
		    "a PIN has no place in a URI: use pin-source", CKR_OK);
	if (p11_kit_uri_get_module_path(*uri) != NULL ||
	    p11_kit_uri_get_module_name(*uri) != NULL)
		return because(p, TAM_BAD_INPUT,
		    "modules are registered with p11-kit, not named in a URI",
		    CKR_OK);
	return TAM_OK;
}

static void
drop(struct pkcs11 *p, const char *uri)
{
	for (struct held **at = &p->held; *at != NULL; at = &(*at)->next) {
		struct held *h = *at;

		if (strcmp(h->uri, uri) != 0)
			continue;
		*at = h->next;
		let_go(h);
		return;
	}
}

static enum tam_err
hold(struct pkcs11 *p, const char *text, P11KitUri *uri, struct held **out)
{
	struct held *h;
	enum tam_err err;

	for (h = p->held; h != NULL; h = h->next) {
		if (strcmp(h->uri, text) == 0) {
			*out = h;
			return TAM_OK;
		}
	}
	h = mem_new(struct held);
	err = open_uri(p, uri, h);
	if (err != TAM_OK) {
		free(h);
		return err;
	}
	h->uri = mem_strdup(text);
	h->next = p->held;
	p->held = h;
	*out = h;
	return TAM_OK;
}

static enum tam_err
public_of(struct pkcs11 *p, const char *text, P11KitUri *uri,
    struct cose_key *key)
{
	struct held *h;
	enum tam_err err = hold(p, text, uri, &h);

	return err == TAM_OK ? read_public(p, uri, h, key) : err;
}

enum tam_err
pkcs11_public(struct pkcs11 *p, const char *text, struct cose_key *key)
{
	P11KitUri *uri;
	enum tam_err err = parse(p, text, &uri);

	if (err == TAM_OK) {
		drop(p, text); /* what the token says now */
		err = public_of(p, text, uri, key);
	}
	if (err == TAM_NO_KEY)
		unload(p);
	p11_kit_uri_free(uri);
	return err;
}

/* --- signing ----------------------------------------------------------------------------- */

static CK_RV
sign_once(struct pkcs11 *p, const struct held *h, const struct cose_key *key,
    struct slice message, uint8_t out[COSE_SIGNATURE_SIZE])
{
	CK_MECHANISM mechanism = {key->curve == COSE_P256 ? CKM_ECDSA
	                                                  : CKM_EDDSA,
	    NULL, 0};
	uint8_t digest[32], *data = digest;
	CK_ULONG n = sizeof(digest), out_n = COSE_SIGNATURE_SIZE;
	CK_RV rv;

	if (key->curve == COSE_P256) {
		cose_digest(p->crypto, &message, 1, digest);
	} else { /* the API takes no const; it does not write */
		memcpy(&data, &message.p, sizeof(data));
		n = message.n;
	}
	rv = h->module->C_SignInit(h->session, &mechanism, h->object);
	if (rv == CKR_OK)
		rv = h->module->C_Sign(h->session, data, n, out, &out_n);
	return rv == CKR_OK && out_n != COSE_SIGNATURE_SIZE
	    ? CKR_SIGNATURE_LEN_RANGE
	    : rv;
}

static enum tam_err
sign_again(struct pkcs11 *p, const char *text, P11KitUri *uri,
    const struct cose_key *key, struct slice message,
    uint8_t out[COSE_SIGNATURE_SIZE])
{
	CK_RV rv = CKR_OK;

	for (int attempt = 0; attempt < 2; attempt++) {
		struct held *h;
		enum tam_err err = hold(p, text, uri, &h);

		if (err != TAM_OK)
			return err;
		rv = sign_once(p, h, key, message, out);
		if (rv == CKR_OK)
			break;
		drop(p, text);
	}
	if (rv != CKR_OK)
		return because(p, TAM_NO_KEY, "the token does not sign", rv);
	if (cose_verify_parts(p->crypto, key, &message, 1,
	        (struct slice){out, COSE_SIGNATURE_SIZE}) == TAM_OK)
		return TAM_OK;
	drop(p, text);
	return because(p, TAM_KEY_MISMATCH, "the URI names another key",
	    CKR_OK);
}

enum tam_err
pkcs11_sign(struct pkcs11 *p, const char *text, const struct cose_key *key,
    struct slice message, uint8_t out[COSE_SIGNATURE_SIZE])
{
	P11KitUri *uri;
	enum tam_err err = parse(p, text, &uri);

	if (err == TAM_OK)
		err = sign_again(p, text, uri, key, message, out);
	if (err == TAM_NO_KEY)
		unload(p);
	p11_kit_uri_free(uri);
	return err;
}
