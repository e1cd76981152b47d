/*
 * options.h - tamfleet's command line: what to run, against whom, and how odd
 * the agents are to be.
 */
#ifndef LOADTEST_OPTIONS_H
#define LOADTEST_OPTIONS_H

#include "loadtest/report.h"

struct options {
	struct fleet_plan plan;
	struct fleet_world world;
	const char *command, *ca_file, *class_name, *journal, *account, *prefix;
	bool json;
	size_t n_expect, n_absent;
	const char *expect[8], *absent[8];
	struct arena *arena;
};

extern const char options_usage[];

/* Ends the process, status 2, after saying what is wrong. */
void options_parse(struct options *, int argc, char **argv);

#endif
