/*
 * err.h - the one error vocabulary of the project.
 *
 * A function that can fail returns enum tam_err, TAM_OK being zero.  The value
 * says who is at fault, and what a device is answered.  A broken invariant of
 * ours is an assert() and never an error value.
 *
 * An agent takes the answer for a statement about its message, so each error
 * has one of three:
 *
 *	DROP    204: the message was examined, and the fault is the peer's.  The
 *	        agent goes on as if it were done, and sends it no more.
 *	LATER   503 with Retry-After: a limit or fault of ours that passes.
 *	        Nothing was concluded from the message; the agent sends it again.
 *	REFUSE  413: a limit of ours that does not pass.  The message was not
 *	        kept, and sending it again would not help.
 *
 * A limit that other peers can use up is never a DROP: the agent would take a
 * message for received that nobody looked at.
 */
#ifndef LIB_BASE_ERR_H
#define LIB_BASE_ERR_H

/* name, blame, answer to a device, text: one line per error; err.c, metrics
 * and tests expand it. */
#define TAM_ERRORS(X)                                                          \
	X(OK, NOBODY, NONE, "success")                                         \
	/* CBOR */                                                             \
	X(TRUNCATED, PEER, DROP, "input ends inside an item")                  \
	X(MALFORMED, PEER, DROP, "not well-formed CBOR")                       \
	X(TRAILING_BYTES, PEER, DROP, "bytes follow the last item")            \
	X(WRONG_TYPE, PEER, DROP, "item has another type than the CDDL asks")  \
	X(OUT_OF_RANGE, PEER, DROP, "value outside the range the CDDL allows") \
	X(TOO_LARGE, PEER, REFUSE, "item exceeds a limit of this server")      \
	X(TOO_DEEP, PEER, REFUSE, "items nested too deeply")                   \
	X(DUPLICATE_KEY, PEER, DROP, "a map has the same key twice")           \
	X(BAD_UTF8, PEER, DROP, "text is not valid UTF-8")                     \
	X(NUL_IN_TEXT, PEER, DROP, "text contains a NUL character")            \
	X(NOT_DETERMINISTIC, PEER, DROP, "not in deterministic encoding")      \
	X(MISSING_FIELD, PEER, DROP, "a required element is missing")          \
	/* COSE */                                                             \
	X(BAD_COSE, PEER, DROP,                                                \
	    "not a COSE_Sign1 or COSE_Sign this server reads")                 \
	X(CRITICAL_HEADER, PEER, DROP,                                         \
	    "a critical header parameter is unknown")                          \
	X(ALG_NOT_ALLOWED, PEER, DROP, "algorithm not allowed")                \
	X(KEY_MISMATCH, PEER, DROP, "algorithm does not fit the key")          \
	X(BAD_KEY, PEER, DROP, "not a usable public key")                      \
	X(BAD_SIGNATURE, PEER, DROP, "signature does not verify")              \
	X(CANNOT_DECRYPT, PEER, DROP, "no key of ours opens the ciphertext")   \
	X(CERT_UNTRUSTED, PEER, DROP, "certificate chains to no device CA")    \
	X(CERT_MISSING, PEER, DROP, "no certificate came, and one let it in")  \
	X(CERT_EXPIRED, PEER, DROP, "certificate is expired or not yet valid") \
	X(CERT_REVOKED, PEER, DROP, "certificate is revoked")                  \
	/* attestation */                                                      \
	X(ATTEST_MISSING, PEER, DROP,                                          \
	    "attestation was asked for and not given")                         \
	X(ATTEST_SYNTAX, PEER, DROP, "attestation payload cannot be read")     \
	X(ATTEST_UNTRUSTED, PEER, DROP,                                        \
	    "no trusted Verifier signed the result")                           \
	X(ATTEST_PROFILE, PEER, DROP, "attestation profile is not known")      \
	X(ATTEST_EXPIRED, PEER, DROP,                                          \
	    "attestation result is expired or not yet valid")                  \
	X(ATTEST_BINDING, PEER, DROP,                                          \
	    "attestation result speaks of another key")                        \
	X(ATTEST_STALE, PEER, DROP, "attestation result is not fresh")         \
	X(ATTEST_CLAIMS, PEER, DROP,                                           \
	    "a claim the profile requires is missing")                         \
	X(ATTEST_STATUS, PEER, DROP,                                           \
	    "the Verifier does not affirm the device")                         \
	/* TEEP */                                                             \
	X(UNKNOWN_MESSAGE, PEER, DROP, "no TEEP message has this type")        \
	X(WRONG_DIRECTION, PEER, DROP, "a TAM never receives this message")    \
	X(TOKEN_MISSING, PEER, DROP, "no token, and none can be inferred")     \
	X(TOKEN_FORGED, PEER, DROP, "token was not made by this TAM")          \
	X(TOKEN_EXPIRED, PEER, DROP, "token is too old")                       \
	X(TOKEN_AHEAD, OPERATOR, LATER,                                        \
	    "token is from the future: clocks of nodes differ")                \
	X(TOKEN_FOREIGN, PEER, DROP,                                           \
	    "token of another domain, kind or incarnation")                    \
	X(TOKEN_BURNT, OPERATOR, LATER,                                        \
	    "too many failed signatures with this token from this source")     \
	X(UNSOLICITED, PEER, DROP, "answer to no question of ours")            \
	X(UNKNOWN_KEY, PEER, DROP, "no device has this key")                   \
	X(DEVICE_REFUSED, PEER, DROP, "device is not active")                  \
	X(STALE_ANSWER, PEER, DROP, "a newer answer was applied already")      \
	X(REPLAYED, PEER, DROP, "this answer was applied already")             \
	X(UNKNOWN_UPDATE, PEER, DROP, "answers no Update of this device")      \
	X(UPDATE_CLOSED, PEER, DROP, "the Update was answered already")        \
	X(REPORT_NONCE, PEER, DROP, "SUIT report nonce is not the token")      \
	X(BAD_REPORT, PEER, DROP, "SUIT report cannot be read")                \
	X(BUDGET_SPENT, OPERATOR, LATER,                                       \
	    "too many failures from this source just now")                     \
	/* SUIT */                                                             \
	X(SUIT_ENVELOPE, PEER, DROP, "not a SUIT envelope")                    \
	X(SUIT_DIGEST, PEER, DROP, "manifest digest does not match")           \
	X(SUIT_UNTRUSTED, PEER, DROP, "no signature by a trusted signer")      \
	X(SUIT_MANIFEST, PEER, DROP, "not a SUIT manifest of version 1")       \
	X(SUIT_NO_ID, PEER, DROP, "manifest has no manifest-component-id")     \
	X(SUIT_SEVERED, PEER, DROP, "severed element missing or altered")      \
	X(SUIT_COMMAND, PEER, DROP, "command sequence is not valid")           \
	X(SUIT_PAYLOAD, PEER, DROP, "integrated payload unused or altered")    \
	X(SUIT_PREFIX, PEER, DROP, "signer may not write this component")      \
	X(SUIT_SEQUENCE, PEER, DROP, "sequence number does not advance")       \
	X(SUIT_REVOKED, PEER, DROP, "content is revoked")                      \
	/* API input, configuration */                                         \
	X(BAD_INPUT, PEER, DROP, "input is not valid")                         \
	X(NOT_FOUND, PEER, DROP, "no such object")                             \
	X(CONFLICT, PEER, DROP, "conflicts with what is there")                \
	/* the environment */                                                  \
	X(NO_DATABASE, OPERATOR, LATER, "no database connection")              \
	X(DATABASE_BUSY, OPERATOR, LATER, "database queue is full")            \
	X(DATABASE_ERROR, OPERATOR, LATER, "database refused a statement")     \
	X(TIMED_OUT, OPERATOR, LATER, "deadline passed")                       \
	X(NO_LEASE, OPERATOR, LATER, "policy lease ran out")                   \
	X(VERIFIER_DOWN, OPERATOR, LATER, "no Verifier answered")              \
	X(HSM_DOWN, OPERATOR, LATER,                                           \
	    "the token that keeps the key does not sign")                      \
	X(NO_KEY, OPERATOR, LATER, "no key for this")                          \
	X(OVERLOADED, OPERATOR, LATER, "too much work at once")                \
	X(STOPPING, OPERATOR, LATER, "server is stopping")                     \
	X(BAD_FILE, OPERATOR, LATER, "file cannot be read or is not valid")

enum tam_err {
#define X(name, blame, answer, text) TAM_##name,
	TAM_ERRORS(X)
#undef X
	TAM_ERR_COUNT
};

enum tam_blame {
	TAM_BLAME_NOBODY,
	TAM_BLAME_PEER,
	TAM_BLAME_OPERATOR
};

enum tam_answer {
	TAM_ANSWER_NONE, /* success: the session answers */
	TAM_ANSWER_DROP,
	TAM_ANSWER_LATER,
	TAM_ANSWER_REFUSE
};

enum tam_blame tam_err_blame(enum tam_err);
enum tam_answer tam_err_answer(enum tam_err);

/* For people; static. */
const char *tam_err_text(enum tam_err);

/* For machines: the lower-case name, as logs, metrics and the API print it. */
const char *tam_err_name(enum tam_err);

#endif
