#include "actors/api/rpc_metrics.h"

const uint64_t rpc_bucket_bounds_us[RPC_BUCKETS] = {
    5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000,
};

void rpc_metrics_observe(rpc_metrics_t *self, method_t method, uint64_t micros)
{
    unsigned bucket = 0;
    while (bucket < RPC_BUCKETS && micros > rpc_bucket_bounds_us[bucket]) {
        bucket++;
    }
    rpc_metrics_add(&self->handling[method][bucket]);
    _Atomic uint64_t *sum = &self->handling_sum_us[method];
    atomic_store_explicit(sum, rpc_metrics_get(sum) + micros, memory_order_relaxed);
}
