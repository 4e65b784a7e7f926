/* conn: one client connection as bytes in, bytes out: HTTP/2 with gRPC, or HTTP/1.1. Pure.
 * The gateway's shell owns sockets and the clock and feeds these; fuzzers feed them too. */
#pragma once

#include "actors/api/api.h"
#include "actors/grpc_gateway/pool.h"
#include "messages/buf.h"

typedef struct conn conn_t;

/* The table of calls in progress: gives ids that are never reused while anything may still name
 * them, and finds the connection and stream behind an id. One per gateway. */
typedef struct calls calls_t;

typedef struct {
    /* Bytes from the socket. 0, or 1 = protocol violation: write what output() still has, then close. */
    int (*input)(conn_t *self, slice_t bytes, uint64_t now_us);
    /* The next bytes to write; valid until the next call into the connection. Empty = nothing now. */
    slice_t (*output)(conn_t *self, uint64_t now_us);
    /* So many of those bytes have been written. */
    void (*written)(conn_t *self, size_t len);
    /* Wants more input? False while too much is unsent (back-pressure). */
    bool (*want_input)(const conn_t *self);
    /* Everything said and done: close once output() is empty. */
    bool (*finished)(const conn_t *self);
    /* Answers for a call of this connection; `stream` is what the connection registered. */
    void (*message)(conn_t *self, int32_t stream, bytes_t **message_p);
    void (*finish)(conn_t *self, int32_t stream, grpc_code_t code, const char *text);
    /* Time-outs: handshake, idle, keepalive. */
    uint64_t (*deadline)(const conn_t *self);
    void (*timeout)(conn_t *self, uint64_t now_us);
    /* No new calls; ends when those in progress have ended (GOAWAY). */
    void (*drain)(conn_t *self);
    /* Cancels its calls with api. Nulls the pointer. */
    void (*destroy)(conn_t **self_p);
} conn_ops_t;

/* Every connection type begins with this, zeroed apart from ops. */
struct conn {
    const conn_ops_t *ops;
    conn_t *dirty_next, *dirty_prev; /* calls: waits for its output() */
    bool dirty;
    void *owner; /* the shell's: whose socket this is */
};

/* What connections need to reach. */
typedef struct {
    api_t *api;
    calls_t *calls;
    metrics_t *metrics;
    size_t max_message_bytes;        /* --max-request-bytes + 512 KiB */
    uint32_t max_concurrent_streams; /* announced in SETTINGS */
    uint64_t keepalive_min_us, keepalive_interval_us, keepalive_timeout_us; /* --grpc-keepalive-* */
} conn_env_t;

calls_t *calls_new(void);
void calls_destroy(calls_t **self_p);
/* 0 when LIMIT_CALLS are open. */
uint64_t calls_open(calls_t *self, conn_t *conn, int32_t stream);
void calls_close(calls_t *self, uint64_t call);
/* NULL when the call is gone. */
conn_t *calls_find(const calls_t *self, uint64_t call, int32_t *stream_p);
size_t calls_count(const calls_t *self);
/* Leads the api's answers to their connections and marks those dirty. Answers to calls that are
 * gone are dropped. */
api_sink_t calls_sink(calls_t *self);

/* Dirty connections: something happened, output() may have bytes. The shell writes them once per
 * turn. A connection leaves the list before it is destroyed. */
void calls_mark_dirty(calls_t *self, conn_t *conn);
void calls_clear_dirty(calls_t *self, conn_t *conn);
conn_t *calls_take_dirty(calls_t *self); /* NULL = none left */
bool calls_has_dirty(const calls_t *self);

/* A connection has called into the api outside its input(): the api wants the end of a turn. */
void calls_touch(calls_t *self);
bool calls_take_touched(calls_t *self);

/* Memory for what lives and dies on the gateway's thread. */
pool_t *calls_pool(calls_t *self);

/* Bytes of request messages that are not complete yet, over all connections. False = they would
 * exceed LIMIT_RECEIVING_BYTES: refuse. */
bool calls_charge(calls_t *self, size_t bytes);
void calls_refund(calls_t *self, size_t bytes);

/* What a new connection speaks, by its first bytes. */
typedef enum { PROTOCOL_UNDECIDED, PROTOCOL_HTTP2, PROTOCOL_HTTP1 } protocol_t;
protocol_t protocol_sniff(slice_t first);

/* HTTP/2 with gRPC. */
conn_t *h2_conn_new(const conn_env_t *env, uint64_t now_us);

/* HTTP/1.1: health, version, metrics, diagnostics. The texts that need the whole process come from
 * functions the shell supplies, so that this stays pure. */
typedef struct {
    void *context;
    void (*metrics_text)(void *context, buf_t *out); /* Prometheus text 0.0.4 */
    /* Appends a page below /debug/: "" = index, "actors", "trace", "wiring"; nothing = no such page.
     * NULL = --enable-pprof is off. */
    void (*debug_text)(void *context, const char *page, buf_t *out);
    /* The JSON of /debug/vars; NULL = no such page. */
    void (*vars_text)(void *context, const api_status_t *status, buf_t *out);
    /* For the Date header; NULL = no such header. */
    uint64_t (*unix_seconds)(void *context);
} http_pages_t;
/* Both are borrowed for the connection's life. */
conn_t *http1_conn_new(const conn_env_t *env, const http_pages_t *pages, uint64_t now_us);
