/* History as events: the log column tells what changed, latest and history hold the records. */
#include "store/mvcc_internal.h"

#include "messages/errors.h"

typedef struct {
    const kv_reader_t *reader;
    const mvcc_head_t *head;
    const mvcc_interval_t *intervals;
    size_t interval_count;
    bool want_prev;
    mvcc_event_fn fn;
    void *context;
    buf_t stored; /* scratch: a stored key */
    buf_t kv, prev_kv;
} scan_t;

static bool wanted(const scan_t *self, slice_t key)
{
    bool in = self->interval_count == 0;
    for (size_t i = 0; !in && i < self->interval_count; i++) {
        in = mvcc_interval_contains(&self->intervals[i], key);
    }
    return in;
}

/* The KeyValue of a superseded record. KV_ABSENT when it is gone. */
static int from_history(scan_t *self, slice_t key, mvcc_position_t at, buf_t *out)
{
    mvcc_key_history(&self->stored, key, at);
    kv_value_t value = {0};
    int rc = kv_get(self->reader, buf_slice(&self->stored), &value);
    if (rc) {
        return rc;
    }
    mvcc_record_t record;
    rc = mvcc_record_parse(kv_value_slice(&value), &record);
    if (rc == 0) {
        mvcc_kv_append(out, key, record.wire);
    }
    kv_value_deinit(&value);
    return rc;
}

/* The KeyValue that a put at `at` wrote: still the latest, or superseded meanwhile. */
static int written_kv(scan_t *self, slice_t key, mvcc_position_t at, buf_t *out)
{
    kv_value_t value = {0};
    mvcc_record_t record;
    int rc = mvcc_get(self->reader, key, &value, &record);
    if (rc == 0) {
        bool same = record.mod_revision == at.main && record.sub == at.sub;
        if (same) {
            mvcc_kv_append(out, key, record.wire);
        }
        kv_value_deinit(&value);
        if (same) {
            return 0;
        }
    }
    return rc < 0 ? rc : from_history(self, key, at, out);
}

/* The key's newest record or tombstone in history that is not newer than `at`. *value is valid as long
 * as *iter_p, which the caller destroys. 0, KV_ABSENT, < 0. */
static int newest_in_history(scan_t *self, slice_t key, mvcc_position_t at, kv_iter_t **iter_p,
                             mvcc_position_t *found, slice_t *value)
{
    mvcc_key_history(&self->stored, key, at);
    kv_iter_t *iter = *iter_p = kv_iter_new(self->reader);
    iter->ops->seek(iter, buf_slice(&self->stored));
    int rc = mvcc_iter_error(iter);
    if (rc || !iter->ops->valid(iter)) {
        return rc ? rc : KV_ABSENT;
    }
    mvcc_key_history_first(&self->stored, key);
    if (!slice_starts_with(iter->ops->key(iter), buf_slice(&self->stored))) {
        return KV_ABSENT;
    }
    *value = iter->ops->value(iter);
    return mvcc_history_position(iter->ops->key(iter), found);
}

/* Of several changes to one key in the compacted revision itself only the last survives. 1 = this
 * one was followed by another, 0, < 0. */
static int followed_in_revision(scan_t *self, slice_t key, mvcc_position_t at)
{
    kv_value_t value = {0};
    mvcc_record_t record;
    int rc = mvcc_get(self->reader, key, &value, &record);
    if (rc == 0) {
        kv_value_deinit(&value);
        if (record.mod_revision == at.main) {
            return record.sub > at.sub;
        }
    }
    if (rc < 0) {
        return rc;
    }
    kv_iter_t *iter = NULL;
    mvcc_position_t newest = at;
    slice_t ignored;
    rc = newest_in_history(self, key, (mvcc_position_t){.main = at.main, .sub = UINT32_MAX}, &iter,
                           &newest, &ignored);
    kv_iter_destroy(&iter);
    return rc < 0 ? rc : newest.main == at.main && newest.sub > at.sub;
}

/* A transaction changed the key twice: what it was before the transaction. */
static int before_revision(scan_t *self, slice_t key, int64_t revision, buf_t *out)
{
    kv_iter_t *iter = NULL;
    mvcc_position_t found;
    slice_t value = {0};
    int rc =
        newest_in_history(self, key, (mvcc_position_t){.main = revision - 1, .sub = UINT32_MAX},
                          &iter, &found, &value);
    if (rc == 0 && value.len > 0) { /* no tombstone */
        mvcc_record_t record;
        rc = mvcc_record_parse(value, &record);
        if (rc == 0) {
            mvcc_kv_append(out, key, record.wire);
        }
    }
    kv_iter_destroy(&iter);
    return rc < 0 ? rc : 0;
}

/* The record before the revision, as etcd shows it: a put that creates the key has none. */
static int previous_kv(scan_t *self, mvcc_position_t at, const mvcc_log_row_t *row)
{
    if (row->superseded.main < at.main) {
        return from_history(self, row->key, row->superseded, &self->prev_kv);
    }
    if (!row->is_delete) {
        mvcc_key_history(&self->stored, row->key, row->superseded);
        kv_value_t value = {0};
        int rc = kv_get(self->reader, buf_slice(&self->stored), &value);
        if (rc) {
            return rc;
        }
        mvcc_record_t record;
        rc = mvcc_record_parse(kv_value_slice(&value), &record);
        bool created = rc == 0 && record.create_revision == at.main;
        kv_value_deinit(&value);
        if (rc || created) {
            return rc;
        }
    }
    return before_revision(self, row->key, at.main, &self->prev_kv);
}

static int deliver(scan_t *self, mvcc_position_t at, const mvcc_log_row_t *row)
{
    if (at.main == self->head->compacted) {
        int rc = followed_in_revision(self, row->key, at);
        if (rc) {
            return rc < 0 ? rc : 0;
        }
    }
    buf_clear(&self->kv);
    buf_clear(&self->prev_kv);
    int rc = 0;
    if (row->is_delete) {
        buf_field_bytes(&self->kv, 1, row->key);
        buf_field_u64(&self->kv, 3, (uint64_t)at.main);
    } else {
        rc = written_kv(self, row->key, at, &self->kv);
    }
    /* What was superseded at the compacted revision is compacted, whether deleted yet or not. */
    if (rc == 0 && self->want_prev && row->has_superseded && at.main > self->head->compacted) {
        rc = previous_kv(self, at, row);
    }
    if (rc) {
        return rc == KV_ABSENT ? KV_ECORRUPT : rc;
    }
    mvcc_event_t event = {
        .is_delete = row->is_delete,
        .revision = at.main,
        .sub = at.sub,
        .key = row->key,
        .kv = buf_slice(&self->kv),
        .prev_kv = buf_slice(&self->prev_kv),
    };
    return self->fn(self->context, &event);
}

/* Reads log rows up to revision `to`, and about `max_rows` of them: to the end of the revision, or not.
 * *next becomes the place of the first row that is left. */
typedef struct {
    int64_t to;
    size_t max_rows;
    bool whole_revisions;
} scan_bounds_t;

static int scan_log(scan_t *self, kv_iter_t *iter, const scan_bounds_t *bounds,
                    mvcc_position_t *next)
{
    int64_t last = 0;
    for (size_t rows = 0; iter->ops->valid(iter); iter->ops->next(iter), rows++) {
        slice_t stored = iter->ops->key(iter);
        mvcc_position_t at = {.main = INT64_MAX};
        int rc = mvcc_in_column(stored, COLUMN_LOG) ? mvcc_log_key_parse(stored, &at) : 0;
        if (rc) {
            return rc;
        }
        if (at.main > bounds->to) {
            break;
        }
        *next = at;
        if (rows >= bounds->max_rows && (!bounds->whole_revisions || at.main != last)) {
            return 0;
        }
        last = at.main;
        mvcc_log_row_t row;
        rc = mvcc_log_row_parse(iter->ops->value(iter), &row);
        if (rc == 0 && wanted(self, row.key)) {
            rc = deliver(self, at, &row);
        }
        if (rc) {
            return rc;
        }
    }
    *next = (mvcc_position_t){.main = bounds->to + 1};
    return mvcc_iter_error(iter);
}

static int scan_from(scan_t *self, mvcc_position_t from, const scan_bounds_t *bounds,
                     mvcc_position_t *next)
{
    buf_t seek = {0};
    mvcc_key_log(&seek, from);
    kv_iter_t *iter = kv_iter_new(self->reader);
    iter->ops->seek(iter, buf_slice(&seek));
    int rc = scan_log(self, iter, bounds, next);
    kv_iter_destroy(&iter);
    buf_deinit(&seek);
    buf_deinit(&self->stored);
    buf_deinit(&self->kv);
    buf_deinit(&self->prev_kv);
    return rc;
}

int mvcc_events(const kv_reader_t *reader, const mvcc_head_t *head, int64_t from, int64_t to,
                const mvcc_interval_t *intervals, size_t interval_count, bool want_prev,
                size_t max_rows, mvcc_event_fn fn, void *context, int64_t *next_p)
{
    *next_p = from;
    if (from < head->compacted) {
        return API_COMPACTED;
    }
    scan_t self = {
        .reader = reader,
        .head = head,
        .intervals = intervals,
        .interval_count = interval_count,
        .want_prev = want_prev,
        .fn = fn,
        .context = context,
    };
    scan_bounds_t bounds = {.to = to, .max_rows = max_rows, .whole_revisions = true};
    mvcc_position_t next = {0};
    int rc = scan_from(&self, (mvcc_position_t){.main = from < 0 ? 0 : from}, &bounds, &next);
    if (rc == 0) {
        *next_p = next.main;
    }
    return rc;
}

int mvcc_events_from(const kv_reader_t *reader, const mvcc_head_t *head, mvcc_place_t *from,
                     int64_t to, const mvcc_interval_t *interval, bool want_prev, size_t max_rows,
                     mvcc_event_fn fn, void *context)
{
    if (from->revision < head->compacted) {
        return API_COMPACTED;
    }
    scan_t self = {
        .reader = reader,
        .head = head,
        .intervals = interval,
        .interval_count = 1,
        .want_prev = want_prev,
        .fn = fn,
        .context = context,
    };
    scan_bounds_t bounds = {.to = to, .max_rows = max_rows};
    mvcc_position_t next = {.main = from->revision, .sub = from->sub};
    int rc = scan_from(&self, next, &bounds, &next);
    if (rc >= 0) {
        *from = (mvcc_place_t){.revision = next.main, .sub = next.sub};
    }
    return rc;
}
