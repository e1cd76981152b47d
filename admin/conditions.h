/*
 * conditions.h - which state of an object a request is about.
 *
 * Every object that has a name of its own in the API has an ETag: it changes
 * with what an administrator can change of it, and not with what devices do.
 * A change under If-Match or If-None-Match is done only if the object is, in
 * this very transaction, as they say (RFC 9110, 13); all changes of one
 * object through the API wait for each other.
 */
#ifndef ADMIN_CONDITIONS_H
#define ADMIN_CONDITIONS_H

#include "admin/request.h"

/* Before the handler: 412, 428, or 400 for a field that is no list of tags. */
enum tam_err conditions_check(struct api_request *);
/* After a handler that showed the object: its ETag, and 304 when the peer has
 * it already. */
enum tam_err conditions_tag(struct api_request *);

#endif
