/* keeper: long work on the store, so that nobody else waits for it. Pure but for the store's calls,
 * which block: that is why it is an actor of its own. One instance per node, owned by one thread.
 *
 * In:  RESTORED (applier: the store to work on, at the start and after a snapshot was installed),
 *      FLUSH{index} (applier: everything up to index has been written), STOP.
 * Out: FLUSHED{index} (WAL writer: everything up to index is in synced tables; segments below it may
 *      go, architecture section 5).
 *
 * FLUSHes of one burst are answered together: one flush covers all that was written before it. A
 * FLUSH before the first RESTORED (the applier replays a long log) waits for the store. */
#pragma once

#include "actors/core/metrics.h"
#include "actors/core/step.h"

typedef struct keeper keeper_t;

keeper_t *keeper_new(metrics_t *metrics);
extern const core_ops_t keeper_ops;
