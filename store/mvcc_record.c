/* Stored values: records and log rows, and how a record becomes mvccpb.KeyValue. */
#include "store/mvcc_internal.h"

#include <assert.h>

/* Tags of mvccpb.KeyValue: field number << 3 | wire type. */
enum {
    TAG_KEY = 1 << 3 | 2,
    TAG_CREATE_REVISION = 2 << 3,
    TAG_MOD_REVISION = 3 << 3,
    TAG_VERSION = 4 << 3,
    TAG_VALUE = 5 << 3 | 2,
    TAG_LEASE = 6 << 3
};
enum { VARINT_MAX = 10, ROW_DELETE = 1, ROW_SUPERSEDED = 2 };

static int take_varint(slice_t *rest, int64_t *value)
{
    if (rest->len > 0 && rest->data[0] < 0x80) { /* nearly always */
        *value = rest->data[0];
        *rest = slice(rest->data + 1, rest->len - 1);
        return 0;
    }
    uint64_t number = 0;
    if (wire_varint(rest, &number)) {
        return KV_ECORRUPT;
    }
    *value = (int64_t)number;
    return 0;
}

/* The field may be missing: proto3 leaves out zero. */
static int take_field(slice_t *rest, uint8_t tag, int64_t *value)
{
    if (rest->len == 0 || rest->data[0] != tag) {
        *value = 0;
        return 0;
    }
    *rest = slice(rest->data + 1, rest->len - 1);
    return take_varint(rest, value);
}

void mvcc_record_write(buf_t *out, const mvcc_record_t *record)
{
    buf_clear(out);
    uint8_t *start = buf_reserve(out, (size_t)6 * (1 + VARINT_MAX) + record->value.len);
    uint8_t *end = start;
    end += varint_write(end, (uint64_t)record->sub);
    *end++ = TAG_CREATE_REVISION;
    end += varint_write(end, (uint64_t)record->create_revision);
    *end++ = TAG_MOD_REVISION;
    end += varint_write(end, (uint64_t)record->mod_revision);
    *end++ = TAG_VERSION;
    end += varint_write(end, (uint64_t)record->version);
    if (record->value.len) {
        *end++ = TAG_VALUE;
        end += varint_write(end, record->value.len);
        memcpy(end, record->value.data, record->value.len);
        end += record->value.len;
    }
    if (record->lease) {
        *end++ = TAG_LEASE;
        end += varint_write(end, (uint64_t)record->lease);
    }
    buf_advance(out, (size_t)(end - start));
}

int mvcc_record_parse(slice_t stored, mvcc_record_t *record)
{
    *record = (mvcc_record_t){0};
    slice_t rest = stored;
    int64_t value_len = 0;
    if (take_varint(&rest, &record->sub)) {
        return KV_ECORRUPT;
    }
    record->wire = rest;
    if (take_field(&rest, TAG_CREATE_REVISION, &record->create_revision) ||
        take_field(&rest, TAG_MOD_REVISION, &record->mod_revision) ||
        take_field(&rest, TAG_VERSION, &record->version) ||
        take_field(&rest, TAG_VALUE, &value_len)) {
        return KV_ECORRUPT;
    }
    if (value_len < 0 || (uint64_t)value_len > rest.len) {
        return KV_ECORRUPT;
    }
    record->value = slice(rest.data, (size_t)value_len);
    rest = slice(rest.data + value_len, rest.len - (size_t)value_len);
    if (take_field(&rest, TAG_LEASE, &record->lease) || rest.len != 0) {
        return KV_ECORRUPT;
    }
    return 0;
}

void mvcc_log_row_write(buf_t *out, const mvcc_log_row_t *row)
{
    buf_clear(out);
    uint8_t *start = buf_reserve(out, 1 + 2 * VARINT_MAX + row->key.len);
    uint8_t *end = start;
    *end++ =
        (uint8_t)((row->is_delete ? ROW_DELETE : 0) | (row->has_superseded ? ROW_SUPERSEDED : 0));
    if (row->has_superseded) {
        end += varint_write(end, (uint64_t)row->superseded.main);
        end += varint_write(end, (uint64_t)row->superseded.sub);
    }
    memcpy(end, row->key.data, row->key.len);
    end += row->key.len;
    buf_advance(out, (size_t)(end - start));
}

int mvcc_log_row_parse(slice_t stored, mvcc_log_row_t *row)
{
    *row = (mvcc_log_row_t){0};
    if (stored.len == 0 || stored.data[0] > (ROW_DELETE | ROW_SUPERSEDED)) {
        return KV_ECORRUPT;
    }
    row->is_delete = stored.data[0] & ROW_DELETE;
    row->has_superseded = stored.data[0] & ROW_SUPERSEDED;
    slice_t rest = slice(stored.data + 1, stored.len - 1);
    if (row->has_superseded &&
        (take_varint(&rest, &row->superseded.main) || take_varint(&rest, &row->superseded.sub))) {
        return KV_ECORRUPT;
    }
    row->key = rest;
    return 0;
}

size_t mvcc_kv_size(slice_t key, slice_t wire)
{
    return 1 + varint_size(key.len) + key.len + wire.len;
}

static size_t write_kv(uint8_t *out, slice_t key, slice_t wire)
{
    uint8_t *end = out;
    *end++ = TAG_KEY;
    end += varint_write(end, key.len);
    memcpy(end, key.data, key.len);
    end += key.len;
    memcpy(end, wire.data, wire.len);
    end += wire.len;
    return (size_t)(end - out);
}

void mvcc_kv_append(buf_t *out, slice_t key, slice_t wire)
{
    buf_advance(out, write_kv(buf_reserve(out, 1 + VARINT_MAX + key.len + wire.len), key, wire));
}

void mvcc_kv_field(buf_t *out, uint32_t field, slice_t key, slice_t wire)
{
    assert(field < 16); /* a tag of one byte */
    uint8_t *start = buf_reserve(out, 2 + 2 * VARINT_MAX + key.len + wire.len);
    uint8_t *end = start;
    *end++ = (uint8_t)(field << 3 | 2);
    end += varint_write(end, mvcc_kv_size(key, wire));
    end += write_kv(end, key, wire);
    buf_advance(out, (size_t)(end - start));
}

bytes_t *mvcc_kv_bytes(slice_t key, slice_t wire, size_t *key_offset)
{
    uint8_t *room = NULL;
    bytes_t *bytes = bytes_alloc(mvcc_kv_size(key, wire), &room);
    write_kv(room, key, wire);
    *key_offset = 1 + varint_size(key.len);
    return bytes;
}

void mvcc_tombstone_wire(buf_t *out, int64_t revision)
{
    buf_clear(out);
    buf_field_u64(out, 3, (uint64_t)revision);
}
