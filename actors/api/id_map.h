/* id_map: ids to pointers, by open addressing. Pure; one owner. For ids that mostly grow by one:
 * call ids, request ids. Its order is that of its slots: deterministic, but nothing to rely upon. */
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t id;
    void *value; /* NULL = free */
} id_slot_t;

typedef struct {
    id_slot_t *slots;
    size_t mask; /* slots - 1, slots being a power of two */
    size_t count;
} id_map_t; /* zero-initialised is empty and ready */

void id_map_deinit(id_map_t *self); /* may be called twice */
/* NULL when there is none. */
void *id_map_get(const id_map_t *self, uint64_t id);
/* The id must not be in the map; the value must not be NULL. */
void id_map_put(id_map_t *self, uint64_t id, void *value);
/* Returns what was there, or NULL. */
void *id_map_remove(id_map_t *self, uint64_t id);
/* Iterates from *at == 0: the next value, or NULL at the end. The value returned last may be removed
 * in between; then id_map_again comes before the next call. */
void *id_map_next(const id_map_t *self, size_t *at);
static inline void id_map_again(size_t *at)
{
    --*at; /* removal has moved another value into that slot, perhaps */
}
