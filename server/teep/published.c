#include "config.h"

#include "server/teep/published.h"

#include <stdlib.h>
#include <sys/queue.h>

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

/* --- what is signed -------------------------------------------------------------------- */

struct asked {
	TAILQ_ENTRY(asked) link;
	struct http_exchange *exchange;
	struct signed_notice *notice;
};

TAILQ_HEAD(asking, asked);

struct signed_notice {
	struct worker *worker;
	struct http_shared *message; /* NULL: nobody asked yet */
	/* While an HSM signs: */
	struct hsm_call *signing;
	struct arena *arena; /* of the reply */
	struct reply reply;
	struct asking asking;
};

static void
on_last(struct http_shared *message, void *arg)
{
	http_account_release(arg, message->bytes.n);
}

static void
unavailable(struct http_exchange *x)
{
	http_answer(x,
	    &(struct http_response){.status = 503,
	        .retry_after_s = HTTP_RETRY_AFTER_S});
}

static void
answer(struct http_exchange *x, const struct signed_notice *s)
{
	http_answer(x,
	    &(struct http_response){.status = 200,
	        .content_type = "application/cose; cose-type=\"cose-sign1\"",
	        .cache_control = arena_printf(x->arena, "public, max-age=%d",
	            s->worker->published->max_age_s),
	        .body = s->message->bytes,
	        .shared = s->message});
}

/* Ends the waiting: with the message, or without one. */
static void
end_signing(struct signed_notice *s)
{
	struct asked *a;

	arena_free(s->arena);
	s->arena = NULL;
	while ((a = TAILQ_FIRST(&s->asking)) != NULL) {
		TAILQ_REMOVE(&s->asking, a, link);
		if (s->message != NULL)
			answer(a->exchange, s);
		else
			unavailable(a->exchange);
	}
}

/* Answers that still send the message keep its bytes, which are charged to the
 * account from now on. */
static void
drop(struct signed_notice *s)
{
	struct http_account *account = &s->worker->http->account;

	if (s->signing != NULL)
		hsm_forget(s->signing);
	s->signing = NULL;
	if (s->message != NULL && s->message->refs > 1) {
		http_account_force(account, s->message->bytes.n);
		s->message->on_last = on_last;
		s->message->arg = account;
	}
	http_shared_unref(s->message);
	s->message = NULL;
	end_signing(s);
}

void
published_resign(struct worker *w)
{
	for (size_t i = 0; w->published != NULL && i < w->published->n; i++)
		drop(&w->signed_notices[i]);
}

void
published_take(struct worker *w, struct published *p)
{
	published_resign(w);
	published_unref(w->published);
	free(w->signed_notices);
	w->published = p;
	w->signed_notices =
	    p == NULL ? NULL : mem_calloc(p->n, sizeof(struct signed_notice));
	for (size_t i = 0; p != NULL && i < p->n; i++) {
		w->signed_notices[i].worker = w;
		TAILQ_INIT(&w->signed_notices[i].asking);
	}
}

/* --- signing --------------------------------------------------------------------------- */

static void
on_signed(enum tam_err err, uint8_t (*signatures)[COSE_SIGNATURE_SIZE],
    void *arg)
{
	struct signed_notice *s = arg;

	s->signing = NULL;
	if (err == TAM_OK)
		s->message = http_shared_copy(
		    reply_complete(&s->reply, s->arena, signatures));
	end_signing(s);
}

static void
on_abandon(struct http_exchange *x, void *arg)
{
	struct asked *a = arg;

	(void)x;
	TAILQ_REMOVE(&a->notice->asking, a, link);
}

static void
wait_for(struct signed_notice *s, struct http_exchange *x)
{
	struct asked *a = arena_new(x->arena, struct asked);

	a->exchange = x;
	a->notice = s;
	TAILQ_INSERT_TAIL(&s->asking, a, link);
	x->on_abandon = on_abandon;
	x->handler_data = a;
}

static void
sign_elsewhere(struct worker *w, struct signed_notice *s)
{
	struct hsm_ask ask = {s->reply.uris[0], s->reply.blanks[0].key,
	    s->reply.blanks[0].message};

	s->signing = hsm_sign(w->hsm, &ask, 1, true,
	    clock_mono_us() + w->limits->hsm_us, on_signed, s);
	if (s->signing == NULL)
		end_signing(s);
}

static void
sign(struct worker *w, struct signed_notice *s, const struct tam_domain *domain,
    const struct published_notice *notice)
{
	struct reply_form form = {.curve = domain->has_key[COSE_P256]
	        ? COSE_P256
	        : COSE_ED25519,
	    .send_kid = true};
	enum tam_err err;

	s->arena = arena_new_in(NULL);
	err = reply_sign_payload(w, s->arena, domain, &form,
	    (struct slice){notice->payload, notice->n}, &s->reply);
	if (err == TAM_OK && s->reply.n > 0) {
		sign_elsewhere(w, s);
		return;
	}
	if (err == TAM_OK)
		s->message = http_shared_copy(s->reply.message);
	end_signing(s);
}

/* --- the handler ------------------------------------------------------------------------ */

static void
serve(struct worker *w, struct http_exchange *x,
    const struct tam_domain *domain, const struct published_notice *notice)
{
	struct signed_notice *s =
	    &w->signed_notices[notice - w->published->notices];

	if (s->message != NULL) {
		answer(x, s);
	} else if (s->signing != NULL) {
		wait_for(s, x);
	} else if (!budget_take(&w->openers, clock_mono_us())) {
		unavailable(x);
	} else {
		wait_for(s, x);
		sign(w, s, domain, notice);
	}
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
	else
		serve(w, x, domain, notice);
}
