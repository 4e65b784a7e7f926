/* lease_table: leases by id and by deadline. Pure; embedded in its owner.
 * A hash for ids beside a binary heap for deadlines; ties are broken by id, so that the order never
 * depends on memory. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    int64_t id;
    int64_t ttl_s;
    uint64_t deadline_us;
    bool expiring;    /* a revoke has been proposed */
    size_t heap_slot; /* kept by the table */
} lease_entry_t;

typedef struct {
    lease_entry_t **heap; /* earliest deadline first */
    size_t count, heap_capacity;
    lease_entry_t **slots; /* open addressing, a power of two, at most half full */
    size_t slot_count;
} lease_table_t; /* zero-initialised is empty */

void lease_table_deinit(lease_table_t *self);
lease_entry_t *lease_table_find(const lease_table_t *self, int64_t id);
/* Adds (the id must be new) or moves the deadline. */
lease_entry_t *lease_table_add(lease_table_t *self, int64_t id, int64_t ttl_s,
                               uint64_t deadline_us);
void lease_table_move(lease_table_t *self, lease_entry_t *entry, uint64_t deadline_us);
void lease_table_remove(lease_table_t *self, lease_entry_t *entry);
lease_entry_t *lease_table_first(const lease_table_t *self); /* NULL when empty */
