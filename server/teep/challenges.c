#include "config.h"

#include "server/teep/challenges.h"

#include "server/http/exchange.h"
#include "server/teep/token.h"

struct challenges {
	bool any;
	uint8_t newest[TOKEN_SIZE];
};

void
challenges_add(const struct http_exchange *x, struct slice challenge)
{
	struct challenges *c = http_notes(x, sizeof(*c));

	if (c == NULL || challenge.n != TOKEN_SIZE)
		return;
	c->any = true;
	memcpy(c->newest, challenge.p, TOKEN_SIZE);
}

struct slice
challenges_newest(const struct http_exchange *x)
{
	const struct challenges *c = http_notes(x, sizeof(*c));

	return c != NULL && c->any ? SLICE_OF(c->newest) : slice_none();
}
