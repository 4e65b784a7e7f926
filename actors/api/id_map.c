#include "actors/api/id_map.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/xalloc.h"

enum { SLOTS_MIN = 64 };

void id_map_deinit(id_map_t *self)
{
    free(self->slots);
    *self = (id_map_t){0};
}

/* Fibonacci hashing: neighbouring ids land far apart, and bits high and low count alike. Were they
 * neighbours, a thousand open calls would be one run of slots, and each removal would walk it. */
static size_t home_of(const id_map_t *self, uint64_t id)
{
    return (size_t)(id * 0x9e3779b97f4a7c15u >> __builtin_clzll(self->mask));
}

/* The slot that holds `id`, or the free one where it would go. */
static size_t find(const id_map_t *self, uint64_t id)
{
    size_t at = home_of(self, id);
    while (self->slots[at].value && self->slots[at].id != id) {
        at = (at + 1) & self->mask;
    }
    return at;
}

void *id_map_get(const id_map_t *self, uint64_t id)
{
    return self->count ? self->slots[find(self, id)].value : NULL;
}

static void grow(id_map_t *self)
{
    id_map_t old = *self;
    size_t slots = old.slots ? (old.mask + 1) * 2 : SLOTS_MIN;
    self->slots = xcalloc(slots, sizeof *self->slots);
    self->mask = slots - 1;
    for (size_t i = 0; old.slots && i <= old.mask; i++) {
        if (old.slots[i].value) {
            self->slots[find(self, old.slots[i].id)] = old.slots[i];
        }
    }
    free(old.slots);
}

void id_map_put(id_map_t *self, uint64_t id, void *value)
{
    assert(value);
    if (!self->slots || self->count * 2 > self->mask) {
        grow(self);
    }
    size_t at = find(self, id);
    assert(!self->slots[at].value);
    self->slots[at] = (id_slot_t){.id = id, .value = value};
    self->count++;
}

/* Is `home` cyclically outside (hole, at]? Then what lives at `at` may move into the hole. */
static int may_move(size_t hole, size_t at, size_t home)
{
    return hole <= at ? home <= hole || home > at : home <= hole && home > at;
}

void *id_map_remove(id_map_t *self, uint64_t id)
{
    if (!self->count) {
        return NULL;
    }
    size_t hole = find(self, id);
    void *value = self->slots[hole].value;
    if (!value) {
        return NULL;
    }
    for (size_t at = (hole + 1) & self->mask; self->slots[at].value; at = (at + 1) & self->mask) {
        if (may_move(hole, at, home_of(self, self->slots[at].id))) {
            self->slots[hole] = self->slots[at];
            hole = at;
        }
    }
    self->slots[hole].value = NULL;
    self->count--;
    return value;
}

void *id_map_next(const id_map_t *self, size_t *at)
{
    while (self->slots && *at <= self->mask) {
        void *value = self->slots[(*at)++].value;
        if (value) {
            return value;
        }
    }
    return NULL;
}
