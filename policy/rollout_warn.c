#include "config.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "policy/rollout.h"

/* What is wrong with a rollout before it starts: stages that never pass, and
 * stages that protect nobody. */

enum {
	SMALL = 1000, /* of ROLLOUT_WHOLE: a minimum below is worth a word */
	MANY = 100    /* in a stage of so many devices */
};

struct warning_list {
	struct rollout_warning *out;
	size_t n;
};

int64_t
rollout_minimum(const struct rollout_stage *stage, int64_t of)
{
	if (stage->minimum >= 0)
		return stage->minimum;
	if (stage->share == 0)
		return 0;
	of = (of * stage->share + ROLLOUT_WHOLE - 1) / ROLLOUT_WHOLE;
	return of > 0 ? of : 1;
}

static void __attribute__((format(printf, 5, 6)))
warn(struct warning_list *list, const char *code, size_t stage, bool never,
    const char *format, ...)
{
	struct rollout_warning *w = &list->out[list->n++];
	va_list args;

	*w = (struct rollout_warning){.code = code,
	    .stage = stage,
	    .never = never};
	va_start(args, format);
	(void)vsnprintf(w->text, sizeof(w->text), format, args);
	va_end(args);
}

/* Whether it can pass at all. */
static void
warn_size(struct warning_list *list, const struct rollout_stage *stage,
    size_t i, int64_t of)
{
	int64_t minimum = rollout_minimum(stage, of);

	if (of == 0)
		warn(list, "stage_empty", i, minimum > 0,
		    "stage %zu has no device%s", i + 1,
		    minimum > 0 ? ": it never passes by itself"
		                : ", and passes at once");
	else if (minimum > of)
		warn(list, "minimum_beyond_stage", i, true,
		    "stage %zu waits for %" PRId64 " devices and has %" PRId64
		    ": it never passes by itself",
		    i + 1, minimum, of);
}

/* Whether it protects those behind it. */
static void
warn_protection(struct warning_list *list, const struct rollout_stage *stage,
    size_t i, int64_t of)
{
	int64_t minimum = rollout_minimum(stage, of);

	if (of >= MANY && minimum * ROLLOUT_WHOLE < of * SMALL)
		warn(list, "minimum_small", i, false,
		    "stage %zu passes when %" PRId64 " of %" PRId64
		    " devices are settled",
		    i + 1, minimum, of);
	if (stage->soak_us == 0 && !stage->manual)
		warn(list, "no_soak", i, false,
		    "stage %zu passes as soon as it is good: soak_s is 0",
		    i + 1);
}

size_t
rollout_warnings(const struct rollout_plan *plan,
    const int64_t of[ROLLOUT_STAGES_MAX],
    struct rollout_warning out[ROLLOUT_WARNINGS_MAX])
{
	struct warning_list list = {.out = out};

	for (size_t i = 0; i < plan->n_stages; i++) {
		warn_size(&list, &plan->stages[i], i, of[i]);
		warn_protection(&list, &plan->stages[i], i, of[i]);
	}
	return list.n;
}
