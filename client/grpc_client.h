/* grpc_client: gRPC calls to several servers of one cluster.
 * Touches sockets and the clock. One instance belongs to one thread and its creator.
 *
 * Two ways to use it:
 * - grpc_client_call: one request, one answer, blocks until it is there.
 * - grpc_client_start: any number of unary calls and streams at once; callbacks run inside
 *   grpc_client_run, or inside grpc_client_process when the program polls on its own.
 *
 * A call that finds no connection waits for one until its deadline; meanwhile all endpoints are
 * dialled at the same time, and those that do not answer again after a pause. So are the others
 * after a server has answered Unavailable. Calls go to the connected endpoints in turn, as gRPC's
 * round_robin does, so one that is repeated gets another server. Calls that were on a connection
 * when it broke end as Unavailable: whether the server saw them is not known, so repeating them is
 * the caller's decision. */
#pragma once

#include <poll.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/grpc_status.h"

typedef struct grpc_client grpc_client_t;
typedef struct grpc_stream grpc_stream_t;

#define GRPC_CLIENT_ENDPOINTS_MAX 64 /* each may take a socket; a cluster has a handful */

typedef struct grpc_client_cfg {
    const char *const *endpoints; /* as grpc_endpoint_parse takes them; copied */
    size_t endpoints_n;
    int64_t dial_timeout_ms;
    /* Ping a server that was silent for so long while calls are open; 0 never. Below 10 s means
     * 10 s, since servers disconnect clients that ping more often. */
    int64_t keepalive_time_ms;
    int64_t keepalive_timeout_ms; /* give the connection up when nothing comes back */
    size_t recv_bytes_max;        /* larger answers end their call as ResourceExhausted */
    size_t send_bytes_max;        /* larger requests likewise, without being sent */
} grpc_client_cfg_t;

#define GRPC_NO_TIMEOUT (-1)

/* NULL when an endpoint cannot be used; *error_p is then a fresh text. Connects with the first call. */
grpc_client_t *grpc_client_new(const grpc_client_cfg_t *cfg, char **error_p);
/* Open calls are dropped without callbacks. */
void grpc_client_destroy(grpc_client_t **self_p);

/* One request, one answer. 0: *answer_p is the caller's (protobuf_c_message_free_unpacked).
 * 1: the call failed, `status` says how (the caller deinits it). timeout_ms < 0: no deadline. */
int grpc_client_call(grpc_client_t *self, const char *path, const ProtobufCMessage *request,
                     const ProtobufCMessageDescriptor *answer_type, int64_t timeout_ms,
                     ProtobufCMessage **answer_p, grpc_status_t *status)
    __attribute__((warn_unused_result));

typedef struct grpc_stream_cfg {
    const char *path;    /* "/etcdserverpb.KV/Put" */
    int64_t timeout_ms;  /* < 0: none */
    bool require_leader; /* metadata hasleader=true (contract section 1) */
    /* Each message of the answer. May call everything but grpc_client_run/process/call/destroy. */
    void (*on_message)(void *arg, const uint8_t *message, size_t size);
    /* Once, last, unless cancelled: the stream is gone when it returns. */
    void (*on_done)(void *arg, const grpc_status_t *status);
    void *arg;
} grpc_stream_cfg_t;

/* The result belongs to the client and is valid until on_done or grpc_stream_cancel. */
grpc_stream_t *grpc_client_start(grpc_client_t *self, const grpc_stream_cfg_t *cfg);
/* Queues one message of the request, which may be unbounded in number: pace yourself. */
void grpc_stream_send(grpc_stream_t *stream, const void *message, size_t size);
void grpc_stream_send_message(grpc_stream_t *stream, const ProtobufCMessage *message);
/* No more messages will follow. A unary call needs it after its request. */
void grpc_stream_close_send(grpc_stream_t *stream);
/* No callback of this stream comes any more. */
void grpc_stream_cancel(grpc_stream_t *stream);

/* One turn: waits at most timeout_ms (< 0: until something happens), then handles what came. */
void grpc_client_run(grpc_client_t *self, int64_t timeout_ms);

/* The same in parts, for programs with a poll loop of their own. */
/* How many endpoints, and so pollfds, there are. */
size_t grpc_client_endpoints(const grpc_client_t *self);
/* What to poll for: one for each endpoint, whose fd may be -1. */
void grpc_client_pollfds(grpc_client_t *self, struct pollfd *fds);
/* Milliseconds until grpc_client_process must be called; -1: not before a socket is ready. */
int grpc_client_wait_ms(grpc_client_t *self);
/* `fds` with what poll has found; NULL: nothing. */
void grpc_client_process(grpc_client_t *self, const struct pollfd *fds);
/* Calls that have not ended. */
size_t grpc_client_open(const grpc_client_t *self);
