/* table: a hash table of pointers with hashes from its owner. Pure; embedded, owns only its slots.
 * Open addressing; removal closes the gap. The order of iteration depends on hashes alone, never on
 * addresses. */
#pragma once

#include "messages/slice.h"

typedef struct {
    uint64_t hash;
    void *item; /* NULL = free slot */
} table_slot_t;

typedef struct {
    table_slot_t *slots;
    size_t slot_count, count;
} table_t; /* zero-initialised is empty */

void table_deinit(table_t *self);
/* Walks the items with this hash: start with *cursor = 0; NULL at the end. Compare yourself. */
void *table_next(const table_t *self, uint64_t hash, size_t *cursor);
void table_add(table_t *self, uint64_t hash, void *item);
/* The item must be there. */
void table_remove(table_t *self, uint64_t hash, const void *item);
/* All items: start with *cursor = 0; NULL at the end. Do not change the table meanwhile. */
void *table_each(const table_t *self, size_t *cursor);

uint64_t hash_u64(uint64_t value);
uint64_t hash_slice(slice_t bytes);
