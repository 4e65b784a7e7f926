#include "tests/support/h2_peer.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/grpc_gateway/conn.h"
#include "messages/xalloc.h"

static peer_stream_t *stream_of(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

static bool same(const uint8_t *data, size_t len, const char *text)
{
    return len == strlen(text) && memcmp(data, text, len) == 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *user_data)
{
    (void)flags;
    (void)user_data;
    peer_stream_t *stream = stream_of(session, frame->hd.stream_id);
    if (same(name, name_len, ":status")) {
        snprintf(stream->http_status, sizeof stream->http_status, "%s", (const char *)value);
    } else if (same(name, name_len, "grpc-status")) {
        stream->grpc_status = atoi((const char *)value);
    } else if (same(name, name_len, "grpc-message")) {
        free(stream->grpc_message);
        stream->grpc_message = strndup((const char *)value, value_len);
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t len, void *user_data)
{
    (void)flags;
    (void)user_data;
    buf_append(&stream_of(session, id)->body, data, len);
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    h2_peer_t *self = user_data;
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        self->goaway = true;
        self->goaway_code = frame->goaway.error_code;
        size_t len = frame->goaway.opaque_data_len;
        len = len < sizeof self->goaway_text ? len : sizeof self->goaway_text - 1;
        if (len) {
            memcpy(self->goaway_text, frame->goaway.opaque_data, len);
        }
        self->goaway_text[len] = '\0';
    } else if (frame->hd.type == NGHTTP2_PING) {
        *(frame->hd.flags & NGHTTP2_FLAG_ACK ? &self->pings_acked : &self->pings_received) += 1;
    } else if (frame->hd.type == NGHTTP2_HEADERS && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
        peer_stream_t *stream = stream_of(session, frame->hd.stream_id);
        stream->headers_ended_stream = frame->headers.cat == NGHTTP2_HCAT_RESPONSE;
    } else if (frame->hd.type == NGHTTP2_SETTINGS) {
        self->max_concurrent_streams =
            nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    }
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t error, void *user_data)
{
    (void)user_data;
    peer_stream_t *stream = stream_of(session, id);
    if (stream) {
        stream->closed = true;
        stream->error = error;
    }
    return 0;
}

h2_peer_t *h2_peer_new(conn_t *conn, uint32_t window)
{
    h2_peer_t *self = xcalloc(1, sizeof *self);
    self->conn = conn;
    self->now_us = 1000000;
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    nghttp2_session_client_new(&self->session, callbacks, self);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window}};
    nghttp2_submit_settings(self->session, 0, settings, window ? 1 : 0);
    if (window) {
        nghttp2_session_set_local_window_size(self->session, 0, 0, 0x7fffffff);
    }
    return self;
}

void h2_peer_destroy(h2_peer_t **self_p)
{
    h2_peer_t *self = *self_p;
    *self_p = NULL;
    nghttp2_session_del(self->session);
    for (size_t i = 0; i < self->stream_count; i++) {
        free(self->streams[i].grpc_message);
        buf_deinit(&self->streams[i].body);
        buf_deinit(&self->streams[i].outgoing);
    }
    free(self);
}

static ssize_t read_outgoing(nghttp2_session *session, int32_t id, uint8_t *buf, size_t len,
                             uint32_t *flags, nghttp2_data_source *source, void *user_data)
{
    (void)session;
    (void)id;
    (void)user_data;
    peer_stream_t *stream = source->ptr;
    size_t left = stream->outgoing.len - stream->outgoing_sent;
    if (left == 0 && !stream->outgoing_end) {
        stream->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    size_t taken = left < len ? left : len;
    if (taken > 0) {
        memcpy(buf, stream->outgoing.data + stream->outgoing_sent, taken);
        stream->outgoing_sent += taken;
    }
    if (taken == left && stream->outgoing_end) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    }
    return (ssize_t)taken;
}

peer_stream_t *h2_peer_headers(h2_peer_t *self, const char *const *pairs, bool ended)
{
    enum { FIELDS_MAX = 128 };
    nghttp2_nv fields[FIELDS_MAX];
    size_t count = 0;
    for (; pairs[2 * count]; count++) {
        assert(count < FIELDS_MAX);
        fields[count] = (nghttp2_nv){.name = (uint8_t *)(uintptr_t)pairs[2 * count],
                                     .value = (uint8_t *)(uintptr_t)pairs[2 * count + 1],
                                     .namelen = strlen(pairs[2 * count]),
                                     .valuelen = strlen(pairs[2 * count + 1])};
    }
    assert(self->stream_count < PEER_STREAMS_MAX);
    peer_stream_t *stream = &self->streams[self->stream_count++];
    *stream = (peer_stream_t){.grpc_status = -1};
    nghttp2_data_provider provider = {.source.ptr = stream, .read_callback = read_outgoing};
    stream->id = nghttp2_submit_request(self->session, NULL, fields, count,
                                        ended ? NULL : &provider, stream);
    assert(stream->id > 0);
    return stream;
}

peer_stream_t *h2_peer_call(h2_peer_t *self, const char *path, bool ended)
{
    const char *pairs[] = {":method", "POST",     ":scheme",      "http",
                           ":path",   path,       ":authority",   "localhost",
                           "te",      "trailers", "content-type", "application/grpc",
                           NULL};
    return h2_peer_headers(self, pairs, ended);
}

void h2_peer_data(h2_peer_t *self, peer_stream_t *stream, const void *data, size_t len, bool end)
{
    buf_append(&stream->outgoing, data, len);
    stream->outgoing_end = end;
    if (stream->deferred) {
        stream->deferred = false;
        nghttp2_session_resume_data(self->session, stream->id);
    }
}

void h2_peer_message(h2_peer_t *self, peer_stream_t *stream, const void *data, size_t len, bool end)
{
    buf_t framed = {0};
    const uint8_t prefix[] = {0, (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8),
                              (uint8_t)len};
    buf_append(&framed, prefix, sizeof prefix);
    buf_append(&framed, data, len);
    h2_peer_data(self, stream, framed.data, framed.len, end);
    buf_deinit(&framed);
}

int h2_peer_raw(h2_peer_t *self, const void *data, size_t len)
{
    size_t piece = self->chunk_bytes ? self->chunk_bytes : len;
    for (size_t at = 0; at < len && !self->refused; at += piece) {
        size_t left = len - at;
        slice_t bytes = slice((const uint8_t *)data + at, left < piece ? left : piece);
        self->refused = self->conn->ops->input(self->conn, bytes, self->now_us) != 0;
    }
    return self->refused;
}

static bool pump_once(h2_peer_t *self)
{
    bool moved = false;
    const uint8_t *data = NULL;
    ssize_t len = 0;
    while (!self->refused && (len = nghttp2_session_mem_send(self->session, &data)) > 0) {
        moved = true;
        h2_peer_raw(self, data, (size_t)len);
    }
    slice_t bytes = self->conn->ops->output(self->conn, self->now_us);
    if (bytes.len > 0 && !self->deaf) {
        moved = true;
        nghttp2_session_mem_recv(self->session, bytes.data, bytes.len);
        self->conn->ops->written(self->conn, bytes.len);
    }
    return moved;
}

void h2_peer_pump(h2_peer_t *self)
{
    while (pump_once(self)) {
    }
}
