/* rpc_metrics: what etcd counts per RPC (contract section 13): calls started and handled, messages
 * received and sent. Pure. One block per gateway; only its thread writes, the metrics page reads
 * with relaxed loads. The names the page shows are
 *   grpc_server_started_total, grpc_server_handled_total (also by grpc_code),
 *   grpc_server_msg_received_total, grpc_server_msg_sent_total, grpc_server_handling_seconds
 * with the labels grpc_service, grpc_method and grpc_type of methods.h, and, by what clients call their
 * version, etcd_server_client_requests_total. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "actors/api/methods.h"
#include "actors/core/metrics.h"
#include "messages/errors.h"
#include "messages/limits.h"
#include "messages/slice.h"

enum { RPC_CODES = GRPC_UNAUTHENTICATED + 1, RPC_BUCKETS = 11 };

/* Upper bounds of the buckets of handling times, in microseconds: Prometheus' default buckets. */
extern const uint64_t rpc_bucket_bounds_us[RPC_BUCKETS];

/* Calls of one client-api-version. */
typedef struct {
    char version[LIMIT_CLIENT_VERSION_BYTES + 1];
    _Atomic uint64_t unary, stream;
} rpc_client_t;

typedef struct {
    _Atomic uint64_t started[METHOD_COUNT];
    _Atomic uint64_t received[METHOD_COUNT];
    _Atomic uint64_t sent[METHOD_COUNT];
    _Atomic uint64_t handled[METHOD_COUNT][RPC_CODES];
    /* Only with --metrics=extensive. Not cumulative; the last is "above". */
    _Atomic uint64_t handling[METHOD_COUNT][RPC_BUCKETS + 1];
    _Atomic uint64_t handling_sum_us[METHOD_COUNT];
    /* The first is "other", for what finds no room. An entry is written before it is counted. */
    rpc_client_t clients[1 + LIMIT_CLIENT_VERSIONS];
    _Atomic unsigned client_count; /* without the first */
} rpc_metrics_t;

/* How long a call took from its begin to its end. */
void rpc_metrics_observe(rpc_metrics_t *self, method_t method, uint64_t micros);

/* A call's begin. `version`: UTF-8, as the client sent it; no data = it sent none ("unknown"). */
void rpc_metrics_client(rpc_metrics_t *self, slice_t version, method_t method);
/* A call of a stream ends because of a message that cannot be received; nothing for other methods. */
void rpc_metrics_receive_failed(metrics_t *metrics, method_t method);

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
