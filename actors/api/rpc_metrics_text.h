/* rpc_metrics_text: RPC counters as Prometheus text. Pure. Every method and code has its line from
 * the start (contract section 13), so that rates have a zero to begin from. */
#pragma once

#include "actors/api/rpc_metrics.h"
#include "messages/buf.h"

/* The sum over the blocks, which their gateways may be writing. `handling`: with the histogram of
 * handling times (--metrics=extensive). */
void rpc_metrics_text(buf_t *out, const rpc_metrics_t *const *blocks, size_t count, bool handling);
