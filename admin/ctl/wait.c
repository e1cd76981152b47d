#include "config.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/ctl/client.h"
#include "admin/ctl/ctl.h"
#include "lib/base/clock.h"

/*
 * tamctl revocation wait: until a revocation is in force, nobody is left to be
 * counted, and every device affected or not heard of showed it gone.
 *
 * tamctl rollout wait: until a rollout is completed; or ended in another way,
 * or was paused, which is told apart.
 */

enum {
	POLL_US = 500000
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
ask(const struct client_options *client, const char *path, json_t **doc)
{
	struct client_answer a;
	int status = CTL_OK;

	*doc = NULL;
	if (!client_request(client, "GET", path, NULL, slice_none(), &a)) {
		client_answer_fini(&a);
		return CTL_UNREACHABLE;
	}
	*doc = json_loadb((const char *)a.body.p, a.body.n, 0, NULL);
	if (a.status != 200 || *doc == NULL) {
		(void)fprintf(stderr, "tamctl: %d: %s\n", a.status,
		    json_string_value(json_object_get(*doc, "detail")));
		json_decref(*doc);
		status = CTL_FAILED;
	}
	client_answer_fini(&a);
	return status;
}

/* [deadline=SECONDS] behind a name; false when it is something else. */
static bool
read_deadline(int argc, char **argv, int64_t *until_us)
{
	*until_us = INT64_MAX;
	if (argc < 2)
		return argc == 1;
	if (argc > 2 || strncmp(argv[1], "deadline=", 9) != 0)
		return false;
	*until_us =
	    clock_mono_us() + strtoll(argv[1] + 9, NULL, 10) * CLOCK_SECOND;
	return true;
}

/* --- a revocation -------------------------------------------------------------- */

/* CTL_OK with *p filled, or the status to end with. */
static int
look(const struct client_options *client, const char *path, struct progress *p)
{
	json_t *doc;
	int status = ask(client, path, &doc);

	if (status != CTL_OK)
		return status;
	p->in_force = json_is_string(json_object_get(doc, "in_force_at"));
	p->counting = json_is_true(json_object_get(doc, "counting"));
	p->affected = number(doc, "affected");
	p->verified = number(doc, "verified");
	p->unconfirmed = number(doc, "unconfirmed");
	json_decref(doc);
	return CTL_OK;
}

static bool
is_gone(const struct progress *p)
{
	return p->in_force && !p->counting && p->unconfirmed == 0 &&
	    p->verified == p->affected;
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

int
ctl_wait_revocation(const struct client_options *client, int argc, char **argv)
{
	struct progress p = {0}, told = {.affected = -1};
	int64_t until_us;
	char path[128];
	int status;

	if (!read_deadline(argc, argv, &until_us) || strlen(argv[0]) > 20 ||
	    argv[0][0] == '\0' ||
	    strspn(argv[0], "0123456789") != strlen(argv[0])) {
		(void)fputs("usage: tamctl revocation wait ID "
		            "[deadline=SECONDS]\n",
		    stderr);
		return CTL_USAGE;
	}
	(void)snprintf(path, sizeof(path), "/v1/revocations/%s", argv[0]);
	for (;;) {
		status = look(client, path, &p);
		if (status != CTL_OK || is_gone(&p))
			break;
		if (!is_same(&p, &told))
			tell(&p);
		told = p;
		if (clock_mono_us() >= until_us)
			return CTL_FAILED;
		(void)usleep(POLL_US);
	}
	if (status == CTL_OK)
		tell(&p);
	return status;
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
	return s[0] != '\0' && strlen(s) < 64 &&
	    strspn(s,
	        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	        "0123456789._-") == strlen(s);
}

/* What it says of itself; in `text`. */
static int
look_at_rollout(const struct client_options *client, const char *path,
    bool *rests, bool *completed, char text[256])
{
	json_t *doc;
	const char *state;
	int status = ask(client, path, &doc);

	if (status != CTL_OK)
		return status;
	state = json_string_value(json_object_get(doc, "state"));
	state = state == NULL ? "" : state;
	*rests = is_at_rest(state);
	*completed = strcmp(state, "completed") == 0;
	(void)snprintf(text, 256,
	    "%s, %lld of %zu stages open, %lld reached: %s", state,
	    (long long)number(doc, "opened"),
	    json_array_size(json_object_get(doc, "stages")),
	    (long long)number(doc, "reached"),
	    json_string_value(json_object_get(doc, "reason")));
	json_decref(doc);
	return CTL_OK;
}

int
ctl_wait_rollout(const struct client_options *client, int argc, char **argv)
{
	char path[128], text[256] = "", told[256] = "";
	bool rests = false, completed = false;
	int64_t until_us;

	if (!read_deadline(argc, argv, &until_us) || !is_name(argv[0])) {
		(void)fputs("usage: tamctl rollout wait NAME "
		            "[deadline=SECONDS]\n",
		    stderr);
		return CTL_USAGE;
	}
	(void)snprintf(path, sizeof(path), "/v1/rollouts/%s", argv[0]);
	for (;;) {
		int status =
		    look_at_rollout(client, path, &rests, &completed, text);

		if (status != CTL_OK)
			return status;
		if (strcmp(text, told) != 0)
			(void)fprintf(stderr, "%s\n", text);
		memcpy(told, text, sizeof(told));
		if (rests)
			return completed ? CTL_OK : CTL_FAILED;
		if (clock_mono_us() >= until_us)
			return CTL_FAILED;
		(void)usleep(POLL_US);
	}
}
