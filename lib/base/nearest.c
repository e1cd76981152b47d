#include "config.h"

#include "lib/base/nearest.h"

#include <ctype.h>
#include <string.h>

enum {
	NEAR = 4
};

static int
lower(char c)
{
	return tolower((unsigned char)c);
}

/* Levenshtein's: letters put in, taken out or replaced. */
static size_t
distance(const char *a, const char *b)
{
	size_t row[NEAREST_NAME_MAX + 1], n = strlen(b);

	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 1; a[i - 1] != '\0'; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= n; j++) {
			size_t above = row[j];
			size_t best =
			    diagonal + (lower(a[i - 1]) != lower(b[j - 1]));

			if (above + 1 < best)
				best = above + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
			diagonal = above;
		}
	}
	return row[n];
}

void
nearest_offer(struct nearest *n, const char *known)
{
	size_t d;

	if (strlen(known) > NEAREST_NAME_MAX ||
	    strlen(n->name) > 2 * (size_t)NEAREST_NAME_MAX)
		return;
	d = distance(n->name, known);
	if (d > NEAR || 2 * d > strlen(known) ||
	    (n->found != NULL && d >= n->distance))
		return;
	n->found = known;
	n->distance = d;
}
