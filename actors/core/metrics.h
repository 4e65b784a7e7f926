/* metrics: counters, gauges and histograms of one actor. Pure.
 * Each actor has a block of its own and is the only writer; the gateway reads all blocks with
 * relaxed loads and adds them up, so nobody waits for anybody. Names are etcd's (contract
 * section 13). A metric is a line in one of the two lists. */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* X(id, type, "name", "labels or empty", "help") */
/* clang-format off */
#define METRIC_VALUES(X) \
    X(HAS_LEADER,          GAUGE,   "etcd_server_has_leader", "", "Whether a leader is known.") \
    X(IS_LEADER,           GAUGE,   "etcd_server_is_leader", "", "Whether this member leads.") \
    X(LEADER_CHANGES,      COUNTER, "etcd_server_leader_changes_seen_total", "", "Leader changes seen.") \
    X(PROPOSALS_COMMITTED, GAUGE,   "etcd_server_proposals_committed_total", "", "Commit index.") \
    X(PROPOSALS_APPLIED,   GAUGE,   "etcd_server_proposals_applied_total", "", "Applied index.") \
    X(PROPOSALS_PENDING,   GAUGE,   "etcd_server_proposals_pending", "", "Proposals in progress.") \
    X(PROPOSALS_FAILED,    COUNTER, "etcd_server_proposals_failed_total", "", "Proposals that failed.") \
    X(READ_INDEXES_FAILED, COUNTER, "etcd_server_read_indexes_failed_total", "", "Failed read indexes.") \
    X(SLOW_APPLY,          COUNTER, "etcd_server_slow_apply_total", "", "Spans that took over 100 ms to apply.") \
    X(WAL_BYTES,           GAUGE,   "etcd_disk_wal_write_bytes_total", "", "Bytes written to the log.") \
    X(DB_SIZE,             GAUGE,   "etcd_mvcc_db_total_size_in_bytes", "", "Size of the store on disk.") \
    X(RANGES,              COUNTER, "etcd_mvcc_range_total", "", "Ranges executed.") \
    X(PUTS,                COUNTER, "etcd_mvcc_put_total", "", "Puts applied.") \
    X(DELETES,             COUNTER, "etcd_mvcc_delete_total", "", "Deletes applied.") \
    X(TXNS,                COUNTER, "etcd_mvcc_txn_total", "", "Transactions applied.") \
    X(REVISION,            GAUGE,   "etcd_debugging_mvcc_current_revision", "", "Current revision.") \
    X(COMPACT_REVISION,    GAUGE,   "etcd_debugging_mvcc_compact_revision", "", "Compacted revision.") \
    X(COMPACTED_ROWS,      COUNTER, "etcd_debugging_mvcc_db_compaction_keys_total", "", "Records removed by compaction.") \
    X(EVENTS,              COUNTER, "etcd_debugging_mvcc_events_total", "", "Events sent to watchers.") \
    X(EVENTS_PENDING,      GAUGE,   "etcd_debugging_mvcc_pending_events_total", "", "Events not delivered yet.") \
    X(WATCHERS,            GAUGE,   "etcd_debugging_mvcc_watcher_total", "", "Watchers.") \
    X(WATCH_STREAMS,       GAUGE,   "etcd_debugging_mvcc_watch_stream_total", "", "Watch streams.") \
    X(WATCHERS_SLOW,       GAUGE,   "etcd_debugging_mvcc_slow_watcher_total", "", "Watchers being caught up.") \
    X(LEASES_GRANTED,      COUNTER, "etcd_debugging_lease_granted_total", "", "Leases granted.") \
    X(LEASES_REVOKED,      COUNTER, "etcd_debugging_lease_revoked_total", "", "Leases revoked.") \
    X(LEASES_RENEWED,      COUNTER, "etcd_debugging_lease_renewed_total", "", "Leases renewed.") \
    X(LEASES_EXPIRED,      COUNTER, "etcd_debugging_server_lease_expired_total", "", "Leases expired.") \
    X(CLIENT_SENT,         COUNTER, "etcd_network_client_grpc_sent_bytes_total", "", "Bytes sent to clients.") \
    X(CLIENT_RECEIVED,     COUNTER, "etcd_network_client_grpc_received_bytes_total", "", "Bytes from clients.") \
    X(CONNECTIONS,         GAUGE,   "quoral_client_connections", "", "Client connections open.") \
    X(CONNECTIONS_REFUSED, COUNTER, "quoral_client_connections_refused_total", "", "Connections over the limit.") \
    X(PROTOCOL_ERRORS,     COUNTER, "quoral_client_protocol_errors_total", "", "Connections closed for what they sent.")

/* X(id, "name", "help", first bucket in microseconds, number of buckets, each twice the last) */
#define METRIC_HISTOGRAMS(X) \
    X(WAL_FSYNC,  "etcd_disk_wal_fsync_duration_seconds", "Time of one fdatasync of the log.", 1000, 14) \
    X(WAL_WRITE,  "etcd_disk_wal_write_duration_seconds", "Time of one write to the log.", 1000, 14) \
    X(COMMIT,     "etcd_disk_backend_commit_duration_seconds", "Time to write one span to the store.", 1000, 14)
/* clang-format on */

typedef enum {
#define X(id, type, name, labels, help) METRIC_##id,
    METRIC_VALUES(X)
#undef X
        METRIC_COUNT
} metric_t;

typedef enum {
#define X(id, name, help, first, buckets) HISTOGRAM_##id,
    METRIC_HISTOGRAMS(X)
#undef X
        HISTOGRAM_COUNT
} histogram_t;

enum { HISTOGRAM_BUCKETS_MAX = 16 };

typedef struct {
    _Atomic uint64_t buckets[HISTOGRAM_BUCKETS_MAX + 1]; /* not cumulative; the last is "above" */
    _Atomic uint64_t sum_us;
} histogram_data_t;

/* RPC counters by method and code live in the gateway's block (actors/api/rpc_metrics.h). */
typedef struct {
    _Atomic uint64_t values[METRIC_COUNT];
    histogram_data_t histograms[HISTOGRAM_COUNT];
} metrics_t;

static inline void metrics_add(metrics_t *self, metric_t id, uint64_t n)
{
    /* Single writer: a plain add on an atomic cell, no locked instruction. */
    uint64_t now = atomic_load_explicit(&self->values[id], memory_order_relaxed);
    atomic_store_explicit(&self->values[id], now + n, memory_order_relaxed);
}

static inline void metrics_set(metrics_t *self, metric_t id, uint64_t value)
{
    atomic_store_explicit(&self->values[id], value, memory_order_relaxed);
}

static inline uint64_t metrics_get(const metrics_t *self, metric_t id)
{
    return atomic_load_explicit(&self->values[id], memory_order_relaxed);
}

void metrics_observe(metrics_t *self, histogram_t id, uint64_t micros);
