/*
 * http1_head.h - a request's head, from bytes to fields (RFC 9112).
 *
 * Pure: no connection, no state.  Strict where smuggling lives: one way to
 * frame a body, no obsolete folding, no blank before a colon, no bare CR or
 * LF, exactly one Host.
 */
#ifndef SERVER_HTTP_HTTP1_HEAD_H
#define SERVER_HTTP_HTTP1_HEAD_H

#include "server/http/exchange.h"

struct http1_head {
	int minor; /* HTTP/1.minor */
	bool keep_alive, chunked, expects_continue;
	uint64_t length; /* of the body; 0 when there is none */
};

/*
 * Parses a head that ends in its blank line; the exchange's fields borrow it.
 * 0, or the status to refuse it with.  Header names are lowered in place.
 */
int http1_parse_head(struct slice head, struct http_exchange *,
    struct http1_head *);

/* chunk-size, extensions ignored (section 7.1); false when it is not one. */
bool http1_parse_chunk_size(struct slice line, uint64_t *size);

bool http1_is_header_line(struct slice line);

const char *http1_reason(int status);

#endif
