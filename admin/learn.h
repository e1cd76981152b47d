/*
 * learn.h - what several resources need to know of others: paging, digests,
 * the manifests and revocations of a domain as policy/ sees them.
 */
#ifndef ADMIN_LEARN_H
#define ADMIN_LEARN_H

#include "admin/request.h"
#include "lib/codec/suit.h"
#include "policy/policy.h"

/* Column 0 of the first row, in the arena; NULL when there is none, or it is
 * SQL's. */
enum tam_err api_text(struct api_request *, const char **out,
    const char *statement, size_t n, const char *const *params);
#define API_TEXT(r, out, statement, ...)                            \
	api_text((r), (out), (statement),                           \
	    sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), \
	    (const char *[]){__VA_ARGS__})

/* 404 and the sentence `missing` when the statement finds no row of the key. */
enum tam_err api_check_there(struct api_request *, const char *statement,
    const char *key, const char *missing);
/* Answers with an error of policy/: a JSON pointer, a colon, a sentence. */
enum tam_err api_policy_problem(struct api_request *, int status,
    const char *code, const char *error);
/* Answers 409 when a rollout under way changes this: `what` is "policy" or
 * "channel". */
enum tam_err learn_check_rollout(struct api_request *, const char *what,
    const char *name);

/* A whole number as an SQL parameter. */
const char *api_number(struct api_request *, int64_t);

/* The page of a list that the query asks for. */
struct api_paging {
	int64_t limit; /* items */
	const char *limit_text, *after;
};

/* Reads it; `initial` is where the first page begins.  A list is one of
 * numbers when this is a number. */
enum tam_err api_paging_read(struct api_request *, const char *initial,
    struct api_paging *);
/* The cursor of the page that begins after this key. */
const char *api_cursor_text(const struct api_request *, const char *key);
/* Answers with the page asked for of what the statement lists after $1, at
 * most $2. */
enum tam_err api_page(struct api_request *, const char *statement,
    const char *initial);
/* The member "public_key"; 422 when it is none that signs. */
enum tam_err api_public_key(struct api_request *, struct cose_key *);
/* Most of one kind that a domain has.  Whatever a node tries one after the
 * other for a message of a stranger is few; a wire profile has a byte in each
 * token. */
enum {
	LEARN_VERIFIERS_MAX = 16,
	LEARN_ANCHORS_MAX = 64,
	LEARN_PROFILES_MAX = 256
};

/* Answers 409 when there are `max` already; `others` counts them, and counts
 * none when the one that is put is there: it can always be changed. */
enum tam_err learn_check_room(struct api_request *, const char *others, int max,
    const char *what);

/* 404 and the sentence `missing` when there was nothing to delete. */
enum tam_err api_delete(struct api_request *, const char *statement,
    const char *key, const char *missing);
/* What nodes go by was changed: epoch, audit, and what was said back. */
enum tam_err api_changed(struct api_request *);
/* A SHA-256 from its digits, as an SQL parameter and as bytes. */
bool api_digest(struct api_request *, const char *hex, const char **sql,
    struct slice *);

enum {
	UPDATE_BYTES_MIN = 512,
	UPDATE_BYTES_MAX = 16777216
};

/* The member "update_bytes" as an SQL parameter; NULL when nothing is said. */
enum tam_err api_update_bytes(struct api_request *, const char **limit);

/* Byte strings as the text of an SQL array. */
const char *api_bytea_array(struct api_request *, const struct slice *,
    size_t n);

/* Answers 409 when the content is revoked; signer is a trust anchor's name. */
enum tam_err learn_check_revoked(struct api_request *, struct slice digest,
    const struct suit_info *, const char *signer);

#endif
