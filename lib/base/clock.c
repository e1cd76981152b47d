#include "config.h"

#include "lib/base/clock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#ifdef TAM_FAULT_POINTS

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	MOVED_DIGITS = 20 /* the file is at least that long */
};

static const volatile char *moved;

static void
map_moved(void)
{
	const char *path = getenv("TAM_CLOCK");
	int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	void *p;

	if (fd < 0)
		return;
	p = mmap(NULL, MOVED_DIGITS, PROT_READ, MAP_SHARED, fd, 0);
	(void)close(fd);
	if (p != MAP_FAILED)
		moved = p;
}

int64_t
clock_moved_us(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	int64_t seconds = 0;

	(void)pthread_once(&once, map_moved);
	for (int i = 0; moved != NULL && i < MOVED_DIGITS; i++) {
		if (moved[i] < '0' || moved[i] > '9')
			break;
		seconds = 10 * seconds + (moved[i] - '0');
	}
	return seconds * CLOCK_SECOND;
}

#else

int64_t
clock_moved_us(void)
{
	return 0;
}

#endif

static int64_t
read_us(clockid_t id)
{
	struct timespec ts = {0};

	(void)clock_gettime(id, &ts);
	return ts.tv_sec * CLOCK_SECOND + ts.tv_nsec / 1000;
}

int64_t
clock_mono_us(void)
{
	return read_us(CLOCK_MONOTONIC);
}

int64_t
clock_wall_us(void)
{
	return read_us(CLOCK_REALTIME) + clock_moved_us();
}

int64_t
clock_cpu_us(void)
{
	return read_us(CLOCK_PROCESS_CPUTIME_ID);
}

/* --- cluster time --------------------------------------------------------------- */

static const int64_t held_us = 2 * CLOCK_SECOND;
static atomic_bool cluster_known;
static _Atomic int64_t cluster_ahead_us; /* of the monotonic clock */

void
clock_cluster_set(int64_t cluster_us, int64_t mono_us)
{
	atomic_store(&cluster_ahead_us, cluster_us - mono_us);
	atomic_store(&cluster_known, true);
}

int64_t
clock_cluster_us(void)
{
	static _Thread_local int64_t last;
	int64_t now;

	if (!atomic_load_explicit(&cluster_known, memory_order_acquire))
		return clock_wall_us();
	now = clock_mono_us() +
	    atomic_load_explicit(&cluster_ahead_us, memory_order_relaxed);
	if (now < last && last - now < held_us)
		return last;
	last = now;
	return now;
}
