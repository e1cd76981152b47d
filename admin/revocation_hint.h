/*
 * revocation_hint.h - says when a revocation names what nobody has: a mistyped
 * name affects no device, as does one that has left them all.
 */
#ifndef ADMIN_REVOCATION_HINT_H
#define ADMIN_REVOCATION_HINT_H

#include "admin/request.h"

/*
 * Adds a member "hint" to the JSON object that is the answer so far if no
 * manifest, device or trust anchor of the domain knows the label; the nearest
 * known name is in it.  `components` is the text of an SQL array of component
 * ids.
 */
enum tam_err revocation_hint(struct api_request *, const char *target,
    const char *label, const char *components);

#endif
