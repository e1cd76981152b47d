/*
 * proposals.h - two persons for what is hard to take back.
 *
 * A route marked TWO_PERSONS in the table is not carried out where the domain
 * asks for two: what was asked for is kept, checked as far as it can be
 * without doing it, and 202 tells its number.  Another principal whose role
 * may do the thing approves it; then it is done, its author being the author.
 * With ?alone=REASON one person does it at once; that is said loudly and waits
 * for another's review.
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
