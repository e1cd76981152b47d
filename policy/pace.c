#include "config.h"

#include "policy/policy.h"

/* When to offer what was decided (DESIGN: the life of an Update). */

#define SECOND INT64_C(1000000)

static const int64_t reoffer_after = 600 * SECOND;
static const int64_t backoff_first = 60 * SECOND;
static const int64_t backoff_permanent = INT64_C(21600) * SECOND;
static const int64_t backoff_max = INT64_C(86400) * SECOND;

static int64_t
doubled(int64_t first, int64_t times)
{
	int64_t v = first;

	while (times-- > 0 && v < backoff_max)
		v *= 2;
	return v < backoff_max ? v : backoff_max;
}

/* An offer nobody answered: a revocation is repeated at once twice. */
static int64_t
reoffer_delay(const struct policy_last *last, bool revocation)
{
	if (!revocation)
		return reoffer_after;
	return last->attempt < 3 ? 0
	                         : doubled(backoff_first, last->attempt - 3);
}

struct policy_pace
policy_pace(const struct policy_last *last, bool revocation, int64_t now_us)
{
	struct policy_pace pace = {.offer = true};
	int64_t delay;

	if (!last->same)
		return pace;
	if (last->open && now_us < last->expires_us) {
		pace.again = true;
		pace.until_us =
		    last->offered_us + reoffer_delay(last, revocation);
		pace.reason = "awaiting_answer";
	} else if (last->answered) {
		/* An Error, or a Success the device does not show. */
		delay = last->failed && last->err_code == 1 ? backoff_permanent
		                                            : backoff_first;
		pace.until_us =
		    last->closed_us + doubled(delay, last->failures);
		pace.reason =
		    last->failed ? "backoff_after_error" : "not_effective";
	}
	pace.offer = now_us >= pace.until_us;
	if (!pace.offer)
		pace.again = false;
	return pace;
}
