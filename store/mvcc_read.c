/* head, one key, meta, leases as data. */
#include "store/mvcc_internal.h"

enum { HEAD_BYTES = 32, COMPACTION_BYTES = 24 };

static void write_u64(buf_t *out, uint64_t value)
{
    for (int i = 0; i < 8; i++) {
        buf_byte(out, (uint8_t)(value >> (8 * i)));
    }
}

static uint64_t read_u64(const uint8_t *data)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) {
        value |= (uint64_t)data[i] << (8 * i);
    }
    return value;
}

void mvcc_head_write(const mvcc_head_t *head, buf_t *out)
{
    buf_clear(out);
    write_u64(out, head->applied_index);
    write_u64(out, head->term);
    write_u64(out, (uint64_t)head->revision);
    write_u64(out, (uint64_t)head->compacted);
}

int mvcc_meta_get(const kv_reader_t *reader, const char *name, kv_value_t *value)
{
    buf_t key = {0};
    mvcc_key_meta(&key, name);
    int rc = kv_get(reader, buf_slice(&key), value);
    buf_deinit(&key);
    return rc;
}

int mvcc_head(const kv_reader_t *reader, mvcc_head_t *head)
{
    *head = (mvcc_head_t){.revision = 1, .compacted = -1};
    kv_value_t value = {0};
    int rc = mvcc_meta_get(reader, META_HEAD, &value);
    if (rc) {
        return rc == KV_ABSENT ? 0 : rc;
    }
    if (value.len != HEAD_BYTES) {
        kv_value_deinit(&value);
        return KV_ECORRUPT;
    }
    *head = (mvcc_head_t){
        .applied_index = read_u64(value.data),
        .term = read_u64(value.data + 8),
        .revision = (int64_t)read_u64(value.data + 16),
        .compacted = (int64_t)read_u64(value.data + 24),
    };
    kv_value_deinit(&value);
    return 0;
}

void mvcc_compaction_write(const mvcc_compaction_t *progress, buf_t *out)
{
    buf_clear(out);
    write_u64(out, (uint64_t)progress->target);
    write_u64(out, (uint64_t)progress->next.main);
    write_u64(out, (uint64_t)progress->next.sub);
}

int mvcc_compaction_read(const kv_reader_t *reader, mvcc_compaction_t *progress)
{
    *progress = (mvcc_compaction_t){.target = -1};
    kv_value_t value = {0};
    int rc = mvcc_meta_get(reader, META_COMPACTION, &value);
    if (rc) {
        return rc == KV_ABSENT ? 0 : rc;
    }
    if (value.len != COMPACTION_BYTES) {
        kv_value_deinit(&value);
        return KV_ECORRUPT;
    }
    progress->target = (int64_t)read_u64(value.data);
    progress->next.main = (int64_t)read_u64(value.data + 8);
    progress->next.sub = (int64_t)read_u64(value.data + 16);
    kv_value_deinit(&value);
    return 0;
}

int mvcc_get(const kv_reader_t *reader, slice_t key, kv_value_t *value, mvcc_record_t *record)
{
    uint8_t room[256]; /* most keys; a longer one is built on the heap */
    buf_t long_key = {0};
    slice_t stored = slice(room, 1 + key.len);
    if (key.len < sizeof room) {
        room[0] = COLUMN_LATEST;
        memcpy(room + 1, key.data, key.len);
    } else {
        mvcc_key_latest(&long_key, key);
        stored = buf_slice(&long_key);
    }
    int rc = kv_get(reader, stored, value);
    buf_deinit(&long_key);
    if (rc == 0) {
        rc = mvcc_record_parse(kv_value_slice(value), record);
        if (rc) {
            kv_value_deinit(value);
        }
    }
    return rc;
}

static int each_of_range(const kv_reader_t *reader, const mvcc_interval_t *interval,
                         mvcc_record_fn fn, void *context)
{
    mvcc_head_t head = {.revision = INT64_MAX};
    mvcc_walk_t walk;
    mvcc_walk_interval(&walk, reader, &head, head.revision, interval);
    int rc = 0;
    while (rc == 0) {
        size_t rows_left = SIZE_MAX;
        slice_t key;
        slice_t stored;
        mvcc_record_t record;
        rc = mvcc_walk_next(&walk, &rows_left, &key, &stored);
        rc = rc ? rc : mvcc_record_parse(stored, &record);
        rc = rc ? rc : fn(context, key, &record);
    }
    mvcc_walk_deinit(&walk);
    return rc == KV_ABSENT ? 0 : rc;
}

int mvcc_each(const kv_reader_t *reader, const mvcc_interval_t *interval, mvcc_record_fn fn,
              void *context)
{
    if (!mvcc_is_single(interval)) {
        return each_of_range(reader, interval, fn, context);
    }
    kv_value_t value = {0};
    mvcc_record_t record;
    int rc = mvcc_get(reader, interval->key, &value, &record);
    if (rc) {
        return rc == KV_ABSENT ? 0 : rc;
    }
    rc = fn(context, interval->key, &record);
    kv_value_deinit(&value);
    return rc;
}

int mvcc_lease_ttl(const kv_reader_t *reader, int64_t id, int64_t *ttl_s)
{
    buf_t key = {0};
    mvcc_key_lease(&key, id);
    kv_value_t value = {0};
    int rc = kv_get(reader, buf_slice(&key), &value);
    buf_deinit(&key);
    if (rc) {
        return rc;
    }
    slice_t rest = kv_value_slice(&value);
    uint64_t ttl = 0;
    rc = wire_varint(&rest, &ttl) || rest.len ? KV_ECORRUPT : 0;
    *ttl_s = (int64_t)ttl;
    kv_value_deinit(&value);
    return rc;
}

int mvcc_leases(const kv_reader_t *reader, mvcc_lease_fn fn, void *context)
{
    uint8_t prefix = COLUMN_LEASE;
    kv_iter_t *iter = kv_iter_new(reader);
    int rc = 0;
    for (iter->ops->seek(iter, slice(&prefix, 1)); rc == 0 && iter->ops->valid(iter);
         iter->ops->next(iter)) {
        slice_t stored = iter->ops->key(iter);
        if (!mvcc_in_column(stored, COLUMN_LEASE)) {
            break;
        }
        slice_t rest = iter->ops->value(iter);
        int64_t id = 0;
        uint64_t ttl = 0;
        if (mvcc_lease_key_parse(stored, &id) || wire_varint(&rest, &ttl) || rest.len) {
            rc = KV_ECORRUPT;
            break;
        }
        rc = fn(context, id, (int64_t)ttl);
    }
    rc = rc ? rc : mvcc_iter_error(iter);
    kv_iter_destroy(&iter);
    return rc;
}

int mvcc_lease_keys(const kv_reader_t *reader, int64_t id, slice_t from, mvcc_key_fn fn,
                    void *context)
{
    buf_t prefix = {0};
    buf_t start = {0};
    mvcc_key_attached(&prefix, id, slice(NULL, 0));
    mvcc_key_attached(&start, id, from);
    kv_iter_t *iter = kv_iter_new(reader);
    int rc = 0;
    for (iter->ops->seek(iter, buf_slice(&start)); rc == 0 && iter->ops->valid(iter);
         iter->ops->next(iter)) {
        slice_t stored = iter->ops->key(iter);
        if (!slice_starts_with(stored, buf_slice(&prefix))) {
            break;
        }
        rc = fn(context, slice(stored.data + prefix.len, stored.len - prefix.len));
    }
    rc = rc ? rc : mvcc_iter_error(iter);
    kv_iter_destroy(&iter);
    buf_deinit(&start);
    buf_deinit(&prefix);
    return rc;
}
