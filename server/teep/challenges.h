/*
 * challenges.h - the last challenge a connection was sent.
 *
 * The draft forbids a token beside a challenge, so what answers one is found
 * by the nonce it carries.  An Error carries none, and some Evidence cannot
 * be read: then the newest challenge of the connection is taken.  A hint for
 * finding the question, checked like any token, and never who somebody is.
 */
#ifndef SERVER_TEEP_CHALLENGES_H
#define SERVER_TEEP_CHALLENGES_H

#include "lib/base/slice.h"

struct http_exchange;

void challenges_add(const struct http_exchange *, struct slice challenge);
/* Empty when the connection was sent none; borrowed from the connection. */
struct slice challenges_newest(const struct http_exchange *);

#endif
