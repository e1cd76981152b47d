#include "config.h"

#include "server/teep/transport.h"

#include "lib/base/clock.h"
#include "server/http/accept.h"
#include "server/http/exchange.h"
#include "server/http/server.h"
#include "server/teep/domain.h"
#include "server/teep/session.h"
#include "server/worker.h"

/* The draft has an agent say that it takes TEEP. */
static bool
acceptable(const struct http_exchange *x)
{
	return accept_covers(slice_str(http_header_all(x, x->arena, "accept")),
	    TEEP_MEDIA_TYPE);
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
	    !media_type_is(http_header(x, "content-type"), TEEP_MEDIA_TYPE)) {
		http_answer_status(x, 415);
		return;
	}
	if (!acceptable(x)) {
		http_answer_status(x, 406);
		return;
	}
	teep_session_start(x, domain, profile);
}
