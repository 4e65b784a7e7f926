/* snapshot_metrics: what is counted per other member about snapshots sent to it and received from it. Pure.
 * One block per node. The keeper's thread is the only writer; pages read with relaxed loads. A member keeps its
 * place as long as the process lives. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "messages/buf.h"

enum {
    SNAPSHOT_METRICS_MEMBERS = 32,
    SNAPSHOT_BUCKETS = 10,
    SNAPSHOT_FIRST_US = 100000 /* each bucket twice the last; one more is "above" */
};

/* One direction. */
typedef struct {
    _Atomic uint64_t begun; /* in progress: begun - succeeded - failed */
    _Atomic uint64_t succeeded, failed;
    _Atomic uint64_t durations[SNAPSHOT_BUCKETS + 1]; /* of those that succeeded */
    _Atomic uint64_t duration_sum_us;
} snapshot_way_metrics_t;

typedef struct {
    _Atomic uint64_t member; /* 0 = free */
    snapshot_way_metrics_t sent, received;
} snapshot_member_metrics_t;

typedef struct {
    snapshot_member_metrics_t members[SNAPSHOT_METRICS_MEMBERS];
    snapshot_member_metrics_t others; /* when all places are taken; not shown */
} snapshot_metrics_t;

/* Never NULL. */
snapshot_member_metrics_t *snapshot_metrics_of(snapshot_metrics_t *self, uint64_t member);
void snapshot_metrics_begun(snapshot_way_metrics_t *self);
void snapshot_metrics_succeeded(snapshot_way_metrics_t *self, uint64_t micros);
/* It ended, for whatever reason, and the receiver does not have it. */
void snapshot_metrics_failed(snapshot_way_metrics_t *self);

/* Prometheus text: each family once a snapshot has gone that way. */
void snapshot_metrics_text(buf_t *out, const snapshot_metrics_t *self);
