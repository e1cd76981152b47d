/*
 * secret_file.h - secrets that are kept in files.
 */
#ifndef LIB_BASE_SECRET_FILE_H
#define LIB_BASE_SECRET_FILE_H

#include <stddef.h>

enum secret_file {
	SECRET_READ,
	SECRET_UNREADABLE, /* not there, no regular file, empty, or not smaller than the room */
	SECRET_EXPOSED /* others than its owner and group may use it */
};

/* A secret that others can read is no secret: it is not read.  `mode` is the
 * file's, where there is one.  The caller wipes `out`. */
enum secret_file secret_file_read(const char *path, void *out, size_t room,
    size_t *n, unsigned *mode);

#endif
