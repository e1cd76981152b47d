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

/* CTL_OK with *p filled, or the status to end with. */
static int
look(const struct client_options *client, const char *path, struct progress *p)
{
	struct client_answer a;
	int status = CTL_FAILED;
	json_t *doc;

	if (!client_request(client, "GET", path, NULL, slice_none(), &a)) {
		client_answer_fini(&a);
		return CTL_UNREACHABLE;
	}
	doc = json_loadb((const char *)a.body.p, a.body.n, 0, NULL);
	if (a.status == 200 && doc != NULL) {
		p->in_force =
		    json_is_string(json_object_get(doc, "in_force_at"));
		p->counting = json_is_true(json_object_get(doc, "counting"));
		p->affected = number(doc, "affected");
		p->verified = number(doc, "verified");
		p->unconfirmed = number(doc, "unconfirmed");
		status = CTL_OK;
	} else {
		(void)fprintf(stderr, "tamctl: %d: %s\n", a.status,
		    json_string_value(json_object_get(doc, "detail")));
	}
	json_decref(doc);
	client_answer_fini(&a);
	return status;
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
ctl_revocation_wait(const struct client_options *client, int argc, char **argv)
{
	struct progress p = {0}, told = {.affected = -1};
	int64_t until_us = INT64_MAX;
	char path[128];
	int status;

	if (argc < 1 || strlen(argv[0]) > 20 || argv[0][0] == '\0' ||
	    strspn(argv[0], "0123456789") != strlen(argv[0]) || argc > 2 ||
	    (argc == 2 && strncmp(argv[1], "deadline=", 9) != 0)) {
		(void)fputs("usage: tamctl revocation wait ID "
		            "[deadline=SECONDS]\n",
		    stderr);
		return CTL_USAGE;
	}
	if (argc == 2)
		until_us = clock_mono_us() +
		    strtoll(argv[1] + 9, NULL, 10) * CLOCK_SECOND;
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
