/* clock: the only place that reads time. */
#pragma once

#include <stdint.h>

uint64_t clock_monotonic_us(void); /* never jumps; microseconds from an arbitrary point */
uint64_t clock_random_seed(void);  /* from the kernel, for prngs and for this run's origin id */
