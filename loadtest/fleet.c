#include "config.h"

#include "loadtest/fleet.h"

#include <assert.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "loadtest/link.h"

/*
 * Two lanes, HTTP/1.1 and HTTP/2, each with its agents in a ring, its
 * connections and its slots; a slot is one session under way.
 *
 *	pump         starts sessions for agents that are due
 *	begin        an empty POST
 *	on_answer    the agent handles what came; its answer is posted, or
 *	end          the session is over: counted, the slot is free
 */

enum {
	POSTS_MAX = 24, /* of one session; more is a loop */
	TICK_MS = 2,
	LATE_US = 10000
};

struct slot {
	struct slot *next_free;
	struct lane *lane;
	struct link *link;
	struct agent *agent;
	struct arena *arena;
	struct link_request request;
	int64_t planned_us, started_us;
	unsigned posts;
	bool updated, failed;
	bool probing;  /* whether the TAM knows the agent */
	bool refused;  /* an Error about the TAM's message is under way */
	uint64_t told; /* the code of an Update that carried an error */
	struct slice acknowledged; /* the token of a Success under way */
	/* When the fleet plays: what is repeated, and what came before it. */
	struct slice sent, first, answer;
	int answer_status;
	enum repeating {
		REPEAT_NOTHING,
		REPEAT_LAST, /* its answer waits in `answer` */
		REPEAT_FIRST /* the session is over but for this */
	} repeating;
	struct event *later;
};

struct lane {
	struct fleet *fleet;
	bool http2;
	uint32_t n_agents, next, rounds_done;
	struct agent **agents;
	int64_t *due_us;
	size_t n_links, n_slots, n_busy;
	struct link **links;
	struct slot *slots, *free;
	uint64_t started; /* of the open loop's plan */
	double rate;
};

struct fleet {
	const struct fleet_plan *plan;
	struct fleet_world *world;
	struct fleet_result *result;
	const atomic_int *stop;
	struct event_base *base;
	struct event *tick, *progress;
	struct link_options links;
	struct arena_pool arenas;
	struct lane lanes[2];
	int64_t begun_us, ends_us;
	uint64_t last_sessions;
};

static void pump(struct lane *);
static void post(struct slot *, struct slice);
static void on_answer(int, struct slice, void *);

struct agent *
fleet_agents(const struct fleet_plan *p)
{
	struct agent *agents = mem_new_n(p->agents, struct agent);

	for (uint32_t i = 0; i < p->agents; i++) {
		bool ed =
		    p->curves == 1 || (p->curves == 2 && (i / 2) % 2 == 1);

		agent_init(&agents[i], i, ed ? COSE_ED25519 : COSE_P256,
		    p->seed);
		agents[i].http2 = p->http == 2 || (p->http == 0 && i % 2 == 1);
		agents[i].uri = (uint8_t)((i / 4) % p->n_uris);
	}
	return agents;
}

/* --- a session ---------------------------------------------------------------------- */

static bool
repeat_first(struct slot *s)
{
	if (!s->lane->fleet->world->play.replay || s->first.n == 0 ||
	    s->repeating != REPEAT_NOTHING)
		return false;
	s->repeating = REPEAT_FIRST;
	post(s, s->first);
	return true;
}

/* The first reason of each outcome is told, with what JSON would escape gone. */
static void
note(struct slot *s, enum outcome outcome, const char *why)
{
	char *to = s->lane->fleet->result->why[outcome];

	if (to[0] != '\0' || why == NULL)
		return;
	(void)snprintf(to, FLEET_WHY_MAX, "%s", why);
	for (; *to != '\0'; to++) {
		if (*to < ' ' || *to > '~' || *to == '"' || *to == '\\')
			*to = '?';
	}
}

static void
end(struct slot *s, enum outcome outcome)
{
	struct lane *lane = s->lane;
	struct fleet_result *r = lane->fleet->result;
	int64_t now = clock_mono_us();

	r->outcomes[outcome]++;
	r->sessions++;
	hist_add(&r->latency, now - s->planned_us);
	hist_add(&r->service, now - s->started_us);
	s->agent->busy = false;
	s->agent->sessions++;
	arena_free(s->arena);
	s->arena = NULL;
	s->agent = NULL;
	s->next_free = lane->free;
	lane->free = s;
	lane->n_busy--;
}

static void
post(struct slot *s, struct slice body)
{
	struct fleet *f = s->lane->fleet;

	s->posts++;
	s->sent = body;
	if (s->first.n == 0)
		s->first = body;
	f->result->requests++;
	s->request.path = f->plan->uris[s->agent->uri].path;
	s->request.body = body;
	s->request.cb = on_answer;
	s->request.arg = s;
	link_post(s->link, &s->request);
}

static void
begin(struct lane *lane, struct agent *a, int64_t planned_us)
{
	struct slot *s = lane->free;
	int64_t now = clock_mono_us();

	lane->free = s->next_free;
	lane->n_busy++;
	s->agent = a;
	s->planned_us = planned_us;
	s->started_us = now;
	s->posts = 0;
	s->updated = s->failed = s->refused = s->probing = false;
	s->told = 0;
	s->acknowledged = s->first = (struct slice){0};
	s->repeating = REPEAT_NOTHING;
	s->arena = arena_new_in(&lane->fleet->arenas);
	a->busy = true;
	if (now - planned_us > LATE_US)
		lane->fleet->result->late++;
	post(s,
	    lane->fleet->world->play.unsolicited
	        ? agent_unsolicited(lane->fleet->world, a,
	              lane->fleet->plan->uris[a->uri].numbering, s->arena)
	        : slice_none());
}

/*
 * A 204 says the same to an agent that has nothing to do and to one that nobody
 * knows.  An answer that nobody asked for tells them apart: a TAM that knows
 * the key asks again (draft, 7.1), others drop it.  Once for each agent.
 */
static bool
probe(struct slot *s)
{
	struct fleet *f = s->lane->fleet;

	if (s->agent->known || s->updated || s->failed || s->told != 0)
		return false;
	s->probing = true;
	post(s,
	    agent_unsolicited(f->world, s->agent,
	        f->plan->uris[s->agent->uri].numbering, s->arena));
	return true;
}

static void
end_transport(struct slot *s)
{
	enum outcome outcome = s->request.cause == LINK_NO_CONNECTION
	    ? OUTCOME_NO_CONNECTION
	    : s->request.cause == LINK_NO_TLS ? OUTCOME_NO_TLS
	                                      : OUTCOME_TRANSPORT;

	note(s, outcome, s->request.why);
	end(s, outcome);
}

static void
end_http(struct slot *s, int status)
{
	char why[32];

	(void)snprintf(why, sizeof(why), "status %d", status);
	note(s, OUTCOME_HTTP, why);
	end(s, OUTCOME_HTTP);
}

static void
probed(struct slot *s, int status)
{
	s->agent->known |= status == 200;
	if (status == 200)
		end(s, OUTCOME_QUIET);
	else if (status == 0)
		end_transport(s);
	else if (status != 204)
		end_http(s, status);
	else
		end(s, OUTCOME_DROPPED);
}

/* 204: what the device said was taken; for a Success that is a promise. */
static void
over(struct slot *s)
{
	struct fleet_world *w = s->lane->fleet->world;

	if (s->acknowledged.n > 0 && w->journal != NULL)
		journal_add(w->journal, 'S', SLICE_OF(s->agent->thumbprint),
		    s->acknowledged);
	if (s->acknowledged.n == 0 && !s->failed && s->agent->changed) {
		account_add(w->account, '.', SLICE_OF(s->agent->thumbprint),
		    slice_none(), slice_none());
		s->agent->changed = false;
	}
	s->acknowledged = slice_none();
	if (repeat_first(s) || probe(s))
		return;
	end(s,
	    s->failed          ? OUTCOME_MANIFEST
	        : s->told != 0 ? OUTCOME_TOLD
	        : s->updated   ? OUTCOME_UPDATED
	                       : OUTCOME_QUIET);
}

static void
on_later(evutil_socket_t fd, short events, void *arg)
{
	struct slot *s = arg;

	(void)fd;
	(void)events;
	post(s, s->sent);
}

/* An Update may take an agent its time. */
static void
post_later(struct slot *s, struct slice body, unsigned ms)
{
	struct timeval tv = {ms / 1000, (ms % 1000) * 1000L};

	s->sent = body;
	if (s->later == NULL)
		s->later = evtimer_new(s->lane->fleet->base, on_later, s);
	(void)event_add(s->later, &tv);
}

static void
handle(struct slot *s, struct slice body)
{
	struct fleet *f = s->lane->fleet;
	struct agent_reply reply;

	/* A QueryRequest after a Success: that one was taken too. */
	if (s->acknowledged.n > 0 && f->world->journal != NULL)
		journal_add(f->world->journal, 'S',
		    SLICE_OF(s->agent->thumbprint), s->acknowledged);
	s->acknowledged = (struct slice){0};
	agent_handle(f->world, s->agent, f->plan->uris[s->agent->uri].numbering,
	    arena_dup(s->arena, body), s->posts == 1, s->arena, &reply);
	if (reply.did == AGENT_REFUSED) {
		s->refused = true;
		if (reply.bytes.n > 0)
			post(s, reply.bytes);
		else
			end(s, OUTCOME_REFUSED);
		return;
	}
	if (reply.did == AGENT_UPDATED) {
		s->updated = true;
		s->acknowledged = reply.token;
	}
	if (reply.did == AGENT_FAILED_UPDATE) {
		s->failed = true;
		note(s, OUTCOME_MANIFEST, reply.why);
	}
	/* Only an answer of ours that was taken is answered. */
	s->agent->known |= s->posts > 1;
	f->result->updates += reply.did == AGENT_UPDATED;
	f->result->passports += reply.did == AGENT_GOT_PASSPORT;
	if (reply.did == AGENT_WAS_TOLD) {
		s->told = reply.told;
		f->result->told[s->told < FLEET_TOLD_MAX ? s->told : 0]++;
	}
	if (reply.bytes.n == 0)
		over(s);
	else if (reply.did == AGENT_UPDATED && f->world->play.slow_ms > 0)
		post_later(s, reply.bytes, f->world->play.slow_ms);
	else if (s->posts >= POSTS_MAX)
		end(s, OUTCOME_LOOP);
	else
		post(s, reply.bytes);
}

/* A message that comes twice is answered once (CONFORMANCE H14, T19). */
static bool
repeated(struct slot *s, int *status, struct slice *body)
{
	const struct agent_play *play = &s->lane->fleet->world->play;
	enum repeating was = s->repeating;

	if (was != REPEAT_NOTHING && *status != 204) {
		end(s, OUTCOME_LOOP);
		return true;
	}
	if (was == REPEAT_LAST) {
		s->repeating = REPEAT_NOTHING;
		*status = s->answer_status;
		*body = s->answer;
		return false;
	}
	if (was != REPEAT_NOTHING || !play->duplicate || s->sent.n == 0 ||
	    (*status != 200 && *status != 204))
		return false;
	s->repeating = REPEAT_LAST;
	s->answer_status = *status;
	s->answer = arena_dup(s->arena, *body);
	post(s, s->sent);
	return true;
}

static void
on_answer(int status, struct slice body, void *arg)
{
	struct slot *s = arg;
	struct lane *lane = s->lane;

	if (s->probing) {
		probed(s, status);
		pump(lane);
		return;
	}
	if (repeated(s, &status, &body)) {
		pump(lane);
		return;
	}
	if (s->refused)
		end(s, OUTCOME_REFUSED);
	else if (status == 0)
		end_transport(s);
	else if (status == 204)
		over(s);
	else if (status == 200)
		handle(s, body);
	else
		end_http(s, status);
	pump(lane);
}

/* --- who is next ----------------------------------------------------------------------- */

static bool
finished(const struct lane *lane)
{
	const struct fleet_plan *p = lane->fleet->plan;

	if (atomic_load(lane->fleet->stop) != 0)
		return true;
	if (lane->fleet->ends_us > 0 && clock_mono_us() >= lane->fleet->ends_us)
		return true;
	return p->rounds > 0 && lane->rounds_done >= p->rounds;
}

/* When the agent whose turn it is should start; INT64_MAX: not at all. */
static int64_t
planned(const struct lane *lane)
{
	const struct agent *a = lane->agents[lane->next];
	int64_t due = lane->due_us[lane->next];

	if (a->busy)
		return INT64_MAX;
	if (lane->rate > 0) {
		int64_t at = lane->fleet->begun_us +
		    (int64_t)((double)lane->started / lane->rate * 1e6);

		return at > due ? at : due;
	}
	return due;
}

static void
advance(struct lane *lane, int64_t at)
{
	lane->due_us[lane->next] =
	    at + (int64_t)(lane->fleet->plan->interval_s * 1e6);
	lane->started++;
	if (++lane->next == lane->n_agents) {
		lane->next = 0;
		lane->rounds_done++;
	}
}

static void
pump(struct lane *lane)
{
	while (lane->n_agents > 0 && lane->free != NULL && !finished(lane)) {
		struct agent *a = lane->agents[lane->next];
		int64_t at = planned(lane), now = clock_mono_us();

		if (at > now)
			return;
		/* In a closed loop a session is planned when there is room. */
		if (lane->rate <= 0 && lane->fleet->plan->interval_s <= 0)
			at = now;
		advance(lane, at > 0 ? at : now);
		begin(lane, a, at > 0 ? at : now);
	}
}

static void
on_tick(evutil_socket_t fd, short events, void *arg)
{
	struct fleet *f = arg;
	bool done = true;

	(void)fd;
	(void)events;
	if (f->plan->mended != NULL && atomic_load(f->plan->mended) != 0)
		f->world->play.fail_section = 0;
	for (int i = 0; i < 2; i++) {
		struct lane *lane = &f->lanes[i];

		pump(lane);
		done &= lane->n_agents == 0 ||
		    (finished(lane) && lane->n_busy == 0);
	}
	if (done)
		(void)event_base_loopbreak(f->base);
}

static void
on_progress(evutil_socket_t fd, short events, void *arg)
{
	struct fleet *f = arg;
	struct fleet_result *r = f->result;
	bool tty = isatty(STDERR_FILENO) == 1;
	uint64_t wrong = r->sessions - r->outcomes[OUTCOME_QUIET] -
	    r->outcomes[OUTCOME_UPDATED];

	(void)fd;
	(void)events;
	(void)fprintf(stderr,
	    "%s%6.1f s  sessions %llu (%llu/s)  updated %llu  wrong %llu  "
	    "retries %llu  p99 %.1f ms%s",
	    tty ? "\r" : "", (double)(clock_mono_us() - f->begun_us) / 1e6,
	    (unsigned long long)r->sessions,
	    (unsigned long long)(r->sessions - f->last_sessions),
	    (unsigned long long)r->outcomes[OUTCOME_UPDATED],
	    (unsigned long long)wrong, (unsigned long long)r->retries,
	    (double)hist_percentile(&r->latency, 99) / 1e3, tty ? "" : "\n");
	f->last_sessions = r->sessions;
}

/* --- set up -------------------------------------------------------------------------------- */

static void
make_lane(struct fleet *f, struct lane *lane, bool http2, struct agent *agents)
{
	const struct fleet_plan *p = f->plan;
	uint32_t share = p->http == 0 ? 2 : 1;

	lane->fleet = f;
	lane->http2 = http2;
	lane->agents = (struct agent **)mem_calloc(p->agents, sizeof(void *));
	for (uint32_t i = 0; i < p->agents; i++) {
		if (agents[i].http2 == http2)
			lane->agents[lane->n_agents++] = &agents[i];
	}
	lane->due_us = mem_new_n(p->agents, int64_t);
	if (lane->n_agents == 0)
		return;
	lane->rate = p->rate * lane->n_agents / p->agents;
	lane->n_slots = (p->concurrency + share - 1) / share;
	lane->n_links = http2 ? (lane->n_slots + p->streams - 1) / p->streams
	                      : lane->n_slots;
	lane->links = (struct link **)mem_calloc(lane->n_links, sizeof(void *));
	for (size_t i = 0; i < lane->n_links; i++)
		lane->links[i] = link_new(&f->links, http2);
	lane->slots = mem_new_n(lane->n_slots, struct slot);
	for (size_t i = 0; i < lane->n_slots; i++) {
		struct slot *s = &lane->slots[i];

		s->lane = lane;
		assert(lane->n_links > 0);
		s->link = lane->links[i % lane->n_links];
		s->next_free = lane->free;
		lane->free = s;
	}
}

static void
free_lane(struct lane *lane)
{
	for (size_t i = 0; i < lane->n_links; i++)
		link_free(lane->links[i]);
	for (size_t i = 0; i < lane->n_slots; i++) {
		if (lane->slots[i].later != NULL)
			event_free(lane->slots[i].later);
	}
	free(lane->links);
	free(lane->slots);
	free(lane->agents);
	free(lane->due_us);
}

void
fleet_run(const struct fleet_plan *plan, struct fleet_world *world,
    struct agent *agents, const atomic_int *stop, struct fleet_result *result)
{
	struct fleet *f = mem_new(struct fleet);
	int64_t cpu = clock_cpu_us();

	f->plan = plan;
	f->world = world;
	f->result = result;
	f->stop = stop;
	f->base = event_base_new();
	arena_pool_init(&f->arenas, 1024);
	f->links = (struct link_options){.base = f->base,
	    .tls = plan->tls,
	    .host = plan->host,
	    .port = plan->port,
	    .tries_max = plan->tries,
	    .timeout_us = (int64_t)(plan->timeout_s * 1e6),
	    .sources = plan->sources,
	    .retries = &result->retries,
	    .connects = &result->connects};
	f->begun_us = clock_mono_us();
	if (plan->duration_s > 0)
		f->ends_us = f->begun_us + (int64_t)(plan->duration_s * 1e6);
	make_lane(f, &f->lanes[0], false, agents);
	make_lane(f, &f->lanes[1], true, agents);
	f->tick = event_new(f->base, -1, EV_PERSIST, on_tick, f);
	(void)event_add(f->tick, &(struct timeval){0, TICK_MS * 1000L});
	f->progress = event_new(f->base, -1, EV_PERSIST, on_progress, f);
	if (plan->progress)
		(void)event_add(f->progress, &(struct timeval){1, 0});
	(void)event_base_dispatch(f->base);
	result->seconds = (double)(clock_mono_us() - f->begun_us) / 1e6;
	result->cpu_seconds = (double)(clock_cpu_us() - cpu) / 1e6;
	free_lane(&f->lanes[0]);
	free_lane(&f->lanes[1]);
	event_free(f->tick);
	event_free(f->progress);
	event_base_free(f->base);
	arena_pool_fini(&f->arenas);
	free(f);
}
