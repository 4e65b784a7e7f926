/* watch: who watches what, and what they still have to get. Pure (reads the store's history through
 * snapshots). One instance per node, owned by one thread.
 * It always consumes: a watcher whose stream or gateway is slow falls back to reading history from
 * the store in bounded slices and never slows a writer or another watcher (contract section 4). */
#pragma once

#include "actors/core/metrics.h"
#include "actors/core/step.h"

typedef struct watch watch_t;

typedef struct {
    uint64_t progress_notify_us; /* --watch-progress-notify-interval */
    size_t stream_bytes_max;     /* unsent per stream before its watchers fall back */
    size_t total_bytes_max;      /* unsent of all streams, in equal shares */
} watch_cfg_t;

watch_t *watch_new(const watch_cfg_t *cfg, metrics_t *metrics);
extern const core_ops_t watch_ops;
