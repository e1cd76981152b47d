/*
 * transport.h - TEEP over HTTP, the TAM's side
 * (draft-ietf-teep-otrp-over-http sections 5 and 6).
 */
#ifndef SERVER_TEEP_TRANSPORT_H
#define SERVER_TEEP_TRANSPORT_H

#include <stdbool.h>

struct http_exchange;
struct worker;

/*
 * The handler of /tam, /tam/{domain} and /tam/{domain}/{profile}: an empty
 * POST starts a session, any other is a message of one.
 */
void teep_transport(struct http_exchange *);

/* Whether this node may say anything to a device just now. */
bool teep_has_lease(const struct worker *);

#endif
