/*
 * version.h - versions in order.
 *
 * A version is runs of digits and runs of ASCII letters; all else separates
 * them.  Digits compare as numbers of any length, letters without case.  What
 * ends is before what goes on with a number and after what goes on with
 * letters, so that 2.0-rc1 < 2.0 < 2.0.1; numbers that are zero do not count
 * at the end or in front of letters, so that 2.0 and 2 are the same.  What
 * follows a '+' is build metadata and has no order (Semantic Versioning 2.0.0,
 * item 10), and a letter v in front of a number is no part of the version.  The
 * database's version_key() orders alike.
 */
#ifndef POLICY_VERSION_H
#define POLICY_VERSION_H

#include "lib/base/slice.h"

/* Negative, zero, or positive. */
int version_cmp(struct slice, struct slice);

#endif
