/* lease_table: leases by id and by deadline. Pure; embedded in its owner.
 * A hash for ids beside a binary heap for deadlines; equal deadlines end in the order in which
 * they were set, so that leases granted in one burst keep the order of their grants. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    int64_t id;
    int64_t ttl_s;
    uint64_t deadline_us;
    uint64_t order;   /* of setting the deadline; kept by the table */
    bool expiring;    /* a revoke has been proposed */
    bool unlisted;    /* a list of all leases is coming in, and this one has not been in it yet */
    size_t heap_slot; /* kept by the table */
} lease_entry_t;

typedef struct {
    lease_entry_t **heap; /* earliest deadline first */
    size_t count, heap_capacity;
    lease_entry_t **slots; /* open addressing, a power of two, at most half full */
    size_t slot_count;
    uint64_t last_order;
} lease_table_t; /* zero-initialised is empty */

/* The order in which leases end: < 0 = a first. */
int lease_entry_compare(const lease_entry_t *a, const lease_entry_t *b);

void lease_table_deinit(lease_table_t *self);
lease_entry_t *lease_table_find(const lease_table_t *self, int64_t id);
/* Adds (the id must be new) or moves the deadline. */
lease_entry_t *lease_table_add(lease_table_t *self, int64_t id, int64_t ttl_s,
                               uint64_t deadline_us);
void lease_table_move(lease_table_t *self, lease_entry_t *entry, uint64_t deadline_us);
void lease_table_remove(lease_table_t *self, lease_entry_t *entry);
lease_entry_t *lease_table_first(const lease_table_t *self); /* NULL when empty */
