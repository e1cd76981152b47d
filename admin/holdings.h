/*
 * holdings.h - what the devices of a fleet hold, read once per inventory.
 *
 * Of a million devices most hold what others hold: the hash that a device's
 * last inventory has (server/teep/inventory.h) stands for the components
 * behind it, so that these are read for the first device that shows it.  Who
 * was sent something since has no hash, and is read for itself.
 */
#ifndef ADMIN_HOLDINGS_H
#define ADMIN_HOLDINGS_H

#include "admin/request.h"
#include "policy/policy.h"

struct holdings;

/* Of one request. */
struct holdings *holdings_new(struct api_request *);
void holdings_free(struct holdings *);

/* Reads what is not known of the devices in these rows, which are in the order
 * of their ids; answers a problem when the database does not. */
enum tam_err holdings_read(struct holdings *, const struct sql_result *devices,
    int id_column, int hash_column);

/* What the device in a row of the last read holds; borrowed until the next. */
size_t holdings_of(const struct holdings *, size_t row,
    const struct policy_component **);

#endif
