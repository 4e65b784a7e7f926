/* mvcc_state: the writer's inside, shared by mvcc_write.c, mvcc_lease.c and mvcc_compact.c. */
#pragma once

#include "store/mvcc_blocks.h"
#include "store/mvcc_write.h"
#include "store/overlay.h"

struct mvcc {
    kv_t *kv;
    overlay_t *overlay;
    kv_batch_t *batch;
    mvcc_head_t head; /* the open span included */
    mvcc_blocks_t blocks;
    mvcc_compaction_t compaction;
    /* The open entry. */
    bool in_entry;
    uint64_t index, term;
    int64_t next_sub; /* > 0: something has changed */
    /* The open span. */
    mvcc_change_t *changes;
    size_t change_count, change_capacity;
    size_t change_bytes;
    /* Scratch, to save allocations: of use within one function only. */
    buf_t key, value, record;
};

/* A live key and its record, as read; deletes it in the open entry. 0 or < 0. */
int mvcc_delete_key(mvcc_t *self, slice_t key, slice_t stored) __attribute__((warn_unused_result));
