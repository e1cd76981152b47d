#include "config.h"

#include "lib/base/percent.h"
#include "lib/base/text.h"
#include "server/http/server.h"

/*
 * A path is split into segments first and each segment is decoded once, so
 * that %2F never splits and %2541 never becomes A (RFC 3986, 2.4).
 */

enum {
	SEGMENTS_MAX = 8
};

struct segments {
	size_t n;
	struct slice texts[SEGMENTS_MAX];
};

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

/* 0, or the status of a path that no route can have. */
static int
split(struct arena *arena, struct slice path, struct segments *out)
{
	struct slice raw;

	out->n = 0;
	while (segment(&path, &raw)) {
		if (out->n == SEGMENTS_MAX)
			return 404;
		if (!percent_decode(arena, raw, &out->texts[out->n++]))
			return 400;
	}
	return path.n == 0 ? 0 : 404;
}

static bool
path_matches(struct slice pattern, const struct segments *path,
    struct slice *params)
{
	struct slice want;
	size_t i = 0, n = 0;

	while (segment(&pattern, &want)) {
		if (i == path->n)
			return false;
		if (want.n > 0 && want.p[0] == '{') {
			if (path->texts[i].n == 0)
				return false;
			params[n++] = path->texts[i];
		} else if (!slice_eq(want, path->texts[i])) {
			return false;
		}
		i++;
	}
	return i == path->n;
}

/* A name with a control character is nobody's, and would be shown in logs. */
static bool
are_names(const struct slice *params)
{
	for (size_t i = 0; i < HTTP_PARAMS_MAX && params[i].n > 0; i++) {
		if (text_fault(params[i], TEXT_NAME) != NULL)
			return false;
	}
	return true;
}

/* HEAD is taken where GET is (RFC 9110, 9.3.2). */
static bool
takes_method(const struct http_route *r, struct slice method)
{
	return r->method == NULL || slice_is(method, r->method) ||
	    (slice_is(method, "HEAD") && strcmp(r->method, "GET") == 0);
}

static void
allow(struct http_exchange *x, const char *method)
{
	x->allow = x->allow == NULL
	    ? method
	    : arena_printf(x->arena, "%s, %s", x->allow, method);
	if (strcmp(method, "GET") == 0)
		allow(x, "HEAD");
}

/* No content coding is taken off (RFC 9110, 8.4); "identity" is none. */
static bool
is_encoded(const struct http_exchange *x)
{
	return http_has_header(x, "content-encoding") &&
	    !slice_is(http_header(x, "content-encoding"), "identity");
}

const struct http_route *
http_find_route(const struct http_server *server, struct http_exchange *x,
    int *status)
{
	struct segments path;

	*status = split(x->arena, x->path, &path);
	if (*status != 0)
		return NULL;
	*status = 404;
	for (size_t i = 0; i < server->n_routes; i++) {
		const struct http_route *r = &server->routes[i];
		struct slice params[HTTP_PARAMS_MAX] = {{0}};

		if (!path_matches(slice_str(r->path), &path, params))
			continue;
		if (!takes_method(r, x->method)) {
			allow(x, r->method);
			*status = 405;
			continue;
		}
		if (!are_names(params)) {
			*status = 400;
			return NULL;
		}
		if (is_encoded(x)) {
			*status = 415;
			return NULL;
		}
		memcpy(x->params, params, sizeof(params));
		return r;
	}
	return NULL;
}
