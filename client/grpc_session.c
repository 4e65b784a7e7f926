#include "client/grpc_session.h"

#include <assert.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

#include "messages/xalloc.h"

/* Windows large enough that a watch or a long range is not throttled by the round trip; what
 * arrives is handed on at once, so they are not a bound on memory. */
#define STREAM_WINDOW_BYTES     (4 << 20)
#define CONNECTION_WINDOW_BYTES (16 << 20)
#define REQUEST_HEADERS_MAX     (8 + GRPC_CALL_HEADERS_MAX)

struct grpc_session {
    nghttp2_session *h2;
    char *authority;
    size_t calls;
    bool ready;
    bool draining;
};

static grpc_call_t *call_of(nghttp2_session *h2, int32_t stream_id)
{
    return nghttp2_session_get_stream_user_data(h2, stream_id);
}

/* The call is over as far as we are concerned: later frames of the stream are ignored. */
static void fail_call(grpc_session_t *self, grpc_call_t *call)
{
    call->failed = true;
    int rc =
        nghttp2_submit_rst_stream(self->h2, NGHTTP2_FLAG_NONE, call->stream_id, NGHTTP2_CANCEL);
    assert(rc == 0);
}

/* ---- what arrives ---- */

static bool name_is(const uint8_t *name, size_t size, const char *wanted)
{
    return size == strlen(wanted) && memcmp(name, wanted, size) == 0;
}

/* Decimal, all digits, at most nine of them; -1 otherwise. */
static int small_number(const uint8_t *text, size_t size)
{
    int value = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9' || i >= 9) {
            return -1;
        }
        value = value * 10 + (text[i] - '0');
    }
    return size > 0 ? value : -1;
}

static int on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *user_data)
{
    (void)flags;
    (void)user_data;
    grpc_call_t *call = call_of(h2, frame->hd.stream_id);
    if (call == NULL || call->failed) {
        return 0;
    }
    if (name_is(name, name_size, ":status")) {
        call->http_status = small_number(value, value_size);
    } else if (name_is(name, name_size, "content-type")) {
        call->grpc_content = value_size >= 16 && memcmp(value, "application/grpc", 16) == 0;
    } else if (name_is(name, name_size, "grpc-status")) {
        int code = small_number(value, value_size);
        call->grpc_status = code >= 0 ? code : GRPC_UNKNOWN;
    } else if (name_is(name, name_size, "grpc-message")) {
        char *message = grpc_percent_decode((const char *)value, value_size, NULL);
        grpc_status_set(&call->status, GRPC_UNKNOWN, message);
        free(message);
    }
    return 0;
}

static int on_data(nghttp2_session *h2, uint8_t flags, int32_t stream_id, const uint8_t *data,
                   size_t size, void *user_data)
{
    (void)flags;
    grpc_session_t *self = user_data;
    grpc_call_t *call = call_of(h2, stream_id);
    if (call == NULL || call->failed || !call->grpc_content) {
        return 0;
    }
    grpc_buffer_append(&call->in, data, size);
    for (;;) {
        const uint8_t *message = NULL;
        size_t message_size = 0;
        switch (grpc_frame_next(&call->in, call->recv_bytes_max, &message, &message_size)) {
        case 0: break;
        case GRPC_FRAME_INCOMPLETE: return 0;
        case GRPC_FRAME_TOO_LARGE:
            grpc_status_setf(&call->status, GRPC_RESOURCE_EXHAUSTED,
                             "grpc: received message larger than max (%zu vs. %zu)", message_size,
                             call->recv_bytes_max);
            fail_call(self, call);
            return 0;
        default:
            grpc_status_set(&call->status, GRPC_INTERNAL,
                            "grpc: compressed flag set with identity or empty encoding");
            fail_call(self, call);
            return 0;
        }
        call->on_message(call, message, message_size);
        /* The owner may have abandoned the call in there. */
        if (call_of(h2, stream_id) != call) {
            return 0;
        }
    }
}

static int on_frame(nghttp2_session *h2, const nghttp2_frame *frame, void *user_data)
{
    (void)h2;
    grpc_session_t *self = user_data;
    if (frame->hd.type == NGHTTP2_SETTINGS && (frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) {
        self->ready = true;
    } else if (frame->hd.type == NGHTTP2_GOAWAY) {
        self->draining = true;
    }
    return 0;
}

/* gRPC over HTTP/2, "Responses": trailers decide; without them the HTTP status or the reset does. */
static void decide_status(grpc_call_t *call, uint32_t error_code)
{
    if (call->failed) {
        return;
    }
    if (call->grpc_status >= 0 && error_code == NGHTTP2_NO_ERROR) {
        if (call->status.message == NULL) {
            grpc_status_set(&call->status, call->grpc_status, "");
        }
        call->status.code = call->grpc_status;
    } else if (call->http_status > 0 && call->http_status != 200) {
        grpc_status_setf(&call->status, (int)grpc_code_of_http(call->http_status),
                         "unexpected HTTP status code received from server: %d", call->http_status);
    } else if (error_code != NGHTTP2_NO_ERROR) {
        grpc_status_setf(&call->status, (int)grpc_code_of_reset(error_code),
                         "stream terminated by RST_STREAM with error code: %s",
                         grpc_reset_name(error_code));
        /* By RFC 9113 section 8.7; a GOAWAY that leaves the stream out says the same. */
        call->status.unprocessed = error_code == NGHTTP2_REFUSED_STREAM && call->http_status < 0;
    } else {
        grpc_status_set(&call->status, GRPC_INTERNAL,
                        "server closed the stream without sending trailers");
    }
}

static int on_stream_close(nghttp2_session *h2, int32_t stream_id, uint32_t error_code,
                           void *user_data)
{
    grpc_session_t *self = user_data;
    grpc_call_t *call = call_of(h2, stream_id);
    if (call == NULL) {
        return 0;
    }
    self->calls--;
    decide_status(call, error_code);
    call->stream_id = 0;
    call->on_closed(call);
    return 0;
}

/* ---- what is sent ---- */

static nghttp2_nv pair(const char *name, const char *value)
{
    /* nghttp2 copies both (no NO_COPY flag) and does not write through the pointers. */
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
                        strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static ssize_t read_out(nghttp2_session *h2, int32_t stream_id, uint8_t *to, size_t size_max,
                        uint32_t *flags, nghttp2_data_source *source, void *user_data)
{
    (void)source;
    (void)user_data;
    grpc_call_t *call = call_of(h2, stream_id);
    if (call == NULL) { /* abandoned; its RST_STREAM is on the way */
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    size_t size = grpc_buffer_size(&call->out);
    if (size == 0 && !call->out_closed) {
        call->suspended = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    if (size > size_max) {
        size = size_max;
    } else if (call->out_closed) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    }
    if (size > 0) {
        memcpy(to, grpc_buffer_head(&call->out), size);
        grpc_buffer_consume(&call->out, size);
    }
    return (ssize_t)size;
}

void grpc_session_submit(grpc_session_t *self, grpc_call_t *call, int64_t timeout_us)
{
    assert(call->stream_id == 0);
    assert(call->headers_n <= GRPC_CALL_HEADERS_MAX);
    nghttp2_nv headers[REQUEST_HEADERS_MAX] = {
        pair(":method", "POST"),
        pair(":scheme", "http"),
        pair(":path", call->path),
        pair(":authority", self->authority),
        pair("content-type", "application/grpc"),
        pair("te", "trailers"),
        pair("user-agent", "quoral-client"),
    };
    size_t n = 7;
    char timeout[GRPC_TIMEOUT_TEXT_BYTES];
    if (timeout_us >= 0) {
        grpc_timeout_format(timeout_us, timeout);
        headers[n++] = pair("grpc-timeout", timeout);
    }
    for (size_t i = 0; i < call->headers_n; i++) {
        headers[n++] = pair(call->header_names[i], call->header_values[i]);
    }
    nghttp2_data_provider provider = {.read_callback = read_out};
    call->http_status = -1;
    call->grpc_status = -1;
    call->suspended = false;
    call->stream_id = nghttp2_submit_request(self->h2, NULL, headers, n, &provider, call);
    /* Fails only out of memory or after 2^30 calls on one connection, long after GOAWAY. */
    assert(call->stream_id > 0);
    self->calls++;
}

void grpc_session_resume(grpc_session_t *self, grpc_call_t *call)
{
    if (call->suspended) {
        call->suspended = false;
        int rc = nghttp2_session_resume_data(self->h2, call->stream_id);
        (void)rc; /* refuses a stream that is being reset: its close is on the way */
    }
}

void grpc_session_abandon(grpc_session_t *self, grpc_call_t *call)
{
    assert(call->stream_id > 0);
    nghttp2_session_set_stream_user_data(self->h2, call->stream_id, NULL);
    fail_call(self, call);
    self->calls--;
    call->stream_id = 0;
}

/* ---- the connection ---- */

grpc_session_t *grpc_session_new(const char *authority)
{
    grpc_session_t *self = xcalloc(1, sizeof *self);
    self->authority = xstrdup(authority);
    nghttp2_session_callbacks *callbacks = NULL;
    int rc = nghttp2_session_callbacks_new(&callbacks);
    assert(rc == 0);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    rc = nghttp2_session_client_new(&self->h2, callbacks, self);
    assert(rc == 0);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES},
    };
    rc = nghttp2_submit_settings(self->h2, NGHTTP2_FLAG_NONE, settings,
                                 sizeof settings / sizeof settings[0]);
    assert(rc == 0);
    rc = nghttp2_session_set_local_window_size(self->h2, NGHTTP2_FLAG_NONE, 0,
                                               CONNECTION_WINDOW_BYTES);
    assert(rc == 0);
    return self;
}

void grpc_session_destroy(grpc_session_t **self_p)
{
    grpc_session_t *self = *self_p;
    *self_p = NULL;
    if (self == NULL) {
        return;
    }
    nghttp2_session_del(self->h2);
    free(self->authority);
    free(self);
}

int grpc_session_feed(grpc_session_t *self, const uint8_t *data, size_t size, const char **reason_p)
{
    ssize_t rc = nghttp2_session_mem_recv(self->h2, data, size);
    if (rc < 0) {
        *reason_p = nghttp2_strerror((int)rc);
        return -1;
    }
    return 0;
}

void grpc_session_output(grpc_session_t *self, grpc_buffer_t *out, size_t size_max)
{
    while (grpc_buffer_size(out) < size_max) {
        const uint8_t *data = NULL;
        ssize_t size = nghttp2_session_mem_send(self->h2, &data);
        assert(size >= 0);
        if (size == 0) {
            return;
        }
        grpc_buffer_append(out, data, (size_t)size);
    }
}

void grpc_session_ping(grpc_session_t *self)
{
    int rc = nghttp2_submit_ping(self->h2, NGHTTP2_FLAG_NONE, NULL);
    assert(rc == 0);
}

bool grpc_session_ready(const grpc_session_t *self)
{
    return self->ready;
}

bool grpc_session_draining(const grpc_session_t *self)
{
    return self->draining;
}

size_t grpc_session_calls(const grpc_session_t *self)
{
    return self->calls;
}
