/* view: one snapshot of the store together with the head read from it, so that "is it applied",
 * "is it compacted" and header.revision can never disagree with the data (architecture section 4).
 * Pure; counted references within one gateway's thread. Keeps its store open. */
#pragma once

#include "actors/core/metrics.h"
#include "messages/shared.h"
#include "store/mvcc_read.h"

typedef struct view view_t;
struct view {
    unsigned refs;
    shared_t *store;
    kv_snapshot_t *snapshot;
    const kv_reader_t *reader;
    mvcc_head_t head;
    metrics_t *metrics;
};

/* 0, or < 0 when the store is broken. Counted in `metrics` while it lives. */
int view_new(view_t **self_p, shared_t *store, metrics_t *metrics)
    __attribute__((warn_unused_result));
view_t *view_ref(view_t *self);
void view_unref(view_t **self_p);
