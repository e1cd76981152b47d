#include "config.h"

#include <err.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <getopt.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/hex.h"
#include "lib/base/mem.h"
#include "lib/codec/crypto.h"
#include "lib/codec/eat.h"
#include "lib/codec/jwt.h"

/*
 * verifierd - a Verifier for the system tests: the challenge-response API
 * over HTTPS, EAT Evidence appraised for real, an EAR as result.
 *
 *	verifierd --port N --cert PEM --key PEM --signer PEM --attester PEM
 *	    [--mode good|pending|slow|status|garbage|nowhere|huge|forged|redirect]
 *	    [--location URL]
 *
 * pending: 202, then complete at the second GET; slow: no answer for 3 s;
 * status: 500 problem+json; garbage: 200 that is no JSON; nowhere: 201 without
 * Location; huge: a body without end; forged: signed by nobody; redirect: 307
 * to the URL.
 */

enum {
	FILE_SIZE_MAX = 16384,
	SESSIONS_MAX = 4096,
	SLOW_MS = 3000,
	HUGE = 1 << 20
};

struct session {
	struct slice nonce;
	struct arena *arena;
	char *result;
	int polls;
};

static struct {
	const char *mode, *location;
	struct cose_crypto *crypto;
	struct cose_signer *signer;
	struct cose_key attester;
	struct session sessions[SESSIONS_MAX];
	size_t n;
	SSL_CTX *tls;
	struct event_base *base;
} d;

static bool
is_mode(const char *mode)
{
	return strcmp(d.mode, mode) == 0;
}

static struct slice
read_file(struct arena *arena, const char *path)
{
	uint8_t *bytes = arena_alloc(arena, FILE_SIZE_MAX);
	FILE *f = fopen(path, "rb");
	size_t n;

	if (f == NULL)
		err(2, "%s", path);
	n = fread(bytes, 1, FILE_SIZE_MAX, f);
	(void)fclose(f);
	return (struct slice){bytes, n};
}

/* --- answers ------------------------------------------------------------------- */

struct slow {
	struct evhttp_request *req;
	struct evbuffer *body;
	int status;
};

static void
send_now(struct evhttp_request *req, int status, struct evbuffer *body)
{
	evhttp_send_reply(req, status, NULL, body);
	evbuffer_free(body);
}

static void
on_slow(evutil_socket_t fd, short events, void *arg)
{
	struct slow *s = arg;

	(void)fd;
	(void)events;
	send_now(s->req, s->status, s->body);
	free(s);
}

static void
answer(struct evhttp_request *req, int status, const char *type,
    const char *text)
{
	struct evbuffer *body = evbuffer_new();
	struct slow *s;

	(void)evhttp_add_header(evhttp_request_get_output_headers(req),
	    "Content-Type", type);
	(void)evbuffer_add(body, text, strlen(text));
	if (!is_mode("slow")) {
		send_now(req, status, body);
		return;
	}
	s = mem_new(struct slow);
	*s = (struct slow){req, body, status};
	(void)event_base_once(d.base, -1, EV_TIMEOUT, on_slow, s,
	    &(struct timeval){SLOW_MS / 1000, 0});
}

static void
problem(struct evhttp_request *req, int status, const char *title)
{
	char text[256];

	(void)snprintf(text, sizeof(text),
	    "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d}", title,
	    status);
	answer(req, status, "application/problem+json", text);
}

static void
session_document(struct evhttp_request *req, int status, const char *state,
    const char *result)
{
	struct buf b;

	buf_init(&b, 65536);
	buf_printf(&b, "{\"status\":\"%s\"", state);
	if (result != NULL)
		buf_printf(&b, ",\"result\":\"%s\"", result);
	buf_add_str(&b, "}");
	answer(req, status,
	    "application/vnd.veraison.challenge-response-session+json",
	    buf_cstr(&b));
	buf_fini(&b);
}

/* --- appraising ------------------------------------------------------------------- */

static bool
affirms(struct session *s, struct slice evidence, struct eat_claims *c)
{
	struct eat_token t;
	bool fresh;

	if (eat_open(evidence, EAT_RESULT, s->arena, &t) != TAM_OK)
		return false;
	*c = t.claims;
	fresh =
	    t.claims.n_nonces == 1 && slice_eq(t.claims.nonces[0], s->nonce);
	return fresh && eat_verify(d.crypto, &t, &d.attester, 1) == TAM_OK &&
	    t.claims.hwmodel.n > 0;
}

static char *
spki_base64(struct arena *arena, const struct eat_claims *c)
{
	static const uint8_t p256[] = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a,
	    0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
	    0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04};
	static const uint8_t ed25519[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03,
	    0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};
	bool ec = c->cnf_key.curve == COSE_P256;
	struct slice head = ec ? SLICE_OF(p256) : SLICE_OF(ed25519);
	struct slice pub = cose_key_pub(&c->cnf_key);
	uint8_t *der = arena_alloc(arena, head.n + pub.n);

	memcpy(der, head.p, head.n);
	memcpy(der + head.n, pub.p, pub.n);
	return base64_dup(arena, (struct slice){der, head.n + pub.n});
}

static void
appraise(struct session *s, struct slice evidence)
{
	struct eat_claims *c = arena_new(s->arena, struct eat_claims);
	bool good = affirms(s, evidence, c);
	int64_t now = clock_wall_us() / CLOCK_SECOND;
	struct buf json, jwt;

	buf_init(&json, 16384);
	buf_init(&jwt, 65536);
	buf_printf(&json,
	    "{\"eat_profile\":\"tag:github.com,2023:veraison/ear\","
	    "\"iat\":%lld,\"eat_nonce\":\"%s\",\"ear.verifier-id\":"
	    "{\"build\":\"1\",\"developer\":\"tests\"},\"submods\":{\"T\":{"
	    "\"ear.status\":\"%s\",\"ear.trustworthiness-vector\":"
	    "{\"executables\":%d}",
	    (long long)now, base64_dup(s->arena, s->nonce),
	    good ? "affirming" : "contraindicated", good ? 2 : 99);
	if (c->cnf_whole)
		buf_printf(&json,
		    ",\"ear.veraison.key-attestation\":{\"akpub\":\"%s\"}",
		    spki_base64(s->arena, c));
	buf_add_str(&json, "}}}");
	jwt_sign(d.crypto, d.signer, buf_slice(&json), &jwt);
	if (is_mode("forged"))
		jwt.p[jwt.n - 12] = jwt.p[jwt.n - 12] == 'A' ? 'B' : 'A';
	s->result = arena_strdup(s->arena, buf_slice(&jwt));
	buf_fini(&json);
	buf_fini(&jwt);
}

/* --- the API ----------------------------------------------------------------------------- */

static void
new_session(struct evhttp_request *req)
{
	struct evkeyvalq query;
	struct session *s = &d.sessions[d.n];
	const char *nonce;
	char location[64];

	(void)evhttp_parse_query_str(evhttp_uri_get_query(
	                                 evhttp_request_get_evhttp_uri(req)),
	    &query);
	nonce = evhttp_find_header(&query, "nonce");
	s->arena = arena_new_in(NULL);
	if (nonce == NULL || d.n + 1 == SESSIONS_MAX ||
	    !base64_decode(s->arena, arena_dup(s->arena, slice_str(nonce)),
	        &s->nonce) ||
	    s->nonce.n < 8 || s->nonce.n > 64) {
		problem(req, 400, "bad nonce");
	} else {
		(void)snprintf(location, sizeof(location), "session/%zu",
		    d.n++);
		if (!is_mode("nowhere"))
			(void)
			    evhttp_add_header(evhttp_request_get_output_headers(
			                          req),
			        "Location", location);
		session_document(req, 201, "waiting", NULL);
	}
	evhttp_clear_headers(&query);
}

static void
give_evidence(struct evhttp_request *req, struct session *s)
{
	struct evbuffer *in = evhttp_request_get_input_buffer(req);
	size_t n = evbuffer_get_length(in);
	const char *type =
	    evhttp_find_header(evhttp_request_get_input_headers(req),
	        "Content-Type");

	if (type == NULL || strncmp(type, "application/eat+cwt", 19) != 0) {
		problem(req, 415, "unsupported media type");
		return;
	}
	appraise(s, (struct slice){n == 0 ? NULL : evbuffer_pullup(in, -1), n});
	if (is_mode("pending"))
		session_document(req, 202, "processing", NULL);
	else
		session_document(req, 200, "complete", s->result);
}

static void
on_request(struct evhttp_request *req, void *arg)
{
	const char *path =
	    evhttp_uri_get_path(evhttp_request_get_evhttp_uri(req));
	enum evhttp_cmd_type method = evhttp_request_get_command(req);
	const char *id = strstr(path, "/challenge-response/v1/session/");
	size_t which = id == NULL ? SIZE_MAX : strtoul(id + 31, NULL, 10);

	(void)arg;
	if (is_mode("redirect")) {
		evhttp_add_header(evhttp_request_get_output_headers(req),
		    "Location", d.location);
		evhttp_send_reply(req, 307, NULL, NULL);
	} else if (is_mode("status")) {
		problem(req, 500, "broken");
	} else if (is_mode("garbage") && id != NULL) {
		answer(req, 200, "text/html", "<p>hello");
	} else if (is_mode("huge") && id != NULL) {
		char *text = mem_calloc(1, HUGE);

		memset(text, 'x', HUGE - 1);
		answer(req, 200, "application/json", text);
		free(text);
	} else if (method == EVHTTP_REQ_POST &&
	    strcmp(path, "/base/challenge-response/v1/newSession") == 0) {
		new_session(req);
	} else if (which >= d.n) {
		problem(req, 404, "no such session");
	} else if (method == EVHTTP_REQ_POST) {
		give_evidence(req, &d.sessions[which]);
	} else if (method == EVHTTP_REQ_GET) {
		bool over = ++d.sessions[which].polls >= 2;

		session_document(req, 200, over ? "complete" : "processing",
		    over ? d.sessions[which].result : NULL);
	} else {
		evhttp_send_reply(req, 204, NULL, NULL);
	}
}

/* --- life -------------------------------------------------------------------------------- */

static struct bufferevent *
new_connection(struct event_base *base, void *arg)
{
	(void)arg;
	return bufferevent_openssl_socket_new(base, -1, SSL_new(d.tls),
	    BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
}

static void
on_term(evutil_socket_t fd, short events, void *arg)
{
	(void)fd;
	(void)events;
	(void)event_base_loopbreak(arg);
}

static int
serve(int port)
{
	struct evhttp *http;
	struct event *term;

	d.base = event_base_new();
	http = evhttp_new(d.base);
	evhttp_set_bevcb(http, new_connection, NULL);
	evhttp_set_gencb(http, on_request, NULL);
	evhttp_set_allowed_methods(http,
	    EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_DELETE);
	if (evhttp_bind_socket(http, "127.0.0.1", (ev_uint16_t)port) != 0)
		errx(1, "port %d is not to be had", port);
	term = evsignal_new(d.base, SIGTERM, on_term, d.base);
	(void)event_add(term, NULL);
	(void)event_base_dispatch(d.base);
	event_free(term);
	evhttp_free(http);
	event_base_free(d.base);
	for (size_t i = 0; i <= d.n; i++) {
		if (d.sessions[i].arena != NULL)
			arena_free(d.sessions[i].arena);
	}
	return 0;
}

static bool
set_file(struct arena *arena, int c, const char *path)
{
	struct cose_private priv;

	switch (c) {
	case 'c':
		return SSL_CTX_use_certificate_chain_file(d.tls, path) == 1;
	case 'k':
		return SSL_CTX_use_PrivateKey_file(d.tls, path,
		           SSL_FILETYPE_PEM) == 1;
	case 's':
		if (cose_private_from_pem(read_file(arena, path), &priv) !=
		    TAM_OK)
			return false;
		d.signer = cose_signer_new(&priv);
		return true;
	case 'a':
		return cose_key_from_pem(read_file(arena, path), &d.attester) ==
		    TAM_OK;
	default:
		return false;
	}
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {{"port", required_argument,
	                                            NULL, 'p'},
	    {"cert", required_argument, NULL, 'c'},
	    {"key", required_argument, NULL, 'k'},
	    {"signer", required_argument, NULL, 's'},
	    {"attester", required_argument, NULL, 'a'},
	    {"location", required_argument, NULL, 'l'},
	    {"mode", required_argument, NULL, 'm'}, {NULL, 0, NULL, 0}};
	struct arena *arena = arena_new_in(NULL);
	int c, port = 0, status;

	crypto_init();
	(void)signal(SIGPIPE, SIG_IGN);
	d.mode = "good";
	d.location = "";
	d.crypto = cose_crypto_new();
	d.tls = SSL_CTX_new(TLS_server_method());
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'p')
			port = (int)strtol(optarg, NULL, 10);
		else if (c == 'm')
			d.mode = optarg;
		else if (c == 'l')
			d.location = optarg;
		else if (!set_file(arena, c, optarg))
			errx(2, "%s: not what it should be", optarg);
	}
	status = serve(port);
	SSL_CTX_free(d.tls);
	cose_signer_free(d.signer);
	cose_crypto_free(d.crypto);
	arena_free(arena);
	return status;
}
