/* gates: the value of --feature-gates, "A=true,B=false". Pure.
 * The gates of 3.7 are known by name; none can be moved off its default yet. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    const char *name;
    const char *stage; /* ALPHA, BETA */
    bool initial;      /* and, as none can be moved, what it is */
} gate_t;

/* All gates, by name. */
const gate_t *gates_all(size_t *count);

/* NULL = well-formed and every gate is known; else why not, yours. */
char *gates_check(const char *text) __attribute__((warn_unused_result));
/* Does a text that passed gates_check leave every gate at its default? */
bool gates_are_default(const char *text);
