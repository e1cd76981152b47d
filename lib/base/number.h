/*
 * number.h - decimal numbers in text that a person, a file or a peer wrote.
 *
 * A number is digits and nothing else, with one '-' in front where the range
 * has negative numbers.  Refused are blanks, a '+', "1e3", "0x10", an empty
 * text, and a number outside the range: nothing is cut, wrapped or clamped.
 * The result is written on success alone.
 */
#ifndef LIB_BASE_NUMBER_H
#define LIB_BASE_NUMBER_H

#include "lib/base/slice.h"

/* The whole text is the number. */
bool number_parse(const char *text, int64_t min, int64_t max, int64_t *out);
bool number_parse_slice(struct slice, int64_t min, int64_t max, int64_t *out);
bool number_parse_unsigned(const char *text, uint64_t max, uint64_t *out);

/* Digits, and at most one '.' with digits on both sides: "0.5". */
bool number_parse_decimal(const char *text, double min, double max,
    double *out);

/* The number at the front of *rest, which then begins behind its last digit. */
bool number_take(struct slice *rest, int64_t min, int64_t max, int64_t *out);

#endif
