/* mvcc: the revisioned data. What is here is shared by readers and the writer; reading is
 * store/mvcc_read.h, writing store/mvcc_write.h. Pure: all storage behind kv_reader_t and kv_t.
 *
 * Columns (architecture section 5; docs/key_layout.md has the bytes):
 *   latest   key                          -> record
 *   history  escaped key, ~main, ~sub     -> superseded record or tombstone
 *   log      main, sub                    -> type, key, superseded (main, sub)
 *   lease    id -> TTL;   id, key -> empty
 *   count    first key of a block         -> number of live keys in that block
 *   meta     head, members, compaction progress ...
 * A record is: varint sub revision, then the fields 2..6 of mvccpb.KeyValue on the wire, so that an
 * answer copies it without parsing. */
#pragma once

#include "messages/buf.h"
#include "store/kv.h"

typedef struct {
    uint64_t applied_index;
    uint64_t term;     /* of the entry at applied_index */
    int64_t revision;  /* 1 on a fresh store */
    int64_t compacted; /* -1 on a fresh store */
} mvcc_head_t;

typedef struct {
    int64_t create_revision;
    int64_t mod_revision;
    int64_t sub; /* position within mod_revision */
    int64_t version;
    int64_t lease;
    slice_t value;
    slice_t wire; /* fields 2..6 of mvccpb.KeyValue, as stored */
} mvcc_record_t;

/* Outcomes beyond 0 and < 0 are api_error_t values of messages/errors.h (API_COMPACTED, ...). */

/* A half-open interval of keys as the API spells it: empty range_end = one key; "\0" = no end. */
typedef struct {
    slice_t key;
    slice_t range_end;
} mvcc_interval_t;

typedef enum { SORT_NONE = 0, SORT_ASCEND = 1, SORT_DESCEND = 2 } mvcc_sort_order_t;
typedef enum {
    SORT_KEY = 0,
    SORT_VERSION = 1,
    SORT_CREATE = 2,
    SORT_MOD = 3,
    SORT_VALUE = 4
} mvcc_sort_target_t;

/* RangeRequest (contract section 3.1), already validated. Slices are borrowed. */
typedef struct {
    mvcc_interval_t interval;
    int64_t limit;    /* <= 0: none */
    int64_t revision; /* <= 0: latest */
    mvcc_sort_order_t sort_order;
    mvcc_sort_target_t sort_target;
    bool keys_only;
    bool count_only;
    int64_t min_mod_revision, max_mod_revision, min_create_revision,
        max_create_revision; /* 0 = off */
} mvcc_range_t;
