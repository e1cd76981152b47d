#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "admin/ctl/ctl.h"
#include "lib/codec/cose.h"
#include "lib/codec/crypto.h"

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

bool
ctl_read_private(const char *path, struct cose_private *key)
{
	struct buf pem;
	bool ok;

	buf_init(&pem, 8192);
	ok = ctl_read_file(path, &pem);
	if (ok && cose_private_from_pem(buf_slice(&pem), key) != TAM_OK) {
		(void)fprintf(stderr, "tamctl: %s: not a private key in PEM\n",
		    path);
		ok = false;
	}
	crypto_zero(pem.p, pem.n);
	buf_fini(&pem);
	return ok;
}
