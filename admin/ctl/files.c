#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "admin/ctl/ctl.h"

bool
ctl_read_file(const char *path, struct buf *out)
{
	FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
	char chunk[16384];
	size_t n;
	bool ok;

	if (f == NULL) {
		(void)fprintf(stderr, "tamctl: %s: %s\n", path,
		    strerror(errno));
		return false;
	}
	while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
		buf_add(out, chunk, n);
	ok = ferror(f) == 0 && !out->full;
	if (f != stdin)
		ok = fclose(f) == 0 && ok;
	if (!ok)
		(void)fprintf(stderr, "tamctl: %s: cannot be read whole\n",
		    path);
	return ok;
}

bool
ctl_write_secret(const char *path, struct slice bytes)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	bool ok = fd >= 0 && write(fd, bytes.p, bytes.n) == (ssize_t)bytes.n &&
	    fsync(fd) == 0;

	if (!ok)
		(void)fprintf(stderr, "tamctl: %s: %s\n", path,
		    strerror(errno));
	if (fd >= 0)
		(void)close(fd);
	return ok;
}
