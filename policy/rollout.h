/*
 * rollout.h - a change that goes to a part of the fleet first: its document,
 * which devices are in which stage, and when it goes on, stops or goes back.
 *
 * A rollout changes one policy, or where one channel points to.  The devices
 * it has reached are decided by what will be, the others by what is; when its
 * last stage has passed, what will be is made what is.  (tam-rollout(7) is
 * the administrator's manual.)
 *
 *	{"policy": "cam", "document": {...},          or
 *	 "channel": "stable", "manifest": "<digest>",
 *	 "rollback": {...} or "<digest>",
 *	 "stages": [{"selector": "...", "percent": 10, ...}, ...],
 *	 "success_percent": 95, "minimum_percent": 50, "soak_s": 3600,
 *	 "gate": "auto",
 *	 "limits": {"refused": 2, "manifest_failed": 2, "any": 5, ...},
 *	 "answer_within_s": 86400, "on_failure": "pause",
 *	 "windows": [{"days": ["sat"], "from": "22:00", "to": "04:00",
 *	              "zone": "Europe/Berlin"}]}
 *
 * Everything here is pure: time is an argument, nothing is asked of anybody.
 */
#ifndef POLICY_ROLLOUT_H
#define POLICY_ROLLOUT_H

#include "policy/policy.h"

enum {
	ROLLOUT_STAGES_MAX = 16,
	ROLLOUT_WINDOWS_MAX = 16,
	ROLLOUT_LIVE_MAX = 32, /* of one domain */
	ROLLOUT_WHOLE = 10000, /* percentages are counted in hundredths */
	ROLLOUT_REASON_MAX = 160
};

/* How a device can fail in a rollout. */
#define ROLLOUT_FAILURES(X)   \
	X(refused)            \
	X(manifest_failed)    \
	X(attestation_failed) \
	X(no_answer)          \
	X(not_effective)

enum rollout_failure {
#define X(name) ROLLOUT_##name,
	ROLLOUT_FAILURES(X)
#undef X
	ROLLOUT_FAILURE_COUNT
};

extern const char *const rollout_failure_names[ROLLOUT_FAILURE_COUNT];

struct rollout_stage {
	struct selector *selector; /* NULL: any device */
	int part;                  /* of ROLLOUT_WHOLE; by bucket */
	int success;               /* of ROLLOUT_WHOLE, of those settled */
	int64_t minimum;           /* settled before it is good; -1: a share */
	int share;                 /* the minimum as part of ROLLOUT_WHOLE */
	int64_t soak_us;           /* to stay good before the next opens */
	bool manual;               /* a person opens the next */
};

struct rollout_plan {
	const char *policy;  /* what it changes: one of the two, */
	const char *channel; /* the other NULL */
	size_t n_stages;
	struct rollout_stage stages[ROLLOUT_STAGES_MAX];
	int limits[ROLLOUT_FAILURE_COUNT]; /* of ROLLOUT_WHOLE; -1: none */
	int any_limit;
	int64_t answer_within_us;
	bool goes_back;   /* on failure; else it pauses */
	bool can_go_back; /* the document says how */
	bool windowed;
};

/* --- where one is -------------------------------------------------------------- */

#define ROLLOUT_PHASES(X) \
	X(draft)          \
	X(running)        \
	X(paused)         \
	X(rolling_back) X(completed) X(rolled_back) X(aborted) X(cancelled)

enum rollout_phase {
#define X(name) ROLLOUT_PHASE_##name,
	ROLLOUT_PHASES(X)
#undef X
	ROLLOUT_PHASE_COUNT
};

extern const char *const rollout_phase_names[ROLLOUT_PHASE_COUNT];

/* ROLLOUT_PHASE_COUNT for a name there is not. */
enum rollout_phase rollout_phase_of(const char *name);

struct rollout_position {
	enum rollout_phase phase;
	size_t opened;    /* stages that devices are taken into */
	int64_t stage_us; /* when the last was opened, or the way back began */
	int64_t met_us;   /* since when it is good enough; 0: it is not */
	bool window_open;
	int64_t window_us; /* when that changes; 0: it does not */
	bool settling;     /* it ended; some it reached are on their way */
};

/* A rollout as its row has it. */
struct rollout_row {
	int64_t id;
	const char *name, *document;
	struct rollout_position at;
};

/*
 * Adds a rollout to a set: its manifests, channels and policies are there
 * already.  False and `error` when its document is not valid.
 */
bool policy_add_rollout(struct policy_builder *, const struct rollout_row *,
    policy_parse_id, char error[POLICY_ERROR_MAX]);

/* The plan of one of the set's; NULL: it has none of this name. */
const struct rollout_plan *policy_rollout_plan(const struct policy_set *,
    const char *name);
/* Those of the set; how many. */
size_t policy_rollout_ids(const struct policy_set *, int64_t[ROLLOUT_LIVE_MAX]);
/* Whether it would send what is revoked, and is not wanted without it. */
bool policy_rollout_revoked(const struct policy_set *, const char *name);
/* Whether it contradicts a policy, or speaks about what another rollout does
 * for devices that could be in both; `error` says which. */
bool policy_rollout_conflicts(const struct policy_set *, const char *name,
    char error[POLICY_ERROR_MAX]);

/* --- what can never complete -------------------------------------------------------- */

enum {
	ROLLOUT_WARNING_MAX = 200,
	ROLLOUT_WARNINGS_MAX = 3 * ROLLOUT_STAGES_MAX
};

struct rollout_warning {
	const char *code;
	size_t stage; /* from 0 */
	bool never;   /* the stage never passes by itself */
	char text[ROLLOUT_WARNING_MAX];
};

/* How many devices of a stage of `of` must be settled before it is good. */
int64_t rollout_minimum(const struct rollout_stage *, int64_t of);

/* What to say about a plan whose stages have so many devices; returns the number
 * of warnings. */
size_t rollout_warnings(const struct rollout_plan *,
    const int64_t of[ROLLOUT_STAGES_MAX],
    struct rollout_warning[ROLLOUT_WARNINGS_MAX]);

/* --- the controller's step ------------------------------------------------------- */

/* What became of the devices of one stage. */
struct rollout_tally {
	int64_t of; /* devices in it when the rollout started; 0: unknown */
	int64_t offered, acknowledged, verified;
	int64_t away; /* out of use or silent: nobody waits for them */
	int64_t failed[ROLLOUT_FAILURE_COUNT];
};

struct rollout_counts {
	struct rollout_tally stages[ROLLOUT_STAGES_MAX];
	int64_t waiting;  /* devices of whom an answer is to come */
	int64_t reached;  /* devices it ever came to */
	int64_t returned; /* of them, verified to be back */
	int64_t away;     /* of them, not waited for */
};

struct rollout_step {
	struct rollout_position to;
	/* Devices are decided otherwise, and people are to hear of it. */
	bool seen, told;
	char reason[ROLLOUT_REASON_MAX];
};

/*
 * Where a rollout is to be next; false: where it is.  At most one thing at a
 * time: a stage, a phase, a window or since when it is good.
 */
bool rollout_next(const struct rollout_plan *, const struct rollout_position *,
    const struct rollout_counts *, bool revoked, bool window_open,
    int64_t window_us, int64_t now_us, struct rollout_step *);

#endif
