/* api: a request's life between decoding and answer: validation, proposals, read waits, reads from
 * store snapshots, transactions, watch streams, leases, deadlines, response headers. Shared by both
 * gateways and run by the simulator. Pure; one instance per gateway, owned by its thread.
 *
 * Framing (HTTP/2 or ZeroMQ) calls api_call_*; answers come through the sink, possibly from within
 * the call. Other actors' messages come in through api_step, requests to them go to its outbox at
 * the end of the turn: one PROPOSE and one READ for everything that one turn has brought. */
#pragma once

#include "actors/api/methods.h"
#include "actors/api/rpc_metrics.h"
#include "actors/core/metrics.h"
#include "actors/core/step.h"
#include "messages/bytes.h"
#include "messages/errors.h"

typedef struct api api_t;

/* A call's id is chosen by the framing, unique while the call lives (a stream of its connection).
 * The sink must not call back into api from within: it notes what it got and goes on later. */
typedef struct {
    void *context;
    /* One response message (protobuf bytes, no framing). Takes the reference. */
    void (*message)(void *context, uint64_t call, bytes_t **message_p);
    /* Trailers; the call id is dead afterwards on both sides. */
    void (*finish)(void *context, uint64_t call, grpc_code_t code, const char *text);
    /* NULL = no publish socket. Does it give this (valid) subscription no positions? */
    bool (*refuses)(void *context, slice_t subscription);
} api_sink_t;

typedef struct {
    uint64_t cluster_id, member_id;
    uint64_t origin;  /* random per start: marks our requests in the log (InternalRaftRequest.ID) */
    bool publishes;   /* makes this member known through the log: one gateway does */
    const char *name; /* this member's, published with client_urls once there is a leader */
    const char *const *client_urls;
    size_t client_url_count;
    size_t max_request_bytes;
    size_t max_txn_ops;
    uint64_t request_timeout_us; /* 5 s + 2 x election timeout */
    uint64_t progress_notify_us; /* --watch-progress-notify-interval */
    bool handling_times;         /* --metrics=extensive */
    int64_t lease_ttl_min_s;
    bool strict_reconfig; /* --strict-reconfig-check */
    uint64_t
        unix_offset_us; /* what makes wall-clock time of a step's time: ids of members that are added */
    uint64_t seed;      /* for lease ids */
} api_cfg_t;

api_t *api_new(const api_cfg_t *cfg, const api_sink_t *sink, metrics_t *metrics);
/* The actor's core functions over api_t. */
extern const core_ops_t api_ops;

enum {
    CALL_REQUIRE_LEADER = 1, /* metadata hasleader: true */
    CALL_UNCOUNTED = 2       /* a probe of the gateway itself: not in the RPC metrics */
};
typedef struct {
    method_t method;
    uint64_t deadline_us; /* monotonic; DEADLINE_NONE without grpc-timeout */
    unsigned flags;
    slice_t client_version; /* metadata client-api-version, UTF-8; no data = none. Borrowed */
} api_call_t;
void api_call_begin(api_t *self, uint64_t call, const api_call_t *info, uint64_t now_us);
/* One request message. Takes the reference. */
void api_call_message(api_t *self, uint64_t call, bytes_t **message_p, uint64_t now_us);
/* The client has sent its last message. */
void api_call_half_close(api_t *self, uint64_t call, uint64_t now_us);
/* The client reset the stream or its connection is gone: no answer wanted, id dead. */
void api_call_cancel(api_t *self, uint64_t call);
/* `bytes` of the call's messages have left for the socket: streams go on from this. */
void api_call_sent(api_t *self, uint64_t call, size_t bytes);

/* What gateways show outside gRPC (contract section 11). */
typedef struct {
    bool
        serving; /* the store is restored and a leader is known: "ready to serve client requests" */
    uint64_t leader; /* 0 = none */
    uint64_t term;
    role_t role;
    bool is_learner;
    int64_t revision;
    uint64_t applied_index, commit_index;
    int64_t compacted;
} api_status_t;
api_status_t api_status(const api_t *self);

/* RPC counters for the metrics page; valid as long as the api, readable from any thread. */
const rpc_metrics_t *api_rpc_metrics(const api_t *self);
