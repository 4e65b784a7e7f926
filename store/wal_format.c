#include "store/wal_format.h"

#include <assert.h>
#include <string.h>

#include "messages/crc32c.h"
#include "messages/limits.h"

/* Marks have no zero byte: a write that stopped half-way over zeros is seen at its last byte. */
#define SEGMENT_MAGIC 0x4c415741524f5551ull /* "QUORAWAL" */
#define BATCH_MARK    0xb5c3a7d9u
#define END_MARK      0x9d6bf3a5u

/* Offsets in the segment header. Behind the fixed part: configuration, zero padding to 8, and eight
 * bytes of CRC and end mark. */
enum {
    AT_MAGIC = 0,
    AT_VERSION = 8,
    AT_HEADER_BYTES = 12,
    AT_SEQUENCE = 16,
    AT_CLUSTER = 24,
    AT_MEMBER = 32,
    AT_TERM = 40,
    AT_VOTE = 48,
    AT_COMMIT = 56,
    AT_BASE_INDEX = 64,
    AT_BASE_TERM = 72,
    AT_LSN = 80,
    AT_SEGMENT_BYTES = 88,
    AT_PREVIOUS_END = 96,
    AT_CONFIGURATION_INDEX = 104,
    AT_PREVIOUS_CRC = 112,
    AT_CONFIGURATION_LEN = 116,
    TAIL_BYTES = 8
};

/* Offsets in the batch header. */
enum {
    B_OFFSET = 0,
    B_LSN = 8,
    B_COMMIT = 16,
    B_RECORDS_LEN = 24,
    B_RECORDS = 28,
    B_CRC = 32, /* chained, of everything above and the records */
    B_ZERO = 36,
    B_HEADER_CRC = 40, /* seeded by the segment, of everything above */
    B_MARK = 44,
    END_BYTES = 4
};

/* Offsets in a record header. R_FLAG: an entry's type; of a snapshot, whether the suffix stays. */
enum { R_LEN = 0, R_TYPE = 4, R_FLAG = 5, R_ZERO = 6, R_TERM = 8, R_INDEX = 16 };

enum { GENERATION_BYTES = 8 }; /* in front of a snapshot's configuration */

static void put_u16(uint8_t *out, uint16_t value)
{
    out[0] = (uint8_t)value;
    out[1] = (uint8_t)(value >> 8);
}

static void put_u32(uint8_t *out, uint32_t value)
{
    put_u16(out, (uint16_t)value);
    put_u16(out + 2, (uint16_t)(value >> 16));
}

static void put_u64(uint8_t *out, uint64_t value)
{
    put_u32(out, (uint32_t)value);
    put_u32(out + 4, (uint32_t)(value >> 32));
}

static uint16_t get_u16(const uint8_t *in)
{
    return (uint16_t)(in[0] | in[1] << 8);
}

static uint32_t get_u32(const uint8_t *in)
{
    return get_u16(in) | (uint32_t)get_u16(in + 2) << 16;
}

static uint64_t get_u64(const uint8_t *in)
{
    return get_u32(in) | (uint64_t)get_u32(in + 4) << 32;
}

static size_t align8(size_t n)
{
    return (n + 7) & ~(size_t)7;
}

static bool is_zero(const uint8_t *data, size_t len)
{
    /* All bytes are equal to the one before, and the first is zero. */
    return len == 0 || (data[0] == 0 && memcmp(data, data + 1, len - 1) == 0);
}

size_t wal_header_size(size_t configuration_len)
{
    return WAL_HEADER_FIXED_BYTES + align8(configuration_len) + TAIL_BYTES;
}

uint32_t wal_header_encode(const wal_header_t *self, uint8_t *out)
{
    assert(self->configuration.len <= LIMIT_WAL_CONFIGURATION_BYTES);
    size_t size = wal_header_size(self->configuration.len);
    memset(out, 0, size);
    put_u64(out + AT_MAGIC, SEGMENT_MAGIC);
    put_u32(out + AT_VERSION, WAL_FORMAT_VERSION);
    put_u32(out + AT_HEADER_BYTES, (uint32_t)size);
    put_u64(out + AT_SEQUENCE, self->sequence);
    put_u64(out + AT_CLUSTER, self->identity.cluster_id);
    put_u64(out + AT_MEMBER, self->identity.member_id);
    put_u64(out + AT_TERM, self->term);
    put_u64(out + AT_VOTE, self->vote);
    put_u64(out + AT_COMMIT, self->commit);
    put_u64(out + AT_BASE_INDEX, self->base_index);
    put_u64(out + AT_BASE_TERM, self->base_term);
    put_u64(out + AT_LSN, self->lsn);
    put_u64(out + AT_SEGMENT_BYTES, self->segment_bytes);
    put_u64(out + AT_PREVIOUS_END, self->previous_end);
    put_u64(out + AT_CONFIGURATION_INDEX, self->configuration_index);
    put_u32(out + AT_PREVIOUS_CRC, self->previous_crc);
    put_u32(out + AT_CONFIGURATION_LEN, (uint32_t)self->configuration.len);
    if (self->configuration.len) {
        memcpy(out + WAL_HEADER_FIXED_BYTES, self->configuration.data, self->configuration.len);
    }
    uint32_t seed = crc32c(0, out, size - TAIL_BYTES);
    put_u32(out + size - TAIL_BYTES, seed);
    put_u32(out + size - END_BYTES, END_MARK);
    return seed;
}

static int corrupt(const char **reason, const char *text)
{
    *reason = text;
    return WAL_CORRUPT;
}

int wal_header_decode(slice_t file, wal_header_t *self, uint32_t *seed, size_t *size_p,
                      const char **reason)
{
    const uint8_t *in = file.data;
    if (file.len < WAL_HEADER_FIXED_BYTES + TAIL_BYTES) {
        return corrupt(reason, "the file is too short for a segment header");
    }
    if (get_u64(in + AT_MAGIC) != SEGMENT_MAGIC) {
        return corrupt(reason, "this is not a segment header");
    }
    if (get_u32(in + AT_VERSION) != WAL_FORMAT_VERSION) {
        return corrupt(reason, "the segment was written in a format this version does not know");
    }
    size_t size = get_u32(in + AT_HEADER_BYTES);
    size_t configuration_len = get_u32(in + AT_CONFIGURATION_LEN);
    if (configuration_len > LIMIT_WAL_CONFIGURATION_BYTES || size > file.len ||
        size != wal_header_size(configuration_len)) {
        return corrupt(reason, "the segment header's length is wrong");
    }
    *seed = get_u32(in + size - TAIL_BYTES);
    if (crc32c(0, in, size - TAIL_BYTES) != *seed || get_u32(in + size - END_BYTES) != END_MARK) {
        return corrupt(reason, "the segment header's checksum is wrong");
    }
    *self = (wal_header_t){
        .sequence = get_u64(in + AT_SEQUENCE),
        .identity = {get_u64(in + AT_CLUSTER), get_u64(in + AT_MEMBER)},
        .term = get_u64(in + AT_TERM),
        .vote = get_u64(in + AT_VOTE),
        .commit = get_u64(in + AT_COMMIT),
        .base_index = get_u64(in + AT_BASE_INDEX),
        .base_term = get_u64(in + AT_BASE_TERM),
        .lsn = get_u64(in + AT_LSN),
        .segment_bytes = get_u64(in + AT_SEGMENT_BYTES),
        .previous_end = get_u64(in + AT_PREVIOUS_END),
        .previous_crc = get_u32(in + AT_PREVIOUS_CRC),
        .configuration_index = get_u64(in + AT_CONFIGURATION_INDEX),
        .configuration = slice(in + WAL_HEADER_FIXED_BYTES, configuration_len),
    };
    *size_p = size;
    return 0;
}

size_t wal_batch_size(size_t records_len)
{
    return align8(WAL_BATCH_HEADER_BYTES + records_len + END_BYTES);
}

static uint32_t batch_crc(uint32_t chain, const uint8_t *batch, size_t records_len)
{
    uint32_t crc = crc32c(chain, batch, B_CRC);
    return crc32c(crc, batch + WAL_BATCH_HEADER_BYTES, records_len);
}

uint32_t wal_batch_seal(uint8_t *out, const wal_batch_t *batch, uint32_t seed, uint32_t chain)
{
    assert(batch->offset % 8 == 0);
    put_u64(out + B_OFFSET, batch->offset);
    put_u64(out + B_LSN, batch->lsn);
    put_u64(out + B_COMMIT, batch->commit);
    put_u32(out + B_RECORDS_LEN, batch->records_len);
    put_u32(out + B_RECORDS, batch->records);
    uint32_t crc = batch_crc(chain, out, batch->records_len);
    put_u32(out + B_CRC, crc);
    put_u32(out + B_ZERO, 0);
    put_u32(out + B_HEADER_CRC, crc32c(seed, out, B_HEADER_CRC));
    put_u32(out + B_MARK, BATCH_MARK);

    size_t end = WAL_BATCH_HEADER_BYTES + batch->records_len;
    size_t size = wal_batch_size(batch->records_len);
    memset(out + end, 0, size - end);
    put_u32(out + size - END_BYTES, END_MARK);
    return crc;
}

/* A batch header that says itself where it stands and carries the right CRC. */
static bool is_batch_header(slice_t file, uint64_t offset, uint32_t seed)
{
    const uint8_t *in = file.data + offset;
    return get_u32(in + B_MARK) == BATCH_MARK && get_u64(in + B_OFFSET) == offset &&
           get_u32(in + B_HEADER_CRC) == crc32c(seed, in, B_HEADER_CRC);
}

static bool batch_follows(slice_t file, uint64_t offset, uint32_t seed)
{
    for (; offset + WAL_BATCH_HEADER_BYTES <= file.len; offset += 8) {
        if (is_batch_header(file, offset, seed)) {
            return true;
        }
    }
    return false;
}

/* The disk writes whole sectors over zeros. So an unfinished write of [from, to) has a sector that
 * is still zero. */
static bool has_zero_sector(slice_t file, uint64_t from, uint64_t to)
{
    while (from < to) {
        uint64_t end = (from / WAL_SECTOR_BYTES + 1) * WAL_SECTOR_BYTES;
        end = end < to ? end : to;
        if (is_zero(file.data + from, (size_t)(end - from))) {
            return true;
        }
        from = end;
    }
    return false;
}

/* The bytes at `offset` are no batch header. Clean end, unfinished write, or rot? */
static int judge_bad_header(slice_t file, uint64_t offset, uint32_t seed, const char **reason)
{
    uint64_t end = offset + WAL_BATCH_HEADER_BYTES;
    if (end > file.len) {
        return is_zero(file.data + offset, (size_t)(file.len - offset)) ? WAL_END : WAL_TORN;
    }
    if (is_zero(file.data + offset, (size_t)(file.len - offset))) {
        return WAL_END;
    }
    if (batch_follows(file, offset + 8, seed)) {
        return corrupt(reason, "the batch header is damaged, and a valid batch follows");
    }
    bool stops_here = file.data[end - 1] == 0 && is_zero(file.data + end, (size_t)(file.len - end));
    if (stops_here || has_zero_sector(file, offset, end)) {
        return WAL_TORN;
    }
    return corrupt(reason, "the batch header is damaged, and not by an unfinished write");
}

static bool batch_body_is_valid(const uint8_t *in, size_t records_len, uint32_t chain)
{
    size_t end = WAL_BATCH_HEADER_BYTES + records_len;
    size_t size = wal_batch_size(records_len);
    return batch_crc(chain, in, records_len) == get_u32(in + B_CRC) &&
           is_zero(in + end, size - end - END_BYTES) && get_u32(in + size - END_BYTES) == END_MARK;
}

int wal_batch_decode(slice_t file, uint64_t offset, uint32_t seed, uint32_t *chain,
                     wal_batch_t *batch, slice_t *records, const char **reason)
{
    assert(offset <= file.len);
    if (offset + WAL_BATCH_HEADER_BYTES > file.len || !is_batch_header(file, offset, seed)) {
        return judge_bad_header(file, offset, seed, reason);
    }
    const uint8_t *in = file.data + offset;
    *batch = (wal_batch_t){
        .offset = offset,
        .lsn = get_u64(in + B_LSN),
        .commit = get_u64(in + B_COMMIT),
        .records_len = get_u32(in + B_RECORDS_LEN),
        .records = get_u32(in + B_RECORDS),
    };
    size_t size = wal_batch_size(batch->records_len);
    if (size > file.len - offset) {
        return corrupt(reason, "the batch is longer than the file");
    }
    if (!batch_body_is_valid(in, batch->records_len, *chain)) {
        if (batch_follows(file, offset + size, seed)) {
            return corrupt(reason, "the batch is damaged, and a valid batch follows");
        }
        bool stops_here = in[size - 1] == 0;
        if (stops_here || has_zero_sector(file, offset, offset + size)) {
            return WAL_TORN;
        }
        return corrupt(reason, "the batch is damaged, and not by an unfinished write");
    }
    *records = slice(in + WAL_BATCH_HEADER_BYTES, batch->records_len);
    *chain = get_u32(in + B_CRC);
    return 0;
}

size_t wal_record_size(size_t payload_len)
{
    return WAL_RECORD_HEADER_BYTES + payload_len;
}

size_t wal_record_snapshot_size(size_t configuration_len)
{
    return wal_record_size(GENERATION_BYTES + configuration_len);
}

static uint8_t *record_header(uint8_t *out, wal_record_type_t type, uint64_t term, uint64_t index,
                              size_t len)
{
    assert(len <= LIMIT_WAL_RECORD_BYTES);
    put_u32(out + R_LEN, (uint32_t)len);
    out[R_TYPE] = (uint8_t)type;
    out[R_FLAG] = 0;
    put_u16(out + R_ZERO, 0);
    put_u64(out + R_TERM, term);
    put_u64(out + R_INDEX, index);
    return out + WAL_RECORD_HEADER_BYTES;
}

uint8_t *wal_record_hardstate(uint8_t *out, uint64_t term, uint64_t vote)
{
    return record_header(out, WAL_RECORD_HARDSTATE, term, vote, 0);
}

uint8_t *wal_record_entry(uint8_t *out, const entry_t *entry)
{
    slice_t payload = bytes_slice(entry->payload);
    uint8_t *body = record_header(out, WAL_RECORD_ENTRY, entry->term, entry->index, payload.len);
    out[R_FLAG] = (uint8_t)entry->type;
    if (payload.len) {
        memcpy(body, payload.data, payload.len);
    }
    return body + payload.len;
}

uint8_t *wal_record_snapshot(uint8_t *out, const msg_snap_mark_t *mark, bool keeps_suffix)
{
    slice_t configuration = bytes_slice(mark->configuration);
    assert(mark->generation > 0);
    assert(configuration.len > 0 && configuration.len <= LIMIT_WAL_CONFIGURATION_BYTES);
    uint8_t *body = record_header(out, WAL_RECORD_SNAPSHOT, mark->log_term, mark->index,
                                  GENERATION_BYTES + configuration.len);
    out[R_FLAG] = keeps_suffix;
    put_u64(body, mark->generation);
    memcpy(body + GENERATION_BYTES, configuration.data, configuration.len);
    return body + GENERATION_BYTES + configuration.len;
}

static int take_snapshot(const uint8_t *in, size_t len, wal_record_t *record, const char **reason)
{
    if (len <= GENERATION_BYTES || len > GENERATION_BYTES + LIMIT_WAL_CONFIGURATION_BYTES) {
        return corrupt(reason, "a snapshot record has no configuration of a possible length");
    }
    const uint8_t *body = in + WAL_RECORD_HEADER_BYTES;
    record->index = get_u64(in + R_INDEX);
    record->generation = get_u64(body);
    record->payload = slice(body + GENERATION_BYTES, len - GENERATION_BYTES);
    record->keeps_suffix = in[R_FLAG] == 1;
    if (in[R_FLAG] > 1 || record->generation == 0) {
        return corrupt(reason, "a snapshot record has an unknown flag or no generation");
    }
    return 0;
}

int wal_record_next(slice_t *rest, wal_record_t *record, const char **reason)
{
    if (rest->len == 0) {
        return WAL_END;
    }
    const uint8_t *in = rest->data;
    if (rest->len < WAL_RECORD_HEADER_BYTES) {
        return corrupt(reason, "a record's header crosses the end of its batch");
    }
    size_t len = get_u32(in + R_LEN);
    if (len > LIMIT_WAL_RECORD_BYTES || len > rest->len - WAL_RECORD_HEADER_BYTES) {
        return corrupt(reason, "a record is longer than its batch");
    }
    if (get_u16(in + R_ZERO) != 0) {
        return corrupt(reason, "a record has unknown flags");
    }
    *record = (wal_record_t){.type = (wal_record_type_t)in[R_TYPE], .term = get_u64(in + R_TERM)};
    switch (record->type) {
    case WAL_RECORD_HARDSTATE:
        if (len != 0 || in[R_FLAG] != 0) {
            return corrupt(reason, "a hard state record has a payload");
        }
        record->vote = get_u64(in + R_INDEX);
        break;
    case WAL_RECORD_ENTRY:
        if (in[R_FLAG] > ENTRY_CONFIGURATION) {
            return corrupt(reason, "an entry is of an unknown type");
        }
        record->index = get_u64(in + R_INDEX);
        record->entry_type = (entry_type_t)in[R_FLAG];
        record->payload = slice(in + WAL_RECORD_HEADER_BYTES, len);
        break;
    case WAL_RECORD_SNAPSHOT: {
        int rc = take_snapshot(in, len, record, reason);
        if (rc != 0) {
            return rc;
        }
        break;
    }
    default: return corrupt(reason, "a record is of an unknown type");
    }
    size_t size = wal_record_size(len);
    *rest = slice(in + size, rest->len - size);
    return 0;
}
