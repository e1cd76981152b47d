#include "config.h"

#include "server/teep/published.h"

#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "server/http/exchange.h"
#include "server/http/server.h"
#include "server/teep/domain.h"
#include "server/teep/opener.h"
#include "server/teep/session.h"
#include "server/teep/transport.h"
#include "server/worker.h"

/* --- what there is ----------------------------------------------------------------- */

struct published *
published_new(size_t room, int max_age_s)
{
	struct published *p =
	    mem_calloc(1, sizeof(*p) + room * sizeof(struct published_notice));

	atomic_init(&p->refs, 1);
	p->max_age_s = max_age_s;
	return p;
}

void
published_add(struct published *p, int32_t domain_id, const char *name,
    struct slice payload)
{
	struct published_notice *to = &p->notices[p->n++];

	*to = (struct published_notice){domain_id, name,
	    mem_calloc(1, payload.n + 1), payload.n};
	memcpy(to->payload, payload.p, payload.n);
}

struct published *
published_ref(struct published *p)
{
	atomic_fetch_add(&p->refs, 1);
	return p;
}

void
published_unref(struct published *p)
{
	if (p == NULL || atomic_fetch_sub(&p->refs, 1) > 1)
		return;
	for (size_t i = 0; i < p->n; i++)
		free(p->notices[i].payload);
	free(p);
}

static const struct published_notice *
find(const struct published *p, int32_t domain_id, struct slice name)
{
	for (size_t i = 0; p != NULL && i < p->n; i++) {
		if (p->notices[i].domain_id == domain_id &&
		    slice_is(name, p->notices[i].name))
			return &p->notices[i];
	}
	return NULL;
}

/* --- answering ------------------------------------------------------------------------ */

struct asked {
	struct http_exchange *exchange;
	struct reply reply;
	int max_age_s;
	struct hsm_call *signing; /* NULL: nothing is waited for */
};

static void
answer(struct asked *a, struct slice message)
{
	http_answer(a->exchange,
	    &(struct http_response){.status = 200,
	        .content_type = "application/cose; cose-type=\"cose-sign1\"",
	        .cache_control = arena_printf(a->exchange->arena,
	            "public, max-age=%d", a->max_age_s),
	        .body = message});
}

static void
unavailable(struct http_exchange *x)
{
	http_answer(x,
	    &(struct http_response){.status = 503, .retry_after_s = 5});
}

static void
on_signed(enum tam_err err, uint8_t (*signatures)[COSE_SIGNATURE_SIZE],
    void *arg)
{
	struct asked *a = arg;

	a->signing = NULL;
	if (err != TAM_OK) {
		unavailable(a->exchange);
		return;
	}
	answer(a, reply_complete(&a->reply, a->exchange->arena, signatures));
}

static void
on_abandon(struct http_exchange *x, void *arg)
{
	struct asked *a = arg;

	(void)x;
	if (a->signing != NULL)
		hsm_forget(a->signing);
}

static void
sign_elsewhere(struct worker *w, struct asked *a)
{
	struct hsm_ask ask = {a->reply.uris[0], a->reply.blanks[0].key,
	    a->reply.blanks[0].message};

	a->exchange->on_abandon = on_abandon;
	a->exchange->handler_data = a;
	a->signing = hsm_sign(w->hsm, &ask, 1, true,
	    clock_mono_us() + w->limits->hsm_us, on_signed, a);
	if (a->signing == NULL)
		unavailable(a->exchange);
}

static void
sign(struct worker *w, struct http_exchange *x, const struct tam_domain *domain,
    const struct published_notice *notice)
{
	struct asked *a = arena_new(x->arena, struct asked);
	struct reply_form form = {.curve = domain->has_key[COSE_P256]
	        ? COSE_P256
	        : COSE_ED25519,
	    .send_kid = true};

	a->exchange = x;
	a->max_age_s = w->published->max_age_s;
	if (reply_sign_payload(w, x->arena, domain, &form,
	        (struct slice){notice->payload, notice->n},
	        &a->reply) != TAM_OK)
		unavailable(x);
	else if (a->reply.n > 0)
		sign_elsewhere(w, a);
	else
		answer(a, a->reply.message);
}

void
published_transport(struct http_exchange *x)
{
	struct worker *w = x->server->owner;
	const struct tam_domain *domain;
	const struct published_notice *notice;

	if (!teep_has_lease(w)) {
		COUNT(&w->counters, no_lease);
		unavailable(x);
		return;
	}
	domain = snapshot_find(w->snapshot, x->params[0]);
	notice = domain == NULL ? NULL
	                        : find(w->published, domain->id, x->params[1]);
	if (notice == NULL)
		http_answer_status(x, 404);
	else if (!budget_take(&w->openers, clock_mono_us()))
		unavailable(x);
	else
		sign(w, x, domain, notice);
}
