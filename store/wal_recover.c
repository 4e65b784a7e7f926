#include "store/wal_recover.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/xalloc.h"

void wal_recovered_deinit(wal_recovered_t *self)
{
    entries_deinit(&self->entries);
    bytes_unref(&self->base_configuration);
    free(self->segments);
    *self = (wal_recovered_t){0};
}

uint64_t wal_recovered_last_index(const wal_recovered_t *self)
{
    return self->base_index + self->entries.count;
}

uint64_t wal_recovered_last_term(const wal_recovered_t *self)
{
    size_t count = self->entries.count;
    return count ? self->entries.items[count - 1].term : self->base_term;
}

const bytes_t *wal_recovered_configuration(const wal_recovered_t *self, uint64_t *index_p)
{
    for (size_t i = self->entries.count; i > 0; i--) {
        const entry_t *entry = &self->entries.items[i - 1];
        if (entry->type == ENTRY_CONFIGURATION) {
            *index_p = entry->index;
            return entry->payload;
        }
    }
    *index_p = self->base_configuration_index;
    return self->base_configuration;
}

static int refuse(wal_fault_t *fault, uint64_t offset, const char *reason)
{
    *fault = (wal_fault_t){.offset = offset, .reason = reason};
    return WAL_CORRUPT;
}

static bool contradicts_itself(const wal_header_t *header)
{
    return header->commit > header->base_index || header->base_term > header->term ||
           header->configuration_index > header->base_index ||
           (header->base_index == 0) != (header->base_term == 0);
}

/* What the segment says of the time before it is all there is. */
static void begin_log(wal_recovered_t *self, const wal_header_t *header)
{
    self->identity = header->identity;
    self->term = header->term;
    self->vote = header->vote;
    self->commit = header->commit;
    self->lsn = header->lsn;
    self->base_index = header->base_index;
    self->base_term = header->base_term;
    self->base_configuration_index = header->configuration_index;
    bytes_unref(&self->base_configuration);
    if (header->configuration.len) {
        self->base_configuration = bytes_new(header->configuration.data, header->configuration.len);
    }
    self->is_partial = false;
}

static bool same_log(const wal_recovered_t *self, const wal_header_t *header)
{
    uint64_t configuration_index;
    const bytes_t *configuration = wal_recovered_configuration(self, &configuration_index);
    return header->base_index == wal_recovered_last_index(self) &&
           header->base_term == wal_recovered_last_term(self) &&
           header->configuration_index == configuration_index &&
           slice_equal(header->configuration, bytes_slice(configuration));
}

/* A later segment must say what those before it say. */
static int continue_log(wal_recovered_t *self, const wal_header_t *header, wal_fault_t *fault)
{
    if (header->identity.cluster_id != self->identity.cluster_id ||
        header->identity.member_id != self->identity.member_id) {
        return refuse(fault, 0, "the segment belongs to another member or cluster");
    }
    if (header->previous_end != self->position || header->previous_crc != self->chain) {
        return refuse(fault, 0, "the segment does not continue the one before");
    }
    if (header->term != self->term || header->vote != self->vote || header->commit < self->commit ||
        header->lsn != self->lsn || (!self->is_partial && !same_log(self, header))) {
        return refuse(fault, 0, "the segment header contradicts the segment before");
    }
    if (self->is_partial) {
        begin_log(self, header);
    }
    self->commit = header->commit;
    return 0;
}

static void add_segment(wal_recovered_t *self, const wal_header_t *header)
{
    size_t size = (self->segment_count + 1) * sizeof *self->segments;
    self->segments = xrealloc(self->segments, size);
    self->segments[self->segment_count++] = (wal_segment_t){
        .sequence = header->sequence,
        .base_index = header->base_index,
        .lowest = UINT64_MAX,
    };
}

static void cut_entries(wal_recovered_t *self, uint64_t first)
{
    entries_t *entries = &self->entries;
    while (entries->count > 0 && entries->items[entries->count - 1].index >= first) {
        entry_t *last = &entries->items[--entries->count];
        entries->bytes -= bytes_len(last->payload);
        bytes_unref(&last->payload);
    }
}

static void add_entry(wal_recovered_t *self, const wal_record_t *record)
{
    slice_t payload = record->payload;
    entry_t entry = {
        .index = record->index,
        .term = record->term,
        .type = record->entry_type,
        .payload = payload.len ? bytes_new(payload.data, payload.len) : NULL,
    };
    entries_append(&self->entries, &entry);
    bytes_unref(&entry.payload);
}

static void note_index(wal_recovered_t *self, uint64_t index)
{
    wal_segment_t *segment = &self->segments[self->segment_count - 1];
    if (index < segment->lowest) {
        segment->lowest = index;
    }
}

/* self->commit is that of earlier batches and of snapshots. */
static const char *take_entry(wal_recovered_t *self, const wal_record_t *record)
{
    if (record->index <= self->commit) {
        return "an entry replaces a committed one";
    }
    if (record->term == 0 || record->term > self->term) {
        return "an entry's term is above the member's";
    }
    if (record->entry_type == ENTRY_CONFIGURATION && record->payload.len == 0) {
        return "a configuration entry is empty";
    }
    note_index(self, record->index);
    if (record->index <= self->base_index) {
        /* What it follows was deleted, together with everything up to a later segment's base; a
         * crash kept the files in between. See count_purgeable in the WAL writer. */
        self->is_partial = true;
        cut_entries(self, 0);
    }
    if (self->is_partial) {
        return NULL;
    }
    if (record->index > wal_recovered_last_index(self) + 1) {
        return "an entry's index leaves a gap";
    }
    cut_entries(self, record->index);
    if (record->term < wal_recovered_last_term(self)) {
        return "an entry's term is lower than that of the entry before";
    }
    add_entry(self, record);
    return NULL;
}

static void drop_until(wal_recovered_t *self, uint64_t index)
{
    entries_t *entries = &self->entries;
    size_t count = (size_t)(index - self->base_index);
    for (size_t i = 0; i < count; i++) {
        entries->bytes -= bytes_len(entries->items[i].payload);
        bytes_unref(&entries->items[i].payload);
    }
    entries->count -= count;
    memmove(entries->items, entries->items + count, entries->count * sizeof *entries->items);
}

static void adopt_configuration(wal_recovered_t *self, const wal_record_t *record)
{
    self->base_configuration_index = record->index;
    bytes_unref(&self->base_configuration);
    self->base_configuration = bytes_new(record->payload.data, record->payload.len);
}

/* What the log held up to the snapshot's end is gone; what stands behind it is the caller's business. */
static void begin_after(wal_recovered_t *self, const wal_record_t *record)
{
    self->base_index = record->index;
    self->base_term = record->term;
    adopt_configuration(self, record);
}

static bool holds(const wal_recovered_t *self, uint64_t index, uint64_t term)
{
    return index > self->base_index && index <= wal_recovered_last_index(self) &&
           self->entries.items[index - self->base_index - 1].term == term;
}

static const char *take_snapshot(wal_recovered_t *self, const wal_record_t *record)
{
    if (record->index <= self->commit) {
        return "a snapshot replaces committed entries";
    }
    if (record->term == 0 || record->term > self->term) {
        return "a snapshot's term is above the member's";
    }
    if (record->generation <= self->generation) {
        return "the store's generation goes back";
    }
    /* Below the base, or while the log can't be told: older segments are deleted, and this record would
     * have gone as well but for a crash. Then there is nothing to compare it with. */
    bool is_known = !self->is_partial && record->index > self->base_index;
    if (is_known && holds(self, record->index, record->term) != record->keeps_suffix) {
        return "a snapshot keeps entries that do not follow it, or drops those that do";
    }
    note_index(self, record->index);
    self->generation = record->generation;
    self->commit = record->index;
    if (!record->keeps_suffix) {
        cut_entries(self, 0);
        self->is_partial = false;
        begin_after(self, record);
    } else if (is_known) {
        drop_until(self, record->index);
        begin_after(self, record);
    } else if (self->base_configuration_index <= record->index) {
        adopt_configuration(self, record);
    }
    return NULL;
}

static const char *take_hardstate(wal_recovered_t *self, const wal_record_t *record)
{
    if (record->term < self->term) {
        return "the member's term goes back";
    }
    if (record->term == self->term && self->vote != 0 && record->vote != self->vote) {
        return "the member's vote changes within a term";
    }
    self->term = record->term;
    self->vote = record->vote;
    return NULL;
}

static const char *take_record(wal_recovered_t *self, const wal_record_t *record)
{
    switch (record->type) {
    case WAL_RECORD_ENTRY: return take_entry(self, record);
    case WAL_RECORD_SNAPSHOT: return take_snapshot(self, record);
    default: return take_hardstate(self, record);
    }
}

static const char *take_batch(wal_recovered_t *self, const wal_batch_t *batch, slice_t records)
{
    wal_record_t record;
    const char *reason = NULL;
    uint32_t count = 0;
    int rc;
    while ((rc = wal_record_next(&records, &record, &reason)) == 0) {
        reason = take_record(self, &record);
        if (reason) {
            return reason;
        }
        count++;
    }
    if (rc != WAL_END) {
        return reason;
    }
    if (count != batch->records) {
        return "the batch does not hold as many records as it says";
    }
    if (batch->lsn < self->lsn) {
        return "the log sequence number goes back";
    }
    if (!self->is_partial && batch->commit > wal_recovered_last_index(self)) {
        return "the commit index is beyond the end of the log";
    }
    self->lsn = batch->lsn;
    if (batch->commit > self->commit) {
        self->commit = batch->commit;
    }
    return NULL;
}

static int take_batches(wal_recovered_t *self, slice_t file, bool is_newest, wal_fault_t *fault)
{
    for (;;) {
        wal_batch_t batch;
        slice_t records;
        const char *reason = NULL;
        int rc = wal_batch_decode(file, self->position, self->seed, &self->chain, &batch, &records,
                                  &reason);
        if (rc == WAL_END) {
            return 0;
        }
        if (rc == WAL_TORN) {
            self->is_torn = true;
            return is_newest ? 0
                             : refuse(fault, self->position,
                                      "a batch is damaged, and later segments exist");
        }
        if (rc == 0) {
            reason = take_batch(self, &batch, records);
        }
        if (reason) {
            return refuse(fault, self->position, reason);
        }
        self->last_batch = self->position;
        self->position += wal_batch_size(batch.records_len);
    }
}

static int finish(wal_recovered_t *self, wal_fault_t *fault)
{
    if (self->is_partial) {
        return refuse(fault, self->position, "the log replaces entries that are missing");
    }
    /* Older segments are deleted only when all their entries are applied, so the base is committed,
     * even if no batch has come to say so. */
    if (self->commit < self->base_index) {
        self->commit = self->base_index;
    }
    return 0;
}

int wal_recover_segment(wal_recovered_t *self, slice_t file, uint64_t sequence, bool is_newest,
                        wal_fault_t *fault)
{
    wal_header_t header;
    uint32_t seed;
    size_t size;
    const char *reason = NULL;
    if (wal_header_decode(file, &header, &seed, &size, &reason) != 0) {
        return refuse(fault, 0, reason);
    }
    if (header.sequence != sequence) {
        return refuse(fault, 0, "the segment is not the one its name says");
    }
    if (file.len < header.segment_bytes) {
        return refuse(fault, file.len, "the file is shorter than when it was made");
    }
    if (contradicts_itself(&header)) {
        return refuse(fault, 0, "the segment header contradicts itself");
    }
    if (self->segment_count == 0) {
        begin_log(self, &header);
    } else if (continue_log(self, &header, fault) != 0) {
        return WAL_CORRUPT;
    }
    add_segment(self, &header);
    self->segment_bytes = header.segment_bytes;
    self->seed = seed;
    self->chain = seed;
    self->last_batch = size;
    self->position = size;
    if (take_batches(self, file, is_newest, fault) != 0) {
        return WAL_CORRUPT;
    }
    return is_newest ? finish(self, fault) : 0;
}
