/* Compaction's background work, between spans: a batch, a pause, a batch (contract section 3.5). */
#include "actors/applier/applier_state.h"
#include "messages/xalloc.h"

/* Physical compactions that may wait at once. Above it nothing is applied until the work is done. */
enum { HELD_MAX = 128 };

void compaction_hold(applier_t *self, const result_t *result, int64_t revision)
{
    self->held = xgrow(self->held, &self->held_capacity, self->held_count + 1, sizeof *self->held);
    self->held_revisions = xgrow(self->held_revisions, &self->held_revision_capacity,
                                 self->held_count + 1, sizeof *self->held_revisions);
    self->held[self->held_count] = *result;
    self->held_revisions[self->held_count++] = revision;
}

bool compaction_is_crowded(const applier_t *self)
{
    return self->held_count >= HELD_MAX;
}

/* Answers those whose work is done; revisions were held in growing order. */
static void release(applier_t *self, outbox_t *out)
{
    size_t done = 0;
    while (done < self->held_count && self->held_revisions[done] <= mvcc_compact_done(self->mvcc)) {
        done++;
    }
    if (done == 0) {
        return;
    }
    msg_t *msg = msg_new(MSG_RESULT);
    msg->u.result.items = xmemdup(self->held, done * sizeof *self->held);
    msg->u.result.count = done;
    actor_id_t to = applier_gateway_of(self->held[0].req_id);
    self->held_count -= done;
    memmove(self->held, self->held + done, self->held_count * sizeof *self->held);
    memmove(self->held_revisions, self->held_revisions + done,
            self->held_count * sizeof *self->held_revisions);
    outbox_put(out, to, &msg);
}

void compaction_restored(applier_t *self, outbox_t *out)
{
    self->next_compaction_us = 0;
    self->compaction_since_us = 0;
    release(self, out);
}

/* A batch that began at `since_us` is done, and perhaps the whole compaction. */
static void measure(applier_t *self, uint64_t since_us)
{
    metrics_t *metrics = self->metrics;
    uint64_t now_us = metrics_clock_us(metrics, since_us);
    if (self->compaction_since_us == 0) {
        self->compaction_since_us = since_us;
    }
    metrics_observe(metrics, HISTOGRAM_COMPACTION_PAUSE, now_us - since_us);
    if (!mvcc_compact_pending(self->mvcc)) {
        metrics_observe(metrics, HISTOGRAM_COMPACTION_TOTAL, now_us - self->compaction_since_us);
        metrics_set(metrics, METRIC_COMPACTION_LAST, now_us);
        self->compaction_since_us = 0;
    }
}

void compaction_step(applier_t *self, uint64_t now_us, outbox_t *out)
{
    if (!mvcc_compact_pending(self->mvcc) || now_us < self->next_compaction_us) {
        return;
    }
    self->next_compaction_us = now_us + self->cfg.compaction_sleep_us;
    size_t removed = 0;
    uint64_t since_us = metrics_clock_us(self->metrics, now_us);
    int rc = mvcc_compact_step(self->mvcc, self->cfg.compaction_rows, &removed);
    if (rc < 0) {
        applier_fail(self, out, rc);
        return;
    }
    metrics_add(self->metrics, METRIC_COMPACTED_ROWS, removed);
    measure(self, since_us);
    release(self, out);
}
