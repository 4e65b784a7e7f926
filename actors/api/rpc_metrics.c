#include "actors/api/rpc_metrics.h"

#include <string.h>

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

static rpc_client_t *client_of(rpc_metrics_t *self, slice_t version)
{
    rpc_client_t *other = &self->clients[0];
    unsigned count = atomic_load_explicit(&self->client_count, memory_order_relaxed);
    for (unsigned i = 1; i <= count; i++) {
        const char *known = self->clients[i].version;
        if (strlen(known) == version.len && memcmp(known, version.data, version.len) == 0) {
            return &self->clients[i];
        }
    }
    if (count == LIMIT_CLIENT_VERSIONS || version.len > LIMIT_CLIENT_VERSION_BYTES ||
        slice_equal(version, slice_str("other"))) {
        return other;
    }
    rpc_client_t *client = &self->clients[count + 1];
    memcpy(client->version, version.data, version.len);
    atomic_store_explicit(&self->client_count, count + 1, memory_order_release);
    return client;
}

void rpc_metrics_client(rpc_metrics_t *self, slice_t version, method_t method)
{
    rpc_client_t *client = client_of(self, version.data ? version : slice_str("unknown"));
    bool unary = method_info(method)->type == RPC_UNARY;
    rpc_metrics_add(unary ? &client->unary : &client->stream);
}

void rpc_metrics_receive_failed(metrics_t *metrics, method_t method)
{
    if (method == METHOD_WATCH) {
        metrics_add(metrics, METRIC_WATCH_RECEIVE_FAILURES, 1);
    } else if (method == METHOD_LEASE_KEEP_ALIVE) {
        metrics_add(metrics, METRIC_LEASE_RECEIVE_FAILURES, 1);
    }
}
