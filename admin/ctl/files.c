#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "admin/ctl/ctl.h"
#include "admin/ctl/output.h"
#include "lib/base/durable_file.h"
#include "lib/base/secret_file.h"
#include "lib/codec/cose.h"
#include "lib/codec/crypto.h"

enum {
	PEM_MAX = 8192
};

bool
ctl_read_file(const char *path, struct buf *out)
{
	FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
	char chunk[16384];
	size_t n;
	bool ok;

	if (f == NULL) {
		ctl_complain("%s: %s", path, strerror(errno));
		return false;
	}
	while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
		buf_add(out, chunk, n);
	ok = ferror(f) == 0 && !out->full;
	if (f != stdin)
		ok = fclose(f) == 0 && ok;
	if (!ok)
		ctl_complain("%s: cannot be read whole", path);
	return ok;
}

bool
ctl_write_secret(const char *path, struct slice bytes)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	bool ok = fd >= 0 && write(fd, bytes.p, bytes.n) == (ssize_t)bytes.n &&
	    fsync(fd) == 0 && durable_file_sync_directory(path) == TAM_OK;

	if (!ok)
		ctl_complain("%s: %s", path, strerror(errno));
	if (fd >= 0)
		(void)close(fd);
	return ok;
}

bool
ctl_read_secret(const char *path, struct buf *out)
{
	uint8_t *room = buf_reserve(out, out->max);
	unsigned mode = 0;
	size_t n = 0;

	switch (secret_file_read(path, room, out->max, &n, &mode)) {
	case SECRET_READ:
		out->n = n;
		return true;
	case SECRET_EXPOSED:
		ctl_complain("%s: has mode %04o: a secret is for its owner "
		             "(chmod 600), at most for its group to read",
		    path, mode);
		return false;
	case SECRET_UNREADABLE:
	default:
		ctl_complain("%s: cannot be read, is empty, or is too large "
		             "for a secret",
		    path);
		return false;
	}
}

bool
ctl_read_private(const char *path, struct cose_private *key)
{
	struct buf pem;
	bool ok;

	buf_init(&pem, PEM_MAX);
	ok = ctl_read_secret(path, &pem);
	if (ok && cose_private_from_pem(buf_slice(&pem), key) != TAM_OK) {
		ctl_complain("%s: not a private key in PEM", path);
		ok = false;
	}
	crypto_zero(pem.p, pem.n);
	buf_fini(&pem);
	return ok;
}

/* Copies the payload into the arena if this key signed the message. */
static bool
verify(struct slice message, struct slice pem, struct arena *arena,
    struct slice *payload)
{
	struct cose_crypto *crypto = cose_crypto_new();
	struct cose_message m;
	struct cose_key key;
	bool ok = cose_key_from_pem(pem, &key) == TAM_OK &&
	    cose_decode(message, arena, &m) == TAM_OK && !m.multi &&
	    cose_verify(crypto, &m, 0, &key, slice_none()) == TAM_OK;

	if (ok)
		*payload = arena_dup(arena, m.payload);
	cose_crypto_free(crypto);
	return ok;
}

int
ctl_read_signed(const char *path, size_t max, const char *key_path,
    struct arena *arena, struct slice *payload)
{
	struct buf message, pem;
	int status = CTL_USAGE;

	buf_init(&message, max);
	buf_init(&pem, PEM_MAX);
	if (ctl_read_file(path, &message) && ctl_read_file(key_path, &pem))
		status =
		    verify(buf_slice(&message), buf_slice(&pem), arena, payload)
		    ? CTL_OK
		    : CTL_FAILED;
	buf_fini(&message);
	buf_fini(&pem);
	return status;
}
