#include "config.h"

#include <stdlib.h>

#include "admin/learn.h"
#include "lib/base/log.h"
#include "lib/base/number.h"
#include "lib/base/percent.h"
#include "lib/base/text.h"
#include "lib/codec/crypto.h"

/*
 * A request of the admin API, before the database has it: a query, a cursor, a
 * JSON body, lines of an import.  The first byte is the route, the rest up to
 * a newline the query, then the body.  There is no database: whatever gets
 * that far is told so.
 */

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static void
check(bool ok)
{
	if (!ok)
		__builtin_trap();
}

/* Every parameter is declared, there once, of its type, and text. */
static void
check_query(const struct api_request *r)
{
	for (size_t i = 0; i < r->n_parameters; i++) {
		const struct api_parameter *p = &r->parameters[i];
		int64_t v;

		check(api_query_field(r->route, p->field->name,
		          strlen(p->field->name)) == p->field);
		check(api_query(r, p->field->name) == p->text);
		check(text_fault(slice_str(p->text), TEXT_LINES) == NULL);
		if (p->field->type == TYPE_INTEGER)
			check(number_parse(p->text, 0, INT64_MAX, &v));
	}
}

/* A page has its size, and its cursor leads to where it said. */
static void
check_page(struct api_request *r)
{
	struct api_paging page, next;
	struct buf b;

	if (!api_is_list(r->route) || api_paging_read(r, "", &page) != TAM_OK)
		return;
	check(page.limit >= 1 && page.limit <= 500);
	buf_init(&b, 1 << 20);
	buf_add_str(&b, "cursor=");
	percent_encode(slice_str(api_cursor_text(r, page.after)), &b);
	r->query = buf_slice(&b);
	check(api_read_query(r) == TAM_OK);
	check(api_paging_read(r, "", &next) == TAM_OK);
	check(strcmp(next.after, page.after) == 0);
	buf_fini(&b);
}

/* A refused request has a problem that says why. */
static void
check_problem(const struct api_request *r)
{
	json_t *doc =
	    json_loadb((const char *)r->response.p, r->response.n, 0, NULL);

	check(doc != NULL && r->status >= 400 && r->status < 600);
	check(json_is_string(json_object_get(doc, "code")));
	check(json_is_string(json_object_get(doc, "detail")));
	json_decref(doc);
}

static void
ask(struct api_request *r)
{
	enum tam_err err = api_read_query(r);

	if (err == TAM_OK) {
		check_query(r);
		check_page(r);
		err = api_read_body(r);
	}
	if (err == TAM_OK)
		err = api_read_reasons(r);
	if (err == TAM_OK && r->route->body == BODY_NDJSON)
		err = api_device_import(r);
	if (err != TAM_OK)
		check_problem(r);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct sql *nowhere;
	struct arena *arena;
	struct api_request *r;
	const uint8_t *end;

	if (n == 0)
		return 0;
	if (nowhere == NULL) {
		crypto_init();
		log_set_level(LOG_LEVEL_ERROR);
		nowhere = sql_new("host=/nonexistent", NULL, 100, -1);
	}
	arena = arena_new_in(NULL);
	r = arena_new(arena, struct api_request);
	r->arena = arena;
	r->route = &api_routes[data[0] % API_ROUTE_COUNT];
	r->sql = nowhere;
	r->params[0] = "a";
	end = memchr(data + 1, '\n', n - 1);
	r->query = (struct slice){data + 1,
	    end == NULL ? n - 1 : (size_t)(end - data - 1)};
	if (end != NULL)
		r->body = (struct slice){end + 1, n - r->query.n - 2};
	buf_init(&r->response, 1 << 20);
	ask(r);
	json_decref(r->json);
	buf_fini(&r->response);
	arena_free(arena);
	return 0;
}
