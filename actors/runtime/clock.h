/* clock: the only place that reads time. */
#pragma once

#include <stdint.h>

uint64_t clock_monotonic_us(void); /* never jumps; microseconds from an arbitrary point */
uint64_t clock_unix_us(void);      /* the wall's clock, since 1970; for people, it may jump */
uint64_t clock_random_seed(void);  /* from the kernel, for prngs and for this run's origin id */
