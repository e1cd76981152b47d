/*
 * random.h - bytes from the kernel, for jitter and for names that no other
 * has.  Keys and tokens use lib/codec/crypto.h.
 */
#ifndef LIB_BASE_RANDOM_H
#define LIB_BASE_RANDOM_H

#include <stddef.h>

void random_bytes(void *, size_t n);

/* Half of the time and up to once more, by chance: `ms` on average. */
int random_pause_ms(int ms);

#endif
