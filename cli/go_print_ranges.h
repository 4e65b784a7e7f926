/* go_print_ranges: a table for go_is_print. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef struct go_rune_range {
    uint32_t first;
    uint32_t last;
} go_rune_range_t;

/* Ascending, disjoint. */
extern const go_rune_range_t go_print_ranges[];
extern const size_t go_print_ranges_n;
