/* fifo: a queue of small things of one size, in one piece of memory. Pure; embedded, one owner. */
#pragma once

#include <stddef.h>

typedef struct {
    void *items;
    size_t item_size;
    size_t first, count, capacity; /* capacity is a power of two, or 0 */
} fifo_t;

void fifo_init(fifo_t *self, size_t item_size);
void fifo_deinit(fifo_t *self); /* what is inside is the owner's to release before */
/* Room for one more at the end: fill it. Valid until the next call. */
void *fifo_push(fifo_t *self);
/* The first, or NULL. */
void *fifo_front(const fifo_t *self);
/* Drops the first. A large queue that has become empty gives its memory back. */
void fifo_pop(fifo_t *self);
