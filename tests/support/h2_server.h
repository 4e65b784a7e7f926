/* h2_server: the server's side of an HTTP/2 connection in memory, for tests of clients. It records
 * what was asked and answers as the test says. One connection, no sockets. */
#pragma once

#include <nghttp2/nghttp2.h>
#include <stdbool.h>

#include "client/grpc_framing.h"

enum { H2_SERVER_STREAMS_MAX = 64 };

typedef struct {
    int32_t id;
    char path[64];
    char timeout[24];
    char leader[8]; /* metadata hasleader */
    grpc_buffer_t in;
    bool in_ended;
    bool reset; /* by the client */
    uint32_t reset_code;
    grpc_buffer_t out;
    bool out_ended; /* trailers follow when `out` is empty */
    bool deferred;
    const char *status; /* of the trailers */
    const char *message;
} h2_server_stream_t;

typedef struct {
    nghttp2_session *session;
    h2_server_stream_t streams[H2_SERVER_STREAMS_MAX];
    size_t streams_n;
    size_t pings;
} h2_server_t;

h2_server_t *h2_server_new(void);
void h2_server_destroy(h2_server_t **self_p);

void h2_server_feed(h2_server_t *self, const void *data, size_t size);
/* Appends what is to be written. */
void h2_server_output(h2_server_t *self, grpc_buffer_t *out);

/* Answer headers; then messages; then trailers. */
void h2_server_headers(h2_server_t *self, h2_server_stream_t *stream);
void h2_server_message(h2_server_t *self, h2_server_stream_t *stream, const char *text);
void h2_server_raw(h2_server_t *self, h2_server_stream_t *stream, const void *data, size_t size);
void h2_server_trailers(h2_server_t *self, h2_server_stream_t *stream, const char *status,
                        const char *message);
/* Headers alone, which end the stream: pairs of texts, ended by NULL. */
void h2_server_headers_only(h2_server_t *self, h2_server_stream_t *stream,
                            const char *const *pairs);
void h2_server_reset(h2_server_t *self, h2_server_stream_t *stream, uint32_t code);
void h2_server_goaway(h2_server_t *self);
