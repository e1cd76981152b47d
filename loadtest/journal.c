#include "config.h"

#include "loadtest/journal.h"

#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/base/durable_file.h"
#include "lib/base/hex.h"
#include "lib/base/mem.h"

struct journal {
	int fd;
};

struct journal *
journal_open(const char *path)
{
	struct journal *j = mem_new(struct journal);

	j->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (j->fd >= 0 && durable_file_sync_directory(path) == TAM_OK)
		return j;
	if (j->fd >= 0)
		(void)close(j->fd);
	free(j);
	return NULL;
}

void
journal_close(struct journal *j)
{
	if (j == NULL)
		return;
	(void)close(j->fd);
	free(j);
}

void
journal_add(struct journal *j, char kind, struct slice thumbprint,
    struct slice token)
{
	char line[2 * 32 + 2 * 64 + 8], *p = line;

	*p++ = kind;
	*p++ = ' ';
	hex_encode(thumbprint, p);
	p += 2 * thumbprint.n;
	*p++ = ' ';
	hex_encode(token, p);
	p += 2 * token.n;
	*p++ = '\n';
	if (write(j->fd, line, (size_t)(p - line)) != p - line ||
	    fdatasync(j->fd) != 0)
		err(EXIT_FAILURE, "journal");
}
