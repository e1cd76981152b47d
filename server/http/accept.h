/*
 * accept.h - does the peer take a media type (RFC 9110, 12.5.1)?
 */
#ifndef SERVER_HTTP_ACCEPT_H
#define SERVER_HTTP_ACCEPT_H

#include "lib/base/slice.h"

/*
 * The list is the value of Accept, its lines joined by commas; the type is
 * "type/subtype" in lower case.  Of the ranges that cover the type the most
 * specific one decides, and q=0 means "not acceptable".  A range that cannot be
 * read covers nothing.
 */
bool accept_covers(struct slice list, const char *type);

/* True for this media type, whatever its parameters are. */
bool media_type_is(struct slice value, const char *type);

#endif
