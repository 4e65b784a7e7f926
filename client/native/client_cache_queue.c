#include "client/native/client_cache_queue.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/xalloc.h"

void client_cache_queue_clear(client_cache_queue_t *self)
{
    while (client_cache_queue_size(self) > 0) {
        client_cache_queue_drop(self);
    }
}

void client_cache_queue_deinit(client_cache_queue_t *self)
{
    client_cache_queue_clear(self);
    free(self->items);
    *self = (client_cache_queue_t){0};
}

size_t client_cache_queue_size(const client_cache_queue_t *self)
{
    return self->end - self->head;
}

/* Room at the end: what was popped is reused once it is half of the array. */
static void make_room(client_cache_queue_t *self)
{
    if (self->end < self->capacity) {
        return;
    }
    if (self->head > 0 && self->head >= self->capacity / 2) {
        size_t n = client_cache_queue_size(self);
        memmove(self->items, &self->items[self->head], n * sizeof *self->items);
        self->head = 0;
        self->end = n;
        return;
    }
    self->items = xgrow(self->items, &self->capacity, self->end + 1, sizeof *self->items);
}

void client_cache_queue_push(client_cache_queue_t *self, client_cache_entry_t *entry)
{
    make_room(self);
    self->bytes += bytes_len(entry->item.record);
    self->items[self->end++] = *entry;
    *entry = (client_cache_entry_t){0};
}

client_cache_entry_t *client_cache_queue_at(const client_cache_queue_t *self, size_t i)
{
    assert(i < client_cache_queue_size(self));
    return &self->items[self->head + i];
}

client_cache_entry_t client_cache_queue_pop(client_cache_queue_t *self)
{
    client_cache_entry_t entry = *client_cache_queue_at(self, 0);
    self->bytes -= bytes_len(entry.item.record);
    self->head++;
    if (self->head == self->end) {
        self->head = 0;
        self->end = 0;
    }
    return entry;
}

void client_cache_queue_drop(client_cache_queue_t *self)
{
    client_cache_entry_t entry = client_cache_queue_pop(self);
    keymap_item_unref(&entry.item);
}
