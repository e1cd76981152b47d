#include "config.h"

#include "loadtest/report.h"

#include <string.h>

static const char *const outcome_names[OUTCOME_COUNT] = {
    [OUTCOME_QUIET] = "quiet",
    [OUTCOME_UPDATED] = "updated",
    [OUTCOME_MANIFEST] = "manifest_failed",
    [OUTCOME_TOLD] = "told",
    [OUTCOME_REFUSED] = "refused_by_agent",
    [OUTCOME_DROPPED] = "dropped",
    [OUTCOME_HTTP] = "http_error",
    [OUTCOME_NO_CONNECTION] = "no_connection",
    [OUTCOME_NO_TLS] = "no_tls",
    [OUTCOME_TRANSPORT] = "no_answer",
    [OUTCOME_LOOP] = "loop",
};

static const double percents[] = {50, 90, 99, 99.9};

bool
report_outcome(const char *name, enum outcome *out)
{
	for (int i = 0; i < OUTCOME_COUNT; i++) {
		if (strcmp(outcome_names[i], name) == 0) {
			*out = (enum outcome)i;
			return true;
		}
	}
	return false;
}

int
report_status(const struct fleet_plan *p, const struct fleet_result *r)
{
	const uint64_t *n = r->outcomes;

	if (report_good(p, r))
		return REPORT_GOOD;
	if (p->wanted != OUTCOME_COUNT)
		return REPORT_BAD;
	if (n[OUTCOME_NO_CONNECTION] + n[OUTCOME_NO_TLS] +
	        n[OUTCOME_TRANSPORT] >
	    0)
		return REPORT_UNREACHED;
	return n[OUTCOME_DROPPED] > 0 ? REPORT_DROPPED : REPORT_BAD;
}

bool
report_good(const struct fleet_plan *p, const struct fleet_result *r)
{
	if (p->wanted != OUTCOME_COUNT)
		return r->sessions > 0 && r->sessions == r->outcomes[p->wanted];
	return r->sessions > 0 &&
	    r->sessions ==
	    r->outcomes[OUTCOME_QUIET] + r->outcomes[OUTCOME_UPDATED];
}

static void
hist_json(const char *name, const struct hist *h, FILE *to)
{
	(void)fprintf(to, "  \"%s\": {\"mean\": %.3f", name,
	    h->count == 0 ? 0.0 : (double)h->sum / (double)h->count / 1e3);
	for (size_t i = 0; i < 4; i++)
		(void)fprintf(to, ", \"p%g\": %.3f", percents[i],
		    (double)hist_percentile(h, percents[i]) / 1e3);
	(void)fprintf(to, ", \"max\": %.3f},\n", (double)h->max / 1e3);
}

void
report_json(const struct fleet_plan *p, const struct fleet_result *r, FILE *to)
{
	(void)fprintf(to,
	    "{\n  \"schema\": \"tamfleet/1\",\n  \"agents\": %u,\n"
	    "  \"loop\": \"%s\",\n  \"rate\": %g,\n  \"seconds\": %.3f,\n"
	    "  \"cpu_seconds\": %.3f,\n  \"sessions\": %llu,\n"
	    "  \"sessions_per_second\": %.1f,\n  \"requests\": %llu,\n"
	    "  \"updates\": %llu,\n  \"passports\": %llu,\n"
	    "  \"retries\": %llu,\n"
	    "  \"connects\": %llu,\n  \"late_starts\": %llu,\n"
	    "  \"outcomes\": {",
	    p->agents, p->rate > 0 ? "open" : "closed", p->rate, r->seconds,
	    r->cpu_seconds, (unsigned long long)r->sessions,
	    r->seconds > 0 ? (double)r->sessions / r->seconds : 0,
	    (unsigned long long)r->requests, (unsigned long long)r->updates,
	    (unsigned long long)r->passports, (unsigned long long)r->retries,
	    (unsigned long long)r->connects, (unsigned long long)r->late);
	for (int i = 0; i < OUTCOME_COUNT; i++)
		(void)fprintf(to, "%s\"%s\": %llu", i == 0 ? "" : ", ",
		    outcome_names[i], (unsigned long long)r->outcomes[i]);
	(void)fputs("},\n  \"causes\": {", to);
	for (int i = 0, k = 0; i < OUTCOME_COUNT; i++) {
		if (r->why[i][0] != '\0')
			(void)fprintf(to, "%s\"%s\": \"%s\"",
			    k++ == 0 ? "" : ", ", outcome_names[i], r->why[i]);
	}
	(void)fputs("},\n  \"told\": {", to);
	for (int i = 0, n = 0; i < FLEET_TOLD_MAX; i++) {
		if (r->told[i] > 0)
			(void)fprintf(to, "%s\"%d\": %llu",
			    n++ == 0 ? "" : ", ", i,
			    (unsigned long long)r->told[i]);
	}
	(void)fputs("},\n", to);
	hist_json("latency_ms", &r->latency, to);
	hist_json("service_ms", &r->service, to);
	(void)fprintf(to, "  \"good\": %s\n}\n",
	    report_good(p, r) ? "true" : "false");
}

static void
hist_text(const char *name, const struct hist *h, FILE *to)
{
	(void)fprintf(to, "%-10s", name);
	for (size_t i = 0; i < 4; i++)
		(void)fprintf(to, "  p%g %.2f ms", percents[i],
		    (double)hist_percentile(h, percents[i]) / 1e3);
	(void)fprintf(to, "  max %.2f ms\n", (double)h->max / 1e3);
}

void
report_text(const struct fleet_plan *p, const struct fleet_result *r, FILE *to)
{
	(void)fprintf(to,
	    "%u agents, %llu sessions in %.1f s: %.0f/s; %llu requests, "
	    "%llu updates, %llu retries, %llu connections; own CPU %.1f s\n",
	    p->agents, (unsigned long long)r->sessions, r->seconds,
	    r->seconds > 0 ? (double)r->sessions / r->seconds : 0,
	    (unsigned long long)r->requests, (unsigned long long)r->updates,
	    (unsigned long long)r->retries, (unsigned long long)r->connects,
	    r->cpu_seconds);
	for (int i = 0; i < OUTCOME_COUNT; i++) {
		if (r->outcomes[i] > 0)
			(void)fprintf(to, "  %-17s %llu%s%s\n",
			    outcome_names[i],
			    (unsigned long long)r->outcomes[i],
			    r->why[i][0] == '\0' ? "" : "  ", r->why[i]);
	}
	if (r->outcomes[OUTCOME_DROPPED] > 0)
		(void)fputs("note: the TAM does not know the keys of the "
		            "agents that were dropped, or refuses them: see "
		            "tamctl device import, and its metric "
		            "tam_messages_dropped_total\n",
		    to);
	hist_text("latency", &r->latency, to);
	hist_text("service", &r->service, to);
	if (p->rate > 0 && r->late * 10 > r->sessions)
		(void)fprintf(to,
		    "note: %llu sessions started late; the rate was not "
		    "reached, latency says how far behind it was\n",
		    (unsigned long long)r->late);
}
