#include "tests/support/h2_server.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "messages/xalloc.h"

static h2_server_stream_t *stream_of(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

static int on_begin(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    h2_server_t *self = user_data;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        assert(self->streams_n < H2_SERVER_STREAMS_MAX);
        h2_server_stream_t *stream = &self->streams[self->streams_n++];
        stream->id = frame->hd.stream_id;
        nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, stream);
    }
    return 0;
}

static void copy(char *to, size_t size, const uint8_t *value, size_t value_size)
{
    snprintf(to, size, "%.*s", (int)value_size, (const char *)value);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *user_data)
{
    (void)flags;
    (void)user_data;
    (void)name_size;
    h2_server_stream_t *stream = stream_of(session, frame->hd.stream_id);
    if (strcmp((const char *)name, ":path") == 0) {
        copy(stream->path, sizeof stream->path, value, value_size);
    } else if (strcmp((const char *)name, "grpc-timeout") == 0) {
        copy(stream->timeout, sizeof stream->timeout, value, value_size);
    } else if (strcmp((const char *)name, "hasleader") == 0) {
        copy(stream->leader, sizeof stream->leader, value, value_size);
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t size, void *user_data)
{
    (void)flags;
    (void)user_data;
    grpc_buffer_append(&stream_of(session, id)->in, data, size);
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    h2_server_t *self = user_data;
    h2_server_stream_t *stream = stream_of(session, frame->hd.stream_id);
    if (frame->hd.type == NGHTTP2_PING) {
        self->pings++;
    } else if (stream != NULL && frame->hd.type == NGHTTP2_RST_STREAM) {
        stream->reset = true;
        stream->reset_code = frame->rst_stream.error_code;
    } else if (stream != NULL && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
        stream->in_ended = true;
    }
    return 0;
}

h2_server_t *h2_server_new(void)
{
    h2_server_t *self = xcalloc(1, sizeof *self);
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_server_new(&self->session, callbacks, self);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(self->session, NGHTTP2_FLAG_NONE, NULL, 0);
    return self;
}

void h2_server_destroy(h2_server_t **self_p)
{
    h2_server_t *self = *self_p;
    *self_p = NULL;
    if (self != NULL) {
        nghttp2_session_del(self->session);
        for (size_t i = 0; i < self->streams_n; i++) {
            grpc_buffer_deinit(&self->streams[i].in);
            grpc_buffer_deinit(&self->streams[i].out);
        }
        free(self);
    }
}

void h2_server_feed(h2_server_t *self, const void *data, size_t size)
{
    ssize_t rc = nghttp2_session_mem_recv(self->session, data, size);
    assert(rc == (ssize_t)size);
}

void h2_server_output(h2_server_t *self, grpc_buffer_t *out)
{
    const uint8_t *data = NULL;
    ssize_t size = 0;
    while ((size = nghttp2_session_mem_send(self->session, &data)) > 0) {
        grpc_buffer_append(out, data, (size_t)size);
    }
}

static nghttp2_nv pair(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
                        strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static ssize_t read_out(nghttp2_session *session, int32_t id, uint8_t *to, size_t size_max,
                        uint32_t *flags, nghttp2_data_source *source, void *user_data)
{
    (void)source;
    (void)user_data;
    h2_server_stream_t *stream = stream_of(session, id);
    size_t size = grpc_buffer_size(&stream->out);
    if (size == 0 && !stream->out_ended) {
        stream->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    size = size < size_max ? size : size_max;
    if (size > 0) {
        memcpy(to, grpc_buffer_head(&stream->out), size);
        grpc_buffer_consume(&stream->out, size);
    }
    if (stream->out_ended && grpc_buffer_size(&stream->out) == 0) {
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        nghttp2_nv trailers[] = {pair("grpc-status", stream->status),
                                 pair("grpc-message", stream->message)};
        nghttp2_submit_trailer(session, id, trailers, 2);
    }
    return (ssize_t)size;
}

void h2_server_headers(h2_server_t *self, h2_server_stream_t *stream)
{
    nghttp2_nv headers[] = {pair(":status", "200"), pair("content-type", "application/grpc")};
    nghttp2_data_provider provider = {.read_callback = read_out};
    nghttp2_submit_response(self->session, stream->id, headers, 2, &provider);
}

static void resume(h2_server_t *self, h2_server_stream_t *stream)
{
    if (stream->deferred) {
        stream->deferred = false;
        nghttp2_session_resume_data(self->session, stream->id);
    }
}

void h2_server_message(h2_server_t *self, h2_server_stream_t *stream, const char *text)
{
    grpc_frame_append(&stream->out, text, strlen(text));
    resume(self, stream);
}

void h2_server_raw(h2_server_t *self, h2_server_stream_t *stream, const void *data, size_t size)
{
    grpc_buffer_append(&stream->out, data, size);
    resume(self, stream);
}

void h2_server_trailers(h2_server_t *self, h2_server_stream_t *stream, const char *status,
                        const char *message)
{
    stream->status = status;
    stream->message = message;
    stream->out_ended = true;
    resume(self, stream);
}

void h2_server_headers_only(h2_server_t *self, h2_server_stream_t *stream, const char *const *pairs)
{
    nghttp2_nv headers[8];
    size_t n = 0;
    for (; pairs[0] != NULL; pairs += 2) {
        headers[n++] = pair(pairs[0], pairs[1]);
    }
    nghttp2_submit_response(self->session, stream->id, headers, n, NULL);
}

void h2_server_reset(h2_server_t *self, h2_server_stream_t *stream, uint32_t code)
{
    nghttp2_submit_rst_stream(self->session, NGHTTP2_FLAG_NONE, stream->id, code);
}

void h2_server_goaway(h2_server_t *self)
{
    nghttp2_submit_goaway(self->session, NGHTTP2_FLAG_NONE,
                          nghttp2_session_get_last_proc_stream_id(self->session), NGHTTP2_NO_ERROR,
                          NULL, 0);
}
