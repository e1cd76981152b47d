#include "config.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/ctl/answer.h"
#include "admin/ctl/client.h"
#include "admin/ctl/ctl.h"
#include "admin/ctl/output.h"
#include "lib/base/clock.h"
#include "lib/base/number.h"

/*
 * tamctl revocation wait: until a revocation is in force and as far as --for
 * asks:
 *
 *	verified    every device that is affected showed the target gone
 *	confirmed   and no active device is left that has not answered since
 *	            (the default)
 *
 * A device that never comes again never answers, and "confirmed" then waits for
 * ever: standard error names the number of such devices and the other goal.
 *
 * tamctl rollout wait: until a rollout is completed; or ended in another way,
 * or was paused, which is told apart.
 */

enum {
	POLL_US = 500000,
	SLACK_US = 100000, /* libcurl's clock may end a little early */
	DEADLINE_MAX_S = 366 * 86400
};

enum goal {
	GOAL_VERIFIED,
	GOAL_CONFIRMED,
	GOAL_COUNT
};

static const char *const goal_names[GOAL_COUNT] = {"verified", "confirmed"};

/* What the arguments behind the name say. */
struct wait {
	struct client *client;
	int64_t until_us; /* monotonic; 0: for ever */
	enum goal goal;
	char path[128];
};

struct progress {
	bool in_force, counting;
	json_int_t affected, verified, unconfirmed;
};

static json_int_t
number(const json_t *doc, const char *name)
{
	return json_integer_value(json_object_get(doc, name));
}

/* CTL_OK and the document, or the status to end with. */
static int
ask(const struct wait *w, json_t **doc)
{
	return answer_ask(w->client,
	    &(struct client_request){.method = "GET",
	        .path = w->path,
	        .until_us = w->until_us},
	    NULL, doc);
}

static bool
is_late(const struct wait *w)
{
	return w->until_us != 0 && clock_mono_us() >= w->until_us;
}

/* A server that does not answer until the deadline is no other thing than a
 * revocation that does not end until then. */
static int
late_or(const struct wait *w, int status)
{
	bool late =
	    w->until_us != 0 && clock_mono_us() + SLACK_US >= w->until_us;

	return late && (status == CTL_NO_ANSWER || status == CTL_UNREACHABLE)
	    ? CTL_LATE
	    : status;
}

static int
tell_late(void)
{
	ctl_complain("the deadline passed");
	return CTL_LATE;
}

/* Sleeps until the next look; false when the deadline comes before. */
static bool
sleep_before_look(const struct wait *w)
{
	int64_t left_us;

	if (w->until_us == 0) {
		(void)usleep(POLL_US);
		return true;
	}
	left_us = w->until_us - clock_mono_us();
	if (left_us > 0)
		(void)usleep(
		    (useconds_t)(left_us < POLL_US ? left_us : POLL_US));
	return !is_late(w);
}

static bool
read_deadline(const char *text, struct wait *w)
{
	int64_t seconds;

	if (!number_parse(text, 0, DEADLINE_MAX_S, &seconds)) {
		ctl_complain("deadline must be whole seconds, at most %d, not "
		             "'%s'",
		    DEADLINE_MAX_S, text);
		return false;
	}
	/* 0 asks once, with the time that a request needs. */
	w->until_us = clock_mono_us() + seconds * CLOCK_SECOND;
	return true;
}

static bool
read_goal(const char *text, struct wait *w)
{
	int g = 0;

	while (g < GOAL_COUNT && strcmp(goal_names[g], text) != 0)
		g++;
	w->goal = (enum goal)g;
	return g < GOAL_COUNT;
}

/* [deadline=SECONDS] [--for GOAL], in any order. */
static bool
read_arguments(int argc, char **argv, bool goals, struct wait *w)
{
	for (int i = 0; i < argc; i++) {
		const char *a = argv[i];

		if (strncmp(a, "deadline=", 9) == 0) {
			if (!read_deadline(a + 9, w))
				return false;
		} else if (goals && strcmp(a, "--for") == 0 && i + 1 < argc) {
			if (!read_goal(argv[++i], w))
				return false;
		} else if (!goals || strncmp(a, "--for=", 6) != 0 ||
		    !read_goal(a + 6, w)) {
			return false;
		}
	}
	return true;
}

/* --- a revocation -------------------------------------------------------------- */

/* CTL_OK with *p filled, or the status to end with. */
static int
look(const struct wait *w, struct progress *p)
{
	json_t *doc;
	int status = ask(w, &doc);

	if (status == CTL_OK &&
	    (!json_is_integer(json_object_get(doc, "affected")) ||
	        !json_is_integer(json_object_get(doc, "unconfirmed")))) {
		ctl_complain("the server's answer is not a revocation");
		status = CTL_NO_ANSWER;
	}
	if (status == CTL_OK) {
		p->in_force =
		    json_is_string(json_object_get(doc, "in_force_at"));
		p->counting = json_is_true(json_object_get(doc, "counting"));
		p->affected = number(doc, "affected");
		p->verified = number(doc, "verified");
		p->unconfirmed = number(doc, "unconfirmed");
	}
	json_decref(doc);
	return status;
}

static bool
is_reached(const struct progress *p, enum goal goal)
{
	if (!p->in_force || p->counting)
		return false;
	return p->verified == p->affected &&
	    (goal == GOAL_VERIFIED || p->unconfirmed == 0);
}

static bool
is_same(const struct progress *a, const struct progress *b)
{
	return a->in_force == b->in_force && a->counting == b->counting &&
	    a->affected == b->affected && a->verified == b->verified &&
	    a->unconfirmed == b->unconfirmed;
}

static void
tell(const struct progress *p)
{
	(void)fprintf(stderr,
	    "%s, affected %lld%s, verified %lld, unconfirmed %lld\n",
	    p->in_force ? "in force" : "not in force yet",
	    (long long)p->affected, p->counting ? " so far" : "",
	    (long long)p->verified, (long long)p->unconfirmed);
}

/* Once, when nothing but devices that stay away is left to wait for. */
static void
tell_absent(const struct progress *p, bool *told)
{
	if (*told || !is_reached(p, GOAL_VERIFIED))
		return;
	*told = true;
	ctl_complain("%lld devices have not answered since the revocation; "
	             "--for verified does not wait for them",
	    (long long)p->unconfirmed);
}

static int
wait_for_revocation(const struct wait *w)
{
	struct progress p = {0}, told = {.affected = -1};
	bool told_absent = false;
	int status;

	for (;;) {
		status = look(w, &p);
		if (status != CTL_OK || is_reached(&p, w->goal))
			break;
		if (!is_same(&p, &told))
			tell(&p);
		told = p;
		tell_absent(&p, &told_absent);
		if (!sleep_before_look(w))
			return tell_late();
	}
	if (status == CTL_OK)
		tell(&p);
	return late_or(w, status);
}

int
ctl_wait_revocation(struct client *client, int argc, char **argv)
{
	struct wait w = {.client = client, .goal = GOAL_CONFIRMED};
	int64_t id;

	if (argc < 1 || !number_parse(argv[0], 1, INT64_MAX, &id) ||
	    !read_arguments(argc - 1, argv + 1, true, &w)) {
		(void)fputs("usage: tamctl revocation wait ID "
		            "[deadline=SECONDS] "
		            "[--for verified|confirmed]\n",
		    stderr);
		return CTL_USAGE;
	}
	(void)snprintf(w.path, sizeof(w.path), "/v1/revocations/%lld",
	    (long long)id);
	return wait_for_revocation(&w);
}

/* --- a rollout -------------------------------------------------------------------- */

/* Nothing more comes of it by itself. */
static bool
is_at_rest(const char *state)
{
	static const char *const moving[] = {"draft", "running",
	    "rolling_back"};

	for (size_t i = 0; i < sizeof(moving) / sizeof(moving[0]); i++) {
		if (strcmp(state, moving[i]) == 0)
			return false;
	}
	return true;
}

static bool
is_name(const char *s)
{
	return s[0] != '\0' && strlen(s) < 65 &&
	    strspn(s,
	        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	        "0123456789._-") == strlen(s);
}

static const char *
text_of(const json_t *doc, const char *name)
{
	const char *text = json_string_value(json_object_get(doc, name));

	return text == NULL ? "" : text;
}

/* What it says of itself; in `text`. */
static int
look_at_rollout(const struct wait *w, bool *rests, bool *completed,
    char text[256])
{
	json_t *doc;
	const char *state;
	int status = ask(w, &doc);

	if (status == CTL_OK) {
		state = text_of(doc, "state");
		if (state[0] == '\0') {
			ctl_complain("the server's answer is not a rollout");
			status = CTL_NO_ANSWER;
		}
		*rests = is_at_rest(state);
		*completed = strcmp(state, "completed") == 0;
		(void)snprintf(text, 256,
		    "%s, %lld of %zu stages open, %lld reached: %s", state,
		    (long long)number(doc, "opened"),
		    json_array_size(json_object_get(doc, "stages")),
		    (long long)number(doc, "reached"), text_of(doc, "reason"));
	}
	json_decref(doc);
	return status;
}

static int
wait_for_rollout(const struct wait *w)
{
	char text[256] = "", told[256] = "";
	bool rests = false, completed = false;

	for (;;) {
		int status = look_at_rollout(w, &rests, &completed, text);

		if (status != CTL_OK)
			return late_or(w, status);
		if (strcmp(text, told) != 0)
			ctl_complain("%s", text);
		memcpy(told, text, sizeof(told));
		if (rests)
			return completed ? CTL_OK : CTL_FAILED;
		if (!sleep_before_look(w))
			return tell_late();
	}
}

int
ctl_wait_rollout(struct client *client, int argc, char **argv)
{
	struct wait w = {.client = client};

	if (argc < 1 || !is_name(argv[0]) ||
	    !read_arguments(argc - 1, argv + 1, false, &w)) {
		(void)fputs("usage: tamctl rollout wait NAME "
		            "[deadline=SECONDS]\n",
		    stderr);
		return CTL_USAGE;
	}
	(void)snprintf(w.path, sizeof(w.path), "/v1/rollouts/%s", argv[0]);
	return wait_for_rollout(&w);
}
