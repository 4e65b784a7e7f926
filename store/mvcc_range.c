/* Ranges in slices (contract section 3.1). Phases:
 *
 *   SCAN -> (COUNT) -> (EMIT) -> DONE
 *
 * SCAN walks the interval and sends or collects keys; it stops at limit + 1 keys when the order is
 * that of the keys, and COUNT then finds how many are left without looking at each. EMIT sends what
 * had to be sorted first. */
#include "store/mvcc_internal.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/errors.h"
#include "messages/xalloc.h"
#include "store/mvcc_sort.h"

typedef enum { PHASE_SCAN, PHASE_COUNT, PHASE_EMIT, PHASE_DONE } phase_t;

struct mvcc_cursor {
    const kv_reader_t *reader;
    mvcc_head_t head;
    mvcc_range_t range; /* its slices point into `bytes` */
    int64_t at;         /* the revision that is read */
    int64_t scan_limit; /* SCAN stops before key number scan_limit + 1; 0 = walks all */
    bool plain;         /* records go out as they are: no filter, no sort, values wanted */
    phase_t phase;
    bool walking;
    mvcc_walk_t walk;
    mvcc_counter_t *counter;
    mvcc_sorter_t *sorter;
    int64_t seen; /* keys of the interval that SCAN has passed */
    int64_t emitted;
    int64_t count;
    bool more;
    buf_t last_key;
    buf_t scratch;
    uint8_t bytes[];
};

static bool has_filters(const mvcc_range_t *range)
{
    return range->min_mod_revision || range->max_mod_revision || range->min_create_revision ||
           range->max_create_revision;
}

/* The store returns keys in this order anyway. NONE counts as such whatever the target is. */
static bool is_default_order(const mvcc_range_t *range)
{
    return range->sort_order == SORT_NONE ||
           (range->sort_target == SORT_KEY && range->sort_order == SORT_ASCEND);
}

/* With order NONE and another target than the key, the limit is applied in key order (one more is
 * read, as for `more`), and what was read is sorted ascending: etcd does so. */
static bool needs_sort(const mvcc_range_t *range)
{
    return range->sort_target == SORT_KEY ? range->sort_order == SORT_DESCEND : true;
}

int mvcc_cursor_new(mvcc_cursor_t **self_p, const kv_reader_t *reader, const mvcc_head_t *head,
                    const mvcc_range_t *range)
{
    *self_p = NULL;
    int64_t at = range->revision <= 0 ? head->revision : range->revision;
    if (at > head->revision) {
        return API_FUTURE_REVISION;
    }
    if (at < head->compacted) {
        return API_COMPACTED;
    }
    slice_t key = range->interval.key;
    slice_t end = range->interval.range_end;
    mvcc_cursor_t *self = xmalloc(sizeof *self + key.len + end.len);
    *self = (mvcc_cursor_t){.reader = reader, .head = *head, .range = *range, .at = at};
    memcpy(self->bytes, key.data, key.len);
    if (end.len) {
        memcpy(self->bytes + key.len, end.data, end.len);
    }
    self->range.interval.key = slice(self->bytes, key.len);
    self->range.interval.range_end = slice(self->bytes + key.len, end.len);
    if (is_default_order(range) && !has_filters(range) && range->limit > 0) {
        self->scan_limit = range->limit;
    }
    if (needs_sort(range) && !range->count_only) {
        self->sorter = mvcc_sorter_new(range->sort_target, range->sort_order, range->limit);
    }
    self->plain = !self->sorter && !has_filters(range) && !range->keys_only;
    *self_p = self;
    return 0;
}

void mvcc_cursor_destroy(mvcc_cursor_t **self_p)
{
    mvcc_cursor_t *self = *self_p;
    *self_p = NULL;
    if (self) {
        mvcc_walk_deinit(&self->walk);
        mvcc_counter_destroy(&self->counter);
        mvcc_sorter_destroy(&self->sorter);
        buf_deinit(&self->last_key);
        buf_deinit(&self->scratch);
        free(self);
    }
}

int64_t mvcc_cursor_count(const mvcc_cursor_t *self)
{
    return self->count;
}

bool mvcc_cursor_more(const mvcc_cursor_t *self)
{
    return self->more;
}

int64_t mvcc_cursor_emitted(const mvcc_cursor_t *self)
{
    return self->emitted;
}

slice_t mvcc_cursor_last_key(const mvcc_cursor_t *self)
{
    return buf_slice(&self->last_key);
}

size_t mvcc_cursor_held_bytes(const mvcc_cursor_t *self)
{
    return self->sorter ? mvcc_sorter_bytes(self->sorter) : 0;
}

static bool passes_filters(const mvcc_range_t *range, const mvcc_record_t *record)
{
    return (!range->max_mod_revision || record->mod_revision <= range->max_mod_revision) &&
           (!range->min_mod_revision || record->mod_revision >= range->min_mod_revision) &&
           (!range->max_create_revision || record->create_revision <= range->max_create_revision) &&
           (!range->min_create_revision || record->create_revision >= range->min_create_revision);
}

/* The fields 2..4 alone. */
static slice_t wire_without_value(const mvcc_record_t *record)
{
    slice_t wire = record->wire;
    if (record->value.len) {
        size_t tag_and_len = 1 + varint_size(record->value.len);
        return slice(wire.data, (size_t)(record->value.data - wire.data) - tag_and_len);
    }
    if (record->lease) {
        return slice(wire.data, wire.len - 1 - varint_size((uint64_t)record->lease));
    }
    return wire;
}

/* What keys_only leaves: etcd answers it from its index, which knows no leases, unless it had to
 * read the values to sort by them. */
static slice_t keys_only_wire(mvcc_cursor_t *self, const mvcc_record_t *record)
{
    slice_t wire = wire_without_value(record);
    if (self->range.sort_target != SORT_VALUE || !record->lease) {
        return wire;
    }
    buf_clear(&self->scratch);
    buf_append(&self->scratch, wire.data, wire.len);
    buf_field_u64(&self->scratch, 6, (uint64_t)record->lease);
    return buf_slice(&self->scratch);
}

/* One live key: to the answer, to the sorter, or filtered out. 0 or < 0. */
static int take_key(mvcc_cursor_t *self, slice_t key, slice_t stored, buf_t *out)
{
    if (self->plain) { /* all but the sub-revision is copied as it is */
        uint64_t sub = 0;
        if (wire_varint(&stored, &sub)) {
            return KV_ECORRUPT;
        }
        mvcc_kv_field(out, 2, key, stored);
        self->emitted++;
        return 0;
    }
    mvcc_record_t record;
    int rc = mvcc_record_parse(stored, &record);
    if (rc) {
        return rc;
    }
    if (!passes_filters(&self->range, &record)) {
        return 0;
    }
    slice_t wire = self->range.keys_only ? keys_only_wire(self, &record) : record.wire;
    if (self->sorter) {
        mvcc_sorter_add(self->sorter, key, wire, &record);
        return 0;
    }
    if (self->range.limit > 0 &&
        self->emitted == self->range.limit) { /* filtered, so not cut by SCAN */
        self->more = true;
        return 0;
    }
    mvcc_kv_field(out, 2, key, wire);
    self->emitted++;
    return 0;
}

/* The key of the last key-value in `out`, which starts at `offset`. */
static void remember_last(mvcc_cursor_t *self, const buf_t *out, size_t offset)
{
    slice_t rest = slice(out->data + offset, out->len - offset);
    wire_field_t kv;
    wire_field_t key;
    int rc = wire_next(&rest, &kv);
    assert(rc == 0);
    rc = wire_next(&kv.data, &key);
    assert(rc == 0);
    buf_clear(&self->last_key);
    buf_append(&self->last_key, key.data.data, key.data.len);
}

static void end_scan(mvcc_cursor_t *self)
{
    mvcc_walk_deinit(&self->walk);
    self->count = self->seen;
    if (self->sorter) {
        mvcc_sorter_finish(self->sorter);
        self->more = mvcc_sorter_more(self->sorter);
    }
    self->phase = self->counter ? PHASE_COUNT : self->sorter ? PHASE_EMIT : PHASE_DONE;
}

/* A single key as it is now needs no iterator. */
static int scan_single(mvcc_cursor_t *self, buf_t *out)
{
    kv_value_t value = {0};
    mvcc_record_t record;
    slice_t key = self->range.interval.key;
    int rc = mvcc_get(self->reader, key, &value, &record);
    if (rc == 0) {
        self->seen = 1;
        size_t start = out->len;
        rc = self->range.count_only ? 0 : take_key(self, key, kv_value_slice(&value), out);
        if (self->emitted) {
            remember_last(self, out, start);
        }
        kv_value_deinit(&value);
    }
    if (rc < 0) {
        return rc;
    }
    end_scan(self);
    return 0;
}

/* The answer is full; keys from `key` on are only counted. */
static void count_rest(mvcc_cursor_t *self, slice_t key)
{
    self->counter =
        mvcc_counter_new(self->reader, &self->head, self->at, &self->range.interval, key);
}

/* 0 = the walk is over, MVCC_MORE_WORK, < 0. *last_p: where the last key-value in `out` starts. */
static int scan_keys(mvcc_cursor_t *self, size_t *rows_left, size_t bytes, buf_t *out,
                     size_t *last_p)
{
    size_t start = out->len;
    while (out->len - start < bytes) {
        slice_t key;
        slice_t record;
        int rc = mvcc_walk_next(&self->walk, rows_left, &key, &record);
        if (rc) {
            return rc == KV_ABSENT ? 0 : rc;
        }
        if (self->scan_limit && self->seen == self->scan_limit) {
            self->more = true;
            count_rest(self, key);
            return self->sorter ? take_key(self, key, record, out) : 0;
        }
        size_t before = out->len;
        rc = take_key(self, key, record, out);
        if (rc) {
            return rc;
        }
        if (out->len > before) {
            *last_p = before;
        }
        if (self->more) {
            count_rest(self, key);
            return 0;
        }
        self->seen++;
    }
    return MVCC_MORE_WORK;
}

static int scan(mvcc_cursor_t *self, size_t *rows_left, size_t bytes, buf_t *out)
{
    const mvcc_interval_t *interval = &self->range.interval;
    if (mvcc_is_single(interval) && self->at == self->head.revision) {
        return scan_single(self, out);
    }
    if (self->range.count_only) {
        self->counter =
            mvcc_counter_new(self->reader, &self->head, self->at, interval, interval->key);
        end_scan(self);
        return 0;
    }
    if (!self->walking) {
        self->walking = true;
        mvcc_walk_interval(&self->walk, self->reader, &self->head, self->at, interval);
        self->walk.trusting = true;
    }
    int64_t emitted = self->emitted;
    size_t last = 0;
    int rc = scan_keys(self, rows_left, bytes, out, &last);
    int error = mvcc_walk_error(&self->walk);
    if (rc < 0 || error) {
        return rc < 0 ? rc : error;
    }
    if (self->emitted > emitted) {
        remember_last(self, out, last);
    }
    if (rc == 0) {
        end_scan(self);
    }
    return rc;
}

static int count(mvcc_cursor_t *self, size_t *rows_left)
{
    int rc = mvcc_counter_step(self->counter, rows_left);
    if (rc == 0) {
        self->count += mvcc_counter_result(self->counter);
        mvcc_counter_destroy(&self->counter);
        self->phase = self->sorter ? PHASE_EMIT : PHASE_DONE;
    }
    return rc;
}

static int emit(mvcc_cursor_t *self, size_t *rows_left, size_t bytes, buf_t *out)
{
    size_t start = out->len;
    size_t last = start;
    int rc = MVCC_MORE_WORK;
    while (*rows_left > 0 && out->len - start < bytes) {
        slice_t field = mvcc_sorter_next(self->sorter);
        if (field.len == 0) {
            self->phase = PHASE_DONE;
            rc = 0;
            break;
        }
        *rows_left -= 1;
        last = out->len;
        buf_append(out, field.data, field.len);
        self->emitted++;
    }
    if (out->len > start) {
        remember_last(self, out, last);
    }
    return rc;
}

int mvcc_cursor_step(mvcc_cursor_t *self, mvcc_budget_t budget, buf_t *out)
{
    size_t rows_left = budget.keys;
    int rc = 0;
    while (rc == 0 && self->phase != PHASE_DONE) {
        switch (self->phase) {
        case PHASE_SCAN: rc = scan(self, &rows_left, budget.bytes, out); break;
        case PHASE_COUNT: rc = count(self, &rows_left); break;
        case PHASE_EMIT: rc = emit(self, &rows_left, budget.bytes, out); break;
        case PHASE_DONE: break;
        }
    }
    return rc;
}

int mvcc_range(const kv_reader_t *reader, const mvcc_head_t *head, const mvcc_range_t *range,
               buf_t *out)
{
    mvcc_cursor_t *cursor = NULL;
    int rc = mvcc_cursor_new(&cursor, reader, head, range);
    if (rc) {
        return rc;
    }
    rc = mvcc_cursor_step(cursor, (mvcc_budget_t){.keys = SIZE_MAX, .bytes = SIZE_MAX}, out);
    assert(rc != MVCC_MORE_WORK);
    if (rc == 0) {
        buf_field_u64(out, 3, cursor->more);
        buf_field_u64(out, 4, (uint64_t)cursor->count);
    }
    mvcc_cursor_destroy(&cursor);
    return rc;
}
