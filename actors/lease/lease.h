/* lease: which leases end when, and who keeps them alive. Pure.
 * One instance per node, owned by one thread. Leases exist by the log (LEASE_APPLIED); deadlines exist
 * only here and count only on the leader (contract section 5): a new leader gives every lease its
 * full time again, since it cannot know what its predecessor heard. Expiry becomes a proposal that
 * is good only in this leader's term, so that a deposed leader revokes nothing. Keepalives and questions
 * after the time to live may be put to any member, which passes them on to the leader. */
#pragma once

#include "actors/core/metrics.h"
#include "actors/core/step.h"

typedef struct lease lease_t;

typedef struct {
    uint64_t
        election_timeout_us; /* added when leadership begins; and longer is a pause, see lease.c */
    uint64_t
        request_timeout_us; /* a question that was passed on and is not answered by then fails */
    uint64_t first_forward; /* random, so that answers to an earlier run's questions are none */
} lease_cfg_t;

lease_t *lease_new(const lease_cfg_t *cfg, metrics_t *metrics);
extern const core_ops_t lease_ops;
