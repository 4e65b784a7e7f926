/* h2_private: the parts of an HTTP/2 connection. Pure.
 *   h2_conn.c      what conn.h asks for: bytes, output buffer, time-outs, drain
 *   h2_session.c   nghttp2's session and callbacks, floods
 *   h2_request.c   header blocks and DATA -> calls and messages for the request core
 *   h2_response.c  messages and status from the request core -> HEADERS, DATA, trailers
 *   h2_stream.c    streams: their pool, their lists, their queues
 *
 * Invariants:
 *   1. A stream object lives from its request's HEADERS until nghttp2 reports it closed.
 *   2. stream->call != 0 exactly while the request core knows the call.
 *   3. conn->queued_bytes is the sum of unsent_bytes over its streams. */
#pragma once

#include <nghttp2/nghttp2.h>

#include "actors/grpc_gateway/conn.h"
#include "actors/grpc_gateway/grpc_frame.h"

typedef struct h2_stream h2_stream_t;

/* ---- lists of streams, ordered by deadline because each list has one fixed time-out ---- */
typedef enum { LINK_REQUEST, LINK_SENDING, LINK_COUNT } h2_link_id_t;
typedef struct {
    h2_link_id_t link;
    h2_stream_t *first, *last;
} h2_list_t;
typedef struct {
    h2_list_t *list; /* NULL = in none */
    h2_stream_t *prev, *next;
    uint64_t deadline_us;
} h2_link_t;

struct h2_stream {
    int32_t id;    /* HTTP/2's; 0 = free */
    int32_t index; /* in the pool: what the call table knows */
    uint64_t call; /* 0 = the request core does not know it, or not any more */
    uint64_t begun_us;
    method_t method;
    bool received;      /* its only request message is complete (unary, server streams) */
    bool remote_closed; /* END_STREAM has come */
    bool answered;      /* the status is known: nothing of the request matters any more */
    bool submitted;     /* response headers have been given to nghttp2 */
    bool answer_sent;   /* bytes of a message have left for the socket */
    bool deferred;      /* nghttp2 waits for nghttp2_session_resume_data */
    h2_link_t links[LINK_COUNT];

    /* The message coming in. */
    uint8_t prefix[GRPC_PREFIX_BYTES];
    uint8_t prefix_len;
    bytes_t *request;
    uint8_t *request_data; /* into request; NULL = no body expected now */
    size_t request_len;
    size_t charged_bytes;  /* with calls_charge */
    size_t progress_bytes; /* since its time-out was last put off */

    /* Messages going out. */
    bytes_t *inline_queue[2];
    bytes_t **queue; /* inline_queue or heap */
    size_t queue_first, queue_count, queue_capacity;
    size_t sent_bytes;   /* of the first message and its prefix */
    size_t unsent_bytes; /* of all, with prefixes */
    grpc_code_t code;
    char *text; /* status text that waits for its trailers, or NULL */
};

typedef struct {
    uint64_t tokens;
    uint64_t refilled_us;
} h2_bucket_t;

/* The header block being received; only one at a time can be. */
typedef struct {
    nghttp2_rcbuf *method, *path, *content_type, *encoding, *timeout;
    nghttp2_rcbuf *client_version; /* metadata client-api-version, the first */
    bool has_leader;
    size_t bytes;
    unsigned count;
} h2_headers_t;

typedef struct {
    conn_t conn;
    const conn_env_t *env;
    nghttp2_session *session;
    uint64_t now_us; /* of the current call into the connection */

    h2_headers_t headers;
    size_t received_bytes; /* DATA of this input(), not yet given back to the connection window */

    h2_stream_t **chunks; /* the pool */
    size_t chunk_count, chunk_capacity;
    int32_t free_first; /* index or -1 */
    size_t open_streams;
    h2_stream_t *recent; /* found last by its id, or NULL */

    h2_list_t requests; /* LINK_REQUEST: a message is expected */
    h2_list_t held;     /* LINK_REQUEST: complete, waiting for room in the connection's queue */
    h2_list_t sending_unary;  /* LINK_SENDING: unsent bytes */
    h2_list_t sending_stream; /* likewise */
    size_t queued_bytes;

    buf_t out;
    size_t out_sent;
    buf_t text;    /* a status text being made */
    buf_t scratch; /* and as it is encoded */

    bool failed;            /* GOAWAY is on its way, nothing is read any more */
    bool flushed;           /* failed, and what was to be said is in `out` */
    bool aborted;           /* not even that: the socket takes nothing */
    bool draining, drained; /* shutdown notice, then the last GOAWAY */
    bool settings_received, used;
    uint64_t created_us, last_input_us, last_written_us, drain_us;
    h2_bucket_t control, resets;
    /* Keepalive as grpc-go's server: strikes against the client, our own ping. */
    bool strikes_reset;
    unsigned strikes;
    uint64_t last_ping_us, ping_sent_us; /* 0 = never, none outstanding */
} h2_conn_t;

/* ---- h2_session.c ---- */
void h2_session_open(h2_conn_t *conn);
extern const uint8_t h2_drain_ping[8]; /* asks whether everything sent before our notice is here */
void h2_reset(h2_conn_t *conn, int32_t stream_id, uint32_t http2_error);

/* ---- h2_stream.c ---- */
h2_stream_t *h2_stream_new(h2_conn_t *conn, int32_t id);
h2_stream_t *h2_stream_at(const h2_conn_t *conn, int32_t index);
/* Cancels its call and gives everything back. */
void h2_stream_free(h2_conn_t *conn, h2_stream_t *stream);
void h2_streams_deinit(h2_conn_t *conn);
void h2_list_append(h2_list_t *list, h2_stream_t *stream, uint64_t deadline_us);
void h2_list_remove(h2_stream_t *stream, h2_link_id_t link);
/* Takes the reference. */
void h2_queue_put(h2_conn_t *conn, h2_stream_t *stream, bytes_t **message_p);
/* Copies exactly len <= unsent_bytes bytes, prefixes included; returns how many of them are message. */
size_t h2_queue_copy(h2_conn_t *conn, h2_stream_t *stream, uint8_t *out, size_t len);
bool h2_is_unary(const h2_stream_t *stream);

/* ---- h2_request.c ---- */
/* One header field. 0, or 1 = the list is too large. */
int h2_request_header(h2_conn_t *conn, nghttp2_rcbuf *name, nghttp2_rcbuf *value);
void h2_headers_reset(h2_headers_t *headers);
void h2_request_begin(h2_conn_t *conn, int32_t id, bool ended);
void h2_request_data(h2_conn_t *conn, h2_stream_t *stream, slice_t data);
void h2_request_end(h2_conn_t *conn, h2_stream_t *stream);
/* Lets held requests go on while there is room. */
void h2_requests_release(h2_conn_t *conn);

/* ---- h2_response.c ---- */
void h2_response_message(h2_conn_t *conn, h2_stream_t *stream, bytes_t **message_p);
void h2_response_finish(h2_conn_t *conn, h2_stream_t *stream, grpc_code_t code, slice_t text);
/* The answer is the gateway's own: the request core forgets the call. */
void h2_response_fail(h2_conn_t *conn, h2_stream_t *stream, grpc_code_t code, slice_t text);
/* As fail, with an HTTP status other than 200, for what is no gRPC request. */
void h2_response_refuse(h2_conn_t *conn, h2_stream_t *stream, const char *http_status,
                        grpc_code_t code, slice_t text);
/* nghttp2's callback for DATA frames. */
int h2_response_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *header,
                          size_t len, nghttp2_data_source *source, void *user_data);
