#include "config.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "lib/base/number.h"
#include "server/http/server.h"

/*
 * How often a source may ask: a direct-mapped table of token buckets.  Two
 * sources in one slot push each other out, so a table full of strangers makes
 * the limit milder, never harsher, and never larger.
 *
 * How much a source holds: an entry per source that has connections, chained
 * from the same slots.  connections_max bounds their number.
 */

enum {
	SLOTS = 4096, /* power of two */
	BURST_SECONDS = 2
};

struct http_sources {
	struct {
		uint8_t address[HTTP_SOURCE_SIZE];
		double tokens;
		int64_t refilled_us;
	} slots[SLOTS];
	struct http_source *living[SLOTS];
};

struct http_sources *
http_sources_new(void)
{
	return mem_new(struct http_sources);
}

void
http_sources_free(struct http_sources *s)
{
	free(s);
}

/* The network that an IPv6 address belongs to; IPv4 addresses as they are. */
static void
group(const uint8_t address[HTTP_SOURCE_SIZE], uint8_t out[HTTP_SOURCE_SIZE])
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	memcpy(out, address, HTTP_SOURCE_SIZE);
	if (memcmp(address, mapped, sizeof(mapped)) != 0)
		memset(out + HTTP_SOURCE_SIZE / 2, 0, HTTP_SOURCE_SIZE / 2);
}

static size_t
slot_of(const uint8_t address[HTTP_SOURCE_SIZE])
{
	uint64_t h = UINT64_C(14695981039346656037); /* FNV-1a */

	for (size_t i = 0; i < HTTP_SOURCE_SIZE; i++)
		h = (h ^ address[i]) * UINT64_C(1099511628211);
	return (h >> 20) & (SLOTS - 1);
}

static bool
in_net(const uint8_t *address, const uint8_t *net, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;

	if (memcmp(address, net, whole) != 0)
		return false;
	return rest == 0 || (address[whole] ^ net[whole]) >> (8 - rest) == 0;
}

static bool
is_trusted(const struct http_trusted *t, const uint8_t *address)
{
	for (size_t i = 0; t != NULL && i < t->n; i++) {
		if (in_net(address, t->nets[i].address, t->nets[i].bits))
			return true;
	}
	return false;
}

bool
http_sources_take(struct http_sources *s, const struct http_limits *limits,
    const uint8_t address[HTTP_SOURCE_SIZE], int64_t now_us)
{
	double burst = limits->source_rate * BURST_SECONDS;
	uint8_t source[HTTP_SOURCE_SIZE];
	size_t i;

	if (limits->source_rate <= 0 || is_trusted(limits->trusted, address))
		return true;
	group(address, source);
	i = slot_of(source);
	if (memcmp(s->slots[i].address, source, HTTP_SOURCE_SIZE) != 0) {
		memcpy(s->slots[i].address, source, HTTP_SOURCE_SIZE);
		s->slots[i].tokens = burst;
		s->slots[i].refilled_us = now_us;
	}
	s->slots[i].tokens += (double)(now_us - s->slots[i].refilled_us) *
	    limits->source_rate / 1e6;
	s->slots[i].refilled_us = now_us;
	if (s->slots[i].tokens > burst)
		s->slots[i].tokens = burst;
	if (s->slots[i].tokens < 1.0)
		return false;
	s->slots[i].tokens -= 1.0;
	return true;
}

struct http_source *
http_source_join(struct http_sources *s, const struct http_limits *limits,
    const uint8_t address[HTTP_SOURCE_SIZE], bool reserved)
{
	uint8_t source[HTTP_SOURCE_SIZE];
	struct http_source *e, **head;

	group(address, source);
	head = &s->living[slot_of(source)];
	for (e = *head; e != NULL; e = e->next) {
		if (memcmp(e->address, source, HTTP_SOURCE_SIZE) == 0)
			break;
	}
	if (e == NULL) {
		e = mem_new(struct http_source);
		memcpy(e->address, source, HTTP_SOURCE_SIZE);
		e->trusted = is_trusted(limits->trusted, address);
		e->next = *head;
		*head = e;
	} else if (!reserved && !e->trusted &&
	    limits->source_connections_max > 0 &&
	    e->n_conns >= (size_t)limits->source_connections_max) {
		return NULL;
	}
	e->n_conns++;
	return e;
}

void
http_source_leave(struct http_sources *s, struct http_source *e)
{
	struct http_source **p = &s->living[slot_of(e->address)];

	if (--e->n_conns > 0)
		return;
	assert(e->held == 0);
	while (*p != e)
		p = &(*p)->next;
	*p = e->next;
	free(e);
}

int
http_admit(struct http_server *server, const uint8_t address[HTTP_SOURCE_SIZE])
{
	if (!http_sources_take(server->sources, server->limits, address,
	        clock_mono_us())) {
		COUNT(server->counters, requests_limited);
		return 429;
	}
	return 0;
}

static bool
parse_net(const char *text, struct http_trusted *out)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	char address[64];
	size_t n = strcspn(text, "/");
	uint8_t *to;
	int64_t bits = 128;
	bool v4;

	if (n >= sizeof(address) || out->n == 32)
		return false;
	to = out->nets[out->n].address;
	(void)snprintf(address, sizeof(address), "%.*s", (int)n, text);
	v4 = inet_pton(AF_INET, address, to + 12) == 1;
	if (v4)
		memcpy(to, mapped, sizeof(mapped));
	else if (inet_pton(AF_INET6, address, to) != 1)
		return false;
	if (text[n] == '/') {
		if (!number_parse(text + n + 1, 0, v4 ? 32 : 128, &bits))
			return false;
		bits += v4 ? 96 : 0;
	}
	out->nets[out->n++].bits = (unsigned)bits;
	return true;
}

bool
http_trusted_parse(const char *list, struct http_trusted *out)
{
	char net[80];

	memset(out, 0, sizeof(*out));
	for (;;) {
		size_t n;

		list += strspn(list, ", ");
		if (*list == '\0')
			return true;
		n = strcspn(list, ", ");
		if (n >= sizeof(net))
			return false;
		(void)snprintf(net, sizeof(net), "%.*s", (int)n, list);
		if (!parse_net(net, out))
			return false;
		list += n;
	}
}
