#include "config.h"

#include "admin/ctl/client.h"

#include <curl/curl.h>
#include <limits.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "admin/ctl/answer.h"
#include "admin/ctl/ctl.h"
#include "admin/ctl/output.h"
#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "lib/base/number.h"
#include "lib/codec/crypto.h"

/*
 * The file, from the outside in:
 *
 *	client_new   where the server is, and what holds for every request
 *	client_ask   a request, and again while the server says try_again
 *	send_once    one transfer; its end becomes an exit status
 */

enum {
	ANSWER_MAX = 128 << 20,
	HEAD_MAX = 256 << 10, /* all header fields of a transfer */
	CONNECT_S = 10,
	SILENCE_S = 90, /* longer than the server's own statement time-out */
	TRIES = 6,
	FIRST_PAUSE_MS = 50,
	PAUSE_MAX_MS = 5000
};

static const char default_port[] = "8444";

struct client {
	CURL *curl;
	const char *token;
	char *base; /* https://host:port */
	int64_t timeout_ms;
	char error[CURL_ERROR_SIZE];
};

/* One transfer: what comes in. */
struct transfer {
	struct client_answer *answer;
	size_t head_n;
	bool head_whole;      /* the last line of a header came */
	const char *too_much; /* what exceeded its limit */
};

/* --- where the server is ------------------------------------------------------------- */

static bool
set_part(CURLU *url, CURLUPart part, const char *value)
{
	return curl_url_set(url, part, value, 0) == CURLUE_OK;
}

static bool
has_part(CURLU *url, CURLUPart part)
{
	char *text = NULL;
	bool has = curl_url_get(url, part, &text, 0) == CURLUE_OK;

	curl_free(text);
	return has;
}

/* "::1" cannot be told from host:port; it is an address all the same. */
static bool
is_bare_ipv6(const char *server)
{
	const char *colon = strchr(server, ':');

	return server[0] != '[' && colon != NULL &&
	    strchr(colon + 1, ':') != NULL && strstr(server, "://") == NULL;
}

static bool
read_server(CURLU *url, const char *server)
{
	struct buf text;
	char *path = NULL;
	bool ok;

	buf_init(&text, 1024);
	buf_printf(&text,
	    is_bare_ipv6(server)                ? "https://[%s]"
	        : strstr(server, "://") != NULL ? "%s"
	                                        : "https://%s",
	    server);
	ok = !text.full && set_part(url, CURLUPART_URL, buf_cstr(&text)) &&
	    strncasecmp(buf_cstr(&text), "https://", 8) == 0 &&
	    curl_url_get(url, CURLUPART_PATH, &path, 0) == CURLUE_OK &&
	    strcmp(path, "/") == 0 && !has_part(url, CURLUPART_USER) &&
	    !has_part(url, CURLUPART_QUERY) &&
	    !has_part(url, CURLUPART_FRAGMENT);
	curl_free(path);
	buf_fini(&text);
	return ok;
}

/* "https://host:port", or NULL after complaining. */
static char *
base_of(const char *server)
{
	CURLU *url = curl_url();
	char *text = NULL, *base = NULL;
	bool ok = url != NULL && read_server(url, server);

	if (ok && !has_part(url, CURLUPART_PORT))
		ok = set_part(url, CURLUPART_PORT, default_port);
	if (ok && curl_url_get(url, CURLUPART_URL, &text, 0) == CURLUE_OK) {
		base = mem_strdup(text);
		base[strlen(base) - 1] = '\0'; /* the path, "/" */
	} else {
		ctl_complain("%s: the server must be HOST, HOST:PORT or "
		             "[ADDRESS]:PORT, and https://",
		    server);
	}
	curl_free(text);
	curl_url_cleanup(url);
	return base;
}

/* --- what holds for every request ------------------------------------------------------ */

static size_t
on_head(const char *bytes, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;

	/* An empty line ends a header; another may follow after status 1xx. */
	t->head_whole = bytes[0] == '\r' || bytes[0] == '\n';
	t->head_n += size * n;
	if (t->head_n <= HEAD_MAX)
		return size * n;
	t->too_much = "the header of the answer";
	return 0;
}

static size_t
on_body(char *bytes, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;

	buf_add(&t->answer->body, bytes, size * n);
	if (!t->answer->body.full)
		return size * n;
	t->too_much = "the answer";
	return 0;
}

/* The options of libcurl that this file relies on; a library without one of
 * them is not the one that configure found. */
static void
set(CURLcode code)
{
	if (code != CURLE_OK)
		abort();
}

static void
set_once(struct client *c, const char *ca_file)
{
	set(curl_easy_setopt(c->curl, CURLOPT_ERRORBUFFER, c->error));
	set(curl_easy_setopt(c->curl, CURLOPT_PROTOCOLS_STR, "https"));
	set(curl_easy_setopt(c->curl, CURLOPT_FOLLOWLOCATION, 0L));
	set(curl_easy_setopt(c->curl, CURLOPT_PROXY, ""));
	set(curl_easy_setopt(c->curl, CURLOPT_PATH_AS_IS, 1L));
	set(curl_easy_setopt(c->curl, CURLOPT_SSLVERSION,
	    (long)CURL_SSLVERSION_TLSv1_2));
	set(curl_easy_setopt(c->curl, CURLOPT_HTTP_VERSION,
	    (long)CURL_HTTP_VERSION_2TLS));
	set(curl_easy_setopt(c->curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S));
	set(curl_easy_setopt(c->curl, CURLOPT_LOW_SPEED_LIMIT, 1L));
	set(curl_easy_setopt(c->curl, CURLOPT_LOW_SPEED_TIME, (long)SILENCE_S));
	set(curl_easy_setopt(c->curl, CURLOPT_USERAGENT,
	    "tamctl/" PACKAGE_VERSION));
	set(curl_easy_setopt(c->curl, CURLOPT_HEADERFUNCTION, on_head));
	set(curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, on_body));
	if (ca_file != NULL) {
		set(curl_easy_setopt(c->curl, CURLOPT_CAINFO, ca_file));
		/* Else the system's CAs would count as well. */
		set(curl_easy_setopt(c->curl, CURLOPT_CAPATH, NULL));
	}
}

/* A line break in a token would end the header field and begin another. */
static bool
good_token(const char *token)
{
	if (token == NULL || strpbrk(token, "\r\n") == NULL)
		return true;
	ctl_complain("the token has more than one line");
	return false;
}

struct client *
client_new(const struct client_options *o)
{
	struct client *c;
	char *base = good_token(o->token) ? base_of(o->server) : NULL;

	if (base == NULL)
		return NULL;
	if (o->ca_file != NULL && access(o->ca_file, R_OK) != 0) {
		ctl_complain("%s: the CA file cannot be read", o->ca_file);
		free(base);
		return NULL;
	}
	c = mem_new(struct client);
	c->base = base;
	c->token = o->token;
	c->timeout_ms = o->timeout_s * 1000;
	c->curl = curl_easy_init();
	if (c->curl == NULL)
		abort();
	set_once(c, o->ca_file);
	return c;
}

void
client_free(struct client *c)
{
	if (c == NULL)
		return;
	curl_easy_cleanup(c->curl);
	free(c->base);
	free(c);
}

/* --- one transfer ------------------------------------------------------------------------ */

/* "name: value" in front of the list; the token is wiped after its use. */
static struct curl_slist *
add_header(struct curl_slist *list, const char *name, const char *value)
{
	struct curl_slist *longer;
	struct buf line;

	buf_init(&line, 1 << 16);
	buf_printf(&line, "%s: %s", name, value);
	longer = curl_slist_append(list, buf_cstr(&line));
	if (longer == NULL)
		abort();
	crypto_zero(line.p, line.n);
	buf_fini(&line);
	return longer;
}

static struct curl_slist *
headers_of(const struct client *c, const struct client_request *q)
{
	/* Without it libcurl waits for a "100 Continue". */
	struct curl_slist *list = curl_slist_append(NULL, "Expect:");
	struct buf bearer;

	if (c->token != NULL) {
		buf_init(&bearer, 1 << 15);
		buf_printf(&bearer, "Bearer %s", c->token);
		list = add_header(list, "Authorization", buf_cstr(&bearer));
		crypto_zero(bearer.p, bearer.n);
		buf_fini(&bearer);
	}
	if (q->content_type != NULL)
		list = add_header(list, "Content-Type", q->content_type);
	if (q->if_match != NULL)
		list = add_header(list, "If-Match", q->if_match);
	if (q->creates)
		list = add_header(list, "If-None-Match", "*");
	return list;
}

static void
free_headers(struct curl_slist *list)
{
	for (struct curl_slist *l = list; l != NULL; l = l->next)
		crypto_zero((uint8_t *)l->data, strlen(l->data));
	curl_slist_free_all(list);
}

static void
set_method(struct client *c, const struct client_request *q)
{
	bool reads = strcmp(q->method, "GET") == 0;

	set(curl_easy_setopt(c->curl, CURLOPT_HTTPGET, 1L));
	if (q->content_type != NULL || strcmp(q->method, "POST") == 0) {
		set(curl_easy_setopt(c->curl, CURLOPT_POST, 1L));
		set(curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS,
		    q->body.n == 0 ? "" : (const char *)q->body.p));
		set(curl_easy_setopt(c->curl, CURLOPT_POSTFIELDSIZE_LARGE,
		    (curl_off_t)q->body.n));
	}
	set(curl_easy_setopt(c->curl, CURLOPT_CUSTOMREQUEST, q->method));
	set(curl_easy_setopt(c->curl, CURLOPT_FRESH_CONNECT, reads ? 0L : 1L));
}

static int64_t
time_left_ms(const struct client *c, int64_t until_us)
{
	int64_t left;

	if (until_us == 0)
		return c->timeout_ms;
	left = (until_us - clock_mono_us()) / 1000;
	return left < 1 ? 1 : left < c->timeout_ms ? left : c->timeout_ms;
}

/* The reason in words, libcurl's own where it has more to say. */
static void
complain(const struct client *c, const struct transfer *t, CURLcode code,
    bool sent)
{
	const char *why =
	    c->error[0] != '\0' ? c->error : curl_easy_strerror(code);

	if (t->too_much != NULL)
		ctl_complain("%s: %s is larger than tamctl takes", c->base,
		    t->too_much);
	else if (sent)
		ctl_complain("%s: no whole answer came: %s; whether it was "
		             "done is not known",
		    c->base, why);
	else
		ctl_complain("%s: cannot be reached: %s", c->base, why);
}

static bool
names_json(const char *type)
{
	return type != NULL &&
	    (strncasecmp(type, "application/json", 16) == 0 ||
	        strncasecmp(type, "application/problem+json", 24) == 0);
}

static bool
has_header(struct client *c, const char *name)
{
	struct curl_header *h;

	return curl_easy_header(c->curl, name, 0, CURLH_HEADER, -1, &h) ==
	    CURLHE_OK;
}

/*
 * What libcurl takes for an answer and is not a whole one: a header that was
 * cut, and a body that lasts until the connection ends, which anybody on the
 * way can bring about, since libcurl does not tell whether TLS announced it.
 */
static const char *
why_not_whole(struct client *c, const struct transfer *t, long status)
{
	long version = 0;

	if (!t->head_whole || status < 200)
		return "its header was cut";
	(void)curl_easy_getinfo(c->curl, CURLINFO_HTTP_VERSION, &version);
	if (version >= CURL_HTTP_VERSION_2_0 || status == 204 ||
	    status == 304 || has_header(c, "content-length") ||
	    has_header(c, "transfer-encoding"))
		return NULL;
	return "it has no length";
}

static int
finish(struct client *c, const struct transfer *t, CURLcode code)
{
	const char *why;
	curl_off_t sending_us = 0;
	char *type = NULL;
	long status = 0;

	if (code != CURLE_OK) {
		(void)curl_easy_getinfo(c->curl, CURLINFO_PRETRANSFER_TIME_T,
		    &sending_us);
		complain(c, t, code, sending_us > 0);
		return sending_us > 0 ? CTL_NO_ANSWER : CTL_UNREACHABLE;
	}
	(void)curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
	why = why_not_whole(c, t, status);
	if (why != NULL) {
		ctl_complain("%s: no whole answer came: %s; whether it was "
		             "done is not known",
		    c->base, why);
		return CTL_NO_ANSWER;
	}
	(void)curl_easy_getinfo(c->curl, CURLINFO_CONTENT_TYPE, &type);
	t->answer->status = (int)status;
	t->answer->is_json = names_json(type);
	return CTL_OK;
}

static int
send_once(struct client *c, const struct client_request *q,
    struct client_answer *a)
{
	struct transfer t = {.answer = a};
	struct curl_slist *headers = headers_of(c, q);
	struct buf url;
	int64_t left_ms = time_left_ms(c, q->until_us);
	CURLcode code;

	buf_init(&url, 1 << 17);
	buf_printf(&url, "%s%s", c->base, q->path);
	set(curl_easy_setopt(c->curl, CURLOPT_URL, buf_cstr(&url)));
	set(curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, headers));
	set(curl_easy_setopt(c->curl, CURLOPT_HEADERDATA, &t));
	set(curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, &t));
	set(curl_easy_setopt(c->curl, CURLOPT_TIMEOUT_MS, (long)left_ms));
	set_method(c, q);
	c->error[0] = '\0';
	code = curl_easy_perform(c->curl);
	free_headers(headers);
	buf_fini(&url);
	return finish(c, &t, code);
}

/* --- and again ------------------------------------------------------------------------------ */

/* Seconds that the server asks to wait, as milliseconds; 0 without a word. */
static int64_t
asked_pause_ms(const struct client *c)
{
	curl_off_t seconds = 0;

	(void)curl_easy_getinfo(c->curl, CURLINFO_RETRY_AFTER, &seconds);
	return seconds > PAUSE_MAX_MS / 1000 ? PAUSE_MAX_MS
	                                     : (int64_t)seconds * 1000;
}

/* A transaction that met another one was rolled back: try_again says that
 * nothing was done.  A busy server says so by Retry-After; what only reads may
 * be asked again then. */
static bool
may_try_again(const struct client *c, const struct client_request *q,
    const struct client_answer *a)
{
	if (a->status != 503 && a->status != 429)
		return false;
	return answer_has_code(a, "try_again") ||
	    (strcmp(q->method, "GET") == 0 && asked_pause_ms(c) > 0);
}

/* Waits; false when the deadline comes before. */
static bool
pause_before(const struct client *c, int try, int64_t until_us)
{
	int64_t pause_ms = asked_pause_ms(c), first = FIRST_PAUSE_MS;
	uint8_t byte;

	if (pause_ms == 0)
		pause_ms = first << try;
	/* Those that met each other once do not meet again. */
	crypto_random(&byte, 1);
	pause_ms += pause_ms * byte / 512;
	if (until_us != 0 && clock_mono_us() + pause_ms * 1000 >= until_us)
		return false;
	(void)usleep((useconds_t)(pause_ms * 1000));
	return true;
}

int
client_ask(struct client *c, const struct client_request *q,
    struct client_answer *a)
{
	int status;

	*a = (struct client_answer){0};
	buf_init(&a->body, ANSWER_MAX);
	for (int try = 0;; try++) {
		status = send_once(c, q, a);
		if (status != CTL_OK || !may_try_again(c, q, a) ||
		    try == TRIES - 1 || !pause_before(c, try, q->until_us))
			return status;
		buf_clear(&a->body);
	}
}

void
client_answer_fini(struct client_answer *a)
{
	buf_fini(&a->body);
}
