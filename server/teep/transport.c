#include "config.h"

#include "server/teep/transport.h"

#include "lib/base/clock.h"
#include "server/http/exchange.h"
#include "server/http/server.h"
#include "server/teep/domain.h"
#include "server/teep/session.h"
#include "server/worker.h"

static bool
same_type(struct slice s, const char *lower)
{
	size_t n = strlen(lower);

	if (s.n < n)
		return false;
	for (size_t i = 0; i < n; i++) {
		uint8_t c = s.p[i];

		if ((c >= 'A' && c <= 'Z' ? c + 32 : c) != lower[i])
			return false;
	}
	/* Parameters may follow. */
	return s.n == n || s.p[n] == ';' || s.p[n] == ' ' || s.p[n] == '\t';
}

static bool
refused_by_weight(struct slice range)
{
	const uint8_t *q =
	    range.n == 0 ? NULL : memmem(range.p, range.n, "q=0", 3);

	if (q == NULL)
		return false;
	for (q += 3; q < range.p + range.n; q++) {
		if (*q >= '1' && *q <= '9')
			return false;
	}
	return true;
}

/* One member of an Accept header that covers our media type. */
static bool
covers(struct slice range)
{
	while (range.n > 0 && (range.p[0] == ' ' || range.p[0] == '\t')) {
		range.p++;
		range.n--;
	}
	return (same_type(range, TEEP_MEDIA_TYPE) ||
	           same_type(range, "application/*") ||
	           same_type(range, "*/*")) &&
	    !refused_by_weight(range);
}

static bool
acceptable(const struct http_exchange *x)
{
	struct slice rest = http_header(x, "accept");

	while (rest.n > 0) {
		const uint8_t *end = memchr(rest.p, ',', rest.n);
		size_t n = end == NULL ? rest.n : (size_t)(end - rest.p);

		if (covers((struct slice){rest.p, n}))
			return true;
		if (end == NULL)
			break;
		rest.p += n + 1;
		rest.n -= n + 1;
	}
	return false;
}

static void
unavailable(struct http_exchange *x)
{
	http_answer(x,
	    &(struct http_response){.status = 503, .retry_after_s = 5});
}

/* Without a lease nothing is answered: what we know may be revoked. */
bool
teep_has_lease(const struct worker *w)
{
	return w->snapshot != NULL &&
	    clock_mono_us() <
	    atomic_load_explicit(w->lease_until_us, memory_order_relaxed);
}

void
teep_transport(struct http_exchange *x)
{
	struct worker *w = x->server->owner;
	const struct tam_domain *domain;
	const struct wire_profile *profile = NULL;

	if (!slice_is(x->method, "POST")) {
		http_answer(x,
		    &(struct http_response){.status = 405,
		        .n_extra = 1,
		        .extra = {{SLICE_LIT("allow"), SLICE_LIT("POST")}}});
		return;
	}
	if (!teep_has_lease(w)) {
		COUNT(&w->counters, no_lease);
		unavailable(x);
		return;
	}
	domain = snapshot_find(w->snapshot, x->params[0]);
	if (domain != NULL)
		profile = domain_profile(domain, x->params[1]);
	if (profile == NULL) {
		http_answer_status(x, 404);
		return;
	}
	if (domain->suspended) {
		COUNT(&w->counters, suspended);
		unavailable(x);
		return;
	}
	if (x->body.n > 0 &&
	    !same_type(http_header(x, "content-type"), TEEP_MEDIA_TYPE)) {
		http_answer_status(x, 415);
		return;
	}
	if (!acceptable(x)) {
		http_answer_status(x, 406);
		return;
	}
	teep_session_start(x, domain, profile);
}
