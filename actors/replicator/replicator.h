/* replicator: the log: positions, what is durable, what is committed, proposals, read index. Pure.
 * One instance per node, owned by one thread. It is the only actor that acknowledges anything; the
 * two marks `fence` and `open` (docs/CONSENSUS.md) make that safe across term changes. */
#pragma once

#include "actors/core/metrics.h"
#include "actors/core/step.h"

typedef struct replicator replicator_t;

typedef struct {
    uint64_t member_id;
    uint64_t
        incarnation;  /* as the peer actor's: what this run asks of others has names of its own */
    uint64_t term;    /* recovered hard state */
    uint64_t commit;  /* highest commit index found in the log's batches */
    uint64_t applied; /* by the store; the applier is fed from here on */
    uint64_t base_index, base_term; /* before the first recovered entry */
    const bytes_t *configuration;   /* encoded, at the base */
    uint64_t configuration_index;
    const entries_t *entries; /* recovered, all durable; borrowed */
    uint64_t last_lsn;
    uint64_t catchup_entries;     /* --snapshot-catchup-entries: kept in memory behind applied */
    uint64_t election_timeout_us; /* a log record in flight for longer is a disk stall */
    uint64_t heartbeat_us;        /* a leader says so often that it leads */
    size_t max_learners;          /* --max-learners */
} replicator_cfg_t;

replicator_t *replicator_new(const replicator_cfg_t *cfg, metrics_t *metrics);
extern const core_ops_t replicator_ops;
