/*
 * proposals.h - two persons for what is hard to take back.
 *
 * A route marked TWO_PERSONS in the table is not carried out where the domain
 * asks for two, nor one marked TWO_PERSONS_FOR where the domain names its sort.
 * The request is kept as canonical JSON, and 202 tells its number.  Another
 * principal whose role may do the same approves it; then it is carried out, its
 * author being the author.  With ?alone=REASON one person does it at once; that
 * is logged as an error and waits for another's review.
 *
 * The database pins what a proposal acts on (proposal_pins()): it is refused
 * with 409 when any of that changed, or when its author may not do it any more.
 * Triggers hold the same rules against any other client of the API's role.
 */
#ifndef ADMIN_PROPOSALS_H
#define ADMIN_PROPOSALS_H

#include "admin/request.h"

/*
 * Asked for every request before its handler, in its transaction: the one
 * place.  *done: it was answered here.
 */
enum tam_err proposal_stop(struct api_request *, bool *done);

#endif
