#include "config.h"

#include "lib/base/random.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/random.h>

void
random_bytes(void *out, size_t n)
{
	uint8_t *p = out;

	while (n > 0) {
		ssize_t got = getrandom(p, n, 0);

		if (got < 0 && errno != EINTR)
			abort();
		if (got < 0)
			continue;
		p += got;
		n -= (size_t)got;
	}
}

int
random_pause_ms(int ms)
{
	uint32_t chance;

	random_bytes(&chance, sizeof(chance));
	return ms / 2 + (int)(chance % (uint32_t)ms);
}
