/* metrics: counters, gauges and histograms of one actor. Pure.
 * Each actor has a block of its own and is the only writer; the gateway reads all blocks with
 * relaxed loads and adds them up, so nobody waits for anybody. Names are etcd's (contract
 * section 13); docs/METRICS.md says what is measured. A metric is a line in one of the two lists. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(id, type, "name", "labels or empty", "help"). Lines of one name stand together.
 * COUNTER and GAUGE: the sum over all blocks. RESULT: of a check that runs now and then: 0 = it never
 * ran (not shown), else METRIC_FAILED or METRIC_PASSED (shown as 0 and 1); a failure anywhere counts.
 * TIME: of an actor's clock, shown as seconds since 1970; 0 = never. */
/* clang-format off */
#define METRIC_VALUES(X) \
    X(HAS_LEADER,          GAUGE,   "etcd_server_has_leader", "", "Whether or not a leader exists. 1 is existence, 0 is not.") \
    X(IS_LEADER,           GAUGE,   "etcd_server_is_leader", "", "Whether or not this member is a leader. 1 if is, 0 otherwise.") \
    X(IS_LEARNER,          GAUGE,   "etcd_server_is_learner", "", "Whether or not this member is a learner. 1 if is, 0 otherwise.") \
    X(LEADER_CHANGES,      COUNTER, "etcd_server_leader_changes_seen_total", "", "The number of leader changes seen.") \
    X(PROPOSALS_COMMITTED, GAUGE,   "etcd_server_proposals_committed_total", "", "The total number of consensus proposals committed.") \
    X(PROPOSALS_APPLIED,   GAUGE,   "etcd_server_proposals_applied_total", "", "The total number of consensus proposals applied.") \
    X(PROPOSALS_PENDING,   GAUGE,   "etcd_server_proposals_pending", "", "The current number of pending proposals to commit.") \
    X(PROPOSALS_FAILED,    COUNTER, "etcd_server_proposals_failed_total", "", "The total number of failed proposals seen.") \
    X(READ_INDEXES_FAILED, COUNTER, "etcd_server_read_indexes_failed_total", "", "The total number of failed read indexes seen.") \
    X(HEARTBEAT_FAILURES,  COUNTER, "etcd_server_heartbeat_send_failures_total", "", "The total number of leader heartbeat send failures (likely overloaded from slow disk).") \
    X(PROMOTED,            COUNTER, "etcd_server_learner_promote_successes", "", "The total number of successful learner promotions while this member is leader.") \
    X(PROMOTE_NOT_READY,   COUNTER, "etcd_server_learner_promote_failures", "Reason=\"etcdserver: can only promote a learner member which is in sync with leader\"", "The total number of failed learner promotions (likely learner not ready) while this member is leader.") \
    X(PROMOTE_NOT_LEARNER, COUNTER, "etcd_server_learner_promote_failures", "Reason=\"membership: can only promote a learner member\"", "The total number of failed learner promotions (likely learner not ready) while this member is leader.") \
    X(PROMOTE_NOT_FOUND,   COUNTER, "etcd_server_learner_promote_failures", "Reason=\"membership: ID not found\"", "The total number of failed learner promotions (likely learner not ready) while this member is leader.") \
    X(PEER_NONSENSE,       COUNTER, "quoral_peer_nonsense_total", "", "Messages of other members dropped because no correct member sends them.") \
    X(READ_INDEXES_SLOW,   COUNTER, "etcd_server_slow_read_indexes_total", "", "Read indexes that reads have timed out on, or that came when nobody waited any more.") \
    X(SLOW_APPLY,          COUNTER, "etcd_server_slow_apply_total", "", "The total number of slow apply requests: turns of the applier over --warning-apply-duration.") \
    X(SNAPSHOT_APPLYING,   GAUGE,   "etcd_server_snapshot_apply_in_progress_total", "", "1 if the server is applying the incoming snapshot. 0 if none.") \
    X(WAL_BYTES,           GAUGE,   "etcd_disk_wal_write_bytes_total", "", "Total number of bytes written in WAL.") \
    X(DB_SIZE,             GAUGE,   "etcd_mvcc_db_total_size_in_bytes", "", "Total size of the underlying database physically allocated in bytes.") \
    X(DB_SIZE_IN_USE,      GAUGE,   "etcd_mvcc_db_total_size_in_use_in_bytes", "", "Total size of the underlying database logically in use in bytes. LevelDB has no free pages: the same.") \
    X(OPEN_READS,          GAUGE,   "etcd_mvcc_db_open_read_transactions", "", "Snapshots of the store that reads hold open.") \
    X(RANGES,              COUNTER, "etcd_mvcc_range_total", "", "Total number of ranges seen by this member.") \
    X(PUTS,                COUNTER, "etcd_mvcc_put_total", "", "Total number of puts seen by this member.") \
    X(DELETES,             COUNTER, "etcd_mvcc_delete_total", "", "Total number of deletes seen by this member.") \
    X(TXNS,                COUNTER, "etcd_mvcc_txn_total", "", "Total number of txns seen by this member.") \
    X(REVISION,            GAUGE,   "etcd_debugging_mvcc_current_revision", "", "The current revision of store.") \
    X(COMPACT_REVISION,    GAUGE,   "etcd_debugging_mvcc_compact_revision", "", "The revision of the last compaction in store.") \
    X(KEYS,                GAUGE,   "etcd_debugging_mvcc_keys_total", "", "Total number of keys.") \
    X(PUT_BYTES,           GAUGE,   "etcd_debugging_mvcc_total_put_size_in_bytes", "", "Keys and values of all puts applied since the start, in bytes.") \
    X(COMPACTED_ROWS,      COUNTER, "etcd_debugging_mvcc_db_compaction_keys_total", "", "Records removed by compaction.") \
    X(COMPACTION_LAST,     TIME,    "etcd_debugging_mvcc_db_compaction_last", "", "When a compaction last finished its work, in seconds since 1970. 0 until the first since the start.") \
    X(EVENTS,              COUNTER, "etcd_debugging_mvcc_events_total", "", "Events handed out to watchers, counted once for each watcher.") \
    X(EVENTS_PENDING,      GAUGE,   "etcd_debugging_mvcc_pending_events_total", "", "Events that are on their way to clients of watches.") \
    X(WATCHERS,            GAUGE,   "etcd_debugging_mvcc_watcher_total", "", "Total number of watchers.") \
    X(WATCH_STREAMS,       GAUGE,   "etcd_debugging_mvcc_watch_stream_total", "", "Total number of watch streams.") \
    X(WATCHERS_SLOW,       GAUGE,   "etcd_debugging_mvcc_slow_watcher_total", "", "Total number of unsynced slow watchers.") \
    X(LEASES_GRANTED,      COUNTER, "etcd_debugging_lease_granted_total", "", "The total number of granted leases.") \
    X(LEASES_REVOKED,      COUNTER, "etcd_debugging_lease_revoked_total", "", "The total number of revoked leases.") \
    X(LEASES_RENEWED,      COUNTER, "etcd_debugging_lease_renewed_total", "", "The number of renewed leases seen by the leader.") \
    X(LEASES_EXPIRED,      COUNTER, "etcd_debugging_server_lease_expired_total", "", "The total number of expired leases.") \
    X(CLIENT_SENT,         COUNTER, "etcd_network_client_grpc_sent_bytes_total", "", "The total number of bytes sent to grpc clients.") \
    X(CLIENT_RECEIVED,     COUNTER, "etcd_network_client_grpc_received_bytes_total", "", "The total number of bytes received from grpc clients.") \
    X(WATCH_RECEIVE_FAILURES, COUNTER, "etcd_network_server_stream_failures_total", "API=\"watch\",Type=\"receive\"", "Streams ended because of a message that could not be received.") \
    X(LEASE_RECEIVE_FAILURES, COUNTER, "etcd_network_server_stream_failures_total", "API=\"lease-keepalive\",Type=\"receive\"", "Streams ended because of a message that could not be received.") \
    X(CONNECTIONS,         GAUGE,   "quoral_client_connections", "", "Client connections open.") \
    X(CONNECTIONS_REFUSED, COUNTER, "quoral_client_connections_refused_total", "", "Connections over the limit.") \
    X(PROTOCOL_ERRORS,     COUNTER, "quoral_client_protocol_errors_total", "", "Connections closed for what they sent.") \
    X(NATIVE_CLIENTS,      GAUGE,   "quoral_native_clients", "", "Clients of the native protocol.") \
    X(NATIVE_LOST,         COUNTER, "quoral_native_clients_lost_total", "", "Native clients given up: silent for too long, gone, or not reading.") \
    X(NATIVE_CALLS,        GAUGE,   "quoral_native_calls", "", "Calls of native clients in progress.") \
    X(NATIVE_WAITING,      GAUGE,   "quoral_native_requests_waiting", "", "Requests that wait for their native client to take its answers.") \
    X(NATIVE_UNACKNOWLEDGED, GAUGE, "quoral_native_unacknowledged_bytes", "", "Octets of answers that native clients have not acknowledged.") \
    X(NATIVE_RECEIVED,     COUNTER, "quoral_native_messages_received_total", "", "Messages of native clients.") \
    X(NATIVE_SENT,         COUNTER, "quoral_native_messages_sent_total", "", "Messages to native clients.") \
    X(NATIVE_MALFORMED,    COUNTER, "quoral_native_malformed_total", "", "Messages of native clients that were answered with an error of the protocol.") \
    X(PEER_REFUSED,        COUNTER, "quoral_peer_messages_refused_total", "", "Messages of other members that were not for this one, or made no sense.") \
    X(PEER_HANDSHAKES_FAILED, COUNTER, "quoral_peer_handshakes_failed_total", "", "Connections between members that came to nothing because one side has no CURVE, or another key.") \
    X(NATIVE_HANDSHAKES_FAILED, COUNTER, "quoral_native_handshakes_failed_total", "", "Connections of native clients that came to nothing because one side has no CURVE, or another key.") \
    X(CURVE_PEER_ALLOWED,  COUNTER, "quoral_curve_connections_total", "domain=\"peer\",result=\"allowed\"", "Connections whose CURVE key was asked for.") \
    X(CURVE_NATIVE_ALLOWED,  COUNTER, "quoral_curve_connections_total", "domain=\"native\",result=\"allowed\"", "Connections whose CURVE key was asked for.") \
    X(CURVE_PEER_REFUSED,  COUNTER, "quoral_curve_connections_total", "domain=\"peer\",result=\"refused\"", "Connections whose CURVE key was asked for.") \
    X(CURVE_NATIVE_REFUSED,  COUNTER, "quoral_curve_connections_total", "domain=\"native\",result=\"refused\"", "Connections whose CURVE key was asked for.") \
    X(CURVE_PEER_KEYS,     GAUGE,   "quoral_curve_allowed_keys", "domain=\"peer\"", "CURVE keys that are let in.") \
    X(CURVE_NATIVE_KEYS,     GAUGE,   "quoral_curve_allowed_keys", "domain=\"native\"", "CURVE keys that are let in.") \
    X(CURVE_PEER_SKIPPED,  GAUGE,   "quoral_curve_skipped_files", "domain=\"peer\"", "Files among the allowed keys that are skipped: broken, twice there, or secret.") \
    X(CURVE_NATIVE_SKIPPED,  GAUGE,   "quoral_curve_skipped_files", "domain=\"native\"", "Files among the allowed keys that are skipped: broken, twice there, or secret.") \
    X(CURVE_PEER_REVOKED,  COUNTER, "quoral_curve_revoked_keys_total", "domain=\"peer\"", "CURVE keys that were let in and are not any more.") \
    X(CURVE_NATIVE_REVOKED,  COUNTER, "quoral_curve_revoked_keys_total", "domain=\"native\"", "CURVE keys that were let in and are not any more.") \
    X(PEER_DROPPED,        COUNTER, "quoral_peer_messages_dropped_total", "", "Messages from or for other members that had nowhere to go.") \
    X(NATIVE_SUBSCRIBERS,  GAUGE,   "quoral_native_subscribers", "", "Connections of the publish socket; with CURVE they are ZeroMQ's and not counted.") \
    X(NATIVE_SUBSCRIBERS_REFUSED, COUNTER, "quoral_native_subscribers_refused_total", "", "Connections of the publish socket that were closed: no subscriber in ZMTP 3, too many of them, or too many subscriptions.") \
    X(NATIVE_DROPPED,      COUNTER, "quoral_native_publications_dropped_total", "", "Messages that a subscriber has not got since it was too far behind, each for each; with CURVE not counted.") \
    X(NATIVE_REGISTRATIONS, GAUGE,  "quoral_native_registrations", "", "Subscriptions that get positions and marks.") \
    X(NATIVE_REGISTERED,   COUNTER, "quoral_native_registrations_total", "", "Subscriptions registered since the start.") \
    X(NATIVE_REGISTRATIONS_REFUSED, COUNTER, "quoral_native_registrations_refused_total", "", "Subscriptions that get no positions: malformed, or over a limit.") \
    X(NATIVE_PUBLISHED,    COUNTER, "quoral_native_events_published_total", "", "Events given to the publish socket.") \
    X(NATIVE_OMITTED,      COUNTER, "quoral_native_events_omitted_total", "", "Of them, events published without their change, which is too large.") \
    X(NATIVE_SKIPPED,      COUNTER, "quoral_native_events_skipped_total", "", "Events of revisions too large to be published: subscribers fetch them.") \
    X(NATIVE_MARKS,        COUNTER, "quoral_native_marks_total", "", "Progress marks given to the publish socket.") \
    X(NATIVE_SNAPSHOTS,    COUNTER, "quoral_native_snapshots_total", "", "Snapshots begun for caches.") \
    X(NATIVE_REPAIRS,      COUNTER, "quoral_native_gap_repairs_total", "", "Gaps of subscribers that were filled from history.") \
    X(NATIVE_REPAIRS_COMPACTED, COUNTER, "quoral_native_gap_repairs_compacted_total", "", "Gaps that could not be: the history is compacted.") \
    X(NATIVE_BEHIND,       COUNTER, "quoral_native_behind_total", "", "Snapshots and repairs that this store was behind of for too long.") \
    X(HEALTH_SUCCESS,      COUNTER, "etcd_server_health_success", "", "The total number of successful health checks") \
    X(HEALTH_FAILURES,     COUNTER, "etcd_server_health_failures", "", "The total number of failed health checks") \
    X(LIVEZ_SERIALIZABLE, RESULT, "etcd_server_healthcheck", "name=\"serializable_read\",type=\"livez\"", "The result of each kind of healthcheck.") \
    X(READYZ_CORRUPTION, RESULT, "etcd_server_healthcheck", "name=\"data_corruption\",type=\"readyz\"", "The result of each kind of healthcheck.") \
    X(READYZ_SERIALIZABLE, RESULT, "etcd_server_healthcheck", "name=\"serializable_read\",type=\"readyz\"", "The result of each kind of healthcheck.") \
    X(READYZ_LINEARIZABLE, RESULT, "etcd_server_healthcheck", "name=\"linearizable_read\",type=\"readyz\"", "The result of each kind of healthcheck.") \
    X(READYZ_LEARNER, RESULT, "etcd_server_healthcheck", "name=\"non_learner\",type=\"readyz\"", "The result of each kind of healthcheck.") \
    X(LIVEZ_SERIALIZABLE_OK, COUNTER, "etcd_server_healthchecks_total", "name=\"serializable_read\",status=\"success\",type=\"livez\"", "The total number of each kind of healthcheck.") \
    X(LIVEZ_SERIALIZABLE_FAILED, COUNTER, "etcd_server_healthchecks_total", "name=\"serializable_read\",status=\"error\",type=\"livez\"", "The total number of each kind of healthcheck.") \
    X(READYZ_CORRUPTION_OK, COUNTER, "etcd_server_healthchecks_total", "name=\"data_corruption\",status=\"success\",type=\"readyz\"", "The total number of each kind of healthcheck.") \
    X(READYZ_CORRUPTION_FAILED, COUNTER, "etcd_server_healthchecks_total", "name=\"data_corruption\",status=\"error\",type=\"readyz\"", "The total number of each kind of healthcheck.") \
    X(READYZ_SERIALIZABLE_OK, COUNTER, "etcd_server_healthchecks_total", "name=\"serializable_read\",status=\"success\",type=\"readyz\"", "The total number of each kind of healthcheck.") \
    X(READYZ_SERIALIZABLE_FAILED, COUNTER, "etcd_server_healthchecks_total", "name=\"serializable_read\",status=\"error\",type=\"readyz\"", "The total number of each kind of healthcheck.") \
    X(READYZ_LINEARIZABLE_OK, COUNTER, "etcd_server_healthchecks_total", "name=\"linearizable_read\",status=\"success\",type=\"readyz\"", "The total number of each kind of healthcheck.") \
    X(READYZ_LINEARIZABLE_FAILED, COUNTER, "etcd_server_healthchecks_total", "name=\"linearizable_read\",status=\"error\",type=\"readyz\"", "The total number of each kind of healthcheck.") \
    X(READYZ_LEARNER_OK, COUNTER, "etcd_server_healthchecks_total", "name=\"non_learner\",status=\"success\",type=\"readyz\"", "The total number of each kind of healthcheck.") \
    X(READYZ_LEARNER_FAILED, COUNTER, "etcd_server_healthchecks_total", "name=\"non_learner\",status=\"error\",type=\"readyz\"", "The total number of each kind of healthcheck.")

/* One operation: applied well or not, and as a request from its arrival to its answer. In each pair
 * the failures are the line after the successes (metrics_observe_outcome). */
#define METRIC_APPLY(X, id, op) \
    X(APPLY_##id, "etcd_server_apply_duration_seconds", "op=\"" op "\",success=\"true\",version=\"v3\"", "How long committed entries took to apply.", MICROS, 100, 20) \
    X(APPLY_##id##_FAILED, "etcd_server_apply_duration_seconds", "op=\"" op "\",success=\"false\",version=\"v3\"", "How long committed entries took to apply.", MICROS, 100, 20)
#define METRIC_REQUEST(X, id, type) \
    X(REQUEST_##id, "etcd_server_request_duration_seconds", "success=\"true\",type=\"" type "\"", "From a valid request to its answer.", MICROS, 1000, 14) \
    X(REQUEST_##id##_FAILED, "etcd_server_request_duration_seconds", "success=\"false\",type=\"" type "\"", "From a valid request to its answer.", MICROS, 1000, 14)

/* X(id, "name", "labels or empty", "help", unit, first bucket, number of buckets, each twice the last).
 * Lines of one name stand together; those with labels show once they have observed something. Unit:
 * what is observed and shown. The first bucket is in what is observed.
 *   MICROS: microseconds, shown as seconds; MILLIS: microseconds, shown as milliseconds; PLAIN */
#define METRIC_HISTOGRAMS(X) \
    X(WAL_FSYNC,  "etcd_disk_wal_fsync_duration_seconds", "", "The latency distributions of fsync called by WAL.", MICROS, 1000, 14) \
    X(WAL_WRITE,  "etcd_disk_wal_write_duration_seconds", "", "The latency distributions of write called by WAL.", MICROS, 1000, 14) \
    X(COMMIT,     "etcd_disk_backend_commit_duration_seconds", "", "Time to write one span to the store.", MICROS, 1000, 14) \
    X(BACKEND_SNAPSHOT, "etcd_disk_backend_snapshot_duration_seconds", "", "Reading the store for a snapshot, from its first row to its last.", MICROS, 10000, 17) \
    X(SNAP_DB_FSYNC, "etcd_snap_db_fsync_duration_seconds", "", "The flush of a received snapshot.", MICROS, 1000, 14) \
    X(SNAP_DB_SAVE, "etcd_snap_db_save_total_duration_seconds", "", "A received snapshot, from its first row until it is flushed.", MICROS, 100000, 10) \
    X(COMPACTION_PAUSE, "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds", "", "One batch of a compaction, during which nothing is applied.", MILLIS, 1000, 13) \
    X(COMPACTION_TOTAL, "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds", "", "A compaction from its first batch to the end of its last.", MILLIS, 100000, 14) \
    X(LEASE_TTL,  "etcd_debugging_lease_ttl_total", "", "Times to live of granted leases, in seconds.", PLAIN, 1, 24) \
    X(HASH,       "etcd_mvcc_hash_duration_seconds", "", "From a request for the hash of the store to its answer.", MICROS, 10000, 15) \
    X(HASH_REVISION, "etcd_mvcc_hash_rev_duration_seconds", "", "From a request for the hash at a revision to its answer.", MICROS, 10000, 15) \
    X(RANGE,      "etcd_server_range_duration_seconds", "success=\"true\"", "How long ranges took to read from the store.", MICROS, 100, 20) \
    X(RANGE_FAILED, "etcd_server_range_duration_seconds", "success=\"false\"", "How long ranges took to read from the store.", MICROS, 100, 20) \
    METRIC_APPLY(X, PUT, "Put") \
    METRIC_APPLY(X, DELETE_RANGE, "DeleteRange") \
    METRIC_APPLY(X, TXN, "Txn") \
    METRIC_APPLY(X, COMPACTION, "Compaction") \
    METRIC_APPLY(X, LEASE_GRANT, "LeaseGrant") \
    METRIC_APPLY(X, LEASE_REVOKE, "LeaseRevoke") \
    METRIC_APPLY(X, VERSION_SET, "ClusterVersionSet") \
    METRIC_APPLY(X, ATTR_SET, "ClusterMemberAttrSet") \
    METRIC_REQUEST(X, RANGE, "Range") \
    METRIC_REQUEST(X, READONLY_TXN, "ReadonlyTxn") \
    METRIC_REQUEST(X, PUT, "Put") \
    METRIC_REQUEST(X, DELETE_RANGE, "DeleteRange") \
    METRIC_REQUEST(X, TXN, "Txn") \
    METRIC_REQUEST(X, COMPACTION, "Compaction") \
    METRIC_REQUEST(X, LEASE_GRANT, "LeaseGrant") \
    METRIC_REQUEST(X, LEASE_REVOKE, "LeaseRevoke") \
    METRIC_REQUEST(X, VERSION_SET, "ClusterVersionSet") \
    METRIC_REQUEST(X, ATTR_SET, "ClusterMemberAttrSet")
/* clang-format on */

typedef enum {
#define X(id, type, name, labels, help) METRIC_##id,
    METRIC_VALUES(X)
#undef X
        METRIC_COUNT
} metric_t;

typedef enum {
#define X(id, name, labels, help, unit, first, buckets) HISTOGRAM_##id,
    METRIC_HISTOGRAMS(X)
#undef X
        HISTOGRAM_COUNT
} histogram_t;

enum { HISTOGRAM_BUCKETS_MAX = 24 };

typedef struct {
    _Atomic uint64_t buckets[HISTOGRAM_BUCKETS_MAX + 1]; /* not cumulative; the last is "above" */
    _Atomic uint64_t sum;                                /* of what was observed */
} histogram_data_t;

enum { METRIC_FAILED = 1, METRIC_PASSED = 2 }; /* values of a RESULT */

/* RPC counters by method and code live in the gateway's block (actors/api/rpc_metrics.h). */
typedef struct {
    _Atomic uint64_t values[METRIC_COUNT];
    histogram_data_t histograms[HISTOGRAM_COUNT];
    /* For durations within one step, which begins and ends at the same time for the core: it goes
     * into histograms and nowhere else, so that what a core does still depends on its input alone.
     * NULL, as in tests and simulations = such durations are 0. */
    uint64_t (*clock_us)(void);
} metrics_t;

/* Now, for durations; `turn_us` is the step's time. */
static inline uint64_t metrics_clock_us(const metrics_t *self, uint64_t turn_us)
{
    return self->clock_us ? self->clock_us() : turn_us;
}

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

/* Readings from different turns may be out of order by a little: never below 0. */
static inline uint64_t metrics_elapsed_us(uint64_t since_us, uint64_t now_us)
{
    return now_us > since_us ? now_us - since_us : 0;
}

/* `value` in the histogram's unit. */
void metrics_observe(metrics_t *self, histogram_t id, uint64_t value);
/* `id` is the first of a pair: successes, failures. */
void metrics_observe_outcome(metrics_t *self, histogram_t id, bool success, uint64_t value);
