#include "config.h"

#include "lib/base/durable_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool
write_all(int fd, struct slice text)
{
	while (text.n > 0) {
		ssize_t n = write(fd, text.p, text.n);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		text.p += n;
		text.n -= (size_t)n;
	}
	return true;
}

/* Closes and keeps the errno of the step that failed before. */
static bool
finish(int fd, bool ok)
{
	int saved = errno;

	if (close(fd) != 0 && ok)
		return false;
	if (!ok)
		errno = saved;
	return ok;
}

static bool
write_synced(const char *path, struct slice text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	return fd >= 0 && finish(fd, write_all(fd, text) && fsync(fd) == 0);
}

enum tam_err
durable_file_sync_directory(const char *path)
{
	char directory[DURABLE_PATH_MAX];
	const char *slash = strrchr(path, '/');
	size_t n = slash == NULL ? 0 : (size_t)(slash - path);
	int fd;

	if (n >= sizeof(directory)) {
		errno = ENAMETOOLONG;
		return TAM_BAD_FILE;
	}
	memcpy(directory, path, n);
	directory[n] = '\0';
	if (n == 0)
		(void)strcpy(directory, slash == NULL ? "." : "/");
	fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd >= 0 && finish(fd, fsync(fd) == 0) ? TAM_OK : TAM_BAD_FILE;
}

enum tam_err
durable_file_write(const char *path, struct slice text)
{
	char fresh[DURABLE_PATH_MAX];
	int n = snprintf(fresh, sizeof(fresh), "%s.new", path);

	if (n < 0 || (size_t)n >= sizeof(fresh)) {
		errno = ENAMETOOLONG;
		return TAM_BAD_FILE;
	}
	if (!write_synced(fresh, text) || rename(fresh, path) != 0)
		return TAM_BAD_FILE;
	return durable_file_sync_directory(path);
}
