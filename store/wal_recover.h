/* wal_recover: what a write-ahead log says, from the bytes of its segments. Pure.
 * Feed the segments oldest first. Records count in file order, the later one wins: an entry replaces
 * everything from its index on, a snapshot what it covers (docs/wal_format.md). Whatever no
 * correct writer can have left is refused, with the offset and the reason; only the last write, when it
 * did not complete, is cut off, since nothing in it was acknowledged. */
#pragma once

#include "store/wal_format.h"

typedef struct {
    uint64_t sequence;
    uint64_t base_index; /* the log's last entry when the segment was begun */
    uint64_t lowest;     /* smallest index among its records; UINT64_MAX without any */
} wal_segment_t;

typedef struct {
    wal_identity_t identity;
    uint64_t term, vote;
    uint64_t commit; /* highest commit index known to be reached */
    uint64_t lsn;    /* highest one seen: go on above it */
    /* The log: after (base_index, base_term) come the entries. */
    uint64_t base_index, base_term;
    uint64_t base_configuration_index;
    bytes_t *base_configuration; /* in force at base_index; NULL when empty */
    entries_t entries;
    /* Of the store that holds the newest received snapshot the log tells of; 0 = none. It is to be put in
     * force if it is not yet. */
    uint64_t generation;

    /* The files. The last segment is the one to go on writing. */
    wal_segment_t *segments;
    size_t segment_count;
    uint64_t segment_bytes; /* the last one's size */
    uint64_t last_batch;    /* where its last batch begins */
    uint64_t position;      /* and where the next one goes */
    uint32_t seed, chain;   /* see wal_format.h */
    bool is_torn;           /* what stands behind position must be zeroed before writing */

    /* While segments are fed: the ones so far replace entries that went with deleted segments, so
     * the log can only be told from a later segment's header on. */
    bool is_partial;
} wal_recovered_t;

typedef struct {
    uint64_t offset; /* in the segment */
    const char *reason;
} wal_fault_t;

/* A zeroed wal_recovered_t is ready for the first segment. */
void wal_recovered_deinit(wal_recovered_t *self);

/* The next segment: the one whose file name says `sequence`. `is_newest`: the last one there is,
 * whose end may be torn. 0 or WAL_CORRUPT with *fault; then only deinit may follow. */
int wal_recover_segment(wal_recovered_t *self, slice_t file, uint64_t sequence, bool is_newest,
                        wal_fault_t *fault) __attribute__((warn_unused_result));

uint64_t wal_recovered_last_index(const wal_recovered_t *self);
uint64_t wal_recovered_last_term(const wal_recovered_t *self);
/* The configuration at the end of the log (borrowed) and the index it came with. */
const bytes_t *wal_recovered_configuration(const wal_recovered_t *self, uint64_t *index_p);
