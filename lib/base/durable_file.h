/*
 * durable_file.h - replace a small file so that the new text survives a crash.
 *
 * The text goes to PATH.new, which is synced and renamed over PATH; then the
 * directory is synced.  After a crash PATH holds the old text or the new one.
 * TAM_OK means that the new text is on disk under its name.  After an error
 * PATH may hold either text, and errno has the reason.  The mode is 0600.
 */
#ifndef LIB_BASE_DURABLE_FILE_H
#define LIB_BASE_DURABLE_FILE_H

#include "lib/base/err.h"
#include "lib/base/slice.h"

enum {
	DURABLE_PATH_MAX = 600 /* bytes, the terminating NUL included */
};

/* TAM_BAD_FILE when any step fails. */
enum tam_err durable_file_write(const char *path, struct slice text);

/* Syncs the directory that holds a file: without this, a file that was made,
 * renamed or removed may be as before after a crash. */
enum tam_err durable_file_sync_directory(const char *path);

#endif
