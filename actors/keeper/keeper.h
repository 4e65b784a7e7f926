/* keeper: long work on the store, so that nobody else waits for it. Pure but for the store's calls,
 * which block: that is why it is an actor of its own. One instance per node, owned by one thread.
 *
 * In:  RESTORED (applier: the store to work on, at the start and after a snapshot was installed),
 *      FLUSH{index} (applier: everything up to index has been written),
 *      SNAP_READ (replicator: send the store to a member), SNAP_TAKE (receive one), SNAP_DROP (neither
 *      any more), PEER (SNAP_CHUNK, SNAP_ACK of other members), HASH (gateway), STOP.
 * Out: FLUSHED{index} (WAL writer: everything up to index is in synced tables; segments below it may
 *      go, architecture section 5), PEER (SNAP_META, SNAP_CHUNK, SNAP_ACK), SNAP_DONE and SNAP_RECEIVED
 *      (replicator), HASHED (gateway).
 *
 * FLUSHes of one burst are answered together: one flush covers all that was written before it. A
 * FLUSH before the first RESTORED (the applier replays a long log) waits for the store.
 *
 * Sending: a SNAP_META is repeated until the other side asks for the first chunk; chunks follow with a
 * window, from one snapshot of the store; what is not acknowledged is sent again; SNAP_DONE says how it
 * ended. Receiving: chunks are taken in order into a new generation; a complete one is checked and sealed,
 * SNAP_RECEIVED hands it over, and the sender hears that it is done when RESTORED comes back: by then the
 * replicator's log goes on behind it, and asking it makes sense. A half-received one that nobody goes on
 * with is given up without a word: the replicator may begin another at any time. Everything is sliced into
 * chunks and rows, so that a FLUSH never waits long. */
#pragma once

#include "actors/core/metrics.h"
#include "actors/core/step.h"
#include "actors/keeper/snapshot_metrics.h"
#include "store/generations.h"

typedef struct keeper keeper_t;

typedef struct {
    generations_t *generations;    /* borrowed; opened */
    snapshot_metrics_t *by_member; /* borrowed; NULL = nobody looks */
} keeper_cfg_t;

keeper_t *keeper_new(const keeper_cfg_t *cfg, metrics_t *metrics);
extern const core_ops_t keeper_ops;
