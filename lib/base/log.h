/*
 * log.h - one event, one line, key=value, on standard error.
 *
 * A line is written with one write(2), so that lines of several threads never
 * mix.  Never a token, a key or a payload.  Bytes from a peer go through
 * log_escape().  Lines that a peer can cause use log_peer(), which lets at
 * most a few a second per thread through and says how many it held back.
 */
#ifndef LIB_BASE_LOG_H
#define LIB_BASE_LOG_H

#include "lib/base/slice.h"

enum log_level {
	LOG_LEVEL_ERROR, /* a human must act */
	LOG_LEVEL_WARN,  /* we coped */
	LOG_LEVEL_INFO,  /* life cycle */
	LOG_LEVEL_DEBUG
};

/* The whole process; safe at any time. */
void log_set_level(enum log_level);
/* "error", "warn", ...; false when there is no such level. */
bool log_level_parse(const char *, enum log_level *);
/* This thread's name in its lines, static: "w0", "control". */
void log_set_thread(const char *);

void log_line(enum log_level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void log_peer(enum log_level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_LEVEL_INFO, __VA_ARGS__)

/* Printable ASCII as it is, the rest as \xNN; cut to fit.  Returns out. */
const char *log_escape(struct slice, char *out, size_t room);

#endif
