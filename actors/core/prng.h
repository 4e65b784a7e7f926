/* prng: seeded pseudo-random numbers (splitmix64). Pure; for timeouts and ids, not for secrets. */
#pragma once

#include <stdint.h>

typedef struct {
    uint64_t state;
} prng_t;

static inline uint64_t prng_next(prng_t *self)
{
    uint64_t z = self->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Uniform enough below `bound` > 0 for timeouts. */
static inline uint64_t prng_below(prng_t *self, uint64_t bound)
{
    return prng_next(self) % bound;
}
