/*
 * device_query.h - devices by selector (tam-selector(7)), for the handlers of
 * this folder.
 */
#ifndef ADMIN_DEVICE_QUERY_H
#define ADMIN_DEVICE_QUERY_H

#include "admin/request.h"
#include "policy/selector.h"

/* The rows a selector's condition is about. */
#define SQL_SELECTED                                                \
	"device d JOIN device_seen s USING (domain_id, device_id) " \
	"LEFT JOIN device_attestation a USING (domain_id, device_id) "

struct device_query {
	const char *condition; /* in the arena; "true" without a selector */
	size_t n;              /* parameters of a statement, ready to run */
	const char *params[16 + 2 * SELECTOR_SQL_PARAMS_MAX];
};

/*
 * The condition that `text` (NULL: every device) stands for; its parameters
 * follow the `n` that the caller has put into params already.  Answers 422
 * that points at `pointer`, with the column.
 */
enum tam_err device_query_make(struct api_request *, const char *text,
    const char *pointer, size_t n, struct device_query *);

/* The same for two, of which one must match. */
enum tam_err device_query_either(struct api_request *, const char *a,
    const char *b, size_t n, struct device_query *);

#endif
