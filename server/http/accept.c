#include "config.h"

#include "server/http/accept.h"

#include <strings.h>

/* A media range and its weight. */
struct range {
	struct slice type, subtype;
	unsigned q; /* in thousandths */
	bool good;
};

static void
pass(struct slice *s, size_t n)
{
	s->p += n;
	s->n -= n;
}

static void
skip_blanks(struct slice *s)
{
	while (s->n > 0 && (s->p[0] == ' ' || s->p[0] == '\t'))
		pass(s, 1);
}

/* RFC 9110, 5.6.2. */
static struct slice
take_token(struct slice *s)
{
	struct slice out = *s;

	while (s->n > 0 && s->p[0] > ' ' && s->p[0] < 0x7f &&
	    strchr("()<>@,;:\\\"/[]?={}", s->p[0]) == NULL)
		pass(s, 1);
	out.n -= s->n;
	return out;
}

/* 5.6.4; the opening quote is there.  False without a closing one. */
static bool
skip_quoted(struct slice *s)
{
	pass(s, 1);
	while (s->n > 0 && s->p[0] != '"')
		pass(s, s->p[0] == '\\' && s->n > 1 ? 2 : 1);
	if (s->n == 0)
		return false;
	pass(s, 1);
	return true;
}

static bool
is_word(struct slice s, const char *word)
{
	return s.n == strlen(word) &&
	    strncasecmp((const char *)s.p, word, s.n) == 0;
}

/* qvalue = 0[.ddd] or 1[.000] (12.4.2). */
static bool
read_weight(struct slice s, unsigned *out)
{
	unsigned unit = 1000, v;

	if (s.n == 0 || s.n > 5 || (s.p[0] != '0' && s.p[0] != '1') ||
	    (s.n > 1 && s.p[1] != '.'))
		return false;
	v = (unsigned)(s.p[0] - '0') * unit;
	for (size_t i = 2; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		unit /= 10;
		v += (unsigned)(s.p[i] - '0') * unit;
	}
	*out = v;
	return v <= 1000;
}

/* One ";name=value". */
static bool
read_parameter(struct slice *s, struct range *r)
{
	struct slice name, value;

	skip_blanks(s);
	name = take_token(s);
	if (name.n == 0) /* ";" and nothing: allowed (5.6.6) */
		return true;
	if (s->n == 0 || s->p[0] != '=')
		return false;
	pass(s, 1);
	value = *s;
	if (s->n > 0 && s->p[0] == '"') {
		if (!skip_quoted(s))
			return false;
	} else if (take_token(s).n == 0) {
		return false;
	}
	value.n -= s->n;
	return !is_word(name, "q") || read_weight(value, &r->q);
}

/* Up to the comma that ends it, also of a range that cannot be read. */
static void
skip_range(struct slice *s)
{
	while (s->n > 0 && s->p[0] != ',') {
		if (s->p[0] != '"')
			pass(s, 1);
		else if (!skip_quoted(s))
			return;
	}
}

static struct range
take_range(struct slice *s)
{
	struct range r = {.q = 1000};
	bool good;

	skip_blanks(s);
	r.type = take_token(s);
	good = s->n > 0 && s->p[0] == '/';
	if (good)
		pass(s, 1);
	r.subtype = take_token(s);
	skip_blanks(s);
	while (good && s->n > 0 && s->p[0] == ';') {
		pass(s, 1);
		good = read_parameter(s, &r);
		skip_blanks(s);
	}
	r.good = good && r.type.n > 0 && r.subtype.n > 0 &&
	    (s->n == 0 || s->p[0] == ',');
	skip_range(s);
	if (s->n > 0)
		pass(s, 1); /* the comma */
	return r;
}

/* How exactly a range names the type; 0: not at all. */
static int
precision(const struct range *r, struct slice type, struct slice subtype)
{
	if (!r->good)
		return 0;
	if (slice_is(r->type, "*"))
		return slice_is(r->subtype, "*") ? 1 : 0;
	if (r->type.n != type.n ||
	    strncasecmp((const char *)r->type.p, (const char *)type.p,
	        type.n) != 0)
		return 0;
	if (slice_is(r->subtype, "*"))
		return 2;
	return r->subtype.n == subtype.n &&
	        strncasecmp((const char *)r->subtype.p, (const char *)subtype.p,
	            subtype.n) == 0
	    ? 3
	    : 0;
}

bool
accept_covers(struct slice list, const char *media_type)
{
	struct slice type = {(const uint8_t *)media_type,
	    strcspn(media_type, "/")};
	struct slice subtype = slice_str(media_type + type.n + 1);
	int best = 0;
	unsigned q = 0;

	while (list.n > 0) {
		struct range r = take_range(&list);
		int how = precision(&r, type, subtype);

		if (how > best || (how == best && how > 0 && r.q > q)) {
			best = how;
			q = r.q;
		}
	}
	return q > 0;
}

bool
media_type_is(struct slice value, const char *media_type)
{
	size_t n = strlen(media_type);

	skip_blanks(&value);
	if (value.n < n ||
	    strncasecmp((const char *)value.p, media_type, n) != 0)
		return false;
	pass(&value, n);
	skip_blanks(&value);
	return value.n == 0 || value.p[0] == ';';
}
