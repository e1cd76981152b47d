/*
 * answer.h - reads what a server answered, and believes nothing of it.
 */
#ifndef ADMIN_CTL_ANSWER_H
#define ADMIN_CTL_ANSWER_H

#include <jansson.h>

#include "admin/ctl/client.h"

/*
 * The document of an answer of success; the caller gives it back.  NULL with
 * CTL_OK when there is none: no content, or a body that is not JSON by its
 * Content-Type.
 *
 * Otherwise, after saying why on standard error: CTL_FAILED for a problem,
 * CTL_PROPOSED (with the document) when the request waits for a second person,
 * CTL_NO_ANSWER for what tamd does not answer: a redirect, another status, or
 * JSON that cannot be read.  `about` is what was asked for, or NULL.
 */
int answer_read(const struct client_answer *, const char *about,
    json_t **document);

/* Asks and reads; an answer without a document is CTL_NO_ANSWER. */
int answer_ask(struct client *, const struct client_request *,
    const char *about, json_t **document);

/* True for a problem with this code. */
bool answer_has_code(const struct client_answer *, const char *code);

#endif
