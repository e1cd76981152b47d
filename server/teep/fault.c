#include "config.h"

#include "server/teep/fault.h"

#ifdef TAM_FAULT_POINTS

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static atomic_long passages;

void
fault_point(enum fault_point point)
{
	static const char *const names[] = {
	    [FAULT_BEFORE_COMMIT] = "before_commit",
	    [FAULT_AFTER_COMMIT] = "after_commit",
	    [FAULT_BEFORE_FLUSH] = "before_flush",
	    [FAULT_BEFORE_STEP] = "before_step",
	    [FAULT_AFTER_STEP] = "after_step",
	};
	const char *want = getenv("TAM_FAULT");
	size_t n = strlen(names[point]);
	char *end;
	long at;

	if (want == NULL || strncmp(want, names[point], n) != 0 ||
	    want[n] != ':')
		return;
	at = strtol(want + n + 1, &end, 10);
	if (atomic_fetch_add(&passages, 1) + 1 == at)
		/* To this thread: it goes no further. */
		(void)raise(strcmp(end, ":stop") == 0 ? SIGSTOP : SIGKILL);
}

#endif
