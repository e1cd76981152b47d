#include "config.h"

#include "policy/version.h"

#include <stddef.h>
#include <string.h>

enum run_kind {
	RUN_LETTERS, /* in the order of their ranks */
	RUN_END,
	RUN_NUMBER
};

struct run {
	enum run_kind kind;
	struct slice text; /* of a number, without leading zeroes */
};

static bool
is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static uint8_t
lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

static bool
is_letter(uint8_t c)
{
	return lower(c) >= 'a' && lower(c) <= 'z';
}

static size_t
separators(struct slice s)
{
	size_t n = 0;

	while (n < s.n && !is_digit(s.p[n]) && !is_letter(s.p[n]))
		n++;
	return n;
}

static struct slice
behind(struct slice s, size_t n)
{
	return (struct slice){s.p + n, s.n - n};
}

/* Zeroes behind a separator, then the end or letters, any number of times:
 * how much of that there is. */
static size_t
silent(struct slice s)
{
	size_t done = 0;

	for (;;) {
		size_t n = done + separators(behind(s, done)), zeroes = n;

		while (zeroes < s.n && s.p[zeroes] == '0')
			zeroes++;
		if (n == done || zeroes == n)
			break;
		done = zeroes;
	}
	if (done == 0)
		return 0;
	s = behind(s, done);
	s = behind(s, separators(s));
	return s.n == 0 || is_letter(s.p[0]) ? done : 0;
}

static struct run
next_run(struct slice *s)
{
	struct run r = {.kind = RUN_END};
	size_t n = 0;

	*s = behind(*s, silent(*s));
	*s = behind(*s, separators(*s));
	if (s->n == 0)
		return r;
	r.kind = is_digit(s->p[0]) ? RUN_NUMBER : RUN_LETTERS;
	while (n < s->n &&
	    (r.kind == RUN_NUMBER ? is_digit(s->p[n]) : is_letter(s->p[n])))
		n++;
	r.text = (struct slice){s->p, n};
	*s = behind(*s, n);
	while (r.kind == RUN_NUMBER && r.text.n > 0 && r.text.p[0] == '0')
		r.text = behind(r.text, 1);
	return r;
}

static int
cmp_letters(struct slice a, struct slice b)
{
	size_t n = a.n < b.n ? a.n : b.n;

	for (size_t i = 0; i < n; i++) {
		if (lower(a.p[i]) != lower(b.p[i]))
			return lower(a.p[i]) < lower(b.p[i]) ? -1 : 1;
	}
	return (a.n > b.n) - (a.n < b.n);
}

static int
cmp_numbers(struct slice a, struct slice b)
{
	if (a.n != b.n)
		return a.n < b.n ? -1 : 1;
	return slice_cmp(a, b);
}

/* Without the letter v in front of a number, and without build metadata. */
static struct slice
essence(struct slice s)
{
	const uint8_t *plus = s.n == 0 ? NULL : memchr(s.p, '+', s.n);

	if (plus != NULL)
		s.n = (size_t)(plus - s.p);
	return s.n >= 2 && lower(s.p[0]) == 'v' && is_digit(s.p[1])
	    ? behind(s, 1)
	    : s;
}

int
version_cmp(struct slice a, struct slice b)
{
	a = essence(a);
	b = essence(b);
	for (;;) {
		struct run x = next_run(&a), y = next_run(&b);
		int c;

		if (x.kind != y.kind)
			return x.kind < y.kind ? -1 : 1;
		if (x.kind == RUN_END)
			return 0;
		c = x.kind == RUN_NUMBER ? cmp_numbers(x.text, y.text)
		                         : cmp_letters(x.text, y.text);
		if (c != 0)
			return c;
	}
}
