#include "actors/wal_writer/wal_conf.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/xalloc.h"

void wal_conf_deinit(wal_conf_t *self)
{
    for (size_t i = 0; i < self->count; i++) {
        bytes_unref(&self->items[i].bytes);
    }
    free(self->items);
    *self = (wal_conf_t){0};
}

void wal_conf_push(wal_conf_t *self, uint64_t index, const bytes_t *bytes)
{
    assert(self->count == 0 || index > wal_conf_index(self));
    self->items = xgrow(self->items, &self->capacity, self->count + 1, sizeof *self->items);
    self->items[self->count++] = (wal_conf_item_t){.index = index, .bytes = bytes_ref(bytes)};
}

void wal_conf_cut(wal_conf_t *self, uint64_t first)
{
    while (wal_conf_index(self) >= first) {
        assert(self->count > 1);
        bytes_unref(&self->items[--self->count].bytes);
    }
}

void wal_conf_settle(wal_conf_t *self, uint64_t commit)
{
    size_t gone = 0;
    while (gone + 1 < self->count && self->items[gone + 1].index <= commit) {
        bytes_unref(&self->items[gone++].bytes);
    }
    self->count -= gone;
    memmove(self->items, self->items + gone, self->count * sizeof *self->items);
}

void wal_conf_begin(wal_conf_t *self, uint64_t index, const bytes_t *bytes, bool keep_above)
{
    assert(self->count > 0 && self->items[0].index < index);
    size_t gone = 1;
    while (gone < self->count && (!keep_above || self->items[gone].index <= index)) {
        gone++;
    }
    for (size_t i = 0; i < gone; i++) {
        bytes_unref(&self->items[i].bytes);
    }
    self->count -= gone - 1;
    memmove(self->items + 1, self->items + gone, (self->count - 1) * sizeof *self->items);
    self->items[0] = (wal_conf_item_t){.index = index, .bytes = bytes_ref(bytes)};
}

uint64_t wal_conf_index(const wal_conf_t *self)
{
    assert(self->count > 0);
    return self->items[self->count - 1].index;
}

const bytes_t *wal_conf_top(const wal_conf_t *self)
{
    assert(self->count > 0);
    return self->items[self->count - 1].bytes;
}
