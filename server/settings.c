#include "config.h"

#include "server/settings.h"

#include <confuse.h>
#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/mem.h"
#include "lib/base/nearest.h"
#include "lib/base/number.h"
#include "server/http/server.h"

enum kind {
	TEXT,
	NUMBER,
	ADDRESSES,
	NETWORKS,
	FILE_NAME,
	LEVEL
};

/* Every key: where it goes, what it may be, what it is when nobody says. */
static const struct key {
	const char *name;
	enum kind kind;
	size_t offset;
	const char *initial; /* NULL: must be given */
	int64_t min, max;
	bool secret;
} keys[] = {
#define AT(field) offsetof(struct config, field)
    {"node_id", TEXT, AT(node_id), "", 0, 0, false},
    {"listen", ADDRESSES, AT(listen), "127.0.0.1:8443", 0, 0, false},
    {"cleartext_listen", ADDRESSES, AT(cleartext_listen), "", 0, 0, false},
    {"admin_listen", ADDRESSES, AT(admin_listen), "127.0.0.1:8444", 0, 0,
        false},
    {"tls_certificate", FILE_NAME, AT(tls_certificate), NULL, 0, 0, false},
    {"tls_key", FILE_NAME, AT(tls_key), NULL, 0, 0, false},
    {"database", TEXT, AT(database), NULL, 0, 0, true},
    {"state_dir", FILE_NAME, AT(state_dir), NULL, 0, 0, false},
    {"master_key", FILE_NAME, AT(master_key), NULL, 0, 0, false},
    {"log_level", LEVEL, AT(log_level), "info", 0, 0, false},
    {"workers", NUMBER, AT(workers), "0", 0, 256, false},
    {"staleness_max_ms", NUMBER, AT(staleness_max_ms), "5000", 1000, 60000,
        false},
    {"clock_offset_max_ms", NUMBER, AT(clock_offset_max_ms), "1000", 10, 60000,
        false},
    {"drain_delay_ms", NUMBER, AT(drain_delay_ms), "1000", 0, 600000, false},
    {"drain_deadline_ms", NUMBER, AT(drain_deadline_ms), "20000", 100, 600000,
        false},
    {"session_deadline_ms", NUMBER, AT(session_deadline_ms), "5000", 100, 60000,
        false},
    {"request_time_ms", NUMBER, AT(request_time_ms), "10000", 100, 600000,
        false},
    {"send_progress_ms", NUMBER, AT(send_progress_ms), "20000", 100, 600000,
        false},
    {"idle_http1_ms", NUMBER, AT(idle_http1_ms), "60000", 100, 3600000, false},
    {"idle_http2_ms", NUMBER, AT(idle_http2_ms), "300000", 100, 3600000, false},
    {"head_max", NUMBER, AT(head_max), "16384", 1024, 65536, false},
    {"message_max", NUMBER, AT(message_max), "262144", 1024, 16777216, false},
    {"upload_max", NUMBER, AT(upload_max), "16777216", 1024, 16777216, false},
    {"streams_max", NUMBER, AT(streams_max), "100", 1, 10000, false},
    {"connections_max", NUMBER, AT(connections_max), "20000", 1, 1000000,
        false},
    {"challenge_life_s", NUMBER, AT(challenge_life_s), "600", 10, 86400, false},
    {"query_life_s", NUMBER, AT(query_life_s), "14400", 10, 604800, false},
    {"update_life_s", NUMBER, AT(update_life_s), "86400", 10, 2592000, false},
    {"memory_mb", NUMBER, AT(memory_mb), "1024", 16, 1048576, false},
    {"source_rate", NUMBER, AT(source_rate), "0", 0, 1000000, false},
    {"trusted_sources", NETWORKS, AT(trusted_sources), "", 0, 0, false},
    {"device_cache", NUMBER, AT(device_cache), "100000", 1, 100000000, false},
    {"payload_cache_mb", NUMBER, AT(payload_cache_mb), "64", 0, 1048576, false},
    {"publish_every_s", NUMBER, AT(publish_every_s), "60", 0, 86400, false},
    {"verifier_timeout_ms", NUMBER, AT(verifier_timeout_ms), "10000", 10,
        600000, false},
    {"verifier_calls", NUMBER, AT(verifier_calls), "64", 1, 100000, false},
    {"hsm_module", FILE_NAME, AT(hsm_module), "", 0, 0, false},
    {"hsm_threads", NUMBER, AT(hsm_threads), "1", 1, 64, false},
    {"hsm_queue", NUMBER, AT(hsm_queue), "1024", 1, 1000000, false},
    {"hsm_timeout_ms", NUMBER, AT(hsm_timeout_ms), "2000", 10, 60000, false},
    {"result_cache", NUMBER, AT(result_cache), "16384", 1, 10000000, false},
    {"openers_per_second", NUMBER, AT(openers_per_second), "50000", 1, 10000000,
        false},
    {"failures_per_second", NUMBER, AT(failures_per_second), "2000", 1,
        10000000, false},
#undef AT
};

enum {
	KEYS = sizeof(keys) / sizeof(keys[0])
};

/* A value on its way, and who gave it. */
struct value {
	char text[CONFIG_TEXT_MAX];
	char origin[CONFIG_TEXT_MAX]; /* empty: nobody did */
};

static const struct key *
find_key(const char *name, size_t *which)
{
	for (size_t i = 0; i < KEYS; i++) {
		if (strcmp(keys[i].name, name) == 0) {
			*which = i;
			return &keys[i];
		}
	}
	return NULL;
}

/* --- saying what is wrong --------------------------------------------------------- */

static const char *
nearest_key(const char *name)
{
	struct nearest near = {.name = name};

	for (size_t i = 0; i < KEYS; i++)
		nearest_offer(&near, keys[i].name);
	return near.found;
}

static void
say_unknown(const char *origin, const char *name)
{
	const char *near = nearest_key(name);

	(void)fprintf(stderr, "%s: unknown key '%s'", origin, name);
	if (near != NULL)
		(void)fprintf(stderr, "; did you mean '%s'?", near);
	(void)fputc('\n', stderr);
}

/* --- checking one value -------------------------------------------------------------- */

bool
config_next_address(const char **list, char *address, size_t room, int *port)
{
	const char *p = *list, *colon;
	size_t n, host_n;
	int64_t number;

	while (*p == ' ' || *p == ',')
		p++;
	if (*p == '\0')
		return false;
	n = strcspn(p, ", ");
	*list = p + n;
	*port = -1;
	for (colon = p + n; colon > p && *colon != ':'; colon--)
		continue;
	host_n = (size_t)(colon - p);
	if (host_n == 0 || host_n >= room)
		return true;
	if (*p == '[' && p[host_n - 1] == ']') {
		p++;
		host_n -= 2;
	}
	memcpy(address, p, host_n);
	address[host_n] = '\0';
	if (number_parse_slice((struct slice){(const uint8_t *)colon + 1,
	                           strcspn(colon + 1, ", ")},
	        0, 65535, &number))
		*port = (int)number;
	return true;
}

static bool
good_addresses(const char *text)
{
	char address[128];
	int port;

	while (config_next_address(&text, address, sizeof(address), &port)) {
		if (port < 0)
			return false;
	}
	return true;
}

static bool
good_number(const struct key *k, const char *text)
{
	int64_t v;

	return number_parse(text, k->min, k->max, &v);
}

static bool
check(const struct key *k, const struct value *v)
{
	enum log_level ignored;
	struct http_trusted nets;

	switch (k->kind) {
	case NUMBER:
		if (good_number(k, v->text))
			return true;
		(void)fprintf(stderr,
		    "%s: %s must be a whole number from %lld to %lld, not "
		    "'%s'\n",
		    v->origin, k->name, (long long)k->min, (long long)k->max,
		    v->text);
		return false;
	case ADDRESSES:
		if (good_addresses(v->text))
			return true;
		(void)fprintf(stderr,
		    "%s: %s must be address:port, several with commas, not "
		    "'%s'\n",
		    v->origin, k->name, v->text);
		return false;
	case LEVEL:
		if (log_level_parse(v->text, &ignored))
			return true;
		(void)fprintf(stderr,
		    "%s: %s must be error, warn, info or debug, not '%s'\n",
		    v->origin, k->name, v->text);
		return false;
	case NETWORKS:
		if (http_trusted_parse(v->text, &nets))
			return true;
		(void)fprintf(stderr,
		    "%s: %s must be networks like 10.0.0.0/8, several with "
		    "commas, not '%s'\n",
		    v->origin, k->name, v->text);
		return false;
	case TEXT:
	case FILE_NAME:
	default:
		return true;
	}
}

/* --- gathering, the strongest source last --------------------------------------------- */

static bool
set(struct value *v, const char *text, const char *origin)
{
	if (strlen(text) >= CONFIG_TEXT_MAX) {
		(void)fprintf(stderr, "%s: value longer than %d bytes\n",
		    origin, CONFIG_TEXT_MAX - 1);
		return false;
	}
	(void)snprintf(v->text, sizeof(v->text), "%s", text);
	(void)snprintf(v->origin, sizeof(v->origin), "%s", origin);
	return true;
}

static void on_file_error(cfg_t *, const char *, va_list)
    __attribute__((format(printf, 2, 0)));

static void
on_file_error(cfg_t *cfg, const char *format, va_list ap)
{
	char text[256], origin[256], *name, *end;

	(void)vsnprintf(text, sizeof(text), format, ap);
	(void)snprintf(origin, sizeof(origin), "%s:%d",
	    cfg->filename == NULL ? "?" : cfg->filename, cfg->line);
	name = strstr(text, "no such option '");
	if (name != NULL) {
		name += strlen("no such option '");
		end = strchr(name, '\'');
		if (end != NULL)
			*end = '\0';
		say_unknown(origin, name);
		return;
	}
	(void)fprintf(stderr, "%s: %s\n", origin, text);
}

/* libconfuse calls it with the line at hand: checked where it stands. */
static int
on_file_value(cfg_t *cfg, cfg_opt_t *opt)
{
	struct value v;
	char origin[256];
	size_t which;
	const struct key *k = find_key(cfg_opt_name(opt), &which);

	(void)snprintf(origin, sizeof(origin), "%s:%d", cfg->filename,
	    cfg->line);
	if (!set(&v, cfg_opt_getstr(opt), origin))
		return -1;
	return check(k, &v) ? 0 : -1;
}

static bool
read_file(const char *path, struct value *values)
{
	cfg_opt_t opts[KEYS + 1];
	cfg_t *cfg;
	bool ok;

	for (size_t i = 0; i < KEYS; i++) {
		cfg_opt_t opt = CFG_STR(keys[i].name, NULL, CFGF_NODEFAULT);

		opts[i] = opt;
	}
	opts[KEYS] = (cfg_opt_t)CFG_END();
	cfg = cfg_init(opts, CFGF_NONE);
	(void)cfg_set_error_function(cfg, on_file_error);
	for (size_t i = 0; i < KEYS; i++)
		(void)cfg_set_validate_func(cfg, keys[i].name, on_file_value);
	switch (cfg_parse(cfg, path)) {
	case CFG_SUCCESS:
		ok = true;
		break;
	case CFG_FILE_ERROR:
		(void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
		ok = false;
		break;
	default:
		ok = false;
	}
	for (size_t i = 0; ok && i < KEYS; i++) {
		if (cfg_size(cfg, keys[i].name) > 0)
			ok = set(&values[i], cfg_getstr(cfg, keys[i].name),
			    path);
	}
	(void)cfg_free(cfg);
	return ok;
}

static bool
read_environment(struct value *values)
{
	char name[64], origin[80];

	for (size_t i = 0; i < KEYS; i++) {
		const char *text;
		size_t n;

		n = (size_t)snprintf(name, sizeof(name), "TAMD_%s",
		    keys[i].name);
		for (size_t j = 0; j < n && j < sizeof(name); j++)
			name[j] = (char)toupper((unsigned char)name[j]);
		text = getenv(name);
		(void)snprintf(origin, sizeof(origin), "environment %s", name);
		if (text != NULL &&
		    (!set(&values[i], text, origin) ||
		        !check(&keys[i], &values[i])))
			return false;
	}
	return true;
}

static bool
read_flags(const struct config_override *o, struct value *values)
{
	for (; o != NULL; o = o->next) {
		char name[64];
		size_t n = strcspn(o->text, "="), which;
		const struct key *k;

		(void)snprintf(name, sizeof(name), "%.*s", (int)n, o->text);
		k = find_key(name, &which);
		if (k == NULL) {
			say_unknown("flag -o", name);
			return false;
		}
		if (o->text[n] != '=') {
			(void)fprintf(stderr,
			    "flag -o: %s wants a value: -o %s=VALUE\n", name,
			    name);
			return false;
		}
		if (!set(&values[which], o->text + n + 1, "flag -o") ||
		    !check(k, &values[which]))
			return false;
	}
	return true;
}

static bool
gather(const char *path, const struct config_override *o, struct value *values)
{
	bool ok = true;

	memset(values, 0, KEYS * sizeof(*values));
	for (size_t i = 0; i < KEYS; i++) {
		if (keys[i].initial != NULL)
			(void)set(&values[i], keys[i].initial, "default");
	}
	if ((path != NULL && !read_file(path, values)) ||
	    !read_environment(values) || !read_flags(o, values))
		return false;
	for (size_t i = 0; i < KEYS; i++) {
		if (values[i].origin[0] != '\0')
			continue;
		(void)fprintf(stderr, "%s: key '%s' is missing\n",
		    path == NULL ? "configuration" : path, keys[i].name);
		ok = false;
	}
	return ok;
}

bool
config_load(const char *path, const struct config_override *o,
    struct config *out)
{
	struct value *values = mem_new_n(KEYS, struct value);
	char *base = (char *)out;

	if (!gather(path, o, values)) {
		free(values);
		return false;
	}
	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < KEYS; i++) {
		if (keys[i].kind == NUMBER)
			(void)number_parse(values[i].text, keys[i].min,
			    keys[i].max,
			    (int64_t *)(void *)(base + keys[i].offset));
		else
			memcpy(base + keys[i].offset, values[i].text,
			    CONFIG_TEXT_MAX);
	}
	free(values);
	if (out->node_id[0] == '\0' &&
	    gethostname(out->node_id, CONFIG_TEXT_MAX - 16) == 0) {
		size_t n = strlen(out->node_id);

		(void)snprintf(out->node_id + n, CONFIG_TEXT_MAX - n, "-%d",
		    (int)getpid());
	}
	return true;
}

bool
config_dump(const char *path, const struct config_override *o, FILE *to)
{
	struct value *values = mem_new_n(KEYS, struct value);

	if (!gather(path, o, values)) {
		free(values);
		return false;
	}
	for (size_t i = 0; i < KEYS; i++)
		(void)fprintf(to, "%s = \"%s\" # %s\n", keys[i].name,
		    keys[i].secret ? "********" : values[i].text,
		    values[i].origin);
	free(values);
	return true;
}
