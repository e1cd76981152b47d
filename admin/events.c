#include "config.h"

#include "admin/learn.h"
#include "storage/admin_statements.h"

/* What people and controllers did, in the order in which it was done. */

enum tam_err
api_event_list(struct api_request *r)
{
	int64_t after = api_query_int(r, "after", 0);

	return api_page(r, SQL_EVENT_LIST, api_number(r, after));
}
