#include "tests/support/wal_bytes.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "messages/xalloc.h"

void wal_bytes_header(wal_bytes_t *self)
{
    memset(self->data, 0, (size_t)self->header.segment_bytes);
    self->seed = wal_header_encode(&self->header, self->data);
    self->chain = self->seed;
    self->position = wal_header_size(self->header.configuration.len);
    self->batch_start = (size_t)self->position + WAL_BATCH_HEADER_BYTES;
    self->records = 0;
    self->lsn = self->header.lsn;
    self->commit = self->header.commit;
}

void wal_bytes_init(wal_bytes_t *self, size_t segment_bytes)
{
    *self = (wal_bytes_t){.data = xcalloc(1, segment_bytes)};
    self->header = (wal_header_t){
        .sequence = 1,
        .identity = {.cluster_id = 1, .member_id = 2},
        .term = 5,
        .segment_bytes = segment_bytes,
    };
    wal_bytes_header(self);
}

void wal_bytes_deinit(wal_bytes_t *self)
{
    free(self->data);
    *self = (wal_bytes_t){0};
}

void wal_bytes_entry(wal_bytes_t *self, uint64_t index, uint64_t term, entry_type_t type,
                     slice_t payload)
{
    entry_t entry = {.index = index, .term = term, .type = type};
    entry.payload = bytes_new(payload.data, payload.len);
    assert(self->batch_start + wal_batch_size(payload.len) <= self->header.segment_bytes);
    uint8_t *end = wal_record_entry(self->data + self->batch_start, &entry);
    self->batch_start = (size_t)(end - self->data);
    self->records++;
    bytes_unref(&entry.payload);
}

void wal_bytes_hardstate(wal_bytes_t *self, uint64_t term, uint64_t vote)
{
    uint8_t *end = wal_record_hardstate(self->data + self->batch_start, term, vote);
    self->batch_start = (size_t)(end - self->data);
    self->records++;
}

void wal_bytes_snapshot(wal_bytes_t *self, uint64_t index, uint64_t term, uint64_t generation,
                        bool keeps_suffix, slice_t configuration)
{
    msg_snap_mark_t mark = {.index = index, .log_term = term, .generation = generation};
    mark.configuration = bytes_new(configuration.data, configuration.len);
    assert(self->batch_start + wal_batch_size(wal_record_snapshot_size(configuration.len)) <=
           self->header.segment_bytes);
    uint8_t *end = wal_record_snapshot(self->data + self->batch_start, &mark, keeps_suffix);
    self->batch_start = (size_t)(end - self->data);
    self->records++;
    bytes_unref(&mark.configuration);
}

void wal_bytes_raw(wal_bytes_t *self, slice_t bytes, size_t records)
{
    assert(self->batch_start + bytes.len + 16 <= self->header.segment_bytes);
    if (bytes.len) {
        memcpy(self->data + self->batch_start, bytes.data, bytes.len);
    }
    self->batch_start += bytes.len;
    self->records += records;
}

void wal_bytes_seal(wal_bytes_t *self)
{
    size_t records_len = self->batch_start - (size_t)self->position - WAL_BATCH_HEADER_BYTES;
    wal_batch_t batch = {
        .offset = self->position,
        .lsn = self->lsn,
        .commit = self->commit,
        .records_len = (uint32_t)records_len,
        .records = (uint32_t)self->records,
    };
    self->chain = wal_batch_seal(self->data + self->position, &batch, self->seed, self->chain);
    self->position += wal_batch_size(records_len);
    self->batch_start = (size_t)self->position + WAL_BATCH_HEADER_BYTES;
    self->records = 0;
}

slice_t wal_bytes_slice(const wal_bytes_t *self)
{
    return slice(self->data, (size_t)self->header.segment_bytes);
}
