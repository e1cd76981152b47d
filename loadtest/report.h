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

/* Whether every session ended as it should, and there was one at all. */
bool report_good(const struct fleet_plan *, const struct fleet_result *);
/* By the name it has in the report. */
bool report_outcome(const char *name, enum outcome *);

#endif
