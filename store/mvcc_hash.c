/* HashKV (contract section 7): a sum over the rows that logically survive at a revision, so that it
 * depends neither on the order of reading nor on how far compaction's background work is.
 *
 * Latest and history are read side by side, key by key, newest version first. Of the rows of a key
 * with main <= revision survive: all with main > compacted, and the newest with main <= compacted,
 * unless that is a tombstone below the compacted revision. */
#include "store/mvcc_internal.h"

#include <stdlib.h>

#include "messages/errors.h"
#include "messages/xalloc.h"

struct mvcc_hasher {
    kv_iter_t *latest, *history;
    mvcc_head_t head;
    int64_t revision;
    size_t rows_left; /* of this slice */
    bool in_group;    /* a slice ended within the versions of `key` */
    buf_t key;        /* of the group being read */
    buf_t scratch;
    bool has_newer;
    int64_t newer; /* main of the version read before: the one that superseded this one */
    uint64_t sum;
};

static uint64_t mix(uint64_t state, uint64_t word)
{
    state = (state ^ word) * 0x9e3779b97f4a7c15u;
    return state ^ state >> 29;
}

static uint64_t mix_bytes(uint64_t state, slice_t bytes)
{
    size_t i = 0;
    for (; i + 8 <= bytes.len; i += 8) {
        const uint8_t *at = bytes.data + i;
        uint64_t word = (uint64_t)at[0] | (uint64_t)at[1] << 8 | (uint64_t)at[2] << 16 |
                        (uint64_t)at[3] << 24 | (uint64_t)at[4] << 32 | (uint64_t)at[5] << 40 |
                        (uint64_t)at[6] << 48 | (uint64_t)at[7] << 56;
        state = mix(state, word);
    }
    uint64_t tail = 0;
    for (size_t shift = 0; i < bytes.len; i++, shift += 8) {
        tail |= (uint64_t)bytes.data[i] << shift;
    }
    return mix(mix(state, tail), bytes.len);
}

/* One version; `wire` empty = tombstone. Versions of a key come newest first. */
static void take_version(mvcc_hasher_t *self, slice_t key, mvcc_position_t at, slice_t wire)
{
    self->rows_left -= self->rows_left > 0;
    int64_t compacted = self->head.compacted;
    bool reachable = at.main > compacted || !self->has_newer || self->newer > compacted;
    bool buried = wire.len == 0 && at.main < compacted;
    self->has_newer = true;
    self->newer = at.main;
    if (at.main > self->revision || !reachable || buried) {
        return;
    }
    uint64_t hash = mix(mix(0, (uint64_t)at.main), (uint64_t)at.sub);
    hash = mix_bytes(mix_bytes(hash, key), wire);
    self->sum += hash ^ hash >> 32;
}

static bool stands_in(const kv_iter_t *iter, int column)
{
    return iter->ops->valid(iter) && mvcc_in_column(iter->ops->key(iter), column);
}

static int take_latest(mvcc_hasher_t *self, slice_t key)
{
    mvcc_record_t record;
    int rc = mvcc_record_parse(self->latest->ops->value(self->latest), &record);
    if (rc == 0) {
        mvcc_position_t at = {.main = record.mod_revision, .sub = record.sub};
        take_version(self, key, at, record.wire);
        self->latest->ops->next(self->latest);
    }
    return rc;
}

/* All rows of history that belong to the key of the group, or as many as this slice may. */
static int take_history(mvcc_hasher_t *self, slice_t key)
{
    mvcc_key_history_first(&self->scratch, key);
    while (stands_in(self->history, COLUMN_HISTORY)) {
        if (self->rows_left == 0) {
            return MVCC_MORE_WORK;
        }
        slice_t stored = self->history->ops->key(self->history);
        if (!slice_starts_with(stored, buf_slice(&self->scratch))) {
            return 0;
        }
        mvcc_position_t at;
        mvcc_record_t record = {0};
        slice_t value = self->history->ops->value(self->history);
        int rc = mvcc_history_position(stored, &at);
        rc = rc || value.len == 0 ? rc : mvcc_record_parse(value, &record);
        if (rc) {
            return rc;
        }
        take_version(self, key, at, record.wire);
        self->history->ops->next(self->history);
    }
    return mvcc_iter_error(self->history);
}

/* The smaller key under the two iterators becomes the group. KV_ABSENT at the end. */
static int next_group(mvcc_hasher_t *self, bool *in_latest)
{
    bool has_latest = stands_in(self->latest, COLUMN_LATEST);
    bool has_history = stands_in(self->history, COLUMN_HISTORY);
    if (!has_latest && !has_history) {
        int rc = mvcc_iter_error(self->latest);
        rc = rc ? rc : mvcc_iter_error(self->history);
        return rc ? rc : KV_ABSENT;
    }
    if (has_history) {
        mvcc_position_t at;
        int rc = mvcc_history_parse(self->history->ops->key(self->history), &self->key, &at);
        if (rc) {
            return rc;
        }
    }
    *in_latest = false;
    if (has_latest) {
        slice_t key = mvcc_after_prefix(self->latest->ops->key(self->latest));
        *in_latest = !has_history || slice_compare(key, buf_slice(&self->key)) <= 0;
        if (*in_latest) {
            buf_clear(&self->key);
            buf_append(&self->key, key.data, key.len);
        }
    }
    self->has_newer = false;
    return 0;
}

int mvcc_hasher_step(mvcc_hasher_t *self, size_t rows)
{
    self->rows_left = rows;
    for (;;) {
        if (self->rows_left == 0) {
            return MVCC_MORE_WORK;
        }
        if (!self->in_group) {
            bool in_latest = false;
            int rc = next_group(self, &in_latest);
            if (rc) {
                return rc == KV_ABSENT ? 0 : rc;
            }
            rc = in_latest ? take_latest(self, buf_slice(&self->key)) : 0;
            if (rc) {
                return rc;
            }
            self->in_group = true;
        }
        int rc = take_history(self, buf_slice(&self->key));
        if (rc) {
            return rc;
        }
        self->in_group = false;
    }
}

static kv_iter_t *iter_at(const kv_reader_t *reader, uint8_t column)
{
    kv_iter_t *iter = kv_iter_new(reader);
    iter->ops->seek(iter, slice(&column, 1));
    return iter;
}

int mvcc_hasher_new(mvcc_hasher_t **self_p, const kv_reader_t *reader, const mvcc_head_t *head,
                    int64_t revision)
{
    *self_p = NULL;
    if (revision <= 0) {
        revision = head->revision;
    }
    if (revision > head->revision || revision < head->compacted) {
        return revision > head->revision ? API_FUTURE_REVISION : API_COMPACTED;
    }
    mvcc_hasher_t *self = xcalloc(1, sizeof *self);
    self->head = *head;
    self->revision = revision;
    self->latest = iter_at(reader, COLUMN_LATEST);
    self->history = iter_at(reader, COLUMN_HISTORY);
    *self_p = self;
    return 0;
}

void mvcc_hasher_destroy(mvcc_hasher_t **self_p)
{
    mvcc_hasher_t *self = *self_p;
    *self_p = NULL;
    if (self) {
        kv_iter_destroy(&self->latest);
        kv_iter_destroy(&self->history);
        buf_deinit(&self->key);
        buf_deinit(&self->scratch);
        free(self);
    }
}

uint32_t mvcc_hasher_result(const mvcc_hasher_t *self)
{
    return (uint32_t)(self->sum ^ self->sum >> 32);
}

int64_t mvcc_hasher_revision(const mvcc_hasher_t *self)
{
    return self->revision;
}

int mvcc_hash(const kv_reader_t *reader, const mvcc_head_t *head, int64_t revision, uint32_t *hash)
{
    *hash = 0;
    mvcc_hasher_t *self = NULL;
    int rc = mvcc_hasher_new(&self, reader, head, revision);
    if (rc == 0) {
        rc = mvcc_hasher_step(self, SIZE_MAX);
        *hash = mvcc_hasher_result(self);
    }
    mvcc_hasher_destroy(&self);
    return rc;
}
