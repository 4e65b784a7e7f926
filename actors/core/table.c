#include "actors/core/table.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/xalloc.h"

enum { SLOTS_FIRST = 32 };

uint64_t hash_u64(uint64_t value)
{
    value ^= value >> 33;
    value *= 0xff51afd7ed558ccdu;
    value ^= value >> 33;
    value *= 0xc4ceb9fe1a85ec53u;
    return value ^ (value >> 33);
}

/* FNV-1a over eight bytes at a time, mixed at the end. */
uint64_t hash_slice(slice_t bytes)
{
    uint64_t hash = 0xcbf29ce484222325u ^ bytes.len;
    size_t at = 0;
    for (; at + 8 <= bytes.len; at += 8) {
        uint64_t word = 0;
        memcpy(&word, bytes.data + at, 8);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 29;
    }
    for (; at < bytes.len; at++) {
        hash = (hash ^ bytes.data[at]) * 0x100000001b3u;
    }
    return hash_u64(hash);
}

void table_deinit(table_t *self)
{
    free(self->slots);
    *self = (table_t){0};
}

void *table_next(const table_t *self, uint64_t hash, size_t *cursor)
{
    if (self->slot_count == 0) {
        return NULL;
    }
    size_t mask = self->slot_count - 1;
    while (true) {
        const table_slot_t *slot = &self->slots[(hash + (*cursor)++) & mask];
        if (!slot->item) {
            return NULL;
        }
        if (slot->hash == hash) {
            return slot->item;
        }
    }
}

static void place(table_t *self, uint64_t hash, void *item)
{
    size_t mask = self->slot_count - 1;
    size_t at = hash & mask;
    while (self->slots[at].item) {
        at = (at + 1) & mask;
    }
    self->slots[at] = (table_slot_t){.hash = hash, .item = item};
}

void table_add(table_t *self, uint64_t hash, void *item)
{
    assert(item);
    if ((self->count + 1) * 2 > self->slot_count) {
        table_slot_t *old = self->slots;
        size_t old_count = self->slot_count;
        self->slot_count = old_count ? old_count * 2 : SLOTS_FIRST;
        self->slots = xcalloc(self->slot_count, sizeof *self->slots);
        for (size_t i = 0; i < old_count; i++) {
            if (old[i].item) {
                place(self, old[i].hash, old[i].item);
            }
        }
        free(old);
    }
    place(self, hash, item);
    self->count++;
}

void table_remove(table_t *self, uint64_t hash, const void *item)
{
    size_t mask = self->slot_count - 1;
    size_t at = hash & mask;
    while (self->slots[at].item != item) {
        assert(self->slots[at].item);
        at = (at + 1) & mask;
    }
    self->slots[at].item = NULL;
    self->count--;
    for (at = (at + 1) & mask; self->slots[at].item; at = (at + 1) & mask) {
        table_slot_t moved = self->slots[at];
        self->slots[at].item = NULL;
        place(self, moved.hash, moved.item);
    }
}

void *table_each(const table_t *self, size_t *cursor)
{
    while (*cursor < self->slot_count) {
        void *item = self->slots[(*cursor)++].item;
        if (item) {
            return item;
        }
    }
    return NULL;
}
