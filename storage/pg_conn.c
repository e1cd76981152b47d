#include "config.h"

#include "storage/pg_conn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/hex.h"
#include "lib/base/mem.h"
#include "lib/base/random.h"

/* --- hosts -------------------------------------------------------------------- */

enum {
	HOST_KEYS = 3
};

static const char *const host_keys[HOST_KEYS] = {"host", "hostaddr", "port"};

struct host {
	char *values[HOST_KEYS]; /* NULL: not given */
};

struct pg_hosts {
	char *conninfo;
	size_t n;
	struct host *of;
};

static const char *
option(const PQconninfoOption *options, const char *keyword)
{
	for (; options != NULL && options->keyword != NULL; options++) {
		if (strcmp(options->keyword, keyword) == 0 &&
		    options->val != NULL && options->val[0] != '\0')
			return options->val;
	}
	return NULL;
}

static size_t
list_n(const char *list)
{
	size_t n = 1;

	for (; list != NULL && *list != '\0'; list++)
		n += *list == ',';
	return n;
}

/* The i-th element; of a list of one, that one for every host. */
static char *
list_item(const char *list, size_t i)
{
	size_t n;
	char *out;

	if (list == NULL)
		return NULL;
	for (; list_n(list) > 1 && i > 0; i--)
		list = strchr(list, ',') + 1;
	n = strcspn(list, ",");
	out = mem_calloc(n + 1, 1);
	memcpy(out, list, n);
	return out;
}

static void
split(struct pg_hosts *h, const char *const lists[HOST_KEYS])
{
	size_t hosts = list_n(lists[0]), addresses = list_n(lists[1]);
	size_t ports = list_n(lists[2]);

	h->n = lists[1] != NULL ? addresses : hosts;
	/* Lists that do not fit together: libpq says so of the whole. */
	if ((lists[0] != NULL && lists[1] != NULL && hosts != addresses) ||
	    (ports > 1 && ports != h->n))
		h->n = 1;
	h->of = mem_new_n(h->n, struct host);
	for (size_t i = 0; h->n > 1 && i < h->n; i++) {
		for (int k = 0; k < HOST_KEYS; k++)
			h->of[i].values[k] = list_item(lists[k], i);
	}
}

struct pg_hosts *
pg_hosts_new(const char *conninfo)
{
	struct pg_hosts *h = mem_new(struct pg_hosts);
	PQconninfoOption *given = PQconninfoParse(conninfo, NULL);
	PQconninfoOption *environment = PQconndefaults();
	const char *lists[HOST_KEYS];

	h->conninfo = mem_strdup(conninfo);
	for (int k = 0; k < HOST_KEYS; k++) {
		lists[k] = option(given, host_keys[k]);
		if (lists[k] == NULL)
			lists[k] = option(environment, host_keys[k]);
	}
	split(h, lists);
	PQconninfoFree(given);
	PQconninfoFree(environment);
	return h;
}

void
pg_hosts_free(struct pg_hosts *h)
{
	if (h == NULL)
		return;
	for (size_t i = 0; i < h->n; i++) {
		for (int k = 0; k < HOST_KEYS; k++)
			free(h->of[i].values[k]);
	}
	free(h->of);
	free(h->conninfo);
	free(h);
}

size_t
pg_hosts_n(const struct pg_hosts *h)
{
	return h->n;
}

/* libpq takes parameters in their order: ours before the string are defaults,
 * those behind it replace its lists. */
PGconn *
pg_hosts_connect(const struct pg_hosts *h, size_t i)
{
	const char *keys[8 + HOST_KEYS] = {"fallback_application_name",
	    "keepalives_idle", "keepalives_interval", "keepalives_count",
	    "tcp_user_timeout", "dbname"};
	const char *values[8 + HOST_KEYS] = {"tam", "10", "3", "3", "15000",
	    h->conninfo};
	size_t n = 6;
	PGconn *conn;

	for (int k = 0; k < HOST_KEYS; k++) {
		if (h->of[i].values[k] == NULL)
			continue;
		keys[n] = host_keys[k];
		values[n++] = h->of[i].values[k];
	}
	conn = PQconnectStartParams(keys, values, 1);
	if (conn == NULL)
		abort();
	return conn;
}

/* --- the session ----------------------------------------------------------------- */

#define SETTING(name, value) "set_config('" name "', '" value "', false), "

/*
 * synchronous_commit may be stronger than what is promised, never weaker.  The
 * keep-alives and client_connection_check_interval end the server's side of a
 * connection that we dropped.  The role comes last.
 */
const char pg_session_begin[] =
    "SELECT (SELECT backend_start FROM "
    "pg_stat_get_activity(pg_backend_pid())), "
    "set_config('tam.session', $1, false), "
    "set_config('lock_timeout', $2, false), "
    "set_config('statement_timeout', $3, false), "
    "set_config('idle_in_transaction_session_timeout', $4, false), "
    "set_config('plan_cache_mode', $5, false), " /* fixed: */
    SETTING("search_path", "public, pg_temp")    /* ours */
    SETTING("bytea_output", "hex")               /* sql_bytes() */
    SETTING("standard_conforming_strings", "on") /* our own texts */
    SETTING("client_encoding", "UTF8")           /* texts come and go */
    SETTING("timezone", "UTC")                   /* times in the API */
    SETTING("datestyle", "ISO, YMD")             /* the same */
    SETTING("intervalstyle", "postgres")         /* the same */
    SETTING("extra_float_digits", "1")           /* shortest exact form */
    SETTING("jit", "off")                        /* short statements */
    SETTING("default_transaction_isolation",
        "read committed") SETTING("default_transaction_read_only", "off")
        SETTING("default_transaction_deferrable", "off")
            SETTING("client_min_messages", "notice") /* a WARNING at commit */
    SETTING("tcp_keepalives_idle", "10") SETTING("tcp_keepalives_interval",
        "3") SETTING("tcp_keepalives_count",
        "3") SETTING("client_connection_check_interval",
        "2s") "set_config('synchronous_commit', CASE WHEN "
              "current_setting('synchronous_commit') IN "
              "('off', 'local', 'remote_write') THEN 'on' "
              "ELSE current_setting('synchronous_commit') END, false), "
              "CASE WHEN $6::text IS NOT NULL THEN set_config('role', $6, false) END";

const char pg_session_check[] =
    "SELECT (current_setting('tam.session', true) IS NOT DISTINCT FROM "
    "$1::text)::int, pg_backend_pid(), (pg_is_in_recovery() OR "
    "current_setting('transaction_read_only')::bool)::int";

void
pg_session_params(const struct pg_session *s, const char *nonce,
    const char *params[PG_SESSION_PARAMS])
{
	params[0] = nonce;
	params[1] = s->lock_timeout;
	params[2] = s->statement_timeout;
	params[3] = s->idle_timeout;
	params[4] = s->plan_cache_mode;
	params[5] = s->role;
}

void
pg_nonce(char out[PG_NONCE_MAX])
{
	uint8_t bytes[16];

	random_bytes(bytes, sizeof(bytes));
	hex_encode(SLICE_OF(bytes), out);
}

/* --- SQLSTATEs ---------------------------------------------------------------------- */

static bool
is_in(const char *sqlstate, const char *const *list)
{
	for (; *list != NULL; list++) {
		if (strncmp(sqlstate, *list, strlen(*list)) == 0)
			return true;
	}
	return false;
}

bool
pg_state_is_data(const char *sqlstate)
{
	/* Data, constraints, raised by a function. */
	static const char *const list[] = {"22", "23", "P0", NULL};

	return is_in(sqlstate, list);
}

bool
pg_state_is_unfit(const char *sqlstate)
{
	static const char *const list[] = {"25006", /* read-only transaction */
	    "26",    /* no such prepared statement */
	    "0A000", /* a cached plan of another schema */
	    "3F",    /* no such schema */
	    "42",    /* no such table or function; not permitted */
	    NULL};

	return is_in(sqlstate, list);
}
