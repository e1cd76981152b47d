#include "config.h"

#include "server/http/server.h"

/* Takes the next segment of a path; false at its end. */
static bool
segment(struct slice *path, struct slice *out)
{
	const uint8_t *end;

	if (path->n == 0 || path->p[0] != '/')
		return false;
	path->p++;
	path->n--;
	end = path->n == 0 ? NULL : memchr(path->p, '/', path->n);
	*out = (struct slice){path->p,
	    end == NULL ? path->n : (size_t)(end - path->p)};
	path->p += out->n;
	path->n -= out->n;
	return true;
}

static bool
path_matches(struct slice pattern, struct slice path, struct slice *params)
{
	struct slice want, have;
	size_t n = 0;

	while (segment(&pattern, &want)) {
		if (!segment(&path, &have))
			return false;
		if (want.n > 0 && want.p[0] == '{') {
			if (have.n == 0)
				return false;
			params[n++] = have;
		} else if (!slice_eq(want, have)) {
			return false;
		}
	}
	return path.n == 0;
}

const struct http_route *
http_find_route(const struct http_server *server, struct http_exchange *x,
    int *status)
{
	*status = 404;
	for (size_t i = 0; i < server->n_routes; i++) {
		const struct http_route *r = &server->routes[i];
		struct slice params[HTTP_PARAMS_MAX] = {{0}};

		if (!path_matches(slice_str(r->path), x->path, params))
			continue;
		if (r->method != NULL && !slice_is(x->method, r->method)) {
			*status = 405;
			continue;
		}
		memcpy(x->params, params, sizeof(params));
		return r;
	}
	return NULL;
}
