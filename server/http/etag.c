#include "config.h"

#include "server/http/etag.h"

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

/* entity-tag = [ "W/" ] DQUOTE *etagc DQUOTE */
static bool
take_tag(struct slice *s, bool *weak, struct slice *tag)
{
	size_t n = 1;

	*weak = s->n >= 2 && s->p[0] == 'W' && s->p[1] == '/';
	if (*weak)
		pass(s, 2);
	if (s->n == 0 || s->p[0] != '"')
		return false;
	while (n < s->n && s->p[n] != '"') {
		if (s->p[n] <= ' ' || s->p[n] == 0x7f)
			return false;
		n++;
	}
	if (n == s->n)
		return false;
	*tag = (struct slice){s->p, n + 1};
	pass(s, n + 1);
	return true;
}

enum etag_verdict
etag_match(struct slice list, struct slice tag, bool weak_matches)
{
	enum etag_verdict verdict = ETAG_MALFORMED;
	struct slice one;
	bool weak;

	skip_blanks(&list);
	if (list.n > 0 && list.p[0] == '*') {
		pass(&list, 1);
		skip_blanks(&list);
		return list.n > 0 ? ETAG_MALFORMED
		    : tag.n > 0   ? ETAG_MATCHES
		                  : ETAG_DIFFERS;
	}
	while (list.n > 0) {
		if (list.p[0] ==
		    ',') { /* empty members are passed over: 5.6.1 */
			pass(&list, 1);
			skip_blanks(&list);
			continue;
		}
		if (!take_tag(&list, &weak, &one))
			return ETAG_MALFORMED;
		skip_blanks(&list);
		if (list.n > 0 && list.p[0] != ',')
			return ETAG_MALFORMED;
		if (verdict == ETAG_MALFORMED)
			verdict = ETAG_DIFFERS;
		if (tag.n > 0 && slice_eq(one, tag) && (weak_matches || !weak))
			verdict = ETAG_MATCHES;
	}
	return verdict;
}
