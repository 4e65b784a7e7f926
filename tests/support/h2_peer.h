/* h2_peer: an HTTP/2 client in memory, joined to a connection core without sockets or threads. */
#pragma once

#include <nghttp2/nghttp2.h>

#include "messages/buf.h"

typedef struct conn conn_t;

enum { PEER_STREAMS_MAX = 2048 };

typedef struct {
    int32_t id;
    /* what came */
    char http_status[4];
    int grpc_status; /* -1 = none yet */
    char *grpc_message;
    buf_t body;
    bool headers_ended_stream; /* the answer was HEADERS alone */
    bool closed;
    uint32_t error;
    /* what goes */
    buf_t outgoing;
    size_t outgoing_sent;
    bool outgoing_end, deferred;
} peer_stream_t;

typedef struct {
    conn_t *conn;
    nghttp2_session *session;
    uint64_t now_us;
    size_t chunk_bytes; /* the connection gets its input in pieces of so many bytes; 0 = whole */
    bool refused;       /* input() returned 1 */
    bool deaf;          /* takes nothing from the connection, like a client that does not read */
    bool goaway;
    uint32_t goaway_code;
    char goaway_text[64];
    unsigned pings_acked, pings_received;
    uint32_t max_concurrent_streams; /* as announced */
    peer_stream_t streams[PEER_STREAMS_MAX];
    size_t stream_count;
} h2_peer_t;

/* window: of each stream, 0 = the default of 65,535 bytes. Borrows the connection. */
h2_peer_t *h2_peer_new(conn_t *conn, uint32_t window);
void h2_peer_destroy(h2_peer_t **self_p);

/* A gRPC request's headers; ended = with END_STREAM. */
peer_stream_t *h2_peer_call(h2_peer_t *self, const char *path, bool ended);
/* Any headers: pairs of texts, ended by NULL. */
peer_stream_t *h2_peer_headers(h2_peer_t *self, const char *const *pairs, bool ended);
/* Raw bytes of the request's body. */
void h2_peer_data(h2_peer_t *self, peer_stream_t *stream, const void *data, size_t len, bool end);
/* One gRPC message. */
void h2_peer_message(h2_peer_t *self, peer_stream_t *stream, const void *data, size_t len,
                     bool end);
/* Moves bytes both ways until neither side has any left. */
void h2_peer_pump(h2_peer_t *self);
/* Bytes written by hand, past the client's session. Returns input()'s result. */
int h2_peer_raw(h2_peer_t *self, const void *data, size_t len);
