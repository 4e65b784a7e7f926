/* xalloc: allocation that cannot fail. Pure.
 * Running out of memory aborts: a server that restarts from its log is simpler, and better tested,
 * than one with an untested path behind every allocation. */
#pragma once

#include <stddef.h>

void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *old, size_t size);
char *xstrdup(const char *text);
void *xmemdup(const void *data, size_t size);
/* printf into a fresh string. */
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Grow an array so that it holds at least `needed` items: doubles, never shrinks. */
void *xgrow(void *items, size_t *capacity, size_t needed, size_t item_size);
