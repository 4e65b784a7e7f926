#include "actors/zmq_gateway/fifo.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "messages/xalloc.h"

enum { CAPACITY_MIN = 8, KEPT_BYTES_MAX = 4096 };

void fifo_init(fifo_t *self, size_t item_size)
{
    *self = (fifo_t){.item_size = item_size};
}

void fifo_deinit(fifo_t *self)
{
    free(self->items);
    self->items = NULL;
    self->first = 0;
    self->count = 0;
    self->capacity = 0;
}

static void *at(const fifo_t *self, size_t place)
{
    size_t slot = (self->first + place) & (self->capacity - 1);
    return (uint8_t *)self->items + slot * self->item_size;
}

static void grow(fifo_t *self)
{
    size_t capacity = self->capacity ? 2 * self->capacity : CAPACITY_MIN;
    uint8_t *items = xmalloc(capacity * self->item_size);
    for (size_t i = 0; i < self->count; i++) {
        memcpy(items + i * self->item_size, at(self, i), self->item_size);
    }
    free(self->items);
    self->items = items;
    self->first = 0;
    self->capacity = capacity;
}

void *fifo_push(fifo_t *self)
{
    assert(self->item_size > 0);
    if (self->count == self->capacity) {
        grow(self);
    }
    return at(self, self->count++);
}

void *fifo_front(const fifo_t *self)
{
    return self->count ? at(self, 0) : NULL;
}

void fifo_pop(fifo_t *self)
{
    assert(self->count > 0);
    self->first = (self->first + 1) & (self->capacity - 1);
    self->count--;
    if (self->count == 0 && self->capacity * self->item_size > KEPT_BYTES_MAX) {
        fifo_deinit(self);
    }
}
