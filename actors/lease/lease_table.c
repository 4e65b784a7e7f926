#include "actors/lease/lease_table.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/xalloc.h"

int lease_entry_compare(const lease_entry_t *a, const lease_entry_t *b)
{
    if (a->deadline_us != b->deadline_us) {
        return a->deadline_us < b->deadline_us ? -1 : 1;
    }
    return a->order < b->order ? -1 : a->order > b->order;
}

static bool before(const lease_entry_t *a, const lease_entry_t *b)
{
    return lease_entry_compare(a, b) < 0;
}

/* ---- heap ---- */

static void place(lease_table_t *self, size_t slot, lease_entry_t *entry)
{
    self->heap[slot] = entry;
    entry->heap_slot = slot;
}

static void sift_up(lease_table_t *self, size_t slot)
{
    lease_entry_t *entry = self->heap[slot];
    while (slot > 0 && before(entry, self->heap[(slot - 1) / 2])) {
        place(self, slot, self->heap[(slot - 1) / 2]);
        slot = (slot - 1) / 2;
    }
    place(self, slot, entry);
}

static void sift_down(lease_table_t *self, size_t slot)
{
    lease_entry_t *entry = self->heap[slot];
    while (true) {
        size_t child = 2 * slot + 1;
        if (child + 1 < self->count && before(self->heap[child + 1], self->heap[child])) {
            child++;
        }
        if (child >= self->count || !before(self->heap[child], entry)) {
            break;
        }
        place(self, slot, self->heap[child]);
        slot = child;
    }
    place(self, slot, entry);
}

/* ---- hash ---- */

static size_t hash_of(int64_t id)
{
    return (size_t)(((uint64_t)id * 0x9e3779b97f4a7c15u) >> 20);
}

static size_t probe(const lease_table_t *self, int64_t id)
{
    size_t mask = self->slot_count - 1;
    size_t slot = hash_of(id) & mask;
    while (self->slots[slot] && self->slots[slot]->id != id) {
        slot = (slot + 1) & mask;
    }
    return slot;
}

static void grow_slots(lease_table_t *self)
{
    size_t old_count = self->slot_count;
    lease_entry_t **old = self->slots;
    self->slot_count = old_count ? old_count * 2 : 64;
    self->slots = xcalloc(self->slot_count, sizeof *self->slots);
    for (size_t i = 0; i < old_count; i++) {
        if (old[i]) {
            self->slots[probe(self, old[i]->id)] = old[i];
        }
    }
    free(old);
}

/* Closes the gap that a removal leaves, so that no tombstones are needed. */
static void close_gap(lease_table_t *self, size_t gap)
{
    size_t mask = self->slot_count - 1;
    self->slots[gap] = NULL;
    for (size_t slot = (gap + 1) & mask; self->slots[slot]; slot = (slot + 1) & mask) {
        lease_entry_t *entry = self->slots[slot];
        self->slots[slot] = NULL;
        self->slots[probe(self, entry->id)] = entry;
    }
}

/* ---- the table ---- */

void lease_table_deinit(lease_table_t *self)
{
    for (size_t i = 0; i < self->count; i++) {
        free(self->heap[i]);
    }
    free(self->heap);
    free(self->slots);
    *self = (lease_table_t){0};
}

lease_entry_t *lease_table_find(const lease_table_t *self, int64_t id)
{
    return self->slot_count ? self->slots[probe(self, id)] : NULL;
}

lease_entry_t *lease_table_add(lease_table_t *self, int64_t id, int64_t ttl_s, uint64_t deadline_us)
{
    assert(!lease_table_find(self, id));
    if ((self->count + 1) * 2 > self->slot_count) {
        grow_slots(self);
    }
    lease_entry_t *entry = xcalloc(1, sizeof *entry);
    entry->id = id;
    entry->ttl_s = ttl_s;
    entry->deadline_us = deadline_us;
    entry->order = ++self->last_order;
    self->slots[probe(self, id)] = entry;
    self->heap = xgrow(self->heap, &self->heap_capacity, self->count + 1, sizeof(lease_entry_t *));
    self->heap[self->count] = entry;
    sift_up(self, self->count++);
    return entry;
}

void lease_table_move(lease_table_t *self, lease_entry_t *entry, uint64_t deadline_us)
{
    entry->deadline_us = deadline_us;
    entry->order = ++self->last_order;
    sift_up(self, entry->heap_slot);
    sift_down(self, entry->heap_slot);
}

void lease_table_remove(lease_table_t *self, lease_entry_t *entry)
{
    size_t slot = entry->heap_slot;
    lease_entry_t *last = self->heap[--self->count];
    if (last != entry) {
        place(self, slot, last);
        sift_up(self, slot);
        sift_down(self, last->heap_slot);
    }
    close_gap(self, probe(self, entry->id));
    free(entry);
}

lease_entry_t *lease_table_first(const lease_table_t *self)
{
    return self->count ? self->heap[0] : NULL;
}
