/*
 * policy.h - from what is known about a device to what it should hold.
 *
 * A policy_set is one domain's rules, manifests and revocations at one epoch:
 * built once, immutable, shared by threads, reference-counted.  Deciding is
 * pure: the same set and the same facts give the same decision.  Time is an
 * argument, nothing is asked of anybody, nothing is kept.
 */
#ifndef POLICY_POLICY_H
#define POLICY_POLICY_H

#include "lib/base/arena.h"
#include "lib/base/slice.h"
#include "policy/selector.h"

enum {
	POLICY_DIGEST_SIZE = 32,
	POLICY_ERROR_MAX = 256,
	POLICY_COMPONENTS_MAX = 256 /* of one policy */
};

/* --- building a set --------------------------------------------------------- */

struct policy_set;
struct policy_builder;

struct policy_manifest {
	struct slice digest;
	struct slice id;     /* manifest-component-id */
	struct slice signer; /* the name of its trust anchor */
	uint64_t sequence;
	struct slice envelope; /* without bytes: only its size is known */
	/* The envelope without what is integrated in it, for who has the
	 * binary, or can fetch it; empty: there is no such form. */
	struct slice bare;
	bool fetchable; /* what is integrated goes by a URI */
	size_t n_components;
	const struct policy_component *components; /* its dependencies' too */
	size_t n_dependencies;
	const struct slice *dependencies; /* digests of manifests */
};

struct policy_builder *policy_builder_new(void);
void policy_builder_free(struct policy_builder *);

/* Copies everything. */
void policy_add_manifest(struct policy_builder *,
    const struct policy_manifest *);

/* NULL: it was not added. */
const struct policy_manifest *
policy_builder_manifest(const struct policy_builder *, struct slice digest);

/* A name that policies may use for a manifest, which is there already. */
void policy_add_channel(struct policy_builder *, const char *name,
    struct slice digest);

/*
 * A policy document; false and `error`, a sentence with a JSON pointer in
 * front, when it is not valid.  Manifests and channels are added first: what
 * a document names must be there.  parse_id turns a component id's text into CBOR.
 */
bool policy_add_policy(struct policy_builder *, const char *name,
    const char *document, policy_parse_id, char error[POLICY_ERROR_MAX]);

/*
 * What a revocation is about: a component id (a component's or a manifest's),
 * of which only the sequence numbers of a range where one is given; or a
 * manifest's digest; or all that one signer published; or a class of devices.
 * Who holds the target loses it; or with `quarantine`, as it always is of a
 * class, keeps it, and policies and rollouts say nothing until the revocation
 * is lifted or the target is gone.
 */
struct policy_revocation {
	int64_t id;
	struct slice component, manifest, signer, class_name;
	bool quarantine;
	bool ranged;
	uint64_t first, last;     /* sequence numbers, both included */
	struct slice replacement; /* a manifest for who shows it; or empty */
};

/* Copies everything.  Manifests are added before. */
void policy_add_revocation(struct policy_builder *,
    const struct policy_revocation *);

/* Ends the builder; the set starts with one reference. */
struct policy_set *policy_build(struct policy_builder *);
struct policy_set *policy_set_ref(struct policy_set *);
void policy_set_unref(struct policy_set *);

/* Whether a rule, or a rollout's stage, asks for that of a device. */
bool policy_asks(const struct policy_set *, enum selector_asked);

/* What a revocation takes from devices: components, of any image or of one;
 * in the arena.  *named: how many manifests of the set it is about. */
size_t policy_revocation_targets(const struct policy_set *,
    const struct policy_revocation *, struct arena *,
    struct policy_component **, size_t *named);

/* By its own id, or a component it installs. */
bool policy_manifest_brings(const struct policy_manifest *, struct slice id);

/* Whether a revocation alone would be about a manifest. */
bool policy_would_revoke(const struct policy_revocation *,
    const struct policy_manifest *);

/* NULL when the set has no such manifest. */
const struct policy_manifest *policy_find_manifest(const struct policy_set *,
    struct slice digest);
/* Whether a manifest, or a component it installs, is revoked. */
bool policy_is_revoked(const struct policy_set *,
    const struct policy_manifest *);

/* Whether the policy contradicts another of the same priority that can be for
 * the same devices; `error` as above. */
bool policy_conflicts(const struct policy_set *, const char *name,
    char error[POLICY_ERROR_MAX]);
/* A manifest that the policy wants and that is revoked; or NULL. */
const struct policy_manifest *policy_names_revoked(const struct policy_set *,
    const char *name);

/* Whether an image, by its digest, belongs to something revoked. */
bool policy_image_revoked(const struct policy_set *, struct slice digest);

/* --- deciding ---------------------------------------------------------------- */

/* What a device asks for; the least sequence number it takes, 0 for any. */
struct policy_request {
	struct slice component; /* a component's id or a manifest's */
	uint64_t sequence;
	bool have_binary; /* of exactly this sequence number */
};

/* What is known of the device's word. */
enum policy_attestation {
	POLICY_UNATTESTED, /* it was not asked for proof */
	POLICY_ATTESTED,
	POLICY_ATTEST_FAILED /* what it says is not believed */
};

/* How far a device is in a rollout that reached it, forth or back. */
enum policy_part_state {
	PART_NONE,
	PART_OFFERED,
	PART_ACKNOWLEDGED, /* the device said Success */
	PART_VERIFIED,     /* an answer given after that showed it */
	PART_FAILED
};

struct policy_part {
	int64_t rollout;
	int stage;
	bool back;
	enum policy_part_state state;
};

enum {
	POLICY_BUCKETS = 10000
};

struct policy_facts {
	struct selector_subject subject;
	int bucket; /* from 0 to POLICY_BUCKETS - 1, of its name, for good */
	size_t n_parts;
	const struct policy_part *parts;
	enum policy_attestation attestation;
	size_t n_requested, n_unneeded;
	const struct policy_request *requested;
	const struct slice *unneeded; /* manifest ids; a hint, we decide */
	size_t n_components;
	const struct policy_component *components; /* what it holds */
	size_t update_max; /* bytes of manifests one Update may carry */
};

/* Static, machine-readable: "up_to_date", "policy", "revocation", ... */
/* What a device is in one rollout by this decision. */
struct policy_standing {
	int64_t rollout;
	int stage;
	bool back;   /* it is to go back */
	bool work;   /* something is to be sent for it */
	bool held;   /* the device shows all of it */
	bool failed; /* it does not attest any more */
};

enum {
	/* Rollouts that reach one device: all of a domain's may. */
	POLICY_STANDINGS_MAX = 32
};

struct policy_decision {
	const char *reason;
	int64_t until_us;      /* when that changes; 0: nobody knows */
	int64_t good_until_us; /* then it may be another; 0: facts decide */
	bool verify;           /* ask again after this Update */
	int64_t poll_s;        /* how often to come, by the best rule; or 0 */
	bool quarantined;      /* a revocation keeps it from getting anything */
	size_t n_standings;
	struct policy_standing standings[POLICY_STANDINGS_MAX];
	bool needs_attestation; /* a policy that matches asks for it */
	size_t n_manifests, n_unlinks, n_shown;
	const struct policy_manifest **manifests; /* to send; the set's */
	struct slice *envelopes;                  /* of them, whole or bare */
	struct slice *unlinks;                    /* manifest-component-ids */
	int64_t *shown; /* revocations whose target the device holds */
	/* What a Success will mean. */
	size_t n_adds, n_removes;
	struct policy_component *adds;
	struct slice *removes; /* component ids */
};

/* Lists live in the arena, what they point to in the set. */
void policy_decide(const struct policy_set *, const struct policy_facts *,
    struct arena *, struct policy_decision *);

/* What became of each thing that a rule speaks of. */
struct policy_step {
	const char *policy, *verdict; /* the set's; static */
	const char *rollout;          /* that made the rule, or replaces it */
	int64_t priority;
	struct slice about; /* a manifest's id, or a component's */
	const struct policy_manifest *manifest; /* to be present; or NULL */
	const char *winner; /* what decided it instead; NULL: this did */
};

struct policy_trace {
	size_t n, considered;      /* rules that the index named */
	struct policy_step *steps; /* in the arena of the decision */
};

/* The same decision, and why: the rules that matched, best first. */
void policy_explain(const struct policy_set *, const struct policy_facts *,
    struct arena *, struct policy_decision *, struct policy_trace *);

/* What makes two Updates the same, to be hashed in this order: manifests,
 * whole or bare, and unlinks; in the arena. */
size_t policy_content(const struct policy_decision *, struct arena *,
    struct slice **);

static inline bool
policy_has_work(const struct policy_decision *d)
{
	return d->n_manifests + d->n_unlinks > 0;
}

/* What is to be written down of a device in a rollout. */
enum policy_mark {
	MARK_OFFERED, /* the Update that goes out now brings it */
	MARK_HELD,
	MARK_MISSING, /* acknowledged, and not there */
	MARK_FAILED   /* its attestation failed */
};

struct policy_part_mark {
	int64_t rollout;
	int stage;
	bool back;
	enum policy_mark mark;
};

/* What the decision says that the facts did not; `offered`: its Update goes
 * out.  How many, at most POLICY_STANDINGS_MAX. */
size_t policy_marks(const struct policy_facts *, const struct policy_decision *,
    bool offered, struct policy_part_mark *);

/* --- pacing: when to offer what was decided ---------------------------------- */

/* The newest Update of the device, if its content is the same. */
struct policy_last {
	bool same;   /* its content is what was decided now */
	bool open;   /* and it has not been answered */
	bool failed; /* or it was, with an Error */
	bool answered;
	int64_t err_code;
	int64_t attempt, failures; /* offers so far; errors in a row */
	int64_t offered_us, closed_us, expires_us;
};

struct policy_pace {
	bool offer;
	bool again; /* another offer of the same Update */
	const char *reason;
	int64_t until_us; /* when to look again; 0 when nobody knows */
};

struct policy_pace policy_pace(const struct policy_last *, bool revocation,
    int64_t now_us);

#endif
