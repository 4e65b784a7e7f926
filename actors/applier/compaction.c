/* Compaction's background work, between spans: a batch, a pause, a batch (contract section 3.5). */
#include "actors/applier/applier_state.h"
#include "messages/xalloc.h"

/* Physical compactions that may wait at once. Above it nothing is applied until the work is done. */
enum { HELD_MAX = 128 };

void compaction_hold(applier_t *self, unsigned gateway, const result_t *result, int64_t revision)
{
    self->held = xgrow(self->held, &self->held_capacity, self->held_count + 1, sizeof *self->held);
    self->held[self->held_count++] =
        (held_t){.result = *result, .gateway = gateway, .revision = revision};
}

bool compaction_is_crowded(const applier_t *self)
{
    return self->held_count >= HELD_MAX;
}

/* Answers those whose work is done; revisions were held in growing order. */
static void release(applier_t *self, outbox_t *out)
{
    size_t done = 0;
    results_t results[GATEWAY_COUNT] = {{0}};
    while (done < self->held_count && self->held[done].revision <= mvcc_compact_done(self->mvcc)) {
        results_add(&results[self->held[done].gateway], &self->held[done].result);
        done++;
    }
    self->held_count -= done;
    if (done) {
        memmove(self->held, self->held + done, self->held_count * sizeof *self->held);
    }
    for (unsigned i = 0; i < GATEWAY_COUNT; i++) {
        results_send(&results[i], i, out);
    }
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
