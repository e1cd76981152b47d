#include "config.h"

#include <string.h>

#include "admin/ctl/ctl.h"

static const struct ctl_verb verbs[] = {
    {"revocation", "wait", "Wait until no device is left; deadline=SECONDS",
        ctl_wait_revocation},
    {"rollout", "wait",
        "Wait until it is completed, or ends otherwise; deadline=SECONDS",
        ctl_wait_rollout},
    {"device", "approve",
        "Let pending devices in: NAME... or selector=", ctl_device_approve},
    {"device", "quarantine",
        "Refuse active devices: NAME... or selector=", ctl_device_quarantine},
    {"device", "release",
        "Let them in again: NAME... or selector=", ctl_device_release},
    {"device", "decommission", "Refuse devices for good: NAME... or selector=",
        ctl_device_decommission},
    {"policy", "diff", "Compare NAME.json files with the policies there are",
        ctl_policy_diff},
    {"policy", "apply", "Put those of NAME.json files that differ",
        ctl_policy_apply},
};

enum {
	VERBS = sizeof(verbs) / sizeof(verbs[0])
};

const struct ctl_verb *
ctl_verb_named(const char *noun, const char *verb)
{
	for (size_t i = 0; i < VERBS; i++) {
		if (strcmp(verbs[i].noun, noun) == 0 &&
		    strcmp(verbs[i].verb, verb) == 0)
			return &verbs[i];
	}
	return NULL;
}

void
ctl_print_verbs(FILE *to)
{
	for (size_t i = 0; i < VERBS; i++)
		(void)fprintf(to, "  %-13s %-9s %s\n", verbs[i].noun,
		    verbs[i].verb, verbs[i].summary);
}

void
ctl_list_verbs(const char *noun)
{
	for (size_t i = 0; i < VERBS; i++) {
		if (strcmp(verbs[i].noun, noun) == 0)
			(void)printf("%s ", verbs[i].verb);
	}
}
