#include "actors/core/metrics.h"

static const struct {
    uint64_t first;
    unsigned buckets;
} shapes[] = {
#define X(id, name, labels, help, unit, first, buckets) {first, buckets},
    METRIC_HISTOGRAMS(X)
#undef X
};

static void bump(_Atomic uint64_t *cell, uint64_t n)
{
    uint64_t now = atomic_load_explicit(cell, memory_order_relaxed);
    atomic_store_explicit(cell, now + n, memory_order_relaxed);
}

void metrics_observe(metrics_t *self, histogram_t id, uint64_t value)
{
    histogram_data_t *data = &self->histograms[id];
    uint64_t bound = shapes[id].first;
    unsigned bucket = 0;
    while (bucket < shapes[id].buckets && value > bound) {
        bound *= 2;
        bucket++;
    }
    bump(&data->buckets[bucket < shapes[id].buckets ? bucket : HISTOGRAM_BUCKETS_MAX], 1);
    bump(&data->sum, value);
}

void metrics_observe_outcome(metrics_t *self, histogram_t id, bool success, uint64_t value)
{
    metrics_observe(self, success ? id : (histogram_t)(id + 1), value);
}
