#include "store/snapshot_stream.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/crc32c.h"
#include "messages/limits.h"
#include "messages/wire.h"
#include "messages/xalloc.h"

/* What both sides count. */
typedef struct {
    uint64_t rows;
    uint32_t checksum;
} totals_t;

/* ---- out of a store ---- */

struct snapshot_reader {
    kv_iter_t *iter;
    totals_t totals;
};

snapshot_reader_t *snapshot_reader_new(const kv_reader_t *reader)
{
    snapshot_reader_t *self = xcalloc(1, sizeof *self);
    self->iter = kv_iter_new(reader);
    self->iter->ops->seek(self->iter, slice(NULL, 0));
    return self;
}

void snapshot_reader_destroy(snapshot_reader_t **self_p)
{
    snapshot_reader_t *self = *self_p;
    *self_p = NULL;
    if (self) {
        kv_iter_destroy(&self->iter);
        free(self);
    }
}

int snapshot_reader_next(snapshot_reader_t *self, buf_t *out, bool *is_last)
{
    const kv_iter_ops_t *ops = self->iter->ops;
    buf_clear(out);
    while (ops->valid(self->iter)) {
        slice_t key = ops->key(self->iter);
        slice_t value = ops->value(self->iter);
        size_t size = varint_size(key.len) + varint_size(value.len) + key.len + value.len;
        if (out->len > 0 && out->len + size > LIMIT_SNAPSHOT_CHUNK_BYTES) {
            break;
        }
        buf_varint(out, key.len);
        buf_varint(out, value.len);
        buf_append(out, key.data, key.len);
        buf_append(out, value.data, value.len);
        self->totals.rows++;
        ops->step(self->iter);
    }
    *is_last = !ops->valid(self->iter);
    self->totals.checksum = crc32c(self->totals.checksum, out->data, out->len);
    return ops->error(self->iter); /* before anything of it is used: see step */
}

uint64_t snapshot_reader_rows(const snapshot_reader_t *self)
{
    return self->totals.rows;
}

uint32_t snapshot_reader_checksum(const snapshot_reader_t *self)
{
    return self->totals.checksum;
}

/* ---- into an empty store ---- */

struct snapshot_writer {
    kv_t *kv;
    kv_batch_t *batch;
    buf_t last_key;
    totals_t totals;
};

snapshot_writer_t *snapshot_writer_new(kv_t *kv)
{
    snapshot_writer_t *self = xcalloc(1, sizeof *self);
    self->kv = kv;
    self->batch = kv_batch_new(kv);
    return self;
}

void snapshot_writer_destroy(snapshot_writer_t **self_p)
{
    snapshot_writer_t *self = *self_p;
    *self_p = NULL;
    if (self) {
        kv_batch_destroy(&self->batch);
        buf_deinit(&self->last_key);
        free(self);
    }
}

static int take_row(slice_t *rest, slice_t *key, slice_t *value)
{
    uint64_t key_len = 0;
    uint64_t value_len = 0;
    if (wire_varint(rest, &key_len) != 0 || wire_varint(rest, &value_len) != 0 || key_len == 0 ||
        key_len > rest->len || value_len > rest->len - key_len) {
        return SNAPSHOT_MALFORMED;
    }
    *key = slice(rest->data, (size_t)key_len);
    *value = slice(rest->data + key_len, (size_t)value_len);
    size_t size = key->len + value->len;
    *rest = slice(rest->data + size, rest->len - size);
    return 0;
}

/* Nothing may enter the batch before the whole chunk is known to be good. */
static int check_rows(const snapshot_writer_t *self, slice_t rest, slice_t *last, uint64_t *rows)
{
    *last = buf_slice(&self->last_key);
    for (*rows = 0; rest.len > 0; ++*rows) {
        slice_t key;
        slice_t value;
        if (take_row(&rest, &key, &value) != 0 || slice_compare(*last, key) >= 0) {
            return SNAPSHOT_MALFORMED;
        }
        *last = key;
    }
    return 0;
}

int snapshot_writer_add(snapshot_writer_t *self, slice_t chunk)
{
    slice_t last;
    uint64_t rows = 0;
    if (check_rows(self, chunk, &last, &rows) != 0) {
        return SNAPSHOT_MALFORMED;
    }
    if (rows == 0) {
        return 0;
    }
    self->totals.checksum = crc32c(self->totals.checksum, chunk.data, chunk.len);
    self->totals.rows += rows;
    buf_clear(&self->last_key);
    buf_append(&self->last_key, last.data, last.len);
    for (slice_t rest = chunk; rest.len > 0;) {
        slice_t key;
        slice_t value;
        int rc = take_row(&rest, &key, &value);
        assert(rc == 0);
        (void)rc;
        kv_batch_put(self->batch, key, value);
    }
    return kv_write(self->kv, self->batch);
}

uint64_t snapshot_writer_rows(const snapshot_writer_t *self)
{
    return self->totals.rows;
}

uint32_t snapshot_writer_checksum(const snapshot_writer_t *self)
{
    return self->totals.checksum;
}
