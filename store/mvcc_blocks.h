/* mvcc_blocks: the writer's copy of the count column, kept in memory so that creating or deleting a
 * key costs a binary search. Pure; one owner (mvcc).
 *
 * The key space is cut into blocks: a block begins at its first key and ends where the next begins;
 * the first begins at "\0", the smallest key, and always exists once a key was ever written. A block that
 * grows over BLOCK_KEYS_MAX is split in the middle; one that gets small is merged with a neighbour.
 * All decisions depend on the sequence of creations and deletions alone, so that every member has
 * the same blocks. About 2,800 blocks per million keys. */
#pragma once

#include "store/mvcc_internal.h"
#include "store/overlay.h"

enum { BLOCK_KEYS_MAX = 512, BLOCK_KEYS_SMALL = 64, BLOCK_KEYS_MERGED_MAX = 256 };

typedef struct mvcc_block mvcc_block_t;

typedef struct {
    mvcc_block_t **items; /* by first key */
    size_t count, capacity;
    uint64_t live;        /* keys, in all of them */
    mvcc_block_t **dirty; /* changed since the last flush */
    size_t dirty_count, dirty_capacity;
} mvcc_blocks_t;

/* Reads the column. 0 or < 0. */
int mvcc_blocks_load(mvcc_blocks_t *self, const kv_reader_t *reader)
    __attribute__((warn_unused_result));
void mvcc_blocks_deinit(mvcc_blocks_t *self);
/* `key` has been created: the overlay holds it already. 0 or < 0. */
int mvcc_blocks_add(mvcc_blocks_t *self, overlay_t *overlay, slice_t key)
    __attribute__((warn_unused_result));
/* `key` has been deleted. */
void mvcc_blocks_remove(mvcc_blocks_t *self, overlay_t *overlay, slice_t key);
/* Writes what has changed to the overlay. */
void mvcc_blocks_flush(mvcc_blocks_t *self, overlay_t *overlay);
