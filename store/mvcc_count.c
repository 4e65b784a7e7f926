/* The counter: number of live keys in an interval, from the count column.
 *
 *      block b0        block b1        block b2        block b3
 *   |---------------|---------------|---------------|------------
 *          ^ from   b1              b2      ^ end
 *          [ walked ][ count of b1 ][ walked]
 *
 * Only the blocks that an end of the interval cuts are walked key by key. At an old revision the
 * count of now is corrected by what the log says has been created and deleted since, or, when that
 * is more than walking the old state, the old state is walked. */
#include "store/mvcc_internal.h"

#include <stdlib.h>

#include "messages/xalloc.h"

/* Revisions that are always cheaper to undo than to set up a walk over an old state. */
enum { LOG_REVISIONS_ALWAYS = 1000 };

typedef enum {
    PHASE_LEFT,
    PHASE_BLOCKS,
    PHASE_RIGHT,
    PHASE_CHOOSE,
    PHASE_LOG,
    PHASE_OLD,
    PHASE_DONE
} phase_t;

struct mvcc_counter {
    const kv_reader_t *reader;
    mvcc_head_t head;
    int64_t revision;
    bool bounded;
    buf_t from, end;
    buf_t bound; /* first block boundary at or after `from`; valid if has_bound */
    bool has_bound;
    phase_t phase;
    int64_t count;
    int64_t open_block; /* live keys of the block whose end is not known yet; -1 = none */
    kv_iter_t *blocks;
    kv_iter_t *log;
    mvcc_walk_t walk;
};

void mvcc_counter_destroy(mvcc_counter_t **self_p)
{
    mvcc_counter_t *self = *self_p;
    *self_p = NULL;
    if (!self) {
        return;
    }
    if (self->blocks) {
        kv_iter_destroy(&self->blocks);
    }
    if (self->log) {
        kv_iter_destroy(&self->log);
    }
    mvcc_walk_deinit(&self->walk);
    buf_deinit(&self->from);
    buf_deinit(&self->end);
    buf_deinit(&self->bound);
    free(self);
}

int64_t mvcc_counter_result(const mvcc_counter_t *self)
{
    return self->count;
}

/* Walks [start, end) of what is live now, or at the revision. */
static void start_walk(mvcc_counter_t *self, slice_t start, const slice_t *end, bool old)
{
    mvcc_walk_deinit(&self->walk);
    mvcc_walk_init(&self->walk, self->reader, &self->head,
                   old ? self->revision : self->head.revision, start, end);
}

static bool before_end(const mvcc_counter_t *self, slice_t key)
{
    return !self->bounded || slice_compare(key, buf_slice(&self->end)) < 0;
}

/* The block under the iterator: 1, 0 = no more blocks, < 0. */
static int block_at(const mvcc_counter_t *self, slice_t *first, int64_t *live)
{
    const kv_iter_t *iter = self->blocks;
    if (!iter->ops->valid(iter)) {
        return mvcc_iter_error(iter);
    }
    slice_t stored = iter->ops->key(iter);
    if (!mvcc_in_column(stored, COLUMN_COUNT)) {
        return 0;
    }
    slice_t rest = iter->ops->value(iter);
    uint64_t value = 0;
    if (wire_varint(&rest, &value) || rest.len) {
        return KV_ECORRUPT;
    }
    *first = mvcc_after_prefix(stored);
    *live = (int64_t)value;
    return 1;
}

/* From `from` to the first block boundary. */
static int start_left(mvcc_counter_t *self)
{
    slice_t first = {0};
    int64_t live = 0;
    int rc = block_at(self, &first, &live);
    if (rc < 0) {
        return rc;
    }
    if (rc == 1 && before_end(self, first)) {
        self->has_bound = true;
        buf_append(&self->bound, first.data, first.len);
    }
    slice_t end = buf_slice(self->has_bound ? &self->bound : &self->end);
    start_walk(self, buf_slice(&self->from), self->has_bound || self->bounded ? &end : NULL, false);
    return 0;
}

mvcc_counter_t *mvcc_counter_new(const kv_reader_t *reader, const mvcc_head_t *head,
                                 int64_t revision, const mvcc_interval_t *interval, slice_t from)
{
    mvcc_counter_t *self = xcalloc(1, sizeof *self);
    *self =
        (mvcc_counter_t){.reader = reader, .head = *head, .revision = revision, .open_block = -1};
    self->bounded = !mvcc_is_unbounded(interval);
    slice_t start = slice_compare(from, interval->key) > 0 ? from : interval->key;
    buf_append(&self->from, start.data, start.len);
    slice_t end = mvcc_is_single(interval) ? interval->key : interval->range_end;
    buf_append(&self->end, end.data, end.len);
    if (mvcc_is_single(interval)) {
        buf_byte(&self->end, 0);
    }
    buf_t seek = {0};
    mvcc_key_count(&seek, start);
    self->blocks = kv_iter_new(reader);
    self->blocks->ops->seek(self->blocks, buf_slice(&seek));
    buf_deinit(&seek);
    return self;
}

static int walk_some(mvcc_counter_t *self, size_t *rows_left)
{
    for (;;) {
        slice_t key;
        slice_t record;
        int rc = mvcc_walk_next(&self->walk, rows_left, &key, &record);
        if (rc) {
            return rc == KV_ABSENT ? 0 : rc;
        }
        self->count++;
    }
}

/* Adds whole blocks; ends at the block that the interval's end cuts, or behind the last. */
static int sum_blocks(mvcc_counter_t *self, size_t *rows_left)
{
    for (;;) {
        if (*rows_left == 0) {
            return MVCC_MORE_WORK;
        }
        *rows_left -= 1;
        slice_t first = {0};
        int64_t live = 0;
        int rc = block_at(self, &first, &live);
        if (rc < 0) {
            return rc;
        }
        /* The open block is whole when the next one begins at or before the interval's end. */
        bool in = rc == 1 && before_end(self, first);
        bool touches = rc == 1 && self->bounded && slice_equal(first, buf_slice(&self->end));
        if (self->open_block >= 0 && (in || touches || (rc == 0 && !self->bounded))) {
            self->count += self->open_block;
            self->open_block = -1;
        }
        if (!in) {
            return 0;
        }
        self->open_block = live;
        buf_clear(&self->bound);
        buf_append(&self->bound, first.data, first.len);
        self->blocks->ops->next(self->blocks);
    }
}

/* Undoes what the log says about later revisions. Creations are puts that superseded nothing. */
static int undo_log(mvcc_counter_t *self, size_t *rows_left)
{
    kv_iter_t *iter = self->log;
    for (; iter->ops->valid(iter); iter->ops->next(iter)) {
        if (!mvcc_in_column(iter->ops->key(iter), COLUMN_LOG)) {
            return 0;
        }
        if (*rows_left == 0) {
            return MVCC_MORE_WORK;
        }
        *rows_left -= 1;
        mvcc_log_row_t row;
        int rc = mvcc_log_row_parse(iter->ops->value(iter), &row);
        if (rc) {
            return rc;
        }
        if (slice_compare(row.key, buf_slice(&self->from)) >= 0 && before_end(self, row.key)) {
            self->count += row.is_delete ? 1 : row.has_superseded ? 0 : -1;
        }
    }
    return mvcc_iter_error(iter);
}

static void start_log(mvcc_counter_t *self)
{
    buf_t seek = {0};
    mvcc_key_log(&seek, (mvcc_position_t){.main = self->revision + 1});
    self->log = kv_iter_new(self->reader);
    self->log->ops->seek(self->log, buf_slice(&seek));
    buf_deinit(&seek);
}

static phase_t choose(mvcc_counter_t *self)
{
    int64_t since = self->head.revision - self->revision;
    if (since == 0) {
        return PHASE_DONE;
    }
    if (since <= LOG_REVISIONS_ALWAYS || since <= self->count) {
        start_log(self);
        return PHASE_LOG;
    }
    self->count = 0;
    slice_t end = buf_slice(&self->end);
    start_walk(self, buf_slice(&self->from), self->bounded ? &end : NULL, true);
    return PHASE_OLD;
}

static int step_phase(mvcc_counter_t *self, size_t *rows_left)
{
    int rc = 0;
    slice_t end = buf_slice(&self->end);
    switch (self->phase) {
    case PHASE_LEFT:
        rc = self->walk.latest ? 0 : start_left(self);
        rc = rc ? rc : walk_some(self, rows_left);
        if (rc == 0) {
            self->phase = self->has_bound ? PHASE_BLOCKS : PHASE_CHOOSE;
        }
        return rc;
    case PHASE_BLOCKS:
        rc = sum_blocks(self, rows_left);
        if (rc == 0 && self->open_block >= 0) {
            start_walk(self, buf_slice(&self->bound), &end, false);
        }
        if (rc == 0) {
            self->phase = self->open_block >= 0 ? PHASE_RIGHT : PHASE_CHOOSE;
        }
        return rc;
    case PHASE_RIGHT:
        rc = walk_some(self, rows_left);
        if (rc == 0) {
            self->phase = PHASE_CHOOSE;
        }
        return rc;
    case PHASE_CHOOSE: self->phase = choose(self); return 0;
    case PHASE_LOG:
    case PHASE_OLD:
        rc = self->phase == PHASE_LOG ? undo_log(self, rows_left) : walk_some(self, rows_left);
        if (rc == 0) {
            self->phase = PHASE_DONE;
        }
        return rc;
    case PHASE_DONE: break;
    }
    return 0;
}

int mvcc_counter_step(mvcc_counter_t *self, size_t *rows_left)
{
    while (self->phase != PHASE_DONE) {
        int rc = step_phase(self, rows_left);
        if (rc) {
            return rc;
        }
    }
    return 0;
}
