/*
 * err.h - the one error vocabulary of the project.
 *
 * A function that can fail returns enum tam_err, TAM_OK being zero.  The value
 * says who is at fault, and therefore what happens: the peer's is counted by
 * reason and dropped (204 on the TEEP side, a 4xx on the admin side), the
 * environment's is told (a log line and a 503).  A broken invariant of ours
 * is an assert() and never an error value.
 */
#ifndef LIB_BASE_ERR_H
#define LIB_BASE_ERR_H

/* name, blame, text: one line per error; err.c, metrics and tests expand it. */
#define TAM_ERRORS(X)                                                          \
	X(OK, NOBODY, "success")                                               \
	/* CBOR */                                                             \
	X(TRUNCATED, PEER, "input ends inside an item")                        \
	X(MALFORMED, PEER, "not well-formed CBOR")                             \
	X(TRAILING_BYTES, PEER, "bytes follow the last item")                  \
	X(WRONG_TYPE, PEER, "item has another type than the CDDL asks")        \
	X(OUT_OF_RANGE, PEER, "value outside the range the CDDL allows")       \
	X(TOO_LARGE, PEER, "item exceeds a limit of this server")              \
	X(TOO_DEEP, PEER, "items nested too deeply")                           \
	X(DUPLICATE_KEY, PEER, "a map has the same key twice")                 \
	X(BAD_UTF8, PEER, "text is not valid UTF-8")                           \
	X(NUL_IN_TEXT, PEER, "text contains a NUL character")                  \
	X(NOT_DETERMINISTIC, PEER, "not in deterministic encoding")            \
	X(MISSING_FIELD, PEER, "a required element is missing")                \
	/* COSE */                                                             \
	X(BAD_COSE, PEER, "not a COSE_Sign1 or COSE_Sign this server reads")   \
	X(CRITICAL_HEADER, PEER, "a critical header parameter is unknown")     \
	X(ALG_NOT_ALLOWED, PEER, "algorithm not allowed")                      \
	X(KEY_MISMATCH, PEER, "algorithm does not fit the key")                \
	X(BAD_KEY, PEER, "not a usable public key")                            \
	X(BAD_SIGNATURE, PEER, "signature does not verify")                    \
	X(CANNOT_DECRYPT, PEER, "no key of ours opens the ciphertext")         \
	X(CERT_UNTRUSTED, PEER, "certificate chains to no device CA")          \
	X(CERT_MISSING, PEER, "no certificate came, and one let it in")        \
	X(CERT_EXPIRED, PEER, "certificate is expired or not yet valid")       \
	X(CERT_REVOKED, PEER, "certificate is revoked")                        \
	/* attestation */                                                      \
	X(ATTEST_MISSING, PEER, "attestation was asked for and not given")     \
	X(ATTEST_SYNTAX, PEER, "attestation payload cannot be read")           \
	X(ATTEST_UNTRUSTED, PEER, "no trusted Verifier signed the result")     \
	X(ATTEST_PROFILE, PEER, "attestation profile is not known")            \
	X(ATTEST_EXPIRED, PEER,                                                \
	    "attestation result is expired or not yet valid")                  \
	X(ATTEST_BINDING, PEER, "attestation result speaks of another key")    \
	X(ATTEST_STALE, PEER, "attestation result is not fresh")               \
	X(ATTEST_CLAIMS, PEER, "a claim the profile requires is missing")      \
	X(ATTEST_STATUS, PEER, "the Verifier does not affirm the device")      \
	/* TEEP */                                                             \
	X(UNKNOWN_MESSAGE, PEER, "no TEEP message has this type")              \
	X(WRONG_DIRECTION, PEER, "a TAM never receives this message")          \
	X(TOKEN_MISSING, PEER, "no token, and none can be inferred")           \
	X(TOKEN_FORGED, PEER, "token was not made by this TAM")                \
	X(TOKEN_EXPIRED, PEER, "token is too old or from the future")          \
	X(TOKEN_FOREIGN, PEER, "token of another domain, kind or incarnation") \
	X(TOKEN_BURNT, PEER, "token had too many failed signatures")           \
	X(UNSOLICITED, PEER, "answer to no question of ours")                  \
	X(UNKNOWN_KEY, PEER, "no device has this key")                         \
	X(DEVICE_REFUSED, PEER, "device is not active")                        \
	X(STALE_ANSWER, PEER, "a newer answer was applied already")            \
	X(REPLAYED, PEER, "this answer was applied already")                   \
	X(UNKNOWN_UPDATE, PEER, "answers no Update of this device")            \
	X(UPDATE_CLOSED, PEER, "the Update was answered already")              \
	X(REPORT_NONCE, PEER, "SUIT report nonce is not the token")            \
	X(BAD_REPORT, PEER, "SUIT report cannot be read")                      \
	X(BUDGET_SPENT, PEER, "too many messages of this sort just now")       \
	/* SUIT */                                                             \
	X(SUIT_ENVELOPE, PEER, "not a SUIT envelope")                          \
	X(SUIT_DIGEST, PEER, "manifest digest does not match")                 \
	X(SUIT_UNTRUSTED, PEER, "no signature by a trusted signer")            \
	X(SUIT_MANIFEST, PEER, "not a SUIT manifest of version 1")             \
	X(SUIT_NO_ID, PEER, "manifest has no manifest-component-id")           \
	X(SUIT_SEVERED, PEER, "severed element missing or altered")            \
	X(SUIT_COMMAND, PEER, "command sequence is not valid")                 \
	X(SUIT_PAYLOAD, PEER, "integrated payload unused or altered")          \
	X(SUIT_PREFIX, PEER, "signer may not write this component")            \
	X(SUIT_SEQUENCE, PEER, "sequence number does not advance")             \
	X(SUIT_REVOKED, PEER, "content is revoked")                            \
	/* API input, configuration */                                         \
	X(BAD_INPUT, PEER, "input is not valid")                               \
	X(NOT_FOUND, PEER, "no such object")                                   \
	X(CONFLICT, PEER, "conflicts with what is there")                      \
	/* the environment */                                                  \
	X(NO_DATABASE, OPERATOR, "no database connection")                     \
	X(DATABASE_BUSY, OPERATOR, "database queue is full")                   \
	X(DATABASE_ERROR, OPERATOR, "database refused a statement")            \
	X(TIMED_OUT, OPERATOR, "deadline passed")                              \
	X(NO_LEASE, OPERATOR, "policy lease ran out")                          \
	X(VERIFIER_DOWN, OPERATOR, "no Verifier answered")                     \
	X(HSM_DOWN, OPERATOR, "the token that keeps the key does not sign")    \
	X(NO_KEY, OPERATOR, "no key for this")                                 \
	X(OVERLOADED, OPERATOR, "too much work at once")                       \
	X(STOPPING, OPERATOR, "server is stopping")                            \
	X(BAD_FILE, OPERATOR, "file cannot be read or is not valid")

enum tam_err {
#define X(name, blame, text) TAM_##name,
	TAM_ERRORS(X)
#undef X
	TAM_ERR_COUNT
};

enum tam_blame {
	TAM_BLAME_NOBODY,
	TAM_BLAME_PEER,
	TAM_BLAME_OPERATOR
};

enum tam_blame tam_err_blame(enum tam_err);

/* For people; static. */
const char *tam_err_text(enum tam_err);

/* For machines: the lower-case name, as logs, metrics and the API print it. */
const char *tam_err_name(enum tam_err);

#endif
