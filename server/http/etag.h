/*
 * etag.h - lists of entity tags in If-Match and If-None-Match (RFC 9110, 13.1).
 */
#ifndef SERVER_HTTP_ETAG_H
#define SERVER_HTTP_ETAG_H

#include "lib/base/slice.h"

enum etag_verdict {
	ETAG_MALFORMED, /* neither "*" nor a list of tags */
	ETAG_DIFFERS,
	ETAG_MATCHES
};

/* Compares a field's value (the lines of a repeated field joined by commas)
 * with the tag, quotes included, of what there is; an empty tag: there is
 * nothing, which even "*" does not match.  A weak tag matches in If-None-Match
 * and never in If-Match (8.8.3.2). */
enum etag_verdict etag_match(struct slice list, struct slice tag,
    bool weak_matches);

#endif
