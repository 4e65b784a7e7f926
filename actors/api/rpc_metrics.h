/* rpc_metrics: what etcd counts per RPC (contract section 13): calls started and handled, messages
 * received and sent. Pure. One block per gateway; only its thread writes, the metrics page reads
 * with relaxed loads. The names the page shows are
 *   grpc_server_started_total, grpc_server_handled_total (also by grpc_code),
 *   grpc_server_msg_received_total, grpc_server_msg_sent_total, grpc_server_handling_seconds
 * with the labels grpc_service, grpc_method and grpc_type of methods.h. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "actors/api/methods.h"
#include "messages/errors.h"

enum { RPC_CODES = GRPC_UNAUTHENTICATED + 1, RPC_BUCKETS = 11 };

/* Upper bounds of the buckets of handling times, in microseconds: Prometheus' default buckets. */
extern const uint64_t rpc_bucket_bounds_us[RPC_BUCKETS];

typedef struct {
    _Atomic uint64_t started[METHOD_COUNT];
    _Atomic uint64_t received[METHOD_COUNT];
    _Atomic uint64_t sent[METHOD_COUNT];
    _Atomic uint64_t handled[METHOD_COUNT][RPC_CODES];
    /* Only with --metrics=extensive. Not cumulative; the last is "above". */
    _Atomic uint64_t handling[METHOD_COUNT][RPC_BUCKETS + 1];
    _Atomic uint64_t handling_sum_us[METHOD_COUNT];
} rpc_metrics_t;

/* How long a call took from its begin to its end. */
void rpc_metrics_observe(rpc_metrics_t *self, method_t method, uint64_t micros);

/* Single writer: a plain add on an atomic cell, no locked instruction. */
static inline void rpc_metrics_add(_Atomic uint64_t *cell)
{
    uint64_t now = atomic_load_explicit(cell, memory_order_relaxed);
    atomic_store_explicit(cell, now + 1, memory_order_relaxed);
}

static inline uint64_t rpc_metrics_get(const _Atomic uint64_t *cell)
{
    return atomic_load_explicit(cell, memory_order_relaxed);
}
