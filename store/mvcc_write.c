/* Entries, puts and deletes. Writing a key moves the record it replaces from latest to history in the
 * same batch; a delete leaves a tombstone in history; both leave a row in the log. */
#include "store/mvcc_write.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/errors.h"
#include "messages/xalloc.h"
#include "store/mvcc_state.h"

/* Keys that a range delete reads before it deletes them: writing invalidates iterators. */
enum { DELETE_CHUNK = 256 };

int mvcc_new(mvcc_t **self_p, kv_t *kv, char **error_p)
{
    mvcc_t *self = xcalloc(1, sizeof *self);
    self->kv = kv;
    self->overlay = overlay_new(kv_latest(kv));
    self->batch = kv_batch_new(kv);
    int rc = mvcc_head(kv_latest(kv), &self->head);
    rc = rc ? rc : mvcc_compaction_read(kv_latest(kv), &self->compaction);
    rc = rc ? rc : mvcc_blocks_load(&self->blocks, kv_latest(kv));
    if (rc) {
        const char *why = kv_error(kv);
        *error_p = why ? xstrdup(why) : xasprintf("the store's own records are malformed (%d)", rc);
        mvcc_destroy(&self);
    }
    *self_p = self;
    return rc;
}

static void drop_changes(mvcc_t *self)
{
    for (size_t i = 0; i < self->change_count; i++) {
        bytes_unref(&self->changes[i].kv);
        bytes_unref(&self->changes[i].prev_kv);
    }
    self->change_count = 0;
    self->change_bytes = 0;
}

void mvcc_destroy(mvcc_t **self_p)
{
    mvcc_t *self = *self_p;
    *self_p = NULL;
    if (!self) {
        return;
    }
    drop_changes(self);
    free(self->changes);
    mvcc_blocks_deinit(&self->blocks);
    kv_batch_destroy(&self->batch);
    overlay_destroy(&self->overlay);
    buf_deinit(&self->key);
    buf_deinit(&self->value);
    buf_deinit(&self->record);
    free(self);
}

const mvcc_head_t *mvcc_current(const mvcc_t *self)
{
    return &self->head;
}

uint64_t mvcc_keys(const mvcc_t *self)
{
    return self->blocks.live;
}

const kv_reader_t *mvcc_reader(mvcc_t *self)
{
    mvcc_blocks_flush(&self->blocks, self->overlay);
    return overlay_reader(self->overlay);
}

/* ---- entries ---- */

void mvcc_entry_begin(mvcc_t *self, uint64_t index, uint64_t term)
{
    assert(!self->in_entry);
    assert(index > self->head.applied_index);
    self->in_entry = true;
    self->index = index;
    self->term = term;
    self->next_sub = 0;
}

void mvcc_entry_end(mvcc_t *self)
{
    assert(self->in_entry);
    self->in_entry = false;
    self->head.applied_index = self->index;
    self->head.term = self->term;
    self->head.revision += self->next_sub > 0;
}

int64_t mvcc_entry_revision(const mvcc_t *self)
{
    return self->head.revision + 1;
}

bool mvcc_entry_changed(const mvcc_t *self)
{
    return self->next_sub > 0;
}

/* ---- one change ---- */

/* What the key was before the entry, which has changed it already: the first such change knows. NULL =
 * nothing. */
static bytes_t *before_entry(const mvcc_t *self, const mvcc_log_row_t *row, int64_t revision,
                             const mvcc_record_t *old)
{
    if (!row->is_delete && old->create_revision == revision) {
        return NULL; /* a put that creates the key */
    }
    bytes_t *prev_kv = NULL;
    for (size_t i = self->change_count; i > 0; i--) {
        const mvcc_change_t *change = &self->changes[i - 1];
        if (change->revision != revision) {
            break;
        }
        if (slice_equal(slice(bytes_slice(change->kv).data + change->key_offset, change->key_len),
                        row->key)) {
            prev_kv = change->prev_kv;
        }
    }
    return bytes_ref(prev_kv);
}

static void note_change(mvcc_t *self, const mvcc_log_row_t *row, mvcc_position_t at, slice_t wire,
                        const mvcc_record_t *old)
{
    bool twice = old && old->mod_revision == at.main;
    bytes_t *prev_kv = twice ? before_entry(self, row, at.main, old) : NULL;
    self->changes =
        xgrow(self->changes, &self->change_capacity, self->change_count + 1, sizeof *self->changes);
    mvcc_change_t *change = &self->changes[self->change_count++];
    *change = (mvcc_change_t){
        .is_delete = row->is_delete, .revision = at.main, .sub = at.sub, .key_len = row->key.len};
    change->kv = mvcc_kv_bytes(row->key, wire, &change->key_offset);
    self->change_bytes += sizeof *change + bytes_len(change->kv);
    change->prev_kv = prev_kv;
    if (old && !twice) {
        size_t key_offset = 0;
        change->prev_kv = mvcc_kv_bytes(row->key, old->wire, &key_offset);
        self->change_bytes += bytes_len(change->prev_kv);
    }
}

/* What puts and deletes have in common: the replaced record goes to history, a row to the log. */
static mvcc_position_t record_change(mvcc_t *self, slice_t key, bool is_delete, slice_t old_stored,
                                     const mvcc_record_t *old, mvcc_log_row_t *row)
{
    assert(self->in_entry);
    mvcc_position_t at = {.main = mvcc_entry_revision(self), .sub = self->next_sub++};
    *row = (mvcc_log_row_t){.is_delete = is_delete, .has_superseded = old != NULL, .key = key};
    if (old) {
        row->superseded = (mvcc_position_t){.main = old->mod_revision, .sub = old->sub};
        mvcc_key_history(&self->key, key, row->superseded);
        overlay_put(self->overlay, buf_slice(&self->key), old_stored);
    }
    mvcc_key_log(&self->key, at);
    mvcc_log_row_write(&self->value, row);
    overlay_put(self->overlay, buf_slice(&self->key), buf_slice(&self->value));
    return at;
}

static void move_lease(mvcc_t *self, slice_t key, int64_t from, int64_t to)
{
    if (from == to) {
        return;
    }
    if (from) {
        mvcc_key_attached(&self->key, from, key);
        overlay_delete(self->overlay, buf_slice(&self->key));
    }
    if (to) {
        mvcc_key_attached(&self->key, to, key);
        overlay_put(self->overlay, buf_slice(&self->key), slice(NULL, 0));
    }
}

/* ---- put ---- */

int mvcc_put_check(mvcc_t *self, const mvcc_put_t *put)
{
    if (put->lease) {
        int64_t ttl_s = 0;
        int rc = mvcc_lease_ttl(overlay_reader(self->overlay), put->lease, &ttl_s);
        if (rc) {
            return rc == KV_ABSENT ? API_LEASE_NOT_FOUND : rc;
        }
    }
    if (put->ignore_value || put->ignore_lease) {
        kv_value_t value = {0};
        mvcc_record_t record;
        int rc = mvcc_get(overlay_reader(self->overlay), put->key, &value, &record);
        if (rc) {
            return rc == KV_ABSENT ? API_KEY_NOT_FOUND : rc;
        }
        kv_value_deinit(&value);
    }
    return 0;
}

static int write_put(mvcc_t *self, const mvcc_put_t *put, slice_t old_stored,
                     const mvcc_record_t *old)
{
    mvcc_log_row_t row;
    mvcc_position_t at = record_change(self, put->key, false, old_stored, old, &row);
    static const mvcc_record_t nothing = {0};
    const mvcc_record_t *before = old ? old : &nothing;
    mvcc_record_t record = {
        .create_revision = old ? old->create_revision : at.main,
        .mod_revision = at.main,
        .sub = at.sub,
        .version = before->version + 1,
        .lease = put->ignore_lease ? before->lease : put->lease,
        .value = put->ignore_value ? before->value : put->value,
    };
    mvcc_record_write(&self->record, &record);
    mvcc_key_latest(&self->key, put->key);
    overlay_put(self->overlay, buf_slice(&self->key), buf_slice(&self->record));
    move_lease(self, put->key, before->lease, record.lease);
    slice_t wire = buf_slice(&self->record);
    uint64_t sub = 0;
    int rc = wire_varint(&wire, &sub);
    assert(rc == 0);
    note_change(self, &row, at, wire, old);
    return old ? 0 : mvcc_blocks_add(&self->blocks, self->overlay, put->key);
}

int mvcc_put(mvcc_t *self, const mvcc_put_t *put, buf_t *prev, bool *existed)
{
    kv_value_t value = {0};
    mvcc_record_t old;
    *existed = false;
    int rc = mvcc_get(overlay_reader(self->overlay), put->key, &value, &old);
    if (rc < 0) {
        return rc;
    }
    *existed = rc == 0;
    if (*existed && prev) {
        mvcc_kv_append(prev, put->key, old.wire);
    }
    rc = write_put(self, put, kv_value_slice(&value), *existed ? &old : NULL);
    kv_value_deinit(&value);
    return rc;
}

/* ---- delete ---- */

int mvcc_delete_key(mvcc_t *self, slice_t key, slice_t stored)
{
    mvcc_record_t old;
    int rc = mvcc_record_parse(stored, &old);
    if (rc) {
        return rc;
    }
    mvcc_log_row_t row;
    mvcc_position_t at = record_change(self, key, true, stored, &old, &row);
    mvcc_key_history(&self->key, key, at);
    overlay_put(self->overlay, buf_slice(&self->key), slice(NULL, 0));
    mvcc_key_latest(&self->key, key);
    overlay_delete(self->overlay, buf_slice(&self->key));
    move_lease(self, key, old.lease, 0);
    mvcc_tombstone_wire(&self->value, at.main);
    note_change(self, &row, at, buf_slice(&self->value), &old);
    mvcc_blocks_remove(&self->blocks, self->overlay, key);
    return 0;
}

static int delete_one(mvcc_t *self, slice_t key, int64_t *deleted, buf_t *prev_kvs)
{
    kv_value_t value = {0};
    mvcc_record_t record;
    int rc = mvcc_get(overlay_reader(self->overlay), key, &value, &record);
    if (rc) {
        return rc == KV_ABSENT ? 0 : rc;
    }
    if (prev_kvs) {
        mvcc_kv_field(prev_kvs, 3, key, record.wire);
    }
    *deleted += 1;
    rc = mvcc_delete_key(self, key, kv_value_slice(&value));
    kv_value_deinit(&value);
    return rc;
}

/* Keys and records of one chunk, copied out of the iterator. */
typedef struct {
    buf_t bytes;
    struct {
        size_t key_len, record_len;
    } items[DELETE_CHUNK];
    size_t count;
} chunk_t;

static int read_chunk(mvcc_t *self, const mvcc_interval_t *interval, chunk_t *chunk)
{
    mvcc_walk_t walk;
    size_t rows_left = DELETE_CHUNK;
    buf_clear(&chunk->bytes);
    chunk->count = 0;
    mvcc_walk_interval(&walk, overlay_reader(self->overlay), &self->head, self->head.revision,
                       interval);
    int rc = 0;
    while (rc == 0) {
        slice_t key;
        slice_t record;
        rc = mvcc_walk_next(&walk, &rows_left, &key, &record);
        if (rc == 0) {
            chunk->items[chunk->count].key_len = key.len;
            chunk->items[chunk->count].record_len = record.len;
            chunk->count++;
            buf_append(&chunk->bytes, key.data, key.len);
            buf_append(&chunk->bytes, record.data, record.len);
        }
    }
    mvcc_walk_deinit(&walk);
    return rc;
}

static int delete_chunk(mvcc_t *self, const chunk_t *chunk, buf_t *prev_kvs)
{
    const uint8_t *at = chunk->bytes.data;
    for (size_t i = 0; i < chunk->count; i++) {
        slice_t key = slice(at, chunk->items[i].key_len);
        slice_t stored = slice(at + key.len, chunk->items[i].record_len);
        at += key.len + stored.len;
        if (prev_kvs) {
            mvcc_record_t record;
            int rc = mvcc_record_parse(stored, &record);
            if (rc) {
                return rc;
            }
            mvcc_kv_field(prev_kvs, 3, key, record.wire);
        }
        int rc = mvcc_delete_key(self, key, stored);
        if (rc) {
            return rc;
        }
    }
    return 0;
}

/* The first key that can follow the chunk's last one; `key` if it is empty. From `key` on again, every chunk would step
 * over all that is deleted already: four times as long for twice the keys. */
static slice_t behind(const chunk_t *chunk, slice_t key, buf_t *from)
{
    if (chunk->count == 0) {
        return key;
    }
    size_t key_len = chunk->items[chunk->count - 1].key_len;
    size_t record_len = chunk->items[chunk->count - 1].record_len;
    buf_clear(from);
    buf_append(from, chunk->bytes.data + chunk->bytes.len - record_len - key_len, key_len);
    buf_byte(from, 0);
    return buf_slice(from);
}

int mvcc_delete_range(mvcc_t *self, const mvcc_interval_t *interval, int64_t *deleted,
                      buf_t *prev_kvs)
{
    *deleted = 0;
    if (mvcc_is_single(interval)) {
        return delete_one(self, interval->key, deleted, prev_kvs);
    }
    chunk_t *chunk = xcalloc(1, sizeof *chunk);
    mvcc_interval_t rest = *interval;
    buf_t from = {0};
    int rc = MVCC_MORE_WORK;
    while (rc == MVCC_MORE_WORK) {
        rc = read_chunk(self, &rest, chunk);
        if (rc >= 0) {
            int failed = delete_chunk(self, chunk, prev_kvs);
            *deleted += (int64_t)chunk->count;
            rc = failed ? failed : rc;
            rest.key = behind(chunk, rest.key, &from);
        }
    }
    buf_deinit(&from);
    buf_deinit(&chunk->bytes);
    free(chunk);
    return rc == KV_ABSENT ? 0 : rc;
}

/* ---- the rest of an entry ---- */

int mvcc_compact(mvcc_t *self, int64_t revision)
{
    assert(self->in_entry);
    if (revision <= self->head.compacted) {
        return API_COMPACTED;
    }
    if (revision > self->head.revision) {
        return API_FUTURE_REVISION;
    }
    self->head.compacted = revision;
    return 0;
}

int mvcc_meta_put(mvcc_t *self, const char *name, slice_t value)
{
    assert(self->in_entry);
    mvcc_key_meta(&self->key, name);
    overlay_put(self->overlay, buf_slice(&self->key), value);
    return 0;
}

/* ---- the span ---- */

size_t mvcc_change_count(const mvcc_t *self)
{
    return self->change_count;
}

mvcc_change_t *mvcc_changes_take(mvcc_t *self, size_t *count)
{
    mvcc_change_t *changes = self->change_count ? self->changes : NULL;
    *count = self->change_count;
    if (changes) {
        self->changes = NULL;
        self->change_capacity = 0;
    }
    self->change_count = 0;
    self->change_bytes = 0;
    return changes;
}

size_t mvcc_span_bytes(const mvcc_t *self)
{
    return overlay_bytes(self->overlay) + self->change_bytes;
}

int mvcc_commit(mvcc_t *self)
{
    assert(!self->in_entry);
    mvcc_blocks_flush(&self->blocks, self->overlay);
    mvcc_key_meta(&self->key, META_HEAD);
    mvcc_head_write(&self->head, &self->value);
    overlay_put(self->overlay, buf_slice(&self->key), buf_slice(&self->value));
    overlay_drain(self->overlay, self->batch);
    drop_changes(self);
    return kv_write(self->kv, self->batch);
}
