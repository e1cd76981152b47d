#include "config.h"

#include "lib/base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/clock.h"

enum {
	LINE_MAX_BYTES = 1024,
	PEER_LINES_PER_SECOND = 20 /* arbitrary: enough to see, not to drown */
};

static const char *const level_names[] = {"error", "warn", "info", "debug"};

static atomic_int threshold = LOG_LEVEL_INFO;

/* What one thread logs as, and its allowance of peer-caused lines. */
static _Thread_local struct {
	const char *name;
	int64_t second;
	unsigned used, held;
} thread;

void
log_set_level(enum log_level level)
{
	atomic_store(&threshold, (int)level);
}

bool
log_level_parse(const char *s, enum log_level *out)
{
	for (int i = 0; i <= LOG_LEVEL_DEBUG; i++) {
		if (strcmp(s, level_names[i]) == 0) {
			*out = (enum log_level)i;
			return true;
		}
	}
	return false;
}

void
log_set_thread(const char *name)
{
	thread.name = name;
}

static size_t
prefix(char *line, enum log_level level, const char *event)
{
	int64_t now = clock_wall_us();
	time_t second = (time_t)(now / CLOCK_SECOND);
	struct tm tm;
	int n;

	(void)gmtime_r(&second, &tm);
	n = snprintf(line, LINE_MAX_BYTES,
	    "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ level=%s thread=%s event=%s ",
	    tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
	    tm.tm_sec, (int)(now % CLOCK_SECOND / 1000), level_names[level],
	    thread.name == NULL ? "main" : thread.name, event);
	return n < 0 ? 0 : (size_t)n;
}

__attribute__((format(printf, 3, 0))) static void
emit(enum log_level level, const char *event, const char *format, va_list ap)
{
	char line[LINE_MAX_BYTES];
	size_t n = prefix(line, level, event);
	int more;

	more = vsnprintf(line + n, sizeof(line) - n - 1, format, ap);
	if (more > 0)
		n += (size_t)more;
	if (n > sizeof(line) - 2)
		n = sizeof(line) - 2;
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, n) < 0)
		return; /* nowhere to say so */
}

void
log_line(enum log_level level, const char *event, const char *format, ...)
{
	va_list ap;

	if ((int)level > atomic_load_explicit(&threshold, memory_order_relaxed))
		return;
	va_start(ap, format);
	emit(level, event, format, ap);
	va_end(ap);
}

void
log_peer(enum log_level level, const char *event, const char *format, ...)
{
	int64_t second = clock_mono_us() / CLOCK_SECOND;
	va_list ap;

	if ((int)level > atomic_load_explicit(&threshold, memory_order_relaxed))
		return;
	if (second != thread.second) {
		if (thread.held > 0)
			log_info("log_held_back", "lines=%u", thread.held);
		thread.second = second;
		thread.used = thread.held = 0;
	}
	if (thread.used == PEER_LINES_PER_SECOND) {
		thread.held++;
		return;
	}
	thread.used++;
	va_start(ap, format);
	emit(level, event, format, ap);
	va_end(ap);
}

const char *
log_escape(struct slice s, char *out, size_t room)
{
	static const char digits[] = "0123456789abcdef";
	char *q = out;

	for (size_t i = 0; i < s.n && (size_t)(q - out) + 5 <= room; i++) {
		uint8_t c = s.p[i];

		if (c > ' ' && c < 0x7f && c != '\\' && c != '"') {
			*q++ = (char)c;
			continue;
		}
		*q++ = '\\';
		*q++ = 'x';
		*q++ = digits[c >> 4];
		*q++ = digits[c & 15];
	}
	*q = '\0';
	return out;
}
