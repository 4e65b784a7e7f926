/* election: term, vote and role of this member, and when to stand for election. Pure.
 * One instance per node, owned by one thread. The rules are those of docs/CONSENSUS.md: it never
 * raises its term, votes or stands on its own, but fences the replicator first, and nothing leaves
 * before (term, vote) is durable. One term change at a time. */
#pragma once

#include "actors/core/metrics.h"
#include "actors/core/step.h"

typedef struct election election_t;

typedef struct {
    uint64_t member_id;
    uint64_t term, vote;          /* as recovered from the log */
    const bytes_t *configuration; /* encoded, borrowed: the newest in the log */
    bool pre_vote;
    bool tick_advance;            /* the first time-out after the start is a shorter one */
    uint64_t heartbeat_us;        /* unanswered requests for votes are repeated this often */
    uint64_t election_timeout_us; /* randomised between this and twice this */
    uint64_t seed;
} election_cfg_t;

election_t *election_new(const election_cfg_t *cfg, metrics_t *metrics);
extern const core_ops_t election_ops;
