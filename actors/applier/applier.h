/* applier: applies committed entries to the store: the only writer of it. Pure: the store comes in
 * as a handle, time with each step. One instance per node, owned by one thread.
 *
 * What the store holds is a function of the log alone: nothing here looks at the clock, the
 * configuration of this member or who proposed an entry, except to decide who gets an answer. Entries
 * that have piled up are applied in spans, one store batch each; then, in this order, the gateway gets the
 * position and its answers, watch the span's events unless nobody watches (INTEREST), lease its grants and
 * revocations, and the position when it waits for it (AWAIT). The replicator only keeps its memory within
 * bounds by the position, so it hears of it every so many entries.
 * A snapshot of another member takes its place among them: everybody then gets the new store. */
#pragma once

#include "actors/core/metrics.h"
#include "actors/core/step.h"
#include "store/generations.h"

typedef struct applier applier_t;

typedef struct {
    shared_t *store;            /* kv_t; a reference of its own is taken */
    generations_t *generations; /* where SNAP_INSTALL puts another one in force; borrowed */
    /* By gateway: entries with this InternalRaftRequest.ID are answered to it. The first is not 0. */
    uint64_t origins[GATEWAY_COUNT];
    uint64_t start_commit;    /* nothing is served before this index is applied */
    uint64_t flush_entries;   /* --snapshot-count: entries between forced flushes */
    uint64_t catchup_entries; /* --snapshot-catchup-entries: what the replicator keeps; 0 = nothing,
                                   * and it hears of every span */
    size_t compaction_rows;   /* --compaction-batch-limit */
    uint64_t compaction_sleep_us; /* --compaction-sleep-interval */
    const bytes_t *configuration; /* the members before the log's first entry; may be NULL */
} applier_cfg_t;

/* NULL with *error_p (yours) when the store cannot be read. */
applier_t *applier_new(const applier_cfg_t *cfg, metrics_t *metrics, char **error_p);
/* The applied index found in the store: what replicator_cfg_t.applied must be. */
uint64_t applier_applied_index(const applier_t *self);
extern const core_ops_t applier_ops;
