/*
 * settings.h - tamd's configuration: one file, checked whole, immutable.
 *
 * Each key can come from a flag (-o key=value), the environment (TAMD_KEY),
 * the file, or its default, in this order of precedence.  What is wrong is
 * said as file:line with what would be right; an unknown key is an error.
 * tamd.conf(5) is the manual; the table in settings.c is the truth.
 */
#ifndef SERVER_SETTINGS_H
#define SERVER_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "lib/base/log.h"

enum {
	CONFIG_TEXT_MAX = 512
};

struct config {
	char node_id[CONFIG_TEXT_MAX];
	char listen[CONFIG_TEXT_MAX];           /* address:port, with commas */
	char cleartext_listen[CONFIG_TEXT_MAX]; /* empty: none */
	char admin_listen[CONFIG_TEXT_MAX];
	char tls_certificate[CONFIG_TEXT_MAX], tls_key[CONFIG_TEXT_MAX];
	char database[CONFIG_TEXT_MAX];
	char state_dir[CONFIG_TEXT_MAX];
	char master_key[CONFIG_TEXT_MAX]; /* the file's name */
	char log_level[CONFIG_TEXT_MAX];
	char hsm_module[CONFIG_TEXT_MAX]; /* empty: those registered */
	int64_t workers;                  /* 0: one per CPU */
	int64_t clock_offset_max_ms;
	int64_t staleness_max_ms, drain_delay_ms, drain_deadline_ms;
	int64_t session_deadline_ms;
	int64_t request_time_ms, send_progress_ms;
	int64_t idle_http1_ms, idle_http2_ms;
	int64_t head_max, message_max, upload_max, streams_max, connections_max;
	int64_t challenge_life_s, query_life_s, update_life_s;
	char trusted_sources[CONFIG_TEXT_MAX];
	int64_t memory_mb, source_rate;
	int64_t payload_cache_mb, publish_every_s;
	int64_t verifier_timeout_ms, verifier_calls;
	int64_t hsm_threads, hsm_queue, hsm_timeout_ms;
	int64_t device_cache, result_cache, openers_per_second,
	    failures_per_second;
};

/* A value given outside the file: "key=value". */
struct config_override {
	const char *text;
	struct config_override *next;
};

/*
 * Reads and checks everything; false after saying on standard error what is
 * wrong.  `path` may be NULL: then only the other sources count.
 */
bool config_load(const char *path, const struct config_override *,
    struct config *);

/* Every key with its value and where it came from, secrets masked. */
bool config_dump(const char *path, const struct config_override *, FILE *);

/* Splits the next "address:port" off a list; false at its end or, with
 * *port = -1, when it is not one.  [::1]:port for IPv6. */
bool config_next_address(const char **list, char *address, size_t room,
    int *port);

#endif
