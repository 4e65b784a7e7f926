/* The walk over live keys. Now: one iterator over latest. At an old revision: latest and history
 * side by side, the smaller key first.
 *
 * Invariants:
 * 1. Between calls both iterators stand at the first row that may belong to the next key (or, with
 *    `advance`, at rows of the key handed out last, which the next call leaves).
 * 2. history_valid: the history iterator stands inside the interval on a row of history_key. */
#include "store/mvcc_internal.h"

#include <assert.h>

/* Rows to step over before a seek pays (measured on LevelDB: a seek costs about as much as ten). */
enum { STEPS_BEFORE_SEEK = 8 };

void mvcc_walk_deinit(mvcc_walk_t *self)
{
    if (self->latest) {
        kv_iter_destroy(&self->latest);
    }
    if (self->history) {
        kv_iter_destroy(&self->history);
    }
    buf_deinit(&self->end);
    buf_deinit(&self->current);
    buf_deinit(&self->history_key);
    buf_deinit(&self->scratch);
}

static slice_t user_end(const mvcc_walk_t *self)
{
    return mvcc_after_prefix(buf_slice(&self->end));
}

void mvcc_walk_init(mvcc_walk_t *self, const kv_reader_t *reader, const mvcc_head_t *head,
                    int64_t revision, slice_t start, const slice_t *end)
{
    *self =
        (mvcc_walk_t){.reader = reader, .at = revision, .historical = revision < head->revision};
    if (end) {
        self->bounded = true;
        mvcc_key_latest(&self->end, *end);
    }
    mvcc_key_latest(&self->scratch, start);
    self->latest = kv_iter_new(reader);
    self->latest->ops->seek(self->latest, buf_slice(&self->scratch));
    if (self->historical) {
        mvcc_key_history_first(&self->scratch, start);
        self->history = kv_iter_new(reader);
        self->history->ops->seek(self->history, buf_slice(&self->scratch));
    }
}

void mvcc_walk_interval(mvcc_walk_t *self, const kv_reader_t *reader, const mvcc_head_t *head,
                        int64_t revision, const mvcc_interval_t *interval)
{
    if (mvcc_is_unbounded(interval)) {
        mvcc_walk_init(self, reader, head, revision, interval->key, NULL);
    } else if (!mvcc_is_single(interval)) {
        mvcc_walk_init(self, reader, head, revision, interval->key, &interval->range_end);
    } else { /* up to key + "\0", the next possible key */
        buf_t end = {0};
        buf_append(&end, interval->key.data, interval->key.len);
        buf_byte(&end, 0);
        slice_t end_slice = buf_slice(&end);
        mvcc_walk_init(self, reader, head, revision, interval->key, &end_slice);
        buf_deinit(&end);
    }
}

/* Is there a row of latest inside the interval under the iterator? 1, 0 or < 0. */
static int latest_at(const mvcc_walk_t *self, slice_t *key)
{
    const kv_iter_t *iter = self->latest;
    if (!iter->ops->valid(iter)) {
        return mvcc_iter_error(iter);
    }
    slice_t stored = iter->ops->key(iter);
    if (!mvcc_in_column(stored, COLUMN_LATEST)) {
        return 0;
    }
    if (self->bounded && slice_compare(stored, buf_slice(&self->end)) >= 0) {
        return 0;
    }
    *key = mvcc_after_prefix(stored);
    return 1;
}

static int next_latest(mvcc_walk_t *self, slice_t *key, slice_t *record)
{
    kv_iter_t *iter = self->latest;
    if (self->advance) {
        (self->trusting ? iter->ops->step : iter->ops->next)(iter);
    }
    int rc = latest_at(self, key);
    if (rc <= 0) {
        self->advance = false;
        return rc < 0 ? rc : KV_ABSENT;
    }
    self->advance = true;
    *record = iter->ops->value(iter);
    return 0;
}

/* Establishes invariant 2 from wherever the history iterator stands. 0 or < 0. */
static int load_history(mvcc_walk_t *self)
{
    self->history_valid = false;
    const kv_iter_t *iter = self->history;
    if (!iter->ops->valid(iter)) {
        return mvcc_iter_error(iter);
    }
    slice_t stored = iter->ops->key(iter);
    if (!mvcc_in_column(stored, COLUMN_HISTORY)) {
        return 0;
    }
    int rc = mvcc_history_parse(stored, &self->history_key, &self->history_at);
    if (rc) {
        return rc;
    }
    self->history_valid =
        !self->bounded || slice_compare(buf_slice(&self->history_key), user_end(self)) < 0;
    return 0;
}

/* The stored prefix that all rows of the key under the history iterator share. */
static slice_t history_prefix(mvcc_walk_t *self)
{
    mvcc_key_history_first(&self->scratch, buf_slice(&self->history_key));
    return buf_slice(&self->scratch);
}

static bool history_has_prefix(const mvcc_walk_t *self, slice_t prefix)
{
    const kv_iter_t *iter = self->history;
    return iter->ops->valid(iter) && slice_starts_with(iter->ops->key(iter), prefix);
}

/* Leaves the key under the history iterator. 0 or < 0. */
static int skip_history_key(mvcc_walk_t *self, size_t *rows_left)
{
    kv_iter_t *iter = self->history;
    slice_t prefix = history_prefix(self);
    for (int i = 0; i < STEPS_BEFORE_SEEK && history_has_prefix(self, prefix); i++) {
        iter->ops->next(iter);
        *rows_left -= *rows_left > 0;
    }
    if (history_has_prefix(self, prefix)) {
        mvcc_key_history_behind(&self->scratch, buf_slice(&self->history_key));
        iter->ops->seek(iter, buf_slice(&self->scratch));
    }
    return load_history(self);
}

/* Moves to the newest row of this key that is not newer than the revision. 1 = there is one. */
static int seek_version(mvcc_walk_t *self, size_t *rows_left)
{
    kv_iter_t *iter = self->history;
    slice_t prefix = history_prefix(self);
    for (int i = 0; history_has_prefix(self, prefix); i++) {
        int rc = mvcc_history_position(iter->ops->key(iter), &self->history_at);
        if (rc) {
            return rc;
        }
        if (self->history_at.main <= self->at) {
            return 1;
        }
        *rows_left -= *rows_left > 0;
        if (i < STEPS_BEFORE_SEEK) {
            iter->ops->next(iter);
            continue;
        }
        buf_t target = {0};
        mvcc_key_history(&target, buf_slice(&self->history_key),
                         (mvcc_position_t){.main = self->at, .sub = UINT32_MAX});
        iter->ops->seek(iter, buf_slice(&target));
        buf_deinit(&target);
    }
    return mvcc_iter_error(iter);
}

/* Leaves the key handed out last: in latest, in history, or in both. */
static int leave_key(mvcc_walk_t *self, size_t *rows_left)
{
    slice_t key = {0};
    int rc = latest_at(self, &key);
    if (rc < 0) {
        return rc;
    }
    bool in_latest = rc > 0 && slice_equal(key, buf_slice(&self->current));
    if (self->history_valid &&
        slice_equal(buf_slice(&self->history_key), buf_slice(&self->current))) {
        rc = skip_history_key(self, rows_left);
        if (rc < 0) {
            return rc;
        }
    }
    if (in_latest) {
        self->latest->ops->next(self->latest);
    }
    return 0;
}

/* The smallest key under the two iterators becomes `current`; *in_latest, *in_history say where it
 * is. KV_ABSENT when there is none. */
static int smallest_key(mvcc_walk_t *self, bool *in_latest, bool *in_history)
{
    slice_t key = {0};
    int rc = latest_at(self, &key);
    if (rc < 0) {
        return rc;
    }
    if (rc == 0 && !self->history_valid) {
        return KV_ABSENT;
    }
    int order = rc == 0                ? 1
                : !self->history_valid ? -1
                                       : slice_compare(key, buf_slice(&self->history_key));
    *in_latest = order <= 0;
    *in_history = order >= 0;
    slice_t smallest = *in_latest ? key : buf_slice(&self->history_key);
    buf_clear(&self->current);
    buf_append(&self->current, smallest.data, smallest.len);
    return 0;
}

/* The record of `current` at the revision, or KV_ABSENT. */
static int version_of_current(mvcc_walk_t *self, bool in_latest, bool in_history, size_t *rows_left,
                              slice_t *record)
{
    if (in_latest) {
        mvcc_record_t parsed;
        *record = self->latest->ops->value(self->latest);
        int rc = mvcc_record_parse(*record, &parsed);
        if (rc) {
            return rc;
        }
        if (parsed.mod_revision <= self->at) {
            return 0;
        }
    }
    if (!in_history) {
        return KV_ABSENT;
    }
    int rc = seek_version(self, rows_left);
    if (rc == 0) { /* the iterator has left the key: what it stands on now is the next one */
        rc = load_history(self);
        return rc < 0 ? rc : KV_ABSENT;
    }
    if (rc < 0) {
        return rc;
    }
    *record = self->history->ops->value(self->history);
    return record->len == 0 ? KV_ABSENT : 0; /* a tombstone */
}

static int next_historical(mvcc_walk_t *self, size_t *rows_left, slice_t *key, slice_t *record)
{
    for (;;) {
        int rc = self->advance ? leave_key(self, rows_left) : self->loaded ? 0 : load_history(self);
        if (rc) {
            return rc;
        }
        self->loaded = true;
        self->advance = false;
        if (*rows_left == 0) {
            return MVCC_MORE_WORK;
        }
        bool in_latest = false;
        bool in_history = false;
        rc = smallest_key(self, &in_latest, &in_history);
        if (rc) {
            return rc;
        }
        *rows_left -= 1;
        self->advance = true;
        rc = version_of_current(self, in_latest, in_history, rows_left, record);
        if (rc == KV_ABSENT) {
            continue;
        }
        *key = buf_slice(&self->current);
        return rc;
    }
}

int mvcc_walk_error(const mvcc_walk_t *self)
{
    int rc = mvcc_iter_error(self->latest);
    return rc || !self->history ? rc : mvcc_iter_error(self->history);
}

int mvcc_walk_next(mvcc_walk_t *self, size_t *rows_left, slice_t *key, slice_t *record)
{
    if (*rows_left == 0) {
        return MVCC_MORE_WORK;
    }
    if (self->historical) {
        return next_historical(self, rows_left, key, record);
    }
    *rows_left -= 1;
    return next_latest(self, key, record);
}
