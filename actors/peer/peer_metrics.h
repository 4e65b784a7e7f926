/* peer_metrics: what is counted per other member. Pure.
 * One block per node. The peer actor's thread is the only writer; pages read with relaxed loads. A member
 * keeps its place as long as the process lives. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "messages/buf.h"

enum { PEER_METRICS_MEMBERS = 32, PEER_RTT_BUCKETS = 16, PEER_RTT_FIRST_US = 100 };

typedef struct {
    _Atomic uint64_t member; /* 0 = free */
    _Atomic uint64_t is_known, is_active;
    _Atomic uint64_t disconnected;
    _Atomic uint64_t sent_bytes, sent_failures, received_bytes, received_failures;
    _Atomic uint64_t rtt[PEER_RTT_BUCKETS + 1]; /* each twice the last; the last is "above" */
    _Atomic uint64_t rtt_sum_us;
} peer_member_metrics_t;

typedef struct {
    peer_member_metrics_t members[PEER_METRICS_MEMBERS];
    peer_member_metrics_t others; /* when all places are taken; not shown */
} peer_metrics_t;

/* Never NULL. */
peer_member_metrics_t *peer_metrics_of(peer_metrics_t *self, uint64_t member);

/* Single writer: plain adds on atomic cells. */
static inline void peer_count(_Atomic uint64_t *cell, uint64_t n)
{
    uint64_t now = atomic_load_explicit(cell, memory_order_relaxed);
    atomic_store_explicit(cell, now + n, memory_order_relaxed);
}

static inline void peer_gauge(_Atomic uint64_t *cell, uint64_t value)
{
    atomic_store_explicit(cell, value, memory_order_relaxed);
}

void peer_observe_rtt(peer_member_metrics_t *self, uint64_t micros);
