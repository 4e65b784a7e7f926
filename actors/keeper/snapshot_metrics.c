#include "actors/keeper/snapshot_metrics.h"

static uint64_t load(const _Atomic uint64_t *cell)
{
    return atomic_load_explicit(cell, memory_order_relaxed);
}

/* Single writer: plain adds on atomic cells. */
static void add(_Atomic uint64_t *cell, uint64_t n)
{
    atomic_store_explicit(cell, load(cell) + n, memory_order_relaxed);
}

snapshot_member_metrics_t *snapshot_metrics_of(snapshot_metrics_t *self, uint64_t member)
{
    for (size_t i = 0; i < SNAPSHOT_METRICS_MEMBERS; i++) {
        snapshot_member_metrics_t *place = &self->members[i];
        uint64_t taken = load(&place->member);
        if (taken == 0) {
            add(&place->member, member);
        }
        if (taken == 0 || taken == member) {
            return place;
        }
    }
    return &self->others;
}

void snapshot_metrics_begun(snapshot_way_metrics_t *self)
{
    add(&self->begun, 1);
}

void snapshot_metrics_failed(snapshot_way_metrics_t *self)
{
    add(&self->failed, 1);
}

void snapshot_metrics_succeeded(snapshot_way_metrics_t *self, uint64_t micros)
{
    unsigned bucket = 0;
    for (uint64_t bound = SNAPSHOT_FIRST_US; bucket < SNAPSHOT_BUCKETS && micros > bound;
         bound *= 2) {
        bucket++;
    }
    add(&self->durations[bucket], 1);
    add(&self->duration_sum_us, micros);
    add(&self->succeeded, 1);
}
