/* wal_bytes: builds the bytes of a log segment by hand, also wrong ones. */
#pragma once

#include "store/wal_recover.h"

typedef struct {
    uint8_t *data; /* the whole segment, zeros behind position */
    wal_header_t header;
    uint64_t position;
    uint32_t seed, chain;
    size_t batch_start;
    size_t records;
    uint64_t lsn, commit; /* of the next batch */
} wal_bytes_t;

/* A first segment: cluster 1, member 2, term 5, vote 0, nothing before it. Change `header` and call
 * wal_bytes_header again for another beginning. */
void wal_bytes_init(wal_bytes_t *self, size_t segment_bytes);
void wal_bytes_header(wal_bytes_t *self);
void wal_bytes_deinit(wal_bytes_t *self);

/* Records of the batch that wal_bytes_seal ends. */
void wal_bytes_entry(wal_bytes_t *self, uint64_t index, uint64_t term, entry_type_t type,
                     slice_t payload);
void wal_bytes_hardstate(wal_bytes_t *self, uint64_t term, uint64_t vote);
void wal_bytes_snapshot(wal_bytes_t *self, uint64_t index, uint64_t term, uint64_t generation,
                        bool keeps_suffix, slice_t configuration);
void wal_bytes_raw(wal_bytes_t *self, slice_t bytes, size_t records);
void wal_bytes_seal(wal_bytes_t *self);
slice_t wal_bytes_slice(const wal_bytes_t *self);
