#include "config.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "admin/ctl/bulk.h"
#include "admin/ctl/client.h"
#include "admin/ctl/ctl.h"

/*
 * tamctl device approve, quarantine, release, decommission: devices from one
 * state into another, by their names or by a selector; those that are in
 * another state stay as they are.
 */

enum {
	SELECTOR_ROOM = 8192
};

struct transition {
	const char *verb, *from, *to; /* from: a condition */
};

/* What the arguments say. */
struct asked {
	struct buf selector;
	const char *reason;
	size_t names;
};

static int
usage(const struct transition *t)
{
	(void)fprintf(stderr,
	    "usage: tamctl device %s NAME...|selector=SELECTOR "
	    "reason=TEXT\n",
	    t->verb);
	return CTL_USAGE;
}

/* A selector has no escapes: a name with both quotes cannot be said in it. */
static bool
add_name(struct asked *a, const char *name)
{
	char quote = strchr(name, '"') == NULL ? '"' : '\'';

	if (name[0] == '\0' || strchr(name, quote) != NULL)
		return false;
	buf_printf(&a->selector, "%s%c%s%c", a->names++ == 0 ? "" : ", ", quote,
	    name, quote);
	return !a->selector.full;
}

static bool
read_asked(const struct transition *t, int argc, char **argv, struct asked *a)
{
	const char *selector = NULL;

	buf_add_str(&a->selector, "(name in (");
	for (int i = 0; i < argc; i++) {
		if (strncmp(argv[i], "selector=", 9) == 0)
			selector = argv[i] + 9;
		else if (strncmp(argv[i], "reason=", 7) == 0)
			a->reason = argv[i] + 7;
		else if (!add_name(a, argv[i]))
			return false;
	}
	if (a->reason == NULL || a->reason[0] == '\0' ||
	    (selector == NULL) == (a->names == 0))
		return false;
	if (selector != NULL) {
		buf_clear(&a->selector);
		buf_printf(&a->selector, "((%s", selector);
	}
	buf_printf(&a->selector, ")) and %s", t->from);
	return !a->selector.full;
}

static int
change(struct client *client, const struct transition *t, struct asked *a)
{
	const struct api_route *route = &api_routes[API_device_change];
	json_t *doc = json_pack("{s:s, s:s, s:s, s:i}", "selector",
	    buf_cstr(&a->selector), "status", t->to, "reason", a->reason,
	    "after", 0);
	char *body = json_dumps(doc, JSON_COMPACT);
	int64_t n = 0;
	int status = bulk_change(client, route, route->path, slice_str(body),
	    &(struct bulk_told){.devices = &n});

	json_decref(doc);
	free(body);
	(void)printf("%lld %s\n", (long long)n, t->to);
	return status == CTL_OK && (n == 0 || (size_t)n < a->names) ? CTL_FAILED
	                                                            : status;
}

static int
run(struct client *client, const struct transition *t, int argc, char **argv)
{
	struct asked a = {0};
	int status;

	buf_init(&a.selector, SELECTOR_ROOM);
	status =
	    read_asked(t, argc, argv, &a) ? change(client, t, &a) : usage(t);
	buf_fini(&a.selector);
	return status;
}

int
ctl_device_approve(struct client *client, int argc, char **argv)
{
	static const struct transition t = {"approve", "status == \"pending\"",
	    "active"};

	return run(client, &t, argc, argv);
}

int
ctl_device_quarantine(struct client *client, int argc, char **argv)
{
	static const struct transition t = {"quarantine",
	    "status in (\"active\", \"pending\")", "quarantined"};

	return run(client, &t, argc, argv);
}

int
ctl_device_release(struct client *client, int argc, char **argv)
{
	static const struct transition t = {"release",
	    "status == \"quarantined\"", "active"};

	return run(client, &t, argc, argv);
}

int
ctl_device_decommission(struct client *client, int argc, char **argv)
{
	static const struct transition t = {"decommission",
	    "status != \"decommissioned\"", "decommissioned"};

	return run(client, &t, argc, argv);
}
