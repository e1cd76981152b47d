#include "config.h"

#include "lib/base/number.h"

#include <stdlib.h>

/* Moves over the digits; false without one, or when they exceed max. */
static bool
take_digits(struct slice *rest, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;
	size_t i = 0;

	for (; i < rest->n && rest->p[i] >= '0' && rest->p[i] <= '9'; i++) {
		uint64_t digit = (uint64_t)rest->p[i] - '0';

		if (v > max / 10 || v * 10 > max - digit)
			return false;
		v = v * 10 + digit;
	}
	if (i == 0)
		return false;
	rest->p += i;
	rest->n -= i;
	*out = v;
	return true;
}

bool
number_take(struct slice *rest, int64_t min, int64_t max, int64_t *out)
{
	struct slice digits = *rest;
	bool negative = min < 0 && digits.n > 0 && digits.p[0] == '-';
	/* -min without the overflow of INT64_MIN. */
	uint64_t limit = !negative ? (uint64_t)(max < 0 ? 0 : max)
	                           : (uint64_t)(-(min + 1)) + 1;
	uint64_t v;
	int64_t result;

	digits.p += negative;
	digits.n -= negative;
	if (!take_digits(&digits, limit, &v))
		return false;
	result = negative && v > 0 ? -(int64_t)(v - 1) - 1 : (int64_t)v;
	if (result < min || result > max)
		return false;
	*rest = digits;
	*out = result;
	return true;
}

bool
number_parse_slice(struct slice text, int64_t min, int64_t max, int64_t *out)
{
	int64_t v;

	if (!number_take(&text, min, max, &v) || text.n > 0)
		return false;
	*out = v;
	return true;
}

bool
number_parse(const char *text, int64_t min, int64_t max, int64_t *out)
{
	return number_parse_slice(slice_str(text), min, max, out);
}

bool
number_parse_unsigned(const char *text, uint64_t max, uint64_t *out)
{
	struct slice rest = slice_str(text);
	uint64_t v;

	if (!take_digits(&rest, max, &v) || rest.n > 0)
		return false;
	*out = v;
	return true;
}

bool
number_parse_decimal(const char *text, double min, double max, double *out)
{
	static const char digits[] = "0123456789";
	size_t whole = strspn(text, digits), fraction = 0;
	const char *end = text + whole;
	double v;

	if (whole > 0 && *end == '.') {
		fraction = strspn(end + 1, digits);
		if (fraction == 0)
			return false;
		end += 1 + fraction;
	}
	/* Programs of this project stay in the "C" locale: '.' is the point. */
	if (whole == 0 || whole + fraction > 300 || *end != '\0')
		return false;
	v = strtod(text, NULL);
	if (!(v >= min && v <= max))
		return false;
	*out = v;
	return true;
}
