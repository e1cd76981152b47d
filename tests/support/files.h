/*
 * files.h - test inputs from files; a missing one ends the test.
 */
#ifndef TESTS_SUPPORT_FILES_H
#define TESTS_SUPPORT_FILES_H

#include "lib/base/arena.h"

/* A file below tests/ of the source tree, or by its whole path; lives as long as the arena. */
struct slice test_file(struct arena *, const char *path);

/* Bytes written as hexadecimal digits; blanks are ignored. */
struct slice test_hex(struct arena *, const char *digits);

#endif
