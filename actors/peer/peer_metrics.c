#include "actors/peer/peer_metrics.h"

static uint64_t member_at(const peer_member_metrics_t *self)
{
    return atomic_load_explicit(&self->member, memory_order_relaxed);
}

peer_member_metrics_t *peer_metrics_of(peer_metrics_t *self, uint64_t member)
{
    for (size_t i = 0; i < PEER_METRICS_MEMBERS; i++) {
        peer_member_metrics_t *place = &self->members[i];
        uint64_t taken = member_at(place);
        if (taken == 0) {
            peer_gauge(&place->member, member);
        }
        if (taken == 0 || taken == member) {
            return place;
        }
    }
    return &self->others;
}

void peer_observe_rtt(peer_member_metrics_t *self, uint64_t micros)
{
    unsigned bucket = 0;
    for (uint64_t bound = PEER_RTT_FIRST_US; bucket < PEER_RTT_BUCKETS && micros > bound;
         bound *= 2) {
        bucket++;
    }
    peer_count(&self->rtt[bucket], 1);
    peer_count(&self->rtt_sum_us, micros);
}
