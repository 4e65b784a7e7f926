/* metrics_page: everything /metrics shows: all actors' blocks, RPC counters, versions, the process.
 * Reads blocks that their owners are writing; any thread may call it. */
#pragma once

#include "actors/api/rpc_metrics.h"
#include "actors/core/metrics.h"
#include "actors/keeper/snapshot_metrics.h"
#include "actors/peer/peer_metrics.h"
#include "messages/buf.h"

typedef struct {
    const metrics_t *const *blocks; /* borrowed, one per actor */
    size_t block_count;
    const rpc_metrics_t *const *rpc_blocks; /* borrowed, one per gateway */
    size_t rpc_block_count;
    const peer_metrics_t *peers;         /* borrowed */
    const snapshot_metrics_t *snapshots; /* borrowed */
    uint64_t member_id;
    uint64_t epoch_us; /* when the actors' clock began, since 1970 */
    bool extensive;    /* --metrics=extensive: with handling times */
} metrics_page_t;

/* Appends the page; `page` is a metrics_page_t. */
void metrics_page_text(const metrics_page_t *page, buf_t *out);
