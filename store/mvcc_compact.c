/* The physical part of compaction: walks the log from where it stopped up to the compacted revision
 * C and deletes what the changes up to C made unreachable:
 *
 *   log row at r <= C     the record it superseded
 *                r <  C   its own tombstone, if it is a delete, and the row itself
 *
 * Rows at C stay, because a watch may start at C; the next compaction begins with them. Progress is
 * in the same batch as the deletes. */
#include "store/mvcc_write.h"

#include <assert.h>

#include "store/mvcc_state.h"

bool mvcc_compact_pending(const mvcc_t *self)
{
    return self->compaction.target < self->head.compacted ||
           self->compaction.next.main <= self->compaction.target;
}

int64_t mvcc_compact_done(const mvcc_t *self)
{
    return self->compaction.next.main - 1;
}

/* Revision C of the last compaction has to be looked at again: its rows were kept. */
static void aim(mvcc_compaction_t *progress, int64_t compacted)
{
    if (progress->target == compacted) {
        return;
    }
    if (progress->next.main >= progress->target) {
        progress->next = (mvcc_position_t){.main = progress->target < 0 ? 0 : progress->target};
    }
    progress->target = compacted;
}

static int compact_row(mvcc_t *self, slice_t stored_key, mvcc_position_t at,
                       const mvcc_log_row_t *row)
{
    if (row->has_superseded) {
        mvcc_key_history(&self->key, row->key, row->superseded);
        kv_batch_delete(self->batch, buf_slice(&self->key));
    }
    if (at.main < self->compaction.target) {
        if (row->is_delete) {
            mvcc_key_history(&self->key, row->key, at);
            kv_batch_delete(self->batch, buf_slice(&self->key));
        }
        kv_batch_delete(self->batch, stored_key);
    }
    return row->has_superseded;
}

/* MVCC_MORE_WORK = *rows_left used up; 0 = all rows up to the target are done. */
static int compact_rows(mvcc_t *self, kv_iter_t *iter, size_t rows_left, size_t *removed)
{
    mvcc_compaction_t *progress = &self->compaction;
    for (; iter->ops->valid(iter); iter->ops->next(iter)) {
        slice_t stored = iter->ops->key(iter);
        if (!mvcc_in_column(stored, COLUMN_LOG)) {
            return 0;
        }
        mvcc_position_t at;
        mvcc_log_row_t row;
        int rc = mvcc_log_key_parse(stored, &at);
        if (rc == 0 && at.main > progress->target) {
            return 0;
        }
        rc = rc ? rc : mvcc_log_row_parse(iter->ops->value(iter), &row);
        if (rc) {
            return rc;
        }
        if (rows_left-- == 0) {
            progress->next = at;
            return MVCC_MORE_WORK;
        }
        *removed += (size_t)compact_row(self, stored, at, &row);
    }
    return mvcc_iter_error(iter);
}

int mvcc_compact_step(mvcc_t *self, size_t max_rows, size_t *removed)
{
    assert(!self->in_entry);
    assert(overlay_count(self->overlay) == 0);
    assert(max_rows > 0);
    *removed = 0;
    if (!mvcc_compact_pending(self)) {
        return 0;
    }
    mvcc_compaction_t *progress = &self->compaction;
    aim(progress, self->head.compacted);
    kv_iter_t *iter = kv_iter_new(kv_latest(self->kv));
    mvcc_key_log(&self->key, progress->next);
    iter->ops->seek(iter, buf_slice(&self->key));
    int rc = compact_rows(self, iter, max_rows, removed);
    kv_iter_destroy(&iter);
    if (rc < 0) {
        return rc;
    }
    if (rc == 0) {
        progress->next = (mvcc_position_t){.main = progress->target + 1};
    }
    mvcc_key_meta(&self->key, META_COMPACTION);
    mvcc_compaction_write(progress, &self->value);
    kv_batch_put(self->batch, buf_slice(&self->key), buf_slice(&self->value));
    int failed = kv_write(self->kv, self->batch);
    return failed ? failed : rc;
}
