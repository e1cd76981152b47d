/*
 * output.h - what tamctl prints: answers of the API, for people and scripts,
 * and complaints.
 *
 *	table   columns with tabs, a head
 *	csv     RFC 4180, a head
 *	name    the first column only
 *	json    as it came
 *
 * Foreign text is escaped by lib/base/terminal.h: everywhere in a table and in
 * names, in JSON in the way of JSON, in CSV where it goes to a terminal.
 *
 * Nothing else of tamctl checks standard output: what could not be written is
 * found, told and made an exit status by output_finish(), at the end of main()
 * and wherever something must not be done before its result was written.
 */
#ifndef ADMIN_CTL_OUTPUT_H
#define ADMIN_CTL_OUTPUT_H

#include <jansson.h>

#include "admin/table.h"
#include "lib/base/slice.h"

/* "tamctl: ...", escaped, and a line break, on standard error. */
void ctl_complain(const char *, ...) __attribute__((format(printf, 1, 2)));

/* Before anything else: standard streams that are closed do not become
 * whatever is opened first. */
void output_start(void);
/* False when something could not be written, so that a long output ends. */
bool output_holds(void);
/* Writes what is still buffered.  CTL_OUTPUT, after complaining, in the place
 * of CTL_OK when not all could be written; else the status given. */
int output_finish(int status);

bool output_is_known(const char *format);
/* Items of a list; `head`: with the names of the columns before.  As json a
 * line each. */
void output_items(const char *, const struct api_route *, json_t *items,
    bool head);
/* A whole answer: its bytes, and what they say when they are JSON.  The exit
 * status. */
int output_answer(const char *, const struct api_route *, struct slice body,
    json_t *document);
/* Text and JSON of foreign origin, on standard output. */
void output_text(struct slice);
void output_json(struct slice);

#endif
