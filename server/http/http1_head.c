#include "config.h"

#include "server/http/http1_head.h"

/* RFC 9110, 5.6.2. */
static bool
token_char(uint8_t c)
{
	static const char others[] = "!#$%&'*+-.^_`|~";

	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
	    (c >= 'A' && c <= 'Z') || (c != '\0' && strchr(others, c) != NULL);
}

static bool
is_token(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (!token_char(s.p[i]))
			return false;
	}
	return s.n > 0;
}

/* RFC 9110, 5.5: no control characters but the tab. */
static bool
is_value(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		if ((s.p[i] < ' ' && s.p[i] != '\t') || s.p[i] == 0x7f)
			return false;
	}
	return true;
}

static struct slice
trimmed(struct slice s)
{
	while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
		s.p++;
		s.n--;
	}
	while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

static struct slice
take_until(struct slice *s, const char *end, bool *found)
{
	size_t end_n = strlen(end);
	const uint8_t *at = s->n == 0 ? NULL : memmem(s->p, s->n, end, end_n);
	struct slice out;

	*found = at != NULL;
	out = (struct slice){s->p, at == NULL ? s->n : (size_t)(at - s->p)};
	s->p += out.n + (at == NULL ? 0 : end_n);
	s->n -= out.n + (at == NULL ? 0 : end_n);
	return out;
}

static bool
same_word(struct slice s, const char *lower)
{
	if (s.n != strlen(lower))
		return false;
	for (size_t i = 0; i < s.n; i++) {
		uint8_t c = s.p[i];

		if ((c >= 'A' && c <= 'Z' ? c + 32 : c) != lower[i])
			return false;
	}
	return true;
}

/* --- the request line ------------------------------------------------------------- */

static bool
target_char(uint8_t c)
{
	return c > ' ' && c < 0x7f && c != '#';
}

/*
 * RFC 9112, 3.2.2: a target in absolute-form is taken; it stands above Host,
 * which nothing we serve looks at.  Leaves what origin-form would be.
 */
static bool
strip_authority(struct slice *target)
{
	static const char *const schemes[] = {"http://", "https://"};
	struct slice s = *target;
	size_t n = 0;

	for (size_t i = 0; i < 2 && n == 0; i++) {
		size_t scheme = strlen(schemes[i]);

		if (s.n > scheme &&
		    same_word((struct slice){s.p, scheme}, schemes[i]))
			n = scheme;
	}
	if (n == 0 || s.p[n] == '/' || s.p[n] == '?' || s.p[n] == ':')
		return false;
	while (n < s.n && s.p[n] != '/' && s.p[n] != '?') {
		if (s.p[n++] == '@') /* user information: 4.2.4 of RFC 9110 */
			return false;
	}
	*target = (struct slice){s.p + n, s.n - n};
	return true;
}

static int
parse_request_line(struct slice line, struct http_exchange *x,
    struct http1_head *h)
{
	bool found, absolute;
	struct slice target;

	x->method = take_until(&line, " ", &found);
	if (!found || !is_token(x->method))
		return 400;
	target = take_until(&line, " ", &found);
	if (!found || target.n == 0)
		return 400;
	absolute = target.p[0] != '/';
	if (absolute && !strip_authority(&target))
		return 400; /* authority-form and "*" are of no method here */
	for (size_t i = 0; i < target.n; i++) {
		if (!target_char(target.p[i]))
			return 400;
	}
	if (slice_is(line, "HTTP/1.1"))
		h->minor = 1;
	else if (slice_is(line, "HTTP/1.0"))
		h->minor = 0;
	else
		return line.n == 8 && memcmp(line.p, "HTTP/", 5) == 0 ? 505
		                                                      : 400;
	x->path = take_until(&target, "?", &found);
	x->query = target;
	if (absolute && x->path.n == 0)
		x->path = SLICE_LIT("/");
	return 0;
}

/* --- header fields ------------------------------------------------------------------ */

static bool
split_header(struct slice line, struct http_header *out)
{
	bool found;

	out->name = take_until(&line, ":", &found);
	out->value = trimmed(line);
	return found && is_token(out->name) && is_value(out->value);
}

bool
http1_is_header_line(struct slice line)
{
	struct http_header ignored;

	return split_header(line, &ignored);
}

static void
lower(struct slice s)
{
	/* The head was copied for us; names are compared in lower case. */
	uint8_t *p = slice_unconst(s);

	for (size_t i = 0; i < s.n; i++) {
		if (p[i] >= 'A' && p[i] <= 'Z')
			p[i] = (uint8_t)(p[i] + 32);
	}
}

static int
parse_headers(struct slice rest, struct http_exchange *x)
{
	bool found = true;

	while (rest.n > 0) {
		struct slice line = take_until(&rest, "\r\n", &found);

		if (line.n == 0)
			break;
		if (x->n_headers == HTTP_HEADERS_MAX)
			return 431;
		if (!found || !split_header(line, &x->headers[x->n_headers]))
			return 400;
		lower(x->headers[x->n_headers].name);
		x->n_headers++;
	}
	return 0;
}

/* --- what the headers say about framing ----------------------------------------------- */

static bool
parse_length(struct slice s, uint64_t *out)
{
	uint64_t v = 0;

	if (s.n == 0 || s.n > 18)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		v = v * 10 + (uint64_t)(s.p[i] - '0');
	}
	*out = v;
	return true;
}

static size_t
count_headers(const struct http_exchange *x, const char *name)
{
	size_t n = 0;

	for (size_t i = 0; i < x->n_headers; i++)
		n += slice_is(x->headers[i].name, name);
	return n;
}

/* Section 6.3: both, or one twice, is how requests are smuggled. */
static int
check_framing(const struct http_exchange *x, struct http1_head *h)
{
	size_t lengths = count_headers(x, "content-length");
	size_t encodings = count_headers(x, "transfer-encoding");

	if (lengths + encodings > 1 || (encodings > 0 && h->minor == 0))
		return 400;
	if (lengths == 1 &&
	    !parse_length(http_header(x, "content-length"), &h->length))
		return 400;
	if (encodings == 1) {
		if (!same_word(http_header(x, "transfer-encoding"), "chunked"))
			return 501;
		h->chunked = true;
	}
	return 0;
}

static int
check_rest(const struct http_exchange *x, struct http1_head *h)
{
	size_t hosts = count_headers(x, "host");
	struct slice connection = http_header(x, "connection");
	bool found = true;

	if (hosts > 1 || (hosts == 0 && h->minor == 1))
		return 400;
	h->keep_alive = h->minor == 1;
	while (connection.n > 0 && found) {
		struct slice word =
		    trimmed(take_until(&connection, ",", &found));

		if (same_word(word, "close"))
			h->keep_alive = false;
		else if (same_word(word, "keep-alive") && h->minor == 0)
			h->keep_alive = true;
	}
	if (!http_has_header(x, "expect"))
		return 0;
	if (!same_word(http_header(x, "expect"), "100-continue"))
		return 417;
	h->expects_continue = h->minor == 1;
	return 0;
}

int
http1_parse_head(struct slice head, struct http_exchange *x,
    struct http1_head *h)
{
	bool found;
	struct slice line;
	int status;

	*h = (struct http1_head){0};
	for (size_t i = 0; i < head.n; i++) {
		bool bare_cr = head.p[i] == '\r' &&
		    (i + 1 == head.n || head.p[i + 1] != '\n');
		bool bare_lf =
		    head.p[i] == '\n' && (i == 0 || head.p[i - 1] != '\r');

		if (bare_cr || bare_lf || head.p[i] == '\0')
			return 400;
	}
	line = take_until(&head, "\r\n", &found);
	status = parse_request_line(line, x, h);
	if (status == 0)
		status = parse_headers(head, x);
	if (status == 0)
		status = check_framing(x, h);
	if (status == 0)
		status = check_rest(x, h);
	return status;
}

bool
http1_parse_chunk_size(struct slice line, uint64_t *size)
{
	uint64_t v = 0;
	size_t i;

	for (i = 0; i < line.n; i++) {
		uint8_t c = line.p[i];
		unsigned digit;

		if (c >= '0' && c <= '9')
			digit = c - '0';
		else if (c >= 'a' && c <= 'f')
			digit = c - 'a' + 10u;
		else if (c >= 'A' && c <= 'F')
			digit = c - 'A' + 10u;
		else
			break;
		if (i >= 15)
			return false;
		v = v << 4 | digit;
	}
	if (i == 0)
		return false;
	*size = v;
	if (i == line.n)
		return true;
	/* chunk-ext = ";" ...; anything else in its place is an attack. */
	return line.p[i] == ';' && is_value(line);
}

const char *
http1_reason(int status)
{
	static const struct {
		int status;
		const char *reason;
	} reasons[] = {
	    {200, "OK"},
	    {201, "Created"},
	    {202, "Accepted"},
	    {204, "No Content"},
	    {206, "Partial Content"},
	    {304, "Not Modified"},
	    {400, "Bad Request"},
	    {401, "Unauthorized"},
	    {403, "Forbidden"},
	    {404, "Not Found"},
	    {405, "Method Not Allowed"},
	    {406, "Not Acceptable"},
	    {408, "Request Timeout"},
	    {409, "Conflict"},
	    {412, "Precondition Failed"},
	    {413, "Content Too Large"},
	    {415, "Unsupported Media Type"},
	    {416, "Range Not Satisfiable"},
	    {417, "Expectation Failed"},
	    {422, "Unprocessable Content"},
	    {428, "Precondition Required"},
	    {429, "Too Many Requests"},
	    {431, "Request Header Fields Too Large"},
	    {500, "Internal Server Error"},
	    {501, "Not Implemented"},
	    {503, "Service Unavailable"},
	    {505, "HTTP Version Not Supported"},
	};

	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
		if (reasons[i].status == status)
			return reasons[i].reason;
	}
	return "Unknown";
}
