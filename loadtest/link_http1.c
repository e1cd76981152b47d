#include "config.h"

#include <stdlib.h>
#include <strings.h>

#include "lib/base/mem.h"
#include "lib/base/number.h"
#include "loadtest/link.h"

/* One request at a time; what a TAM answers has a content-length or no body. */

struct http1 {
	bool head_read;
	size_t left;
	bool close;
};

static void
http1_start(struct link *l)
{
	l->proto = mem_new(struct http1);
}

static void
http1_stop(struct link *l)
{
	free(l->proto);
}

static void
http1_output(struct link *l)
{
	struct link_request *r;

	if (l->n_active > 0)
		return;
	r = link_take(l);
	if (r == NULL)
		return;
	buf_printf(&l->out,
	    "POST %s HTTP/1.1\r\nhost: %s:%d\r\n"
	    "accept: application/teep+cbor\r\n"
	    "content-length: %zu\r\n%s\r\n",
	    r->path, l->options->host, l->options->port, r->body.n,
	    r->body.n > 0 ? "content-type: application/teep+cbor\r\n" : "");
	buf_add_slice(&l->out, r->body);
}

/* False for a length that is not a number. */
static bool
read_length(struct http1 *h, struct slice text)
{
	int64_t length;

	while (text.n > 0 && (text.p[0] == ' ' || text.p[0] == '\t')) {
		text.p++;
		text.n--;
	}
	while (text.n > 0 && text.p[text.n - 1] == ' ')
		text.n--;
	if (!number_parse_slice(text, 0, INT64_MAX, &length))
		return false;
	h->left = (size_t)length;
	return true;
}

static bool
read_field(struct http1 *h, const char *line, size_t n)
{
	if (n > 15 && strncasecmp(line, "content-length:", 15) == 0)
		return read_length(h,
		    (struct slice){(const uint8_t *)line + 15, n - 15});
	else if (n >= 17 && strncasecmp(line, "connection: close", 17) == 0)
		h->close = true;
	return true;
}

static bool
read_head(struct link *l, struct link_request *r)
{
	struct http1 *h = l->proto;
	const char *p = (const char *)l->in.p, *end;
	int64_t status;

	end = memmem(p, l->in.n, "\r\n\r\n", 4);
	if (end == NULL)
		return true;
	if (l->in.n < 12 || strncmp(p, "HTTP/1.1 ", 9) != 0)
		return false;
	if (!number_parse_slice((struct slice){l->in.p + 9, 3}, 100, 999,
	        &status))
		return false;
	r->status = (int)status;
	h->left = 0;
	while (p < end) {
		const char *next = memmem(p, (size_t)(end + 2 - p), "\r\n", 2);

		if (!read_field(h, p, (size_t)(next - p)))
			return false;
		p = next + 2;
	}
	buf_consume(&l->in, (size_t)(end + 4 - (const char *)l->in.p));
	h->head_read = r->status != 100;
	return true;
}

static bool
http1_input(struct link *l)
{
	struct http1 *h = l->proto;
	struct link_request *r = TAILQ_FIRST(&l->active);
	size_t n;

	if (r == NULL)
		return l->in.n == 0;
	if (!h->head_read && !read_head(l, r))
		return false;
	if (!h->head_read)
		return true;
	n = l->in.n < h->left ? l->in.n : h->left;
	buf_add(&r->answer, l->in.p, n);
	buf_consume(&l->in, n);
	h->left -= n;
	if (h->left > 0)
		return true;
	h->head_read = false;
	l->closing |= h->close;
	link_done(l, r);
	return true;
}

const struct link_proto link_http1 = {
    .start = http1_start,
    .input = http1_input,
    .output = http1_output,
    .stop = http1_stop,
};
