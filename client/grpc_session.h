/* grpc_session: one HTTP/2 connection seen from the client, without the socket. Pure.
 * Bytes that arrived go in through grpc_session_feed, bytes to write come out of
 * grpc_session_output; calls live on it between grpc_session_submit and their on_closed.
 * Internal to client/: programs use grpc_client.h. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/grpc_framing.h"
#include "client/grpc_status.h"

typedef struct grpc_session grpc_session_t;

#define GRPC_CALL_HEADERS_MAX 4

/* One call, unary or streaming. The owner fills the first part and keeps the struct in place until
 * on_closed. The second part belongs to the session. */
typedef struct grpc_call grpc_call_t;
struct grpc_call {
    char *path;
    char *header_names[GRPC_CALL_HEADERS_MAX];
    char *header_values[GRPC_CALL_HEADERS_MAX];
    size_t headers_n;
    grpc_buffer_t out; /* framed messages not sent yet */
    bool out_closed;   /* nothing will be added to `out` */
    size_t recv_bytes_max;
    void (*on_message)(grpc_call_t *call, const uint8_t *message, size_t size);
    /* Once, last; `call->status` is set. The owner may free the call in it. */
    void (*on_closed)(grpc_call_t *call);

    int32_t stream_id; /* 0: not submitted */
    bool suspended;    /* the session waits for more of `out` */
    bool grpc_content; /* the answer's content-type is application/grpc… */
    int http_status;
    int grpc_status; /* -1: none seen */
    grpc_buffer_t in;
    grpc_status_t status;
    bool failed; /* `status` was decided on this side; the rest of the stream is ignored */
};

grpc_session_t *grpc_session_new(const char *authority);
/* Calls still open are forgotten, without on_closed: their owner knows what to tell them. */
void grpc_session_destroy(grpc_session_t **self_p);

/* Sends the request's headers, then `out` as it fills. timeout_us < 0: no grpc-timeout. */
void grpc_session_submit(grpc_session_t *self, grpc_call_t *call, int64_t timeout_us);
/* To be called when `out` grew or out_closed was set. */
void grpc_session_resume(grpc_session_t *self, grpc_call_t *call);
/* Ends a call from this side with RST_STREAM CANCEL; its callbacks are not called any more. */
void grpc_session_abandon(grpc_session_t *self, grpc_call_t *call);

/* 0, or -1 when the peer does not speak HTTP/2: *reason_p is then a static text. */
int grpc_session_feed(grpc_session_t *self, const uint8_t *data, size_t size, const char **reason_p)
    __attribute__((warn_unused_result));
/* Appends what is to be written, up to about size_max bytes. */
void grpc_session_output(grpc_session_t *self, grpc_buffer_t *out, size_t size_max);

void grpc_session_ping(grpc_session_t *self);
/* The server's SETTINGS arrived: it is an HTTP/2 server. */
bool grpc_session_ready(const grpc_session_t *self);
/* The server said GOAWAY: no new calls here. */
bool grpc_session_draining(const grpc_session_t *self);
size_t grpc_session_calls(const grpc_session_t *self);
