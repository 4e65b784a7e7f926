/* node_pages: the HTTP pages that need the whole process: metrics and live diagnostics. Reads what
 * actors publish with relaxed atomics; called on the gateway's thread. */
#pragma once

#include "actors/daemon/metrics_page_shell.h"
#include "actors/grpc_gateway/conn.h"
#include "actors/runtime/shell.h"

typedef struct {
    runtime_t *const *actors; /* by id, ACTOR_COUNT of them; borrowed */
    metrics_page_t metrics;
    const metrics_t *blocks[ACTOR_COUNT]; /* by id */
    const rpc_metrics_t *rpc_blocks[GATEWAY_COUNT];
    http_pages_t pages;
} node_pages_t;

/* `debug`: --enable-pprof. */
void node_pages_init(node_pages_t *self, runtime_t *const *actors, const metrics_t *blocks,
                     const rpc_metrics_t *const rpc_blocks[GATEWAY_COUNT], uint64_t member_id,
                     bool debug);
