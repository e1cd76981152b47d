/*
 * report.h - what a run came to, as text or JSON.
 */
#ifndef LOADTEST_REPORT_H
#define LOADTEST_REPORT_H

#include <stdio.h>

#include "loadtest/fleet.h"

/* Schema "tamfleet/1"; latencies in milliseconds. */
void report_json(const struct fleet_plan *, const struct fleet_result *,
    FILE *);
void report_text(const struct fleet_plan *, const struct fleet_result *,
    FILE *);

/* tamfleet's exit status; 2 is misuse. */
enum report_status {
	REPORT_GOOD = 0,
	REPORT_BAD = 1,
	REPORT_DROPPED = 3, /* agents that the TAM does not know */
	REPORT_UNREACHED = 4
};
int report_status(const struct fleet_plan *, const struct fleet_result *);

/* Whether every session ended as it should, and there was one at all. */
bool report_good(const struct fleet_plan *, const struct fleet_result *);
/* By the name it has in the report. */
bool report_outcome(const char *name, enum outcome *);

#endif
