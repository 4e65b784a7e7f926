#include "actors/core/metrics.h"

static const struct {
    uint64_t first_us;
    unsigned buckets;
} shapes[] = {
#define X(id, name, help, first, buckets) {first, buckets},
    METRIC_HISTOGRAMS(X)
#undef X
};

static void bump(_Atomic uint64_t *cell, uint64_t n)
{
    uint64_t now = atomic_load_explicit(cell, memory_order_relaxed);
    atomic_store_explicit(cell, now + n, memory_order_relaxed);
}

void metrics_observe(metrics_t *self, histogram_t id, uint64_t micros)
{
    histogram_data_t *data = &self->histograms[id];
    uint64_t bound_us = shapes[id].first_us;
    unsigned bucket = 0;
    while (bucket < shapes[id].buckets && micros > bound_us) {
        bound_us *= 2;
        bucket++;
    }
    bump(&data->buckets[bucket < shapes[id].buckets ? bucket : HISTOGRAM_BUCKETS_MAX], 1);
    bump(&data->sum_us, micros);
}
