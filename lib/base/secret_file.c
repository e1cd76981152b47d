#include "config.h"

#include "lib/base/secret_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum secret_file
secret_file_read(const char *path, void *out, size_t room, size_t *n,
    unsigned *mode)
{
	enum secret_file result = SECRET_UNREADABLE;
	struct stat st = {.st_mode = 0};
	ssize_t got = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return SECRET_UNREADABLE;
	/* A FIFO would be waited for, perhaps for ever. */
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		result = (st.st_mode & (S_IRWXO | S_IWGRP)) != 0
		    ? SECRET_EXPOSED
		    : SECRET_READ;
	if (result == SECRET_READ)
		got = read(fd, out, room);
	(void)close(fd);
	*mode = (unsigned)st.st_mode & 07777u;
	if (result == SECRET_READ && (got <= 0 || (size_t)got == room))
		result = SECRET_UNREADABLE;
	*n = result == SECRET_READ ? (size_t)got : 0;
	return result;
}
