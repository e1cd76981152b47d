#include "config.h"

#include "lib/base/readiness.h"

#include <stddef.h>

#include "lib/base/log.h"

const char *
not_ready_name(enum not_ready reason)
{
	static const char *const names[NOT_READY_COUNT] = {
#define X(name, text) #name,
	    TAM_NOT_READY(X)
#undef X
	};

	return names[reason];
}

const char *
not_ready_text(enum not_ready reason)
{
	switch (reason) {
#define X(name, text)          \
	case NOT_READY_##name: \
		return text;
		TAM_NOT_READY(X)
#undef X
	case NOT_READY_COUNT:
	default:
		return "ok";
	}
}

void
readiness_say(struct readiness_part *part, enum not_ready reason, bool holds)
{
	if (part->shared == NULL || part->holds[reason] == holds)
		return;
	part->holds[reason] = holds;
	(void)atomic_fetch_add(&part->shared->holders[reason], holds ? 1 : -1);
	if (holds)
		log_warn("not_ready", "reason=%s text=\"%s\"",
		    not_ready_name(reason), not_ready_text(reason));
	else
		log_info("not_ready_over", "reason=%s", not_ready_name(reason));
}

void
readiness_leave(struct readiness_part *part)
{
	for (int i = 0; i < NOT_READY_COUNT; i++)
		readiness_say(part, (enum not_ready)i, false);
}

bool
readiness_held(const struct readiness *r, enum not_ready reason)
{
	return atomic_load(&r->holders[reason]) > 0;
}

enum not_ready
readiness_first(const struct readiness *r)
{
	int i = 0;

	while (i < NOT_READY_COUNT && !readiness_held(r, (enum not_ready)i))
		i++;
	return (enum not_ready)i;
}
