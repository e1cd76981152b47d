#include "config.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>

#include "lib/base/number.h"
#include "loadtest/link.h"

/* Many requests on one connection, by nghttp2. */

static struct link_request *
request_of(nghttp2_session *s, int32_t stream_id)
{
	return nghttp2_session_get_stream_user_data(s, stream_id);
}

static int
on_header(nghttp2_session *s, const nghttp2_frame *frame, const uint8_t *name,
    size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags,
    void *arg)
{
	struct link_request *r = request_of(s, frame->hd.stream_id);
	int64_t status;

	(void)flags;
	(void)arg;
	if (r == NULL || name_n != 7 || memcmp(name, ":status", 7) != 0 ||
	    value_n != 3)
		return 0;
	if (!number_parse_slice((struct slice){value, 3}, 100, 999, &status))
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	r->status = (int)status;
	return 0;
}

static int
on_data(nghttp2_session *s, uint8_t flags, int32_t stream_id,
    const uint8_t *data, size_t n, void *arg)
{
	struct link_request *r = request_of(s, stream_id);

	(void)flags;
	(void)arg;
	if (r != NULL)
		buf_add(&r->answer, data, n);
	return 0;
}

static int
on_close(nghttp2_session *s, int32_t stream_id, uint32_t code, void *arg)
{
	struct link *l = arg;
	struct link_request *r = request_of(s, stream_id);

	if (r == NULL)
		return 0;
	(void)nghttp2_session_set_stream_user_data(s, stream_id, NULL);
	if (code == NGHTTP2_REFUSED_STREAM || r->status == 0)
		link_again(l, r);
	else
		link_done(l, r);
	return 0;
}

static int
on_frame(nghttp2_session *s, const nghttp2_frame *frame, void *arg)
{
	struct link *l = arg;

	(void)s;
	if (frame->hd.type == NGHTTP2_GOAWAY)
		l->closing = true;
	return 0;
}

static void
http2_start(struct link *l)
{
	nghttp2_session_callbacks *cbs;
	nghttp2_session *session;

	if (nghttp2_session_callbacks_new(&cbs) != 0)
		abort();
	nghttp2_session_callbacks_set_on_header_callback(cbs, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cbs, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(cbs, on_close);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cbs, on_frame);
	if (nghttp2_session_client_new(&session, cbs, l) != 0)
		abort();
	nghttp2_session_callbacks_del(cbs);
	(void)nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, NULL, 0);
	l->proto = session;
}

static void
http2_stop(struct link *l)
{
	nghttp2_session_del(l->proto);
}

static ssize_t
read_body(nghttp2_session *s, int32_t stream_id, uint8_t *to, size_t max,
    uint32_t *flags, nghttp2_data_source *source, void *arg)
{
	struct link_request *r = source->ptr;
	size_t n = r->body.n - r->sent;

	(void)s;
	(void)stream_id;
	(void)arg;
	if (n > max)
		n = max;
	if (n > 0)
		memcpy(to, r->body.p + r->sent, n);
	r->sent += n;
	if (r->sent == r->body.n)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

static nghttp2_nv
field(const char *name, const char *value)
{
	return (nghttp2_nv){slice_unconst(slice_str(name)),
	    slice_unconst(slice_str(value)), strlen(name), strlen(value),
	    NGHTTP2_NV_FLAG_NONE};
}

static void
submit(struct link *l, struct link_request *r)
{
	nghttp2_data_provider provider = {{.ptr = r}, read_body};
	char authority[300];
	nghttp2_nv fields[6];
	size_t n = 0;

	(void)snprintf(authority, sizeof(authority), "%s:%d", l->options->host,
	    l->options->port);
	fields[n++] = field(":method", "POST");
	fields[n++] = field(":scheme", "https");
	fields[n++] = field(":authority", authority);
	fields[n++] = field(":path", r->path);
	fields[n++] = field("accept", "application/teep+cbor");
	if (r->body.n > 0)
		fields[n++] = field("content-type", "application/teep+cbor");
	r->stream_id = nghttp2_submit_request(l->proto, NULL, fields, n,
	    r->body.n > 0 ? &provider : NULL, r);
}

static void
http2_output(struct link *l)
{
	nghttp2_session *s = l->proto;
	struct link_request *r;
	const uint8_t *bytes;
	ssize_t n;

	while (l->n_active < nghttp2_session_get_remote_settings(s,
	                         NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS) &&
	    (r = link_take(l)) != NULL)
		submit(l, r);
	while (
	    l->out.n < 65536 && (n = nghttp2_session_mem_send(s, &bytes)) > 0)
		buf_add(&l->out, bytes, (size_t)n);
}

static bool
http2_input(struct link *l)
{
	ssize_t n = nghttp2_session_mem_recv(l->proto, l->in.p, l->in.n);

	if (n < 0)
		return false;
	buf_consume(&l->in, (size_t)n);
	return true;
}

const struct link_proto link_http2 = {
    .start = http2_start,
    .input = http2_input,
    .output = http2_output,
    .stop = http2_stop,
};
